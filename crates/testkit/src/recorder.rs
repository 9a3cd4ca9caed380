//! A sink that remembers.

use mainspring_io::{Accepted, Addr, Flow, Kept, Key, Loan, OwnedStream, Sink};
use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::time::Instant;

/// Records every event of a driver, for assertions, and answers `Flow` by script.
#[derive(Debug, Default)]
pub struct Recorder {
    /// Everything told so far, in order.
    pub events: Vec<Event>,
    /// The accepted connections that nobody has taken yet.
    pub accepted: VecDeque<Accepted>,
    /// The released connections that nobody has taken yet.
    pub released: VecDeque<OwnedStream>,
    /// Keys whose `data` and `datagram` are answered by [`Flow::Pause`].
    pub pausing: BTreeSet<Key>,
    /// Whether lent bytes are overwritten after they were recorded (D2).
    pub scribbling: bool,
    /// Whether what is lent is kept, if the driver lets it.
    pub keeping: bool,
    /// What came since then, in order: a copy, and the memory itself if it could be kept.
    pub kept: Vec<(Vec<u8>, Option<Kept>)>,
    /// When each poll began.
    pub began: Vec<Instant>,
    /// The signals that were told, in order.
    pub signals: Vec<i32>,
}

/// One call of a driver to its sink.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the variants and fields are those of `Sink`")]
pub enum Event {
    Accepted { listener: Key },
    AcceptFailed { listener: Key },
    Connected { key: Key, local: Addr },
    Data { key: Key, bytes: Vec<u8> },
    Datagram { key: Key, from: Addr, bytes: Vec<u8> },
    DatagramDropped { key: Key, count: usize },
    Eof { key: Key },
    Sent { key: Key, bytes: usize },
    Failed { key: Key, kind: io::ErrorKind },
    Closed { key: Key },
    Released { key: Key },
}

impl Recorder {
    /// The names of the events of one key, runs of `data` as one.
    #[must_use]
    pub fn story(&self, key: Key) -> Vec<&'static str> {
        let mut names: Vec<_> =
            self.events.iter().filter(|event| event.key() == key).map(Event::name).collect();
        names.dedup_by(|next, last| *next == "data" && *last == "data");
        names
    }

    /// How many events of this name the key had.
    #[must_use]
    pub fn count(&self, key: Key, name: &str) -> usize {
        self.events.iter().filter(|event| event.key() == key && event.name() == name).count()
    }

    /// Whether the key had an event of this name.
    #[must_use]
    pub fn has(&self, key: Key, name: &str) -> bool {
        self.count(key, name) > 0
    }

    /// All bytes delivered to the key.
    #[must_use]
    pub fn data(&self, key: Key) -> Vec<u8> {
        let mut all = Vec::new();
        for event in &self.events {
            if let Event::Data { key: of, bytes } = event
                && *of == key
            {
                all.extend_from_slice(bytes);
            }
        }
        all
    }

    /// All datagrams delivered to the key.
    #[must_use]
    pub fn datagrams(&self, key: Key) -> Vec<(Addr, Vec<u8>)> {
        let of_key = |event: &Event| match event {
            Event::Datagram { key: of, from, bytes } if *of == key => {
                Some((from.clone(), bytes.clone()))
            }
            _ => None,
        };
        self.events.iter().filter_map(of_key).collect()
    }

    /// The bytes of every `sent` of the key, together.
    #[must_use]
    pub fn landed(&self, key: Key) -> usize {
        let of_key = |event: &Event| match event {
            Event::Sent { key: of, bytes } if *of == key => Some(*bytes),
            _ => None,
        };
        self.events.iter().filter_map(of_key).sum()
    }

    /// Why the key failed, if it did.
    #[must_use]
    pub fn failure(&self, key: Key) -> Option<io::ErrorKind> {
        self.events.iter().find_map(|event| match event {
            Event::Failed { key: of, kind } if *of == key => Some(*kind),
            _ => None,
        })
    }

    fn flow(&self, key: Key) -> Flow {
        if self.pausing.contains(&key) { Flow::Pause } else { Flow::Continue }
    }

    fn scribble(&self, bytes: &mut [u8]) {
        if self.scribbling {
            bytes.fill(0xa5);
        }
    }
}

impl Event {
    /// Whose event it is.
    #[must_use]
    pub fn key(&self) -> Key {
        match self {
            Self::Accepted { listener } | Self::AcceptFailed { listener } => *listener,
            Self::Connected { key, .. }
            | Self::Data { key, .. }
            | Self::Datagram { key, .. }
            | Self::DatagramDropped { key, .. }
            | Self::Eof { key }
            | Self::Sent { key, .. }
            | Self::Failed { key, .. }
            | Self::Closed { key }
            | Self::Released { key } => *key,
        }
    }

    /// The name of the `Sink` method.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Accepted { .. } => "accepted",
            Self::AcceptFailed { .. } => "accept_failed",
            Self::Connected { .. } => "connected",
            Self::Data { .. } => "data",
            Self::Datagram { .. } => "datagram",
            Self::DatagramDropped { .. } => "datagram_dropped",
            Self::Eof { .. } => "eof",
            Self::Sent { .. } => "sent",
            Self::Failed { .. } => "failed",
            Self::Closed { .. } => "closed",
            Self::Released { .. } => "released",
        }
    }
}

impl Sink for Recorder {
    fn begin(&mut self, now: Instant) {
        self.began.push(now);
    }

    fn accepted(&mut self, listener: Key, accepted: Accepted) {
        self.events.push(Event::Accepted { listener });
        self.accepted.push_back(accepted);
    }

    fn accept_failed(&mut self, listener: Key, _: io::Error) {
        self.events.push(Event::AcceptFailed { listener });
    }

    fn connected(&mut self, key: Key, local: Addr) {
        self.events.push(Event::Connected { key, local });
    }

    fn data(&mut self, key: Key, bytes: &mut [u8]) -> Flow {
        self.events.push(Event::Data { key, bytes: bytes.to_vec() });
        if self.keeping {
            self.kept.push((bytes.to_vec(), None));
        }
        self.scribble(bytes);
        self.flow(key)
    }

    fn loan(&mut self, key: Key, mut bytes: Loan<'_>) -> Flow {
        if !self.keeping || !bytes.can_be_kept() {
            return self.data(key, bytes.bytes());
        }
        let copy = bytes.bytes().to_vec();
        self.events.push(Event::Data { key, bytes: copy.clone() });
        self.kept.push((copy, bytes.keep(0)));
        self.flow(key)
    }

    fn datagram(&mut self, key: Key, from: &Addr, bytes: &mut [u8]) -> Flow {
        self.events.push(Event::Datagram { key, from: from.clone(), bytes: bytes.to_vec() });
        self.scribble(bytes);
        self.flow(key)
    }

    fn datagram_dropped(&mut self, key: Key, count: usize, _: io::Error) {
        self.events.push(Event::DatagramDropped { key, count });
    }

    fn eof(&mut self, key: Key) {
        self.events.push(Event::Eof { key });
    }

    fn signal(&mut self, number: i32) {
        self.signals.push(number);
    }

    fn sent(&mut self, key: Key, bytes: usize) {
        self.events.push(Event::Sent { key, bytes });
    }

    fn failed(&mut self, key: Key, error: io::Error) {
        self.events.push(Event::Failed { key, kind: error.kind() });
    }

    fn closed(&mut self, key: Key) {
        self.events.push(Event::Closed { key });
    }

    fn released(&mut self, key: Key, stream: OwnedStream) {
        self.events.push(Event::Released { key });
        self.released.push_back(stream);
    }
}
