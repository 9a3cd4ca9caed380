//! A world: the network, its clock, and everyone in it.

use crate::SimDriver;
use crate::fault::{FaultCounts, Faults};
use crate::net::{Mailbox, Net, Owner, Sleep};
use crate::peer::{SimDatagramPeer, SimListener, SimPeer};
use mainspring_io::{Addr, DriverLimits, ListenOptions};
use std::collections::BTreeSet;
use std::io;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How a world behaves, besides its seed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorldOptions {
    /// How long anything is under way. Default 20 to 200 microseconds.
    pub latency: RangeInclusive<Duration>,
    /// How many bytes one direction of a connection holds, both kernels' buffers together. Default
    /// 64 KiB.
    pub pipe_bytes: usize,
    /// How many connections wait to be accepted before handshakes are dropped. Default 128.
    pub backlog: usize,
    /// How many datagrams of one socket may be under way before it is full. Default 256.
    pub datagrams_leaving: usize,
    /// How many payload bytes a datagram socket keeps for its reader before it drops. Default 208
    /// KiB.
    pub datagram_bytes: usize,
    /// The time that one poll costs. Default 1 microsecond; with zero a loop that always has work
    /// stops the clock.
    pub poll_cost: Duration,
    /// What goes wrong. Default nothing.
    pub faults: Faults,
    /// The limits of every driver. Default those of [`DriverLimits`].
    pub limits: DriverLimits,
    /// Whether every order and event is kept as a line of text for [`World::take_log`]. Default no.
    pub log: bool,
}

/// A seeded network with its own time. Cloning it gives another handle to the same world.
///
/// The world does not run loops: whoever drives it polls the drivers that are
/// [due](World::due), and [moves the clock](World::advance_to_next) when none is.
#[derive(Clone, Debug)]
pub struct World {
    net: Shared,
}

/// The lock is never held while foreign code runs, and a world is meant for one thread.
pub(crate) type Shared = Arc<Mutex<Net>>;

pub(crate) fn lock(net: &Shared) -> MutexGuard<'_, Net> {
    // Tests panic on purpose, and their worlds are dropped afterwards.
    net.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// A world in which everything follows from `seed` and `options`.
    #[must_use]
    pub fn new(seed: u64, options: WorldOptions) -> Self {
        Self { net: Arc::new(Mutex::new(Net::new(seed, options))) }
    }

    /// A driver for one loop of this world. `name` serves the log.
    #[must_use]
    pub fn driver(&self, name: &str) -> SimDriver {
        let mut net = lock(&self.net);
        let index = net.mailboxes.len();
        net.mailboxes.push(Mailbox {
            name: name.to_owned(),
            ready: BTreeSet::new(),
            woken: false,
            wake_on_its_way: false,
            caught: BTreeSet::new(),
            signals: BTreeSet::new(),
            sleep: Sleep::Awake,
        });
        let limits = net.options.limits.clone();
        drop(net);
        SimDriver::new(Arc::clone(&self.net), index, limits)
    }

    /// A scripted peer that connects to `to`.
    ///
    /// # Errors
    ///
    /// If `to` cannot be an address to connect to; `AddrNotAvailable` if peers connected to its IP
    /// address, each from a port of the same address, have all 16,384 ports there are to choose
    /// from.
    pub fn connect(&self, to: &Addr) -> io::Result<SimPeer> {
        let number = lock(&self.net).connect(Owner::Script, to)?;
        Ok(SimPeer::new(Arc::clone(&self.net), number))
    }

    /// A scripted listener.
    ///
    /// # Errors
    ///
    /// `AddrInUse`, or what is no address to listen at.
    pub fn listen(&self, at: &Addr) -> io::Result<SimListener> {
        let options = ListenOptions::default();
        let (number, at) = lock(&self.net).listen(Owner::Script, at, &options)?;
        Ok(SimListener::new(Arc::clone(&self.net), number, at))
    }

    /// A scripted datagram socket.
    ///
    /// # Errors
    ///
    /// As for [`World::listen`].
    pub fn bind(&self, at: &Addr) -> io::Result<SimDatagramPeer> {
        let options = ListenOptions::default();
        let (number, at) = lock(&self.net).bind(Owner::Script, at, &options)?;
        Ok(SimDatagramPeer::new(Arc::clone(&self.net), number, at))
    }

    /// The present as loops see it.
    #[must_use]
    pub fn now(&self) -> Instant {
        lock(&self.net).clock.now()
    }

    /// The age of the world.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        lock(&self.net).now()
    }

    /// Moves the clock by `step`, and applies what becomes due.
    pub fn advance(&self, step: Duration) {
        let mut net = lock(&self.net);
        let until = net.now() + step;
        // Stops at each event, so that the consequences of one are dated from it.
        while let Some(due) = net.next_due()
            && due <= until
        {
            net.clock.move_to(due);
            net.run_due();
        }
        net.clock.move_to(until);
    }

    /// Moves the clock to whatever comes first: the next event of the network, or the end of the
    /// sleep of a driver. Does not move it if a driver is due already.
    ///
    /// Returns whether a driver is due or the network moved. `false` says that nothing will ever
    /// happen again without a push from outside.
    pub fn advance_to_next(&self) -> bool {
        self.advance_to_next_by(None)
    }

    /// As [`advance_to_next`](World::advance_to_next), but moves the clock no further than to the
    /// age `latest`, where a script has something to do. Reaching that counts as an event.
    pub fn advance_to_next_by(&self, latest: Option<Duration>) -> bool {
        let mut net = lock(&self.net);
        net.run_due();
        if (0..net.mailboxes.len()).any(|driver| net.is_due(driver)) {
            return true;
        }
        let ends = net.mailboxes.iter().filter_map(|mailbox| match mailbox.sleep {
            Sleep::Until(at) => at,
            _ => None,
        });
        let Some(next) = ends.chain(net.next_due()).chain(latest).min() else { return false };
        net.clock.move_to(next);
        net.run_due();
        true
    }

    /// The drivers whose loops would run now, by [`SimDriver::index`], in the order that the seed
    /// chooses.
    #[must_use]
    pub fn due(&self) -> Vec<usize> {
        let mut net = lock(&self.net);
        net.run_due();
        let mut due: Vec<usize> =
            (0..net.mailboxes.len()).filter(|driver| net.is_due(*driver)).collect();
        net.dice.rng.shuffle(&mut due);
        due
    }

    /// Whether the loop of this driver would run now.
    #[must_use]
    pub fn is_due(&self, driver: usize) -> bool {
        let mut net = lock(&self.net);
        net.run_due();
        net.is_due(driver)
    }

    /// Wakes a driver when `after` has passed, as another thread would through its waker.
    pub fn wake_later(&self, driver: usize, after: Duration) {
        lock(&self.net).wake_later(driver, after);
    }

    /// Sends the process a signal: each driver that catches it hears of it, if also as late as of any
    /// wake.
    pub fn raise(&self, number: i32) {
        lock(&self.net).raise(number);
    }

    /// Changes the faults from now on.
    pub fn set_faults(&self, faults: Faults) {
        let mut net = lock(&self.net);
        net.options.faults = faults.clone();
        net.dice.faults = faults;
    }

    /// How often each fault struck.
    #[must_use]
    pub fn fault_counts(&self) -> FaultCounts {
        lock(&self.net).dice.counts.clone()
    }

    /// A number out of the world's seed, for scripts: a seed for their own choices.
    #[must_use]
    pub fn draw(&self) -> u64 {
        lock(&self.net).dice.rng.u64(..)
    }

    /// The hash over every order and event so far. Equal for equal seeds and programs.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        lock(&self.net).trace.hash()
    }

    /// How many orders and events the hash covers.
    #[must_use]
    pub fn trace_len(&self) -> u64 {
        lock(&self.net).trace.entries()
    }

    /// The log since the last call, if [`WorldOptions::log`] asked for one.
    #[must_use]
    pub fn take_log(&self) -> Vec<String> {
        lock(&self.net).trace.take_lines()
    }
}

impl Default for WorldOptions {
    fn default() -> Self {
        Self {
            latency: Duration::from_micros(20)..=Duration::from_micros(200),
            pipe_bytes: 64 * 1024,
            backlog: 128,
            datagrams_leaving: 256,
            datagram_bytes: 208 * 1024,
            poll_cost: Duration::from_micros(1),
            faults: Faults::none(),
            limits: DriverLimits::default(),
            log: false,
        }
    }
}
