//! What peers that never read cost the others, and in memory.
//!
//! The only tests of their process: they look at the memory of all of it. One takes a few seconds;
//! the other, at full size, is for `cargo xtask ci`, and for a machine with nothing else to do.
#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods, reason = "tests run by the clock")]

mod support;

use bytes::{BufMut, Bytes, BytesMut};
use mainspring_io::Address;
use mainspring_loop::{
    Action, BroadcastLimits, BroadcastStats, CloseReason, Conn, ConnId, Cx, Handler, Input, Limits,
    LoopStats, Opened, Remote, Running, Server, SlowPolicy,
};
use socket2::{Domain, Socket, Type};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use support::*;

const MESSAGE: usize = 1 << 10;
/// Until their kernel has taken all it takes, peers that never read are peers like others: so many
/// messages are not timed.
const WARM_UP: u32 = 50;
const EVERY: Duration = Duration::from_millis(10);
/// What may be buffered, and so, by a fifth more, what the process may have resident.
const MEMORY_MAX: usize = 64 << 20;

#[derive(Clone, Copy)]
struct Scale {
    readers: usize,
    stalled: usize,
    seconds: u32,
}

#[derive(Debug)]
struct Figures {
    p50: Duration,
    p99: Duration,
    /// The most that the process had resident.
    resident: usize,
    /// The most that the loop buffered.
    buffered: u64,
    stats: BroadcastStats,
}

#[test]
fn a_hundred_stalled_peers_cost_a_hundred_readers_nothing() {
    let _bound = bound(120);
    let calm = measure(Scale { readers: 100, stalled: 0, seconds: 1 });
    let mixed = measure(Scale { readers: 100, stalled: 100, seconds: 3 });
    tell(&calm, &mixed);
    check(&calm, &mixed);
}

#[test]
#[ignore = "takes a minute and both processors; `cargo xtask ci` runs it"]
fn a_thousand_stalled_peers_cost_a_thousand_readers_nothing() {
    let _bound = bound(300);
    let calm = measure(Scale { readers: 1_000, stalled: 0, seconds: 20 });
    let mixed = measure(Scale { readers: 1_000, stalled: 1_000, seconds: 20 });
    tell(&calm, &mixed);
    check(&calm, &mixed);
    assert!(mixed.p99 <= 2 * calm.p99, "{:?} beside stalled peers, {:?} else", mixed.p99, calm.p99);
}

#[expect(clippy::print_stdout, reason = "the figures are for the reader of the test")]
fn tell(calm: &Figures, mixed: &Figures) {
    for (name, figures) in [("readers only", calm), ("half stalled", mixed)] {
        let Figures { p50, p99, resident, buffered, stats } = figures;
        let (resident, buffered) = (resident >> 10, buffered >> 10);
        println!(
            "{name}: p50 {p50:?}, p99 {p99:?}, resident {resident} KiB, buffered {buffered} KiB"
        );
        println!("  {stats:?}");
    }
}

fn check(calm: &Figures, mixed: &Figures) {
    for figures in [calm, mixed] {
        assert!(figures.stats.is_balanced(), "{figures:?}");
        assert!(figures.buffered <= MEMORY_MAX as u64, "{figures:?}");
        assert!(figures.resident <= MEMORY_MAX / 5 * 6, "{figures:?}");
    }
    assert_eq!(calm.stats.dropped.total(), 0, "{calm:?}");
    assert!(mixed.stats.dropped.oldest > 0, "nobody stalled: {mixed:?}");
}

/// Sends for some time, and looks at every message that a reader gets.
fn measure(scale: Scale) -> Figures {
    let Scale { readers, stalled, seconds } = scale;
    let audience = Audience::new(readers, stalled);
    let limits = BroadcastLimits {
        outbox_bytes: 16 << 10,
        queue_bytes: 32 << 10,
        policy: SlowPolicy::DropOldest,
        ..BroadcastLimits::default()
    };
    let broadcaster = audience.remote.broadcaster(limits);
    let targets = broadcaster.targets(&audience.ids.lock().unwrap());
    let messages = seconds * 1_000 / EVERY.as_millis() as u32;
    let (mut resident, mut buffered) = (0, 0);
    let begin = Instant::now();
    for number in 0..messages {
        thread::sleep((begin + EVERY * number).saturating_duration_since(Instant::now()));
        let message = message(number, audience.heard.begin.elapsed());
        broadcaster.send_to(message, &targets).expect("the inbox has room");
        if number % 10 == 0 {
            resident = resident.max(resident_bytes());
            buffered = buffered.max(audience.hall.handle().stats().total.buffered_bytes);
        }
    }
    let wanted = readers as u64 * u64::from(messages);
    eventually("the readers have got everything", || {
        audience.heard.messages.load(Ordering::Relaxed) == wanted
    });
    eventually("the account is balanced", || broadcaster.stats().is_balanced());
    let stats = broadcaster.stats();
    assert_eq!(stats.sent, u64::from(messages) * (readers + stalled) as u64);
    // The worst of the readers got all, so that what was dropped was dropped for the others.
    let (p50, p99) = (audience.heard.percentile(50), audience.heard.percentile(99));
    audience.end();
    Figures { p50, p99, resident, buffered, stats }
}

/// A server with connections of both kinds. The readers are connections of another loop.
struct Audience {
    hall: Running,
    remote: Remote<Door>,
    ids: Arc<Mutex<Vec<ConnId>>>,
    heard: Arc<Heard>,
    readers: Running,
    stalled: Vec<TcpStream>,
}

impl Audience {
    fn new(readers: usize, stalled: usize) -> Self {
        let (told, ids) = (Arc::new(Mutex::new(None)), Arc::<Mutex<Vec<ConnId>>>::default());
        let (tell, noted) = (told.clone(), ids.clone());
        let limits = Limits { memory_max: MEMORY_MAX, ..Limits::default() };
        let hall = Server::builder()
            .limits(Limits { output_max: 1 << 20, write_timeout: None, ..limits })
            .start(move |shard| {
                let host = shard.host(Door(noted.clone()));
                *tell.lock().unwrap() = Some(shard.remote(host));
                shard.listen(host, "tcp://127.0.0.1:0?sndbuf=16384").map(drop)
            })
            .unwrap();
        let at = inet(&hall);
        let mut peers = Vec::with_capacity(stalled);
        let heard = Arc::new(Heard::new());
        let audience = heard.clone();
        let reading = Server::builder()
            .start(move |shard| {
                shard.host(Reader { at: at.to_string(), count: readers, heard: audience.clone() });
                // A loop ends when nothing can come any more: this one dials.
                let host = shard.host(Door(Arc::default()));
                shard.listen(host, "tcp://127.0.0.1:0").map(drop)
            })
            .unwrap();
        for _ in 0..stalled {
            peers.push(stalled_peer(at));
        }
        eventually("all are there", || ids.lock().unwrap().len() == readers + stalled);
        let remote = told.lock().unwrap().take().expect("the set-up has run");
        Self { hall, remote, ids, heard, readers: reading, stalled: peers }
    }

    fn end(self) {
        // Their connections would be closed only after what they do not read.
        drop(self.stalled);
        for running in [self.readers, self.hall] {
            running.handle().close_all();
            eventually_total(&running.handle(), |total: &LoopStats| total.connections, 0);
            stop(running);
        }
    }
}

/// A connection from which nothing will be read, and whose kernel takes little.
fn stalled_peer(at: std::net::SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    socket.connect(&at.into()).expect("connects");
    socket.into()
}

/// Notes who has come.
struct Door(Arc<Mutex<Vec<ConnId>>>);

impl Handler for Door {
    type State = ();

    fn on_open(&mut self, conn: &mut Conn<'_>) -> Opened<()> {
        self.0.lock().unwrap().push(conn.id());
        Opened::Accept(())
    }

    fn on_data(&mut self, (): &mut (), _: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
        input.take();
        Action::Continue
    }

    fn on_close(&mut self, (): (), _: ConnId, _: &mut Cx<'_>, _: CloseReason) {}
}

/// What the readers have heard: how many messages, and how long they took, in steps.
struct Heard {
    begin: Instant,
    messages: AtomicU64,
    late: Vec<AtomicU64>,
}

impl Heard {
    const STEP: Duration = Duration::from_micros(10);
    const STEPS: usize = 100_000;

    fn new() -> Self {
        let late = (0..Self::STEPS).map(|_| AtomicU64::new(0)).collect();
        Self { begin: Instant::now(), messages: AtomicU64::new(0), late }
    }

    fn note(&self, number: u32, took: Duration) {
        let step = (took.as_nanos() / Self::STEP.as_nanos()) as usize;
        if number >= WARM_UP {
            self.late[step.min(Self::STEPS - 1)].fetch_add(1, Ordering::Relaxed);
        }
        self.messages.fetch_add(1, Ordering::Relaxed);
    }

    /// The upper end of the step.
    fn percentile(&self, percent: u64) -> Duration {
        let all: u64 = self.late.iter().map(|count| count.load(Ordering::Relaxed)).sum();
        let mut below = 0;
        for (step, count) in self.late.iter().enumerate() {
            below += count.load(Ordering::Relaxed);
            if below * 100 >= all * percent {
                return Self::STEP * (step as u32 + 1);
            }
        }
        unreachable!("all are below the last step")
    }
}

/// Dials, and checks what comes: every message, in order, whole.
struct Reader {
    at: String,
    count: usize,
    heard: Arc<Heard>,
}

impl Handler for Reader {
    /// The number of the next message.
    type State = u32;

    fn on_start(&mut self, cx: &mut Cx<'_>, _: &mainspring_loop::ServerInfo) -> Action {
        let at: Address = self.at.parse().unwrap();
        for _ in 0..self.count {
            cx.connect(cx.this::<Self>(), &at, 0).expect("there is room for all");
        }
        Action::Continue
    }

    fn on_open(&mut self, _: &mut Conn<'_>) -> Opened<u32> {
        Opened::Refuse
    }

    fn on_data(&mut self, next: &mut u32, _: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
        let mut used = 0;
        for message in input.bytes().chunks_exact(MESSAGE) {
            let number = u32::from_be_bytes(message[..4].try_into().unwrap());
            assert_eq!(number, *next, "a reader misses a message");
            assert!(message[MESSAGE - 1] == number as u8, "message {number} is mangled");
            let sent = Duration::from_nanos(u64::from_be_bytes(message[4..12].try_into().unwrap()));
            self.heard.note(number, self.heard.begin.elapsed().saturating_sub(sent));
            *next += 1;
            used += MESSAGE;
        }
        input.consume(used);
        Action::Continue
    }

    fn on_close(&mut self, _: u32, _: ConnId, _: &mut Cx<'_>, _: CloseReason) {}
}

fn message(number: u32, now: Duration) -> Bytes {
    let mut message = BytesMut::with_capacity(MESSAGE);
    message.put_u32(number);
    message.put_u64(now.as_nanos() as u64);
    message.put_bytes(number as u8, MESSAGE - message.len());
    message.freeze()
}

/// Resident memory of the process: the second field of proc_pid_statm(5), in pages.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("procfs");
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4_096
}
