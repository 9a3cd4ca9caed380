//! A driver and a sink that writes down what it is told.

use crate::under_test;
use mainspring_io::{
    Accepted, Addr, Driver, DriverLimits, Flow, Key, ListenOptions, Outbox, OwnedStream, SendState,
    Sink, SocketOptions,
};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(crate) enum Told {
    Connected,
    Data,
    Eof,
    Sent,
    Failed(io::ErrorKind),
    Closed,
    Released,
}

#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) begins: usize,
    pub(crate) accepted: Vec<(Key, Accepted)>,
    pub(crate) accept_errors: Vec<io::Error>,
    pub(crate) told: HashMap<Key, Vec<Told>>,
    pub(crate) bytes: HashMap<Key, Vec<u8>>,
    pub(crate) reads: Vec<(Key, usize)>,
    pub(crate) datagrams: Vec<(Key, Addr, Vec<u8>)>,
    pub(crate) dropped: Vec<(Key, usize, io::Error)>,
    pub(crate) released: Vec<(Key, OwnedStream)>,
    pub(crate) local: HashMap<Key, Addr>,
    /// The bytes in flight that have left since they were last asked for.
    pub(crate) landed: HashMap<Key, usize>,
    /// Answer `Flow::Pause` from now on.
    pub(crate) pause: bool,
}

impl Recorder {
    fn tell(&mut self, key: Key, told: Told) {
        let history = self.told.entry(key).or_default();
        let over = matches!(history.last(), Some(Told::Closed | Told::Released));
        assert!(!over, "{key:?} was told {told:?} after its end: {history:?}");
        if (told, history.last()) != (Told::Data, Some(&Told::Data)) {
            history.push(told);
        }
    }

    fn flow(&self) -> Flow {
        if self.pause { Flow::Pause } else { Flow::Continue }
    }

    pub(crate) fn history(&self, key: Key) -> &[Told] {
        self.told.get(&key).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn has(&self, key: Key, told: Told) -> bool {
        self.history(key).contains(&told)
    }

    pub(crate) fn received(&self, key: Key) -> &[u8] {
        self.bytes.get(&key).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn failure(&self, key: Key) -> Option<io::ErrorKind> {
        self.history(key).iter().find_map(|told| match told {
            Told::Failed(kind) => Some(*kind),
            _ => None,
        })
    }
}

impl Sink for Recorder {
    fn begin(&mut self, _: Instant) {
        self.begins += 1;
    }
    fn accepted(&mut self, listener: Key, accepted: Accepted) {
        self.accepted.push((listener, accepted));
    }
    fn accept_failed(&mut self, _: Key, error: io::Error) {
        self.accept_errors.push(error);
    }
    fn connected(&mut self, key: Key, local: Addr) {
        self.local.insert(key, local);
        self.tell(key, Told::Connected);
    }
    fn data(&mut self, key: Key, bytes: &mut [u8]) -> Flow {
        self.tell(key, Told::Data);
        self.reads.push((key, bytes.len()));
        self.bytes.entry(key).or_default().extend_from_slice(bytes);
        bytes.fill(0xEE);
        self.flow()
    }
    fn datagram(&mut self, key: Key, from: &Addr, bytes: &mut [u8]) -> Flow {
        self.datagrams.push((key, from.clone(), bytes.to_vec()));
        bytes.fill(0xEE);
        self.flow()
    }
    fn datagram_dropped(&mut self, key: Key, count: usize, error: io::Error) {
        self.dropped.push((key, count, error));
    }
    fn eof(&mut self, key: Key) {
        self.tell(key, Told::Eof);
    }
    fn sent(&mut self, key: Key, bytes: usize) {
        *self.landed.entry(key).or_default() += bytes;
        self.tell(key, Told::Sent);
    }
    fn failed(&mut self, key: Key, error: io::Error) {
        self.tell(key, Told::Failed(error.kind()));
    }
    fn closed(&mut self, key: Key) {
        self.tell(key, Told::Closed);
    }
    fn released(&mut self, key: Key, stream: OwnedStream) {
        self.tell(key, Told::Released);
        self.released.push((key, stream));
    }

    fn signal(&mut self, number: i32) {
        unreachable!("nobody catches signal {number}");
    }
}

/// A driver, its recorder, and the loop's part of the contract.
pub(crate) struct Rig {
    pub(crate) driver: under_test::Driver,
    pub(crate) seen: Recorder,
    next: u32,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::on(under_test::OPENERS[0](DriverLimits::default()).unwrap())
    }

    /// One rig for each way in which the driver under test goes.
    pub(crate) fn both() -> [Self; 2] {
        under_test::OPENERS.map(|open| Self::on(open(DriverLimits::default()).unwrap()))
    }

    pub(crate) fn on(driver: under_test::Driver) -> Self {
        Self { driver, seen: Recorder::default(), next: 0 }
    }

    pub(crate) fn key(&mut self) -> Key {
        self.next += 1;
        Key::new(self.next, 7)
    }

    pub(crate) fn turn(&mut self, timeout: Duration) {
        self.driver.poll(Some(timeout), &mut self.seen).unwrap();
    }

    /// Nothing is left to do: whatever served before, polls sleep again.
    #[track_caller]
    pub(crate) fn assert_sleeps(&mut self) {
        let quiet = Duration::from_millis(40);
        let slept = (0..5).any(|_| {
            let start = Instant::now();
            self.turn(quiet);
            start.elapsed() >= quiet
        });
        assert!(slept, "five polls in a row found something to do");
    }

    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, done: impl Fn(&Recorder) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !done(&self.seen) {
            assert!(Instant::now() < end, "waited in vain for: {what}; told {:?}", self.seen.told);
            self.turn(Duration::from_millis(20));
        }
    }

    pub(crate) fn listen(&mut self) -> (Key, SocketAddr) {
        self.listen_at("127.0.0.1:0".parse().unwrap(), &ListenOptions::default())
    }

    pub(crate) fn listen_at(
        &mut self,
        at: SocketAddr,
        options: &ListenOptions,
    ) -> (Key, SocketAddr) {
        let key = self.key();
        let Addr::Inet(bound) = self.driver.listen(key, &at.into(), options).unwrap() else {
            panic!("a TCP listener has an internet address");
        };
        (key, bound)
    }

    /// Adopts the next accepted connection and starts to receive.
    #[track_caller]
    pub(crate) fn accept(&mut self) -> Key {
        let key = self.accept_paused();
        self.driver.recv_start(key);
        key
    }

    #[track_caller]
    pub(crate) fn accept_paused(&mut self) -> Key {
        self.until("a connection", |seen| !seen.accepted.is_empty());
        let (_, accepted) = self.seen.accepted.remove(0);
        let key = self.key();
        self.driver.adopt(key, accepted.stream).unwrap();
        key
    }

    /// A connection between this rig and a plain socket of the test.
    #[track_caller]
    pub(crate) fn pair(&mut self) -> (Key, std::net::TcpStream) {
        let (listener, at) = self.listen();
        let peer = std::net::TcpStream::connect(at).unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        let key = self.accept();
        self.driver.close(listener);
        (key, peer)
    }

    /// Sends all of `bytes`, however many turns that takes.
    #[track_caller]
    pub(crate) fn send_all(&mut self, key: Key, bytes: &[u8]) {
        let mut outbox = Outbox::new();
        outbox.tail().extend_from_slice(bytes);
        self.send_outbox(key, &mut outbox);
    }

    /// Sends all of `outbox`, and returns how often that had to wait.
    #[track_caller]
    pub(crate) fn send_outbox(&mut self, key: Key, outbox: &mut Outbox) -> usize {
        let mut waits = 0;
        while self.driver.send(key, outbox) == SendState::Waiting {
            waits += 1;
            self.await_sent(key, outbox);
        }
        assert!(outbox.is_empty());
        waits
    }

    /// Turns until one more `sent`.
    #[track_caller]
    pub(crate) fn await_sent(&mut self, key: Key, outbox: &mut Outbox) {
        let before = self.sents(key);
        self.until("sent", |seen| sents(seen, key) > before);
        self.land(key, outbox);
    }

    /// Lands what has left of what was in flight.
    pub(crate) fn land(&mut self, key: Key, outbox: &mut Outbox) {
        outbox.landed(self.seen.landed.remove(&key).unwrap_or(0));
    }

    pub(crate) fn sents(&self, key: Key) -> usize {
        sents(&self.seen, key)
    }

    pub(crate) fn connect(&mut self, to: &Addr) -> Key {
        let key = self.key();
        self.driver.connect(key, to, &SocketOptions::default()).unwrap();
        key
    }
}

fn sents(seen: &Recorder, key: Key) -> usize {
    seen.history(key).iter().filter(|told| **told == Told::Sent).count()
}
