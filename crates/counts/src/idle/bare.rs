//! An echo server that keeps nothing for a connection, on the driver itself.

use super::crowd::{LISTEN_AT, Party};
use mainspring::io::{Accepted, Driver, Flow, Key, Outbox, SendState, Sink};
use mainspring::sim::SimDriver;
use mainspring::{Addr, ListenOptions, OwnedStream};
use std::io;
use std::time::Instant;

/// The driver, and what came in during its last poll.
pub(super) struct Bare {
    driver: SimDriver,
    arrived: Arrived,
    outbox: Outbox,
    connections: usize,
}

#[derive(Default)]
struct Arrived {
    streams: Vec<OwnedStream>,
    /// Who is to be answered, and how many of `bytes` are the answer.
    answers: Vec<(Key, usize)>,
    bytes: Vec<u8>,
    unexpected: Option<&'static str>,
}

impl Bare {
    pub(super) fn start(mut driver: SimDriver) -> Result<Self, String> {
        let at = Addr::Inet(LISTEN_AT.parse().expect("an address"));
        let listener = Key::new(0, 0);
        driver
            .listen(listener, &at, &ListenOptions::default())
            .map_err(|error| format!("{at}: {error}"))?;
        Ok(Self { driver, arrived: Arrived::default(), outbox: Outbox::new(), connections: 0 })
    }

    /// Gives every stream the next key; nobody leaves, so none comes free.
    fn adopt(&mut self) -> io::Result<()> {
        for stream in self.arrived.streams.drain(..) {
            self.connections += 1;
            let key = Key::new(self.connections as u32, 0);
            self.driver.adopt(key, stream)?;
            self.driver.recv_start(key);
        }
        Ok(())
    }

    /// An answer fits into the pipe: each peer asks once.
    fn answer(&mut self) -> Result<(), String> {
        let mut rest = &self.arrived.bytes[..];
        for (key, len) in self.arrived.answers.drain(..) {
            let (bytes, behind) = rest.split_at(len);
            rest = behind;
            self.outbox.tail().extend_from_slice(bytes);
            if self.driver.send(key, &mut self.outbox) != SendState::Done {
                return Err(format!("an answer to {key:?} does not fit"));
            }
        }
        self.arrived.bytes.clear();
        Ok(())
    }
}

impl Party for Bare {
    fn turn(&mut self) -> Result<(), String> {
        self.adopt().map_err(|error| format!("adopt: {error}"))?;
        self.answer()?;
        self.driver.poll(None, &mut self.arrived).map_err(|error| format!("poll: {error}"))?;
        match self.arrived.unexpected {
            Some(event) => Err(format!("{event}, in a calm network")),
            None => Ok(()),
        }
    }

    fn connections(&self) -> usize {
        self.connections
    }
}

impl Sink for Arrived {
    fn begin(&mut self, _now: Instant) {}

    fn accepted(&mut self, _listener: Key, accepted: Accepted) {
        self.streams.push(accepted.stream);
    }

    fn data(&mut self, key: Key, bytes: &mut [u8]) -> Flow {
        self.answers.push((key, bytes.len()));
        self.bytes.extend_from_slice(bytes);
        Flow::Continue
    }

    fn accept_failed(&mut self, _listener: Key, _error: io::Error) {
        self.unexpected = Some("accept_failed");
    }

    fn connected(&mut self, _key: Key, _local: Addr) {
        self.unexpected = Some("connected");
    }

    fn datagram(&mut self, _key: Key, _from: &Addr, _bytes: &mut [u8]) -> Flow {
        self.unexpected = Some("datagram");
        Flow::Continue
    }

    fn datagram_dropped(&mut self, _key: Key, _count: usize, _error: io::Error) {
        self.unexpected = Some("datagram_dropped");
    }

    fn eof(&mut self, _key: Key) {
        self.unexpected = Some("eof");
    }

    fn sent(&mut self, _key: Key, _bytes: usize) {
        self.unexpected = Some("sent");
    }

    fn failed(&mut self, _key: Key, _error: io::Error) {
        self.unexpected = Some("failed");
    }

    fn closed(&mut self, _key: Key) {
        self.unexpected = Some("closed");
    }

    fn released(&mut self, _key: Key, _stream: OwnedStream) {
        self.unexpected = Some("released");
    }

    fn signal(&mut self, _number: i32) {
        self.unexpected = Some("signal");
    }
}
