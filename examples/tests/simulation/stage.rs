//! Servers and scripted peers in one world, turned until a script is done.

use mainspring::sim::{Faults, SimDriver, SimPeer, World, WorldOptions};
use mainspring::{Addr, Error, Handle, Limits, Server, Shard, SimLoop};
use std::fmt;

/// Turns after which a script that is not done counts as stuck.
const TURNS_MAX: usize = 400_000;

/// Which faults a run meets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Weather {
    /// None.
    Calm,
    /// Those after which every byte still arrives.
    Rough,
    /// All, resets and half-closes among them.
    Stormy,
}

pub(crate) const WEATHERS: [Weather; 3] = [Weather::Calm, Weather::Rough, Weather::Stormy];

pub(crate) struct Stage {
    pub(crate) world: World,
    loops: Vec<SimLoop<SimDriver>>,
    servers: Vec<Handle>,
    /// Says how to run the same again.
    pub(crate) run: String,
}

impl Stage {
    pub(crate) fn new(name: &str, seed: u64, weather: Weather) -> Self {
        let mut options = WorldOptions::default();
        options.faults = match weather {
            Weather::Calm => Faults::none(),
            Weather::Rough => Faults::harmless(seed),
            Weather::Stormy => Faults::all(seed),
        };
        let run = format!("{name}, seed {seed}, {weather:?}");
        Self { world: World::new(seed, options), loops: Vec::new(), servers: Vec::new(), run }
    }

    /// Starts a server of so many loops in the world.
    pub(crate) fn serve(
        &mut self,
        loops: usize,
        limits: Limits,
        setup: impl Fn(&mut Shard<'_>) -> Result<(), Error>,
    ) -> Handle {
        let drivers: Vec<SimDriver> =
            (0..loops).map(|nth| self.world.driver(&format!("loop {nth}"))).collect();
        let builder = Server::builder().seed(self.world.draw()).limits(limits);
        let (loops, handle) = builder.simulate(drivers, setup).expect("starts");
        self.loops.extend(loops);
        self.servers.push(handle.clone());
        handle
    }

    pub(crate) fn connect(&self, to: &Addr) -> SimPeer {
        self.world.connect(to).expect("an address to connect to")
    }

    /// Turns whatever is due until `step`, called after each round, answers true.
    #[track_caller]
    pub(crate) fn until(&mut self, what: impl fmt::Display, step: impl FnMut(&Self) -> bool) {
        let done = self.until_or_quiet(&what, step);
        assert!(done, "{}: nothing moves any more, before {what}", self.run);
    }

    /// As [`until`](Stage::until); `false` if nothing moves any more before that.
    #[track_caller]
    pub(crate) fn until_or_quiet(
        &mut self,
        what: impl fmt::Display,
        mut step: impl FnMut(&Self) -> bool,
    ) -> bool {
        for _ in 0..TURNS_MAX {
            if step(self) {
                return true;
            }
            let due = self.world.due();
            if due.is_empty() && !self.world.advance_to_next() {
                // The script has one more chance to push.
                return step(self);
            }
            for index in due {
                self.loops[index].turn().expect("the poller is not lost");
            }
        }
        panic!("{}: {TURNS_MAX} turns were not enough for {what}", self.run);
    }

    /// Stops every server, and checks what must hold at the end of any.
    #[track_caller]
    pub(crate) fn end(mut self) -> u64 {
        self.servers.iter().for_each(Handle::stop);
        self.until("the end of the servers", |stage| stage.loops.iter().all(SimLoop::is_over));
        for server in &self.servers {
            let total = server.stats().total;
            assert_eq!(total.panics, 0, "{}: callbacks panicked", self.run);
            assert_eq!(total.connections, 0, "{}: connections left", self.run);
            assert_eq!(total.buffered_bytes, 0, "{}: bytes left", self.run);
            assert_eq!(total.closed, total.accepted + total.dialled, "{}", self.run);
        }
        self.world.trace_hash()
    }
}

/// A peer that sends a text piece by piece and gathers what comes back.
pub(crate) struct Talker {
    pub(crate) peer: SimPeer,
    text: Vec<u8>,
    /// How much of the text the network has taken.
    taken: usize,
    pub(crate) got: Vec<u8>,
}

impl Talker {
    pub(crate) fn new(peer: SimPeer, text: Vec<u8>) -> Self {
        Self { peer, text, taken: 0, got: Vec::new() }
    }

    /// Sends up to `count` bytes more, and receives.
    pub(crate) fn talk(&mut self, count: usize) {
        let until = self.text.len().min(self.taken + count);
        if self.taken < until {
            self.taken += self.peer.send(&self.text[self.taken..until]);
        }
        self.got.extend(self.peer.take_received());
    }

    /// What has been sent.
    pub(crate) fn said(&self) -> &[u8] {
        &self.text[..self.taken]
    }

    /// Whether all has been sent, or no more can be.
    pub(crate) fn is_done_sending(&self) -> bool {
        self.taken == self.text.len() || self.peer.write_ended() || self.is_broken()
    }

    /// Whether the connection never came up, or did not end in good order.
    pub(crate) fn is_broken(&self) -> bool {
        self.peer.reset_seen() || self.peer.connect_error().is_some()
    }
}
