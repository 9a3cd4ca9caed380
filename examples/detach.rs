//! A connection that leaves its loop: lines are echoed until one says `upper`; from then on a
//! thread of its own answers in capitals, with blocking reads and writes.
//!
//! ```text
//! $ cargo run --example detach -- tcp://127.0.0.1:5000
//! $ nc 127.0.0.1 5000
//! ```
#![forbid(unsafe_code)]

use mainspring::wire::{Decode, Separator, Step};
use mainspring::{Action, Conn, Cx, Detached, Error, Handler, Input, Loops, Opened, Server, Shard};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const THREADS_MAX: usize = 64;
const LINE_BYTES_MAX: usize = 4096;
/// A thread does not wait longer than this for its peer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Echoes lines, and counts the threads that it has started.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    /// Running now, of all loops together.
    threads: Arc<AtomicUsize>,
}

impl Handler for Lines {
    type State = Separator;

    fn on_open(&mut self, _conn: &mut Conn<'_>) -> Opened<Separator> {
        Opened::Accept(Separator::new("\n").max(LINE_BYTES_MAX).including())
    }

    fn on_data(
        &mut self,
        lines: &mut Separator,
        conn: &mut Conn<'_>,
        input: &mut Input<'_>,
    ) -> Action {
        while !conn.is_choked() {
            let (used, leave) = match lines.decode(input.bytes()) {
                Ok(Step::Frame { frame: line, used }) => {
                    let leave = line.trim_ascii_end() == b"upper";
                    if !leave {
                        conn.out().extend_from_slice(line);
                    }
                    (used, leave)
                }
                Ok(Step::Need(_)) => break,
                Err(error) => {
                    conn.out().extend_from_slice(format!("{error}\n").as_bytes());
                    return Action::Close;
                }
            };
            input.consume(used);
            if leave && self.threads.load(Ordering::Relaxed) >= THREADS_MAX {
                conn.out().extend_from_slice(b"all threads are busy\n");
            } else if leave {
                // Sent before the connection leaves. What is unconsumed is the first that the
                // thread reads.
                conn.out().extend_from_slice(b"in capitals from here on\n");
                return Action::Detach;
            }
        }
        Action::Continue
    }

    fn on_detach(&mut self, _lines: Separator, socket: Detached, _cx: &mut Cx<'_>) {
        let (id, threads) = (socket.id(), self.threads.clone());
        threads.fetch_add(1, Ordering::Relaxed);
        let started = std::thread::Builder::new().name(format!("upper {id}")).spawn(move || {
            if let Err(error) = upper(socket) {
                eprintln!("detach: connection {id}: {error}");
            }
            threads.fetch_sub(1, Ordering::Relaxed);
        });
        if let Err(error) = started {
            self.threads.fetch_sub(1, Ordering::Relaxed);
            eprintln!("detach: no thread for connection {id}: {error}");
        }
    }
}

/// Blocking code like any other: it knows nothing of loops.
fn upper(socket: Detached) -> io::Result<()> {
    socket.stream().set_read_timeout(Some(PATIENCE))?;
    socket.stream().set_write_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(socket);
    let mut line = Vec::new();
    while reader.by_ref().take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line)? > 0 {
        line.make_ascii_uppercase();
        reader.get_mut().write_all(&line)?;
        line.clear();
    }
    Ok(())
}

/// Sets one loop up; copies of `lines` share the count of threads.
pub fn setup(shard: &mut Shard<'_>, lines: &Lines, addresses: &[String]) -> Result<(), Error> {
    let host = shard.host(lines.clone());
    for address in addresses {
        shard.listen(host, address)?;
    }
    Ok(())
}

fn serve(addresses: Vec<String>) -> Result<(), Error> {
    let lines = Lines::default();
    let builder = Server::builder().loops(Loops::PerCore);
    let running = builder.start(move |shard| setup(shard, &lines, &addresses))?;
    for addr in running.addrs() {
        println!("detach: listening on {addr}");
    }
    running.join()
}

/// Serves the addresses on the command line until the process ends.
pub fn main() -> ExitCode {
    let mut addresses: Vec<String> = std::env::args().skip(1).collect();
    if addresses.is_empty() {
        addresses.push("tcp://127.0.0.1:5000".to_owned());
    }
    match serve(addresses) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("detach: {error}");
            ExitCode::FAILURE
        }
    }
}
