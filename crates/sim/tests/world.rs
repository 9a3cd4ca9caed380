//! What a world promises: one seed, one history, and no byte lost without a fault that says so.

use bytes::Bytes;
use mainspring_io::{
    Accepted, Addr, DatagramOutbox, Driver, Flow, Key, ListenOptions, Outbox, OwnedStream,
    SendState, Sink,
};
use mainspring_sim::{FaultCounts, Faults, SimDriver, SimPeer, World, WorldOptions};
use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::time::{Duration, Instant};

/// An echo loop in miniature: enough of one to obey the contract.
struct Echo {
    driver: SimDriver,
    turn: Turn,
}

#[derive(Default)]
struct Turn {
    conns: BTreeMap<Key, Conn>,
    accepted: Vec<OwnedStream>,
    accept_failures: usize,
    failed: usize,
    closed: usize,
    keys_made: u32,
}

#[derive(Default)]
struct Conn {
    outbox: Outbox,
    waiting: bool,
    ending: bool,
    told_to_close: bool,
}

impl Echo {
    fn start(world: &World) -> (Self, Addr) {
        let mut driver = world.driver("echo");
        let at = Addr::Inet("127.0.0.1:0".parse().unwrap());
        let at = driver.listen(LISTENER, &at, &ListenOptions::default()).unwrap();
        (Self { driver, turn: Turn::default() }, at)
    }

    fn turn(&mut self) {
        for stream in self.turn.accepted.drain(..) {
            self.turn.keys_made += 1;
            let key = Key::new(self.turn.keys_made, 0);
            self.driver.adopt(key, stream).unwrap();
            self.driver.recv_start(key);
            self.turn.conns.insert(key, Conn::default());
        }
        for (key, conn) in &mut self.turn.conns {
            if !conn.waiting && !conn.told_to_close {
                conn.waiting = self.driver.send(*key, &mut conn.outbox) == SendState::Waiting;
            }
            if conn.ending && !conn.told_to_close && !conn.waiting {
                conn.told_to_close = true;
                self.driver.close(*key);
            }
        }
        self.driver.poll(None, &mut self.turn).unwrap();
    }
}

impl Sink for Turn {
    fn begin(&mut self, _: Instant) {}
    fn accepted(&mut self, _: Key, accepted: Accepted) {
        self.accepted.push(accepted.stream);
    }
    fn accept_failed(&mut self, _: Key, _: io::Error) {
        self.accept_failures += 1;
    }
    fn connected(&mut self, _: Key, _: Addr) {}
    fn data(&mut self, key: Key, bytes: &mut [u8]) -> Flow {
        let conn = self.conns.get_mut(&key).expect("data after closed");
        conn.outbox.tail().extend_from_slice(bytes);
        bytes.fill(0);
        Flow::Continue
    }
    fn datagram(&mut self, _: Key, _: &Addr, _: &mut [u8]) -> Flow {
        Flow::Continue
    }
    fn datagram_dropped(&mut self, _: Key, _: usize, _: io::Error) {}
    fn eof(&mut self, key: Key) {
        self.conns.get_mut(&key).expect("eof after closed").ending = true;
    }
    fn sent(&mut self, key: Key, bytes: usize) {
        let conn = self.conns.get_mut(&key).expect("sent after closed");
        conn.outbox.landed(bytes);
        conn.waiting = false;
    }
    fn failed(&mut self, _: Key, _: io::Error) {
        self.failed += 1;
    }
    fn closed(&mut self, key: Key) {
        self.closed += 1;
        self.conns.remove(&key).expect("closed twice");
    }
    fn released(&mut self, _: Key, _: OwnedStream) {}

    fn signal(&mut self, _: i32) {}
}

/// A client that sends `say`, ends its direction and collects the answer.
struct Client {
    peer: SimPeer,
    say: Vec<u8>,
    said: usize,
    heard: Vec<u8>,
}

impl Client {
    fn play(&mut self) {
        self.said += self.peer.send(&self.say[self.said..]);
        self.heard.extend(self.peer.take_received());
        if self.said == self.say.len() {
            self.peer.shutdown_write();
        }
    }

    fn is_over(&self) -> bool {
        self.peer.eof() || self.peer.reset_seen() || self.peer.connect_error().is_some()
    }
}

struct Outcome {
    hash: u64,
    entries: u64,
    counts: FaultCounts,
    clients: Vec<Client>,
    echo: Turn,
}

fn run_echo(seed: u64, faults: Faults) -> Outcome {
    let mut options = WorldOptions::default();
    options.faults = faults;
    options.pipe_bytes = 4096;
    let world = World::new(seed, options);
    let (mut echo, at) = Echo::start(&world);
    let mut rng = fastrand::Rng::with_seed(world.draw());
    let mut clients: Vec<Client> = (0..8)
        .map(|_| {
            let say = (0..rng.usize(1..40_000)).map(|_| rng.u8(..)).collect();
            let peer = world.connect(&at).unwrap();
            Client { peer, say, said: 0, heard: Vec::new() }
        })
        .collect();
    let mut turns = 0;
    while !clients.iter().all(Client::is_over) {
        turns += 1;
        assert!(turns < 200_000, "seed {seed}: no end in sight after {turns} turns");
        if world.is_due(echo.driver.index()) {
            echo.turn();
        }
        clients.iter_mut().for_each(Client::play);
        assert!(world.advance_to_next(), "seed {seed}: the world stands still");
    }
    clients.iter_mut().for_each(Client::play);
    Outcome {
        hash: world.trace_hash(),
        entries: world.trace_len(),
        counts: world.fault_counts(),
        clients,
        echo: echo.turn,
    }
}

#[test]
fn echoes_every_byte_through_a_calm_network() {
    let outcome = run_echo(1, Faults::none());
    for client in &outcome.clients {
        assert_eq!(client.heard.len(), client.say.len());
        assert!(client.heard == client.say);
    }
    assert_eq!((outcome.echo.failed, outcome.echo.accept_failures), (0, 0));
}

#[test]
fn harmless_faults_lose_no_byte() {
    let (mut accept_failures, mut partial) = (0, 0);
    for seed in 0..40 {
        let outcome = run_echo(seed, Faults::harmless(seed));
        for client in &outcome.clients {
            assert!(client.heard == client.say, "seed {seed}: bytes were lost or changed");
        }
        assert_eq!(outcome.echo.failed, 0, "seed {seed}");
        partial += outcome.counts.partial_reads.min(outcome.counts.partial_writes);
        accept_failures += outcome.echo.accept_failures;
    }
    assert!(accept_failures > 0 && partial > 0);
}

#[test]
fn harmful_faults_still_end_every_connection_and_deliver_prefixes() {
    let (mut resets, mut refusals, mut half_closes) = (0, 0, 0);
    for seed in 0..60 {
        let outcome = run_echo(seed, Faults::all(seed));
        for client in &outcome.clients {
            assert!(client.say.starts_with(&client.heard), "seed {seed}: not a prefix");
        }
        resets += outcome.counts.resets;
        refusals += outcome.counts.connect_failures;
        half_closes += outcome.counts.half_closes;
    }
    assert!(resets > 0 && refusals > 0 && half_closes > 0, "{resets} {refusals} {half_closes}");
}

#[test]
fn one_seed_is_one_history() {
    for seed in [0, 1, 99] {
        let (one, other) = (run_echo(seed, Faults::all(seed)), run_echo(seed, Faults::all(seed)));
        assert_eq!((one.hash, one.entries), (other.hash, other.entries), "seed {seed}");
        assert!(one.entries > 100);
    }
    let hashes: std::collections::BTreeSet<u64> =
        (0..20).map(|seed| run_echo(seed, Faults::none()).hash).collect();
    assert_eq!(hashes.len(), 20, "different seeds, different histories");
}

#[test]
fn a_released_stream_reads_on_and_another_driver_takes_it() {
    #[derive(Default)]
    struct Hands(Option<OwnedStream>, Vec<u8>);
    impl Sink for Hands {
        fn begin(&mut self, _: Instant) {}
        fn accepted(&mut self, _: Key, accepted: Accepted) {
            self.0 = Some(accepted.stream);
        }
        fn accept_failed(&mut self, _: Key, _: io::Error) {}
        fn connected(&mut self, _: Key, _: Addr) {}
        fn data(&mut self, _: Key, bytes: &mut [u8]) -> Flow {
            self.1.extend_from_slice(bytes);
            Flow::Continue
        }
        fn datagram(&mut self, _: Key, _: &Addr, _: &mut [u8]) -> Flow {
            Flow::Continue
        }
        fn datagram_dropped(&mut self, _: Key, _: usize, _: io::Error) {}
        fn eof(&mut self, _: Key) {}
        fn sent(&mut self, _: Key, _: usize) {}
        fn failed(&mut self, _: Key, _: io::Error) {}
        fn closed(&mut self, _: Key) {}
        fn released(&mut self, _: Key, stream: OwnedStream) {
            self.0 = Some(stream);
        }
        fn signal(&mut self, _: i32) {}
    }
    let world = World::new(5, WorldOptions::default());
    let (mut echo, at) = Echo::start(&world);
    let (first, mut hands) = (&mut echo.driver, Hands::default());
    let mut peer = world.connect(&at).unwrap();
    world.advance(MOMENT);
    first.poll(None, &mut hands).unwrap();
    first.adopt(Key::new(1, 0), hands.0.take().unwrap()).unwrap();
    first.release(Key::new(1, 0));
    first.poll(None, &mut hands).unwrap();
    let mut stream = hands.0.take().unwrap();
    let mut buffer = [0; 4];
    assert_eq!(stream.read(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    assert_eq!(peer.send(b"abcdef"), 6);
    world.advance(MOMENT);
    assert_eq!(stream.read(&mut buffer).unwrap(), 4);
    let mut second = world.driver("second");
    second.adopt(Key::new(7, 3), stream).unwrap();
    second.recv_start(Key::new(7, 3));
    second.poll(None, &mut hands).unwrap();
    assert_eq!((&buffer, &hands.1[..]), (b"abcd", &b"ef"[..]));
    assert!(peer.is_connected() && !peer.eof());
    drop(second);
    world.advance(MOMENT);
    assert!(peer.eof(), "a driver that dies closes its sockets");
}

#[test]
#[should_panic(expected = "D6: a second send")]
fn a_send_while_one_is_waiting_is_called_out() {
    let world = World::new(0, WorldOptions::default());
    let mut driver = world.driver("hasty");
    let to = Addr::Inet("127.0.0.1:1".parse().unwrap());
    driver.connect(LISTENER, &to, &Default::default()).unwrap();
    let mut outbox = Outbox::new();
    outbox.push_shared(Bytes::from_static(b"x"));
    assert_eq!(driver.send(LISTENER, &mut outbox), SendState::Waiting);
    let _ = driver.send(LISTENER, &mut outbox);
}

#[test]
fn datagram_faults_lose_and_double_but_never_change() {
    let mut options = WorldOptions::default();
    options.faults = Faults::all(3);
    let world = World::new(3, options);
    let at = Addr::Inet("127.0.0.1:0".parse().unwrap());
    let mut driver = world.driver("sender");
    driver.bind(LISTENER, &at, &ListenOptions::default()).unwrap();
    let mut receiver = world.bind(&at).unwrap();
    let mut outbox = DatagramOutbox::new();
    let mut received = BTreeMap::new();
    for number in 0..200u32 {
        outbox.push(Some(receiver.local_addr().clone()), &number.to_le_bytes());
        assert_eq!(driver.send_datagrams(LISTENER, &mut outbox), SendState::Done);
        world.advance(MOMENT);
        while let Some((_, payload)) = receiver.receive() {
            *received.entry(payload).or_insert(0) += 1;
        }
    }
    let counts = world.fault_counts();
    assert!(counts.datagrams_lost > 0 && counts.datagrams_duplicated > 0, "{counts:?}");
    assert!(received.len() < 200 && received.values().any(|times| *times == 2));
    assert!(received.keys().all(|payload| payload.len() == 4));
}

const LISTENER: Key = Key::new(0, 0);
const MOMENT: Duration = Duration::from_millis(1);

#[test]
fn ports_run_out_for_one_address_and_serve_again_when_given_back() {
    let world = World::new(1, WorldOptions::default());
    let to = |ip: u8| Addr::Inet(format!("127.0.0.{ip}:5000").parse().unwrap());
    let mut peers: Vec<SimPeer> =
        (0..16_384).map(|_| world.connect(&to(1)).expect("a port is free")).collect();
    let refused = world.connect(&to(1)).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::AddrNotAvailable);
    world.connect(&to(2)).expect("all ports of another address are free");
    peers.swap_remove(7_000);
    world.connect(&to(1)).expect("one was given back");
}
