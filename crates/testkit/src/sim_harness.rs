//! The simulated driver under test.

use crate::harness::{DatagramPeer, Harness, Peer, PeerListener, Starve};
use mainspring_io::{Addr, Driver, DriverLimits, Sink, UnixAddr};
use mainspring_sim::{
    Faults, SimDatagramPeer, SimDriver, SimListener, SimPeer, World, WorldOptions,
};
use std::cell::Cell;
use std::marker::PhantomData;
use std::path::Path;
use std::time::Duration;

/// A world with two drivers.
#[derive(Debug)]
pub struct SimHarness<W> {
    world: World,
    drivers: [SimDriver; 2],
    faults: Faults,
    weather: PhantomData<W>,
}

/// The faults and the seed that a simulated harness runs under.
pub trait Weather {
    /// The seed of the next world, and its faults.
    fn forecast() -> (u64, Faults);
}

/// No faults.
#[derive(Debug)]
pub struct Calm;

/// Every fault after which all bytes and datagrams still arrive, by the seed that
/// [`Rough::with_seed`] set.
#[derive(Debug)]
pub struct Rough;

thread_local! {
    static ROUGH_SEED: Cell<u64> = const { Cell::new(0) };
}

impl Rough {
    /// Runs `body` with this seed for the worlds of this thread; a failure names it.
    pub fn with_seed(seed: u64, body: impl FnOnce()) {
        ROUGH_SEED.set(seed);
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
        if let Err(panic) = result {
            let what = panic.downcast_ref::<String>().map(String::as_str);
            let what = what.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
            panic!("seed {seed}: {what}");
        }
    }
}

impl Weather for Calm {
    fn forecast() -> (u64, Faults) {
        (1, Faults::none())
    }
}

impl Weather for Rough {
    fn forecast() -> (u64, Faults) {
        let seed = ROUGH_SEED.get();
        (seed, Faults::harmless(seed))
    }
}

impl<W: Weather> Harness for SimHarness<W> {
    type Driver = SimDriver;
    type Peer = SimPeer;
    type PeerListener = SimListener;
    type DatagramPeer = SimDatagramPeer;

    fn start(limits: DriverLimits) -> Self {
        let (seed, faults) = W::forecast();
        let mut options = WorldOptions::default();
        options.limits = limits;
        options.faults = faults.clone();
        let world = World::new(seed, options);
        let drivers = [world.driver("first"), world.driver("second")];
        Self { world, drivers, faults, weather: PhantomData }
    }

    fn driver(&mut self) -> &mut SimDriver {
        &mut self.drivers[0]
    }

    fn swap_loops(&mut self) {
        self.drivers.swap(0, 1);
    }

    fn turn(&mut self, sink: &mut impl Sink) {
        let [driver, _] = &mut self.drivers;
        driver.poll(Some(TURN), sink).expect("a simulated poller is never lost");
        if !self.world.is_due(driver.index()) {
            self.world.advance(TURN / 10);
        }
    }

    fn sleep(&mut self, timeout: Option<Duration>, sink: &mut impl Sink) -> Duration {
        let start = self.world.elapsed();
        let [driver, _] = &mut self.drivers;
        driver.poll(timeout, sink).expect("a simulated poller is never lost");
        // The other loop stands still: its sleep must not end this one's.
        while !self.world.is_due(driver.index()) {
            self.world.advance(TURN / 10);
            let slept = self.world.elapsed() - start;
            assert!(slept < SLEEP_MAX, "the driver never woke");
        }
        self.world.elapsed() - start
    }

    fn wake_later(&mut self, after: Duration) {
        self.world.wake_later(self.drivers[0].index(), after);
    }

    fn raise(&mut self, number: i32) {
        self.world.raise(number);
    }

    fn dial(&mut self, to: &Addr) -> SimPeer {
        let peer = self.world.connect(to).expect("an address to connect to");
        // A kernel's connect returns when the handshake is done; the scripts count on that.
        self.world.advance(HANDSHAKE);
        peer
    }

    fn peer_listener(&mut self) -> (SimListener, Addr) {
        let listener = self.world.listen(&loopback()).expect("a free port");
        let at = listener.local_addr().clone();
        (listener, at)
    }

    fn datagram_peer(&mut self) -> (SimDatagramPeer, Addr) {
        let peer = self.world.bind(&loopback()).expect("a free port");
        let at = peer.local_addr().clone();
        (peer, at)
    }

    fn unix_address(&mut self) -> Option<Addr> {
        Some(Addr::Unix(UnixAddr::Path(Path::new("/simulated.sock").into())))
    }

    fn silent_address(&mut self) -> Addr {
        Addr::Inet("127.0.0.1:9".parse().expect("an address"))
    }
}

impl<W: Weather> Starve for SimHarness<W> {
    fn starve(&mut self, starve: bool) {
        let mut faults = self.faults.clone();
        faults.accept_failure = if starve { 1.0 } else { 0.0 };
        self.world.set_faults(faults);
    }
}

impl Peer for SimPeer {
    fn send(&mut self, bytes: &[u8]) -> usize {
        Self::send(self, bytes)
    }

    fn receive(&mut self) -> Vec<u8> {
        self.resume_reading();
        self.take_received()
    }

    fn eof(&mut self) -> bool {
        Self::eof(self)
    }

    fn reset_seen(&mut self) -> bool {
        Self::reset_seen(self)
    }

    fn shutdown_write(&mut self) {
        Self::shutdown_write(self);
    }

    fn reset(mut self) {
        Self::reset(&mut self);
    }

    fn stop_reading(&mut self) {
        Self::stop_reading(self);
    }
}

impl PeerListener for SimListener {
    type Peer = SimPeer;

    fn accept(&mut self) -> Option<SimPeer> {
        Self::accept(self)
    }
}

impl DatagramPeer for SimDatagramPeer {
    fn send_to(&mut self, to: &Addr, payload: &[u8]) {
        assert!(Self::send_to(self, to, payload), "the peer's socket is full");
    }

    fn receive(&mut self) -> Option<(Addr, Vec<u8>)> {
        Self::receive(self)
    }
}

fn loopback() -> Addr {
    Addr::Inet("127.0.0.1:0".parse().expect("an address"))
}

const TURN: Duration = Duration::from_millis(1);
const HANDSHAKE: Duration = Duration::from_millis(50);
const SLEEP_MAX: Duration = Duration::from_secs(60);
