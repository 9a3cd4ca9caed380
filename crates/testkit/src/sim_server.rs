//! A server whose loops a test turns, in a world made from a seed.

use mainspring_io::{Addr, Driver};
use mainspring_loop::{Error, Handle, ServerBuilder, Shard, SimLoop};
use mainspring_sim::{SimDriver, World};
use std::time::Duration;

/// A server in a [`World`]: its loops over simulated drivers, the handle to it, and the order of
/// turns.
///
/// A loop that has ended is dropped at once, as it is on a thread of its own.
///
/// # Examples
///
/// ```
/// use mainspring_loop::{Action, Conn, Input, Server};
/// use mainspring_sim::{World, WorldOptions};
/// use mainspring_testkit::{Reached, SimServer};
/// use std::time::Duration;
///
/// let world = World::new(7, WorldOptions::default());
/// let mut server = SimServer::start(&world, 2, Server::builder().seed(7), |shard| {
///     let echo = shard.host(|conn: &mut Conn<'_>, input: &mut Input<'_>| {
///         conn.out().extend_from_slice(input.take());
///         Action::Continue
///     });
///     shard.listen(echo, "tcp://127.0.0.1:0").map(drop)
/// })?;
/// let mut peer = world.connect(&server.addr(0))?;
/// let reached = server.run_until(Duration::from_secs(1), |_| {
///     peer.send(b"x");
///     !peer.take_received().is_empty()
/// });
/// assert_eq!(reached, Reached::Condition);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct SimServer<D = SimDriver> {
    world: World,
    loops: Vec<Turning<D>>,
    handle: Handle,
    turns: u64,
}

#[derive(Debug)]
struct Turning<D> {
    /// The number of the driver in the world.
    driver: usize,
    sim: Option<SimLoop<D>>,
}

/// How [`SimServer::run_until`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// The condition holds.
    Condition,
    /// The virtual time is over.
    TimeOver,
    /// Nothing will ever happen again by itself.
    Stuck,
}

impl SimServer<SimDriver> {
    /// Prepares a server of `loops` loops.
    ///
    /// # Errors
    ///
    /// As for [`ServerBuilder::simulate`].
    pub fn start(
        world: &World,
        loops: usize,
        builder: ServerBuilder,
        setup: impl Fn(&mut Shard<'_>) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        Self::start_over(world, loops, |driver| driver, builder, setup)
    }
}

impl<D: Driver> SimServer<D> {
    /// As [`start`](SimServer::start), with something of the caller's around each simulated driver.
    ///
    /// # Errors
    ///
    /// As for [`ServerBuilder::simulate`].
    pub fn start_over(
        world: &World,
        loops: usize,
        mut wrap: impl FnMut(SimDriver) -> D,
        builder: ServerBuilder,
        setup: impl Fn(&mut Shard<'_>) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let bare: Vec<SimDriver> =
            (0..loops).map(|index| world.driver(&format!("loop {index}"))).collect();
        let numbers: Vec<usize> = bare.iter().map(SimDriver::index).collect();
        let drivers: Vec<D> = bare.into_iter().map(&mut wrap).collect();
        let (sims, handle) = builder.simulate(drivers, setup)?;
        let loops = numbers.into_iter().zip(sims);
        let loops = loops.map(|(driver, sim)| Turning { driver, sim: Some(sim) }).collect();
        Ok(Self { world: world.clone(), loops, handle, turns: 0 })
    }

    /// The world that it lives in.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The handle to it.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The bound address of a listener.
    ///
    /// # Panics
    ///
    /// If there is none of that number.
    #[must_use]
    pub fn addr(&self, listener: usize) -> Addr {
        self.handle.addrs()[listener].clone()
    }

    /// Whether every loop has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.loops.iter().all(|turning| turning.sim.is_none())
    }

    /// How many turns its loops have made.
    #[must_use]
    pub fn turns(&self) -> u64 {
        self.turns
    }

    /// What the loops buffer now, loop by loop; nothing where one has ended.
    pub fn buffered_bytes(&self) -> impl Iterator<Item = usize> {
        self.loops.iter().map(|turning| turning.sim.as_ref().map_or(0, SimLoop::buffered_bytes))
    }

    /// Turns the loops that are due, each once, in the order that the world's seed chooses. Returns
    /// whether there was one.
    ///
    /// # Panics
    ///
    /// If a simulated poller were lost, which it never is.
    pub fn turn_due(&mut self) -> bool {
        let mut turned = false;
        for driver in self.world.due() {
            let Some(turning) = self.loops.iter_mut().find(|turning| turning.driver == driver)
            else {
                continue;
            };
            let Some(sim) = &mut turning.sim else { continue };
            turned = true;
            self.turns += 1;
            if !sim.turn().expect("a simulated poller is never lost") {
                turning.sim = None;
            }
        }
        turned
    }

    /// Turns what is due, or moves the clock: by one event, and no further than to the age
    /// `latest`. `false` if nothing will ever happen again.
    pub fn step(&mut self, latest: Option<Duration>) -> bool {
        self.turn_due() || self.world.advance_to_next_by(latest)
    }

    /// Runs until `condition` holds, which is asked before each step, but no longer than `within`.
    pub fn run_until(
        &mut self,
        within: Duration,
        mut condition: impl FnMut(&Self) -> bool,
    ) -> Reached {
        let latest = self.world.elapsed() + within;
        loop {
            if condition(self) {
                return Reached::Condition;
            }
            if self.world.elapsed() >= latest {
                return Reached::TimeOver;
            }
            if !self.step(None) {
                return Reached::Stuck;
            }
        }
    }
}
