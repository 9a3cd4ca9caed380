//! A chat room: every line goes to everybody, whichever loop serves them.
//!
//! ```text
//! $ cargo run --example chat -- tcp://127.0.0.1:5000
//! $ nc 127.0.0.1 5000
//! ```
#![forbid(unsafe_code)]

use mainspring::wire::{Decode, Separator, Step};
use mainspring::{
    Action, Bytes, CloseReason, Conn, ConnId, Cx, Error, Handler, Input, Limits, Loops, Opened,
    Remote, Server, ServerInfo, Shard,
};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

const LINE_BYTES_MAX: usize = 1024;
/// A guest who has not read this much is let go, so that the room does not keep it for them.
const UNREAD_BYTES_MAX: usize = 1 << 20;

/// What the loops of one room share: the way to each, and a counter for names.
#[derive(Clone, Debug, Default)]
pub struct Room {
    loops: Arc<Mutex<Vec<Remote<Chat>>>>,
    guests: Arc<AtomicU64>,
}

/// The guests of one loop.
#[derive(Debug)]
pub struct Chat {
    room: Room,
    here: Vec<ConnId>,
    elsewhere: Vec<Remote<Self>>,
}

/// One guest.
#[derive(Debug)]
pub struct Guest {
    name: String,
    lines: Separator,
}

impl Chat {
    /// Sends one copy of the bytes to everybody. `false` if a loop had no room for them.
    fn tell_all(&self, cx: &mut Cx<'_>, line: Vec<u8>) -> bool {
        let line = Bytes::from(line);
        cx.broadcast(&line, &self.here);
        let mut everybody = true;
        for remote in &self.elsewhere {
            let line = line.clone();
            let told = remote.post(move |chat, cx| {
                cx.broadcast(&line, &chat.here);
            });
            everybody &= told.is_ok();
        }
        everybody
    }
}

impl Handler for Chat {
    type State = Guest;

    fn on_start(&mut self, _cx: &mut Cx<'_>, server: &ServerInfo) -> Action {
        // Every loop is set up by now, in order.
        let loops = self.room.loops.lock().unwrap_or_else(PoisonError::into_inner);
        let others = loops.iter().enumerate().filter(|(index, _)| *index != server.loop_index);
        self.elsewhere = others.map(|(_, remote)| remote.clone()).collect();
        Action::Continue
    }

    fn on_open(&mut self, conn: &mut Conn<'_>) -> Opened<Guest> {
        let number = self.room.guests.fetch_add(1, Ordering::Relaxed) + 1;
        let name = format!("guest{number}");
        conn.out().extend_from_slice(format!("* you are {name}\n").as_bytes());
        self.tell_all(&mut conn.cx(), format!("* {name} joined\n").into_bytes());
        self.here.push(conn.id());
        Opened::Accept(Guest { name, lines: Separator::new("\n").max(LINE_BYTES_MAX) })
    }

    fn on_data(&mut self, guest: &mut Guest, conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
        while !conn.is_choked() {
            let (said, used) = match guest.lines.decode(input.bytes()) {
                Ok(Step::Frame { frame: line, used }) => {
                    let text = line.strip_suffix(b"\r").unwrap_or(line);
                    let said = [guest.name.as_bytes(), b": ", text, b"\n"].concat();
                    (said, used)
                }
                Ok(Step::Need(_)) => break,
                Err(error) => {
                    conn.out().extend_from_slice(format!("* {error}\n").as_bytes());
                    return Action::Close;
                }
            };
            input.consume(used);
            if !self.tell_all(&mut conn.cx(), said) {
                conn.out().extend_from_slice(b"* the room is crowded: not all have heard that\n");
            }
        }
        Action::Continue
    }

    fn on_close(&mut self, guest: Guest, id: ConnId, cx: &mut Cx<'_>, _reason: CloseReason) {
        self.here.retain(|other| *other != id);
        self.tell_all(cx, format!("* {} left\n", guest.name).into_bytes());
    }
}

/// Sets one loop of the room up.
pub fn setup(shard: &mut Shard<'_>, room: &Room, addresses: &[String]) -> Result<(), Error> {
    let host = shard.host(Chat { room: room.clone(), here: Vec::new(), elsewhere: Vec::new() });
    room.loops.lock().unwrap_or_else(PoisonError::into_inner).push(shard.remote(host));
    for address in addresses {
        shard.listen(host, address)?;
    }
    Ok(())
}

fn serve(addresses: Vec<String>) -> Result<(), Error> {
    let limits = Limits { output_max: UNREAD_BYTES_MAX, ..Limits::default() };
    let room = Room::default();
    let builder = Server::builder().loops(Loops::PerCore).limits(limits);
    let running = builder.start(move |shard| setup(shard, &room, &addresses))?;
    for addr in running.addrs() {
        println!("chat: listening on {addr}");
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
            eprintln!("chat: {error}");
            ExitCode::FAILURE
        }
    }
}
