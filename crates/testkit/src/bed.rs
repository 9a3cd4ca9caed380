//! The vocabulary of the suite: a harness, what it told, and the usual first steps.

use crate::harness::{Harness, Peer};
use crate::recorder::Recorder;
use mainspring_io::{
    Addr, Driver, DriverLimits, Key, ListenOptions, Outbox, SendState, SocketOptions,
};
use std::fmt::Display;
use std::time::Duration;

/// A driver under test and the record of what it told.
pub struct Bed<H> {
    /// The driver and its peers.
    pub harness: H,
    /// What the driver told.
    pub record: Recorder,
    keys_made: u32,
}

impl<H: Harness> Bed<H> {
    /// A bed with the usual limits.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limits(DriverLimits::default())
    }

    /// A bed with limits of its own.
    #[must_use]
    pub fn with_limits(limits: DriverLimits) -> Self {
        Self { harness: H::start(limits), record: Recorder::default(), keys_made: 0 }
    }

    /// The driver.
    pub fn driver(&mut self) -> &mut H::Driver {
        self.harness.driver()
    }

    /// A key that was never used.
    pub fn new_key(&mut self) -> Key {
        self.keys_made += 1;
        Key::new(self.keys_made, 0)
    }

    /// One turn.
    pub fn turn(&mut self) {
        self.harness.turn(&mut self.record);
    }

    /// Turns until `is_so`.
    ///
    /// # Panics
    ///
    /// With the record, if that takes longer than 10 seconds.
    #[track_caller]
    pub fn until(&mut self, what: &str, mut is_so: impl FnMut(&mut Self) -> bool) {
        let start = self.driver().now();
        while !is_so(self) {
            let waited = self.driver().now() - start;
            assert!(waited < PATIENCE, "waited in vain until {what}; events: {}", self.tail());
            self.turn();
        }
    }

    /// Turns until the key had an event of this name.
    #[track_caller]
    pub fn until_event(&mut self, key: Key, name: &str) {
        self.until(name, |bed| bed.record.has(key, name));
    }

    /// Turns for long enough that what is on its way would have arrived.
    pub fn settle(&mut self) {
        let start = self.driver().now();
        while self.driver().now() - start < SETTLING {
            self.turn();
        }
    }

    /// Listens at a free port.
    pub fn listen(&mut self) -> (Key, Addr) {
        let at = Addr::Inet("127.0.0.1:0".parse().expect("an address"));
        self.listen_at(&at)
    }

    /// Listens at `at`.
    pub fn listen_at(&mut self, at: &Addr) -> (Key, Addr) {
        let key = self.new_key();
        let bound = self.driver().listen(key, at, &ListenOptions::default()).expect("to listen");
        (key, bound)
    }

    /// Binds a datagram socket to a free port.
    pub fn bind(&mut self) -> (Key, Addr) {
        let key = self.new_key();
        let at = Addr::Inet("127.0.0.1:0".parse().expect("an address"));
        let bound = self.driver().bind(key, &at, &ListenOptions::default()).expect("to bind");
        (key, bound)
    }

    /// A peer dials `at`, and the driver adopts the connection without receiving yet.
    #[track_caller]
    pub fn adopt_from(&mut self, at: &Addr) -> (Key, H::Peer) {
        let peer = self.harness.dial(at);
        self.until("a connection is accepted", |bed| !bed.record.accepted.is_empty());
        let key = self.new_key();
        let accepted = self.record.accepted.pop_front().expect("a connection");
        self.driver().adopt(key, accepted.stream).expect("to adopt");
        (key, peer)
    }

    /// A listener of its own, and one connection to it that receives.
    #[track_caller]
    pub fn conn(&mut self) -> (Key, H::Peer) {
        let (_, at) = self.listen();
        let (key, peer) = self.adopt_from(&at);
        self.driver().recv_start(key);
        (key, peer)
    }

    /// Starts to connect to `to`.
    pub fn connect(&mut self, to: &Addr) -> Key {
        let key = self.new_key();
        self.driver().connect(key, to, &SocketOptions::default()).expect("to start a handshake");
        key
    }

    /// Sends the whole outbox while `peer` reads, and returns what the peer got until then and how
    /// often the driver answered `Waiting`.
    #[track_caller]
    pub fn send_all(
        &mut self,
        key: Key,
        outbox: &mut Outbox,
        peer: &mut H::Peer,
    ) -> (Vec<u8>, usize) {
        let (mut heard, mut waits) = (Vec::new(), 0);
        while self.driver().send(key, outbox) == SendState::Waiting {
            waits += 1;
            self.await_sent(key, outbox, |_| heard.extend(peer.receive()));
        }
        assert!(outbox.is_empty(), "D6: Done with {} bytes left", outbox.len());
        (heard, waits)
    }

    /// Turns until one more `sent`, and lands its bytes.
    #[track_caller]
    pub fn await_sent(
        &mut self,
        key: Key,
        outbox: &mut Outbox,
        mut meanwhile: impl FnMut(&mut Self),
    ) {
        let (count, landed) = (self.record.count(key, "sent"), self.record.landed(key));
        self.until("sent", |bed| {
            meanwhile(bed);
            bed.record.count(key, "sent") > count
        });
        outbox.landed(self.record.landed(key) - landed);
    }

    /// Turns until the peer has got `count` bytes.
    #[track_caller]
    pub fn hear(&mut self, peer: &mut H::Peer, count: usize) -> Vec<u8> {
        let mut heard = Vec::new();
        self.until("the peer has heard it all", |_| {
            heard.extend(peer.receive());
            heard.len() >= count
        });
        heard
    }

    /// Has the peer send all of `bytes`, turning meanwhile.
    #[track_caller]
    pub fn say(&mut self, peer: &mut H::Peer, bytes: &[u8]) {
        let mut said = 0;
        self.until("the peer has said it all", |_| {
            said += peer.send(&bytes[said..]);
            said == bytes.len()
        });
    }

    /// Asserts the whole story of a key.
    #[track_caller]
    pub fn assert_story(&self, key: Key, story: &[&str]) {
        assert_eq!(self.record.story(key), story);
    }

    fn tail(&self) -> impl Display {
        let from = self.record.events.len().saturating_sub(8);
        let brief = |event: &crate::Event| format!("{:?} {}", event.key(), event.name());
        self.record.events[from..].iter().map(brief).collect::<Vec<_>>().join(", ")
    }
}

impl<H: Harness> Default for Bed<H> {
    fn default() -> Self {
        Self::new()
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
const SETTLING: Duration = Duration::from_millis(40);
