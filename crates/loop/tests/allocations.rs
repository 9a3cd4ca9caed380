//! A warm loop does not allocate.
//!
//! The only test of its process: the allocator counts for all threads, clients included, which do
//! not allocate either.

#![allow(clippy::disallowed_methods, reason = "a handler sleeps to make sends meet")]

mod support;

use bytes::Bytes;
use mainspring_io::Addr;
use mainspring_loop::{
    Action, BroadcastLimits, CloseReason, Conn, ConnId, Cx, Datagram, Handler, Input, Limits,
    Opened, Remote, Running, Server, TimerId,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::*;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const REQUESTS: usize = 10_000;
const CONNECTIONS: usize = 16;
/// Sent at once.
const DATAGRAMS: usize = 20;
const HOLD: &[u8] = b"hold";

/// Echoes on both kinds of sockets, with a timeout per request, and re-arms timers on demand.
struct Echo {
    fired: Arc<AtomicU64>,
    woken: Arc<AtomicU64>,
}

#[derive(Default)]
struct State {
    timeout: Option<TimerId>,
    ticking: bool,
}

impl Handler for Echo {
    type State = State;

    fn on_open(&mut self, _: &mut Conn<'_>) -> Opened<State> {
        Opened::Accept(State::default())
    }

    fn on_data(&mut self, state: &mut State, conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
        if let Some(timeout) = state.timeout.take() {
            conn.cancel_timer(timeout);
        }
        let bytes = input.take();
        match &*bytes {
            b"tick" => {
                state.ticking = true;
                conn.set_timer(Duration::from_millis(1));
            }
            b"tock" => state.ticking = false,
            HOLD => {
                // Whatever else is sent meanwhile meets in the next turn.
                std::thread::sleep(Duration::from_millis(20));
                return Action::Continue;
            }
            _ => state.timeout = Some(conn.set_timer(Duration::from_secs(30))),
        }
        conn.out().extend_from_slice(bytes);
        Action::Continue
    }

    fn on_timer(&mut self, state: &mut State, conn: &mut Conn<'_>, _: TimerId) -> Action {
        if state.ticking {
            self.fired.fetch_add(1, Ordering::Relaxed);
            conn.set_timer(Duration::from_millis(1));
        }
        Action::Continue
    }

    fn on_wake(&mut self, _: &mut State, conn: &mut Conn<'_>) -> Action {
        self.woken.fetch_add(1, Ordering::Relaxed);
        conn.out().push(b'w');
        Action::Continue
    }

    fn on_close(&mut self, _: State, _: ConnId, _: &mut Cx<'_>, _: CloseReason) {}

    fn on_datagram(&mut self, socket: &mut Datagram<'_>, _: &Addr, bytes: &mut [u8]) -> Action {
        socket.reply(bytes).unwrap();
        Action::Continue
    }
}

struct World {
    running: Running,
    fired: Arc<AtomicU64>,
    clients: Vec<TcpStream>,
    socket: UdpSocket,
    buffer: Vec<u8>,
}

impl World {
    fn new(limits: Limits) -> Self {
        let (fired, woken) = (Arc::new(AtomicU64::new(0)), Arc::default());
        let count = fired.clone();
        let builder = Server::builder().limits(limits);
        let running = start_with(builder, &[TCP, "udp://127.0.0.1:0"], move || Echo {
            fired: count.clone(),
            woken: Arc::clone(&woken),
        });
        let at = inet(&running);
        let clients = (0..CONNECTIONS).map(|_| TcpStream::connect(at).unwrap()).collect();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(inet_of(&running.addrs()[1])).unwrap();
        Self { running, fired, clients, socket, buffer: vec![0; 1 << 16] }
    }

    /// Has all that can come at the same time come at the same time, so that everything has grown
    /// to the size which that takes.
    fn meet(&mut self, bytes: &[u8]) {
        let mut holder = TcpStream::connect(inet(&self.running)).unwrap();
        holder.write_all(HOLD).unwrap();
        self.tcp(CONNECTIONS, bytes);
        holder.write_all(HOLD).unwrap();
        self.udp(DATAGRAMS, bytes);
        holder.write_all(HOLD).unwrap();
        self.tcp(CONNECTIONS, b"tick");
        holder.write_all(HOLD).unwrap();
        self.tcp(CONNECTIONS, b"tock");
    }

    /// Every client sends, then every client receives.
    fn tcp(&mut self, requests: usize, bytes: &[u8]) {
        for _ in 0..requests / CONNECTIONS {
            for client in &mut self.clients {
                client.write_all(bytes).unwrap();
            }
            for client in &mut self.clients {
                client.read_exact(&mut self.buffer[..bytes.len()]).unwrap();
                assert!(&self.buffer[..bytes.len()] == bytes);
            }
        }
    }

    fn udp(&mut self, requests: usize, bytes: &[u8]) {
        for _ in 0..requests / DATAGRAMS {
            for _ in 0..DATAGRAMS {
                self.socket.send(bytes).unwrap();
            }
            for _ in 0..DATAGRAMS {
                assert!(self.socket.recv(&mut self.buffer).unwrap() == bytes.len());
            }
        }
    }

    fn timers(&mut self, count: u64) {
        self.tcp(CONNECTIONS, b"tick");
        let until = self.fired.load(Ordering::Relaxed) + count;
        while self.fired.load(Ordering::Relaxed) < until {
            std::thread::yield_now();
        }
        self.tcp(CONNECTIONS, b"tock");
    }
}

/// Allocations while `work` runs.
fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATOR.stats();
    work();
    let used = ALLOCATOR.stats() - before;
    used.allocations + used.reallocations
}

#[test]
fn a_warm_loop_does_not_allocate() {
    let _bound = bound(120);
    let limits = Limits { idle_timeout: Some(Duration::from_secs(60)), ..Limits::default() };
    let mut world = World::new(limits);
    let request = [b'r'; 200];
    for _ in 0..3 {
        world.meet(&request);
        world.tcp(1_000, &request);
        world.udp(1_000, &request);
        world.timers(1_000);
    }
    assert_eq!(allocations(|| world.tcp(REQUESTS, &request)), 0, "TCP echo");
    assert_eq!(allocations(|| world.udp(REQUESTS, &request)), 0, "UDP echo");
    assert_eq!(allocations(|| world.timers(REQUESTS as u64)), 0, "timers armed again");
    assert_eq!(allocations(|| drop(Vec::<u8>::with_capacity(10))), 1, "the counter counts");
    stop(world.running);
    wakes_do_not_allocate();
    broadcasts_do_not_allocate();
}

fn wakes_do_not_allocate() {
    let (ids, woken) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicU64::new(0)));
    let (give, given) = std::sync::mpsc::channel();
    let (give, count) = (Mutex::new(give), woken.clone());
    let running = Server::builder()
        .start(move |shard| {
            let host = shard.host(Echo { fired: Arc::default(), woken: count.clone() });
            shard.listen(host, TCP)?;
            give.lock().unwrap().send(shard.remote(host)).unwrap();
            Ok(())
        })
        .unwrap();
    let remote: Remote<Echo> = given.recv().unwrap();
    let mut client = TcpStream::connect(inet(&running)).unwrap();
    let noted = ids.clone();
    eventually("the connection is open", || {
        let noted = noted.clone();
        let _ = remote.post(move |_, cx| *noted.lock().unwrap() = cx.connections());
        ids.lock().unwrap().len() == 1
    });
    let id = ids.lock().unwrap()[0];
    let mut wake = |count: usize| {
        for _ in 0..count {
            remote.wake(id).unwrap();
            client.read_exact(&mut [0]).unwrap();
        }
    };
    wake(100);
    // On the ring a wake may find the answer to the one before still under way, for the first time
    // after any number of wakes: then one more vector comes into being, and stays.
    let grown = allocations(|| wake(REQUESTS));
    assert!(grown <= 4, "wakes from another thread: {grown} allocations");
    assert!(woken.load(Ordering::Relaxed) >= REQUESTS as u64);
    stop(running);
}

fn broadcasts_do_not_allocate() {
    const MESSAGE: &[u8] = &[b'b'; 200];
    let (give, given) = std::sync::mpsc::channel();
    let give = Mutex::new(give);
    let running = Server::builder()
        .start(move |shard| {
            let host = shard.host(Echo { fired: Arc::default(), woken: Arc::default() });
            shard.listen(host, TCP)?;
            give.lock().unwrap().send(shard.remote(host)).unwrap();
            Ok(())
        })
        .unwrap();
    let remote: Remote<Echo> = given.recv().unwrap();
    let at = inet(&running);
    let mut clients: Vec<TcpStream> =
        (0..CONNECTIONS).map(|_| TcpStream::connect(at).unwrap()).collect();
    let (tell, told) = std::sync::mpsc::channel();
    let mut ids = Vec::new();
    while ids.len() < CONNECTIONS {
        let tell = tell.clone();
        remote.post(move |_, cx| tell.send(cx.connections()).unwrap()).unwrap();
        ids = told.recv_timeout(PATIENCE).unwrap();
    }
    let broadcaster = remote.broadcaster(BroadcastLimits::default());
    let targets = broadcaster.targets(&ids);
    let mut buffer = [0; 4 * MESSAGE.len()];
    let mut send = |rounds: usize| {
        for _ in 0..rounds {
            for _ in 0..4 {
                broadcaster.send_to(Bytes::from_static(MESSAGE), &targets).unwrap();
            }
            for client in &mut clients {
                client.read_exact(&mut buffer).unwrap();
            }
        }
    };
    send(200);
    // As for wakes: on the ring one message more than ever before may meet one under way.
    let grown = allocations(|| send(REQUESTS / CONNECTIONS));
    assert!(grown <= CONNECTIONS, "{REQUESTS} messages to single targets: {grown} allocations");
    eventually("all is delivered", || broadcaster.stats().queued == 0);
    stop(running);
}
