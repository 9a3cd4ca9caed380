//! Sends the same ticks to readers and to peers that never read, once by each policy for the slow,
//! and prints what became of every message.
//!
//! ```text
//! $ cargo run --release --example broadcast
//! $ cargo run --release --example broadcast -- 10
//! ```
#![forbid(unsafe_code)]

use mainspring::{
    Action, Addr, BroadcastLimits, BroadcastStats, Broadcaster, Bytes, CloseReason, Conn, ConnId,
    Cx, Error, Handler, Input, Opened, Server, Shard, SlowPolicy, Tick,
};
use std::io::{self, BufRead, BufReader};
use std::net::TcpStream;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

/// One listener for each.
pub const POLICIES: [SlowPolicy; 3] =
    [SlowPolicy::DropNewest, SlowPolicy::DropOldest, SlowPolicy::Disconnect];

const EVERY: Duration = Duration::from_millis(5);
const LINE: usize = 1024;
const READERS: usize = 4;
const STALLED: usize = 4;
/// A small buffer in the kernel, so that the queues of this example are what fills.
const ADDRESS: &str = "tcp://127.0.0.1:0?sndbuf=16384";

/// Sends a line to everyone at every tick, by the broadcaster of their listener.
#[derive(Debug)]
pub struct Ticker {
    ticks: u64,
    rooms: Vec<Room>,
}

#[derive(Debug)]
struct Room {
    broadcaster: Broadcaster,
    members: Vec<ConnId>,
}

impl Handler for Ticker {
    /// The number of the room.
    type State = usize;

    fn on_open(&mut self, conn: &mut Conn<'_>) -> Opened<usize> {
        let Some(room) = conn.listener() else { return Opened::Refuse };
        self.rooms[room].members.push(conn.id());
        Opened::Accept(room)
    }

    fn on_data(&mut self, _: &mut usize, _: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
        input.take();
        Action::Continue
    }

    fn on_close(&mut self, room: usize, id: ConnId, _: &mut Cx<'_>, _: CloseReason) {
        self.rooms[room].members.retain(|member| *member != id);
    }

    fn on_tick(&mut self, _: &mut Cx<'_>) -> Tick {
        self.ticks += 1;
        let line = Bytes::from(format!("{:<1$}\n", self.ticks, LINE - 1));
        for room in &self.rooms {
            // `Full` is this loop's own inbox: what it refuses is counted.
            let _ = room.broadcaster.send(line.clone(), &room.members);
        }
        Tick::After(EVERY)
    }
}

/// Sets the loop up: a listener and a broadcaster for each policy.
pub fn setup(shard: &mut Shard<'_>, address: &str) -> Result<(Vec<Addr>, Vec<Broadcaster>), Error> {
    let limits = |policy| BroadcastLimits {
        outbox_bytes: 16 << 10,
        queue_messages: 64,
        deadline: Some(Duration::from_secs(5)),
        policy,
        ..BroadcastLimits::default()
    };
    let broadcasters: Vec<Broadcaster> =
        POLICIES.map(|policy| shard.broadcaster(limits(policy))).into();
    let rooms = broadcasters.iter().cloned();
    let rooms = rooms.map(|broadcaster| Room { broadcaster, members: Vec::new() }).collect();
    let host = shard.host(Ticker { ticks: 0, rooms });
    let addrs = POLICIES.iter().map(|_| shard.listen(host, address)).collect::<Result<_, _>>()?;
    Ok((addrs, broadcasters))
}

/// Serves the ticks and their audience for some time, and prints the accounts.
fn show(time: Duration) -> Result<(), Error> {
    let (told, made) = channel();
    let running = Server::builder().start(move |shard| {
        let _ = told.send(setup(shard, ADDRESS)?);
        Ok(())
    })?;
    let (addrs, broadcasters) = made.recv().expect("the loop is set up");
    let audience: Vec<Audience> =
        addrs.iter().map(Audience::new).collect::<io::Result<_>>().map_err(Error::Driver)?;
    thread::park_timeout(time);
    running.handle().stop_listening();
    println!("policy          sent  delivered  queued   newest  oldest    late  disconnected");
    for ((policy, broadcaster), audience) in POLICIES.iter().zip(&broadcasters).zip(audience) {
        print_row(&format!("{policy:?}"), broadcaster);
        audience.end();
    }
    running.handle().stop();
    running.join()
}

/// Readers, and peers that never read.
struct Audience {
    streams: Vec<TcpStream>,
    heard: Vec<Receiver<Result<u64, String>>>,
}

impl Audience {
    fn new(at: &Addr) -> io::Result<Self> {
        let connect = |_| TcpStream::connect(at.to_string());
        let mut streams: Vec<TcpStream> = (0..STALLED).map(connect).collect::<io::Result<_>>()?;
        let mut heard = Vec::new();
        for reader in 0..READERS {
            let stream = connect(reader)?;
            let (tell, told) = channel();
            let reading = BufReader::new(stream.try_clone()?);
            thread::spawn(move || tell.send(listen(reading)));
            streams.push(stream);
            heard.push(told);
        }
        Ok(Self { streams, heard })
    }

    /// Hangs up, and prints what the readers have to say.
    fn end(self) {
        for stream in &self.streams {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
        let said: Vec<_> = self.heard.iter().filter_map(|told| told.recv().ok()).collect();
        match said.iter().find_map(|heard| heard.as_ref().err()) {
            Some(error) => println!("  readers: {error}"),
            None => {
                let lines: u64 = said.iter().filter_map(|heard| heard.as_ref().ok()).sum();
                println!("  {} readers: {lines} lines in order, none missing", said.len());
            }
        }
    }
}

/// Counts lines until the end of the stream. The first may have any number, the next have to follow.
fn listen(lines: impl BufRead) -> Result<u64, String> {
    let (mut count, mut last) = (0, None);
    for line in lines.lines().map_while(Result::ok) {
        if line.len() != LINE - 1 {
            // The end of the run cuts a line.
            break;
        }
        let number: u64 = line.trim_end().parse().map_err(|_| format!("not a line: {line}"))?;
        if last.is_some_and(|last| number != last + 1) {
            return Err(format!("line {number} after {last:?}"));
        }
        (count, last) = (count + 1, Some(number));
    }
    Ok(count)
}

fn print_row(policy: &str, broadcaster: &Broadcaster) {
    let BroadcastStats { sent, delivered, queued, dropped, .. } = settled(broadcaster);
    println!(
        "{policy:<11}{sent:>9}{delivered:>11}{queued:>8}{:>9}{:>8}{:>8}{:>14}",
        dropped.newest, dropped.oldest, dropped.late, dropped.disconnected
    );
    println!("  {delivered} + {queued} + {} dropped = {sent} sent", dropped.total());
}

/// The account between two ticks: while the loop is at one, it is between two figures.
fn settled(broadcaster: &Broadcaster) -> BroadcastStats {
    let mut looks = std::iter::repeat_with(|| broadcaster.stats());
    looks.find(BroadcastStats::is_balanced).expect("endless")
}

/// Shows it for as many seconds as the command line says.
pub fn main() -> ExitCode {
    let seconds = std::env::args().nth(1).unwrap_or_else(|| "3".to_owned());
    let Some(time) = seconds.parse().ok().filter(|seconds| *seconds > 0) else {
        eprintln!("broadcast: '{seconds}' is not a time: give whole seconds above 0");
        return ExitCode::FAILURE;
    };
    match show(Duration::from_secs(time)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("broadcast: {error}");
            ExitCode::FAILURE
        }
    }
}
