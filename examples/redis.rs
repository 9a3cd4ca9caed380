//! A small Redis: PING, GET, SET, DEL and QUIT over the RESP codec, pipelined, on one loop and so
//! without a lock.
//!
//! ```text
//! $ cargo run --example redis -- tcp://127.0.0.1:6380
//! $ redis-cli -p 6380 set spring wound
//! ```
#![forbid(unsafe_code)]

use mainspring::wire::resp::{Command, Commands, reply};
use mainspring::wire::{Decode, Step};
use mainspring::{Action, Addr, Conn, Error, Handler, Input, Opened, Server, Shard};
use std::collections::HashMap;
use std::process::ExitCode;

/// The longest key or value. Under `Limits::input_max`, so that a longer one is answered with an
/// error and not with the end of the connection alone.
const VALUE_BYTES_MAX: usize = 512 << 10;

/// The keys and their values.
#[derive(Debug, Default)]
pub struct Store {
    values: HashMap<Vec<u8>, Vec<u8>>,
}

impl Store {
    /// Appends the answer to one command.
    fn execute(&mut self, command: &Command<'_>, out: &mut Vec<u8>) -> Action {
        let Some(name) = command.name() else { return Action::Continue };
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        match (command.get(1), command.get(2), command.len()) {
            (None, _, _) if is(b"PING") => reply::simple(out, b"PONG"),
            (Some(text), _, 2) if is(b"PING") => reply::bulk(out, text),
            (Some(key), _, 2) if is(b"GET") => match self.values.get(key) {
                Some(value) => reply::bulk(out, value),
                None => reply::null(out),
            },
            (Some(key), Some(value), 3) if is(b"SET") => {
                self.values.insert(key.to_vec(), value.to_vec());
                reply::simple(out, b"OK");
            }
            (Some(_), _, _) if is(b"DEL") => {
                let removed =
                    command.iter().skip(1).filter(|key| self.values.remove(*key).is_some());
                reply::integer(out, removed.count() as i64);
            }
            _ if is(b"QUIT") => {
                reply::simple(out, b"OK");
                return Action::Close;
            }
            _ => {
                let known = [&b"PING"[..], b"GET", b"SET", b"DEL"].into_iter().any(is);
                refuse(out, name, known);
            }
        }
        Action::Continue
    }
}

fn refuse(out: &mut Vec<u8>, name: &[u8], known: bool) {
    let name = String::from_utf8_lossy(&name[..name.len().min(64)]);
    let text = match known {
        true => {
            let name = name.to_lowercase();
            format!("ERR wrong number of arguments for '{name}' command")
        }
        false => format!("ERR unknown command '{name}'"),
    };
    reply::error(out, text.as_bytes());
}

impl Handler for Store {
    /// How far the connection's present command has been read.
    type State = Commands;

    fn on_open(&mut self, _conn: &mut Conn<'_>) -> Opened<Commands> {
        Opened::Accept(Commands::new().max_bulk(VALUE_BYTES_MAX))
    }

    fn on_data(
        &mut self,
        commands: &mut Commands,
        conn: &mut Conn<'_>,
        input: &mut Input<'_>,
    ) -> Action {
        // A client that sends and does not read stops here; the rest comes again when it has read.
        while !conn.is_choked() {
            let (used, action) = match commands.decode(input.bytes()) {
                Ok(Step::Frame { frame, used }) => (used, self.execute(&frame, conn.out())),
                Ok(Step::Need(more)) => {
                    input.need(more);
                    break;
                }
                Err(error) => {
                    error.append_reply(conn.out());
                    return Action::Close;
                }
            };
            input.consume(used);
            if action != Action::Continue {
                return action;
            }
        }
        Action::Continue
    }
}

/// Sets the loop up, and returns where it listens.
pub fn setup(shard: &mut Shard<'_>, addresses: &[String]) -> Result<Vec<Addr>, Error> {
    let host = shard.host(Store::default());
    addresses.iter().map(|address| shard.listen(host, address)).collect()
}

fn serve(addresses: &[String]) -> Result<(), Error> {
    Server::builder().run(|shard| {
        for addr in setup(shard, addresses)? {
            println!("redis: listening on {addr}");
        }
        Ok(())
    })
}

/// Serves the addresses on the command line until the process ends.
pub fn main() -> ExitCode {
    let mut addresses: Vec<String> = std::env::args().skip(1).collect();
    if addresses.is_empty() {
        addresses.push("tcp://127.0.0.1:6380".to_owned());
    }
    match serve(&addresses) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("redis: {error}");
            ExitCode::FAILURE
        }
    }
}
