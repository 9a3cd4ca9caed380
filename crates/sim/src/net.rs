//! The network of a world: who is bound where, and what is under way.
//!
//! Everything that takes time is an [`Event`] with a due time. Moving the clock on applies what has
//! become due; what that means for a socket of a driver is only noted in that driver's
//! [`Mailbox`], and the driver finds out when it polls.

mod address;
mod datagram;
mod listener;
mod ports;
mod stream;

pub(crate) use datagram::Refusal;
pub(crate) use stream::Phase;

use crate::clock::Clock;
use crate::fault::Dice;
use crate::trace::{Entry, Trace};
use crate::world::WorldOptions;
use datagram::{Datagram, DatagramSocket};
use listener::Listener;
use mainspring_io::{Addr, Key};
use ports::Ports;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;
use stream::{Endpoint, Segment};

/// The state that all drivers and scripted peers of a world share.
#[derive(Debug)]
pub(crate) struct Net {
    pub(crate) clock: Clock,
    pub(crate) dice: Dice,
    pub(crate) trace: Trace,
    pub(crate) options: WorldOptions,
    pub(crate) mailboxes: Vec<Mailbox>,
    /// By due time, then by order of origin.
    events: BTreeMap<(Duration, u64), Event>,
    events_made: u64,
    numbers_made: u64,
    port_next: u16,
    endpoints: BTreeMap<u64, Endpoint>,
    /// Of the endpoints.
    ports: Ports,
    listeners: BTreeMap<u64, Listener>,
    sockets: BTreeMap<u64, DatagramSocket>,
}

/// What the network tells one driver, and how that driver sleeps.
#[derive(Debug)]
pub(crate) struct Mailbox {
    pub(crate) name: String,
    /// Keys to look at in the next poll.
    pub(crate) ready: BTreeSet<Key>,
    pub(crate) woken: bool,
    pub(crate) wake_on_its_way: bool,
    /// Signals that the driver wants to hear of, by number.
    pub(crate) caught: BTreeSet<i32>,
    /// Those of them that have arrived.
    pub(crate) signals: BTreeSet<i32>,
    pub(crate) sleep: Sleep,
}

/// How the last poll of a driver ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sleep {
    /// With events, or not polled yet: its loop goes on at once.
    Awake,
    /// With nothing: it would sleep until then, or for ever.
    Until(Option<Duration>),
    /// The driver was dropped.
    Gone,
}

/// Who is told about a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A key of a driver.
    Driver { driver: usize, key: Key },
    /// A scripted peer.
    Script,
    /// Nobody yet: an owned stream, or a connection in a backlog.
    Loose,
}

#[derive(Debug)]
enum Event {
    Segment {
        to: u64,
        from: u64,
        segment: Segment,
    },
    /// The other end has read `count` bytes.
    Window {
        to: u64,
        count: usize,
    },
    Syn {
        from: u64,
        to: Addr,
        attempts: u32,
    },
    SynAck {
        to: u64,
        from: u64,
    },
    ConnectFailed {
        to: u64,
        kind: io::ErrorKind,
    },
    Datagram(Datagram),
    DatagramLeft {
        socket: u64,
    },
    Look {
        owner: Owner,
    },
    Wake {
        driver: usize,
    },
}

impl Net {
    pub(crate) fn new(seed: u64, options: WorldOptions) -> Self {
        Self {
            clock: Clock::start(),
            dice: Dice::new(seed, options.faults.clone()),
            trace: Trace::new(options.log),
            options,
            mailboxes: Vec::new(),
            events: BTreeMap::new(),
            events_made: 0,
            numbers_made: 0,
            port_next: EPHEMERAL_PORT_FIRST,
            endpoints: BTreeMap::new(),
            ports: Ports::default(),
            listeners: BTreeMap::new(),
            sockets: BTreeMap::new(),
        }
    }

    pub(crate) fn now(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Applies everything that has become due.
    pub(crate) fn run_due(&mut self) {
        while let Some(entry) = self.events.first_entry()
            && entry.key().0 <= self.clock.elapsed()
        {
            let event = entry.remove();
            self.apply(event);
        }
    }

    /// When the network moves next by itself.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.events.first_key_value().map(|((due, _), _)| *due)
    }

    /// Whether the loop of this driver would run now.
    pub(crate) fn is_due(&self, driver: usize) -> bool {
        let mailbox = &self.mailboxes[driver];
        match mailbox.sleep {
            Sleep::Gone => false,
            Sleep::Awake => true,
            Sleep::Until(at) => {
                mailbox.woken
                    || !mailbox.ready.is_empty()
                    || at.is_some_and(|at| at <= self.clock.elapsed())
            }
        }
    }

    /// Makes the driver's next poll look at the key, and its loop run.
    pub(crate) fn notify(&mut self, owner: Owner) {
        if let Owner::Driver { driver, key } = owner {
            self.mailboxes[driver].ready.insert(key);
        }
    }

    /// As [`Net::notify`], after a while.
    pub(crate) fn notify_later(&mut self, owner: Owner, after: Duration) {
        self.schedule(self.now() + after, Event::Look { owner });
    }

    /// A waker was used. A wake may be slow, but is never lost.
    pub(crate) fn wake(&mut self, driver: usize) {
        if self.mailboxes[driver].woken || self.mailboxes[driver].wake_on_its_way {
            return;
        }
        let late = self.dice.strikes(|f| f.delayed_wake, |c| &mut c.delayed_wakes);
        if late {
            let delay = self.dice.duration(Duration::ZERO, self.options.faults.delay_max);
            self.mailboxes[driver].wake_on_its_way = true;
            self.schedule(self.now() + delay, Event::Wake { driver });
        } else {
            self.mailboxes[driver].woken = true;
        }
    }

    /// Wakes the driver when `after` has passed: another thread, played by the world.
    pub(crate) fn wake_later(&mut self, driver: usize, after: Duration) {
        self.schedule(self.now() + after, Event::Wake { driver });
    }

    /// The process is sent a signal.
    pub(crate) fn raise(&mut self, number: i32) {
        for driver in 0..self.mailboxes.len() {
            let mailbox = &mut self.mailboxes[driver];
            if mailbox.caught.contains(&number) {
                mailbox.signals.insert(number);
                self.wake(driver);
            }
        }
    }

    pub(crate) fn note(
        &mut self,
        driver: usize,
        what: &'static str,
        key: Option<Key>,
        bytes: &[u8],
    ) {
        let at = self.clock.elapsed();
        self.trace.note(&Entry { at, driver, what, key, bytes });
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Segment { to, from, segment } => self.segment_arrived(to, from, segment),
            Event::Window { to, count } => self.window_opened(to, count),
            Event::Syn { from, to, attempts } => self.syn_arrived(from, to, attempts),
            Event::SynAck { to, from } => self.syn_ack_arrived(to, from),
            Event::ConnectFailed { to, kind } => self.connect_failed(to, kind),
            Event::Datagram(datagram) => self.datagram_arrived(&datagram),
            Event::DatagramLeft { socket } => self.datagram_left(socket),
            Event::Look { owner } => self.notify(owner),
            Event::Wake { driver } => {
                self.mailboxes[driver].wake_on_its_way = false;
                self.mailboxes[driver].woken = true;
            }
        }
    }

    fn schedule(&mut self, due: Duration, event: Event) {
        self.events.insert((due, self.events_made), event);
        self.events_made += 1;
    }

    /// When something sent now arrives.
    fn arrival(&mut self) -> Duration {
        let (least, most) = self.options.latency.clone().into_inner();
        let mut due = self.now() + self.dice.duration(least, most);
        if self.dice.strikes(|f| f.delay, |c| &mut c.delays) {
            due += self.dice.duration(Duration::ZERO, self.options.faults.delay_max);
        }
        due
    }

    fn new_number(&mut self) -> u64 {
        self.numbers_made += 1;
        self.numbers_made
    }
}

/// RFC 6335 section 6: the dynamic ports are 49152 to 65535.
const EPHEMERAL_PORT_FIRST: u16 = 49152;
