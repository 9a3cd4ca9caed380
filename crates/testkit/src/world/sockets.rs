//! The sockets of this machine as a stage: loops on threads of their own, real time, and one of the
//! system's drivers.

use super::ledger::Book;
use super::life::{Life, set_up};
use super::plan::{Plan, TINY_SHIFT};
use super::planted::{Bug, Planted};
use super::run::{Failure, lived};
use super::service::DetachedSockets;
use super::socket_peer::{SocketPeer, SocketTraits};
use super::stage::Stage;
use fastrand::Rng;
use mainspring_io::{Addr, Driver, DriverKind, DriverLimits, ReadyDriver};
use mainspring_loop::{Error, Handle, Loops, Shard};
use std::collections::BTreeMap;
use std::io;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::time::{Duration, Instant};

/// How to run a world over real sockets.
///
/// The seed decides the plan, the scripts and the dice of the handlers, but not the order in which
/// threads and packets go: a seed that failed may pass the next time.
#[derive(Clone, Copy, Debug)]
pub struct SocketRun {
    /// Which driver the loops run on.
    pub driver: DriverKind,
    /// Plant this bug; the world has one loop then.
    pub bug: Option<Bug>,
}

impl SocketRun {
    /// Runs the worlds of many seeds, some at a time, until a few have failed. The answers come in
    /// the order in which they end.
    pub fn seeds(
        self,
        seeds: impl IntoIterator<Item = u64>,
        mut each: impl FnMut(Result<BTreeMap<String, u64>, Failure>),
    ) {
        let mut seeds = seeds.into_iter();
        let (tell, told) = channel();
        let (mut running, mut failed) = (0, 0);
        loop {
            while running < AT_A_TIME
                && failed < FAILURES_MAX
                && let Some(seed) = seeds.next()
            {
                running += 1;
                let tell = tell.clone();
                std::thread::spawn(move || tell.send(self.seed(seed)));
            }
            if running == 0 {
                return;
            }
            let result = told.recv().expect("worlds catch their panics");
            running -= 1;
            failed += usize::from(result.is_err());
            each(result);
        }
    }

    /// Runs the world of a seed, and returns how often it met what.
    ///
    /// # Errors
    ///
    /// The laws that were broken, of which one is that every world ends.
    pub fn seed(self, seed: u64) -> Result<BTreeMap<String, u64>, Failure> {
        let place = Place::new();
        let plan = Arc::new(self.plan(seed, &place));
        let (tell, told) = channel();
        let shared = plan.clone();
        std::thread::spawn(move || {
            let begin = || {
                Life::begin(&shared, |book, detached| {
                    Sockets::new(self, place, &shared, book, detached).expect("loops on free ports")
                })
            };
            tell.send(lived(begin))
        });
        // A script waits for nothing but locks, a server that starts, and the clock; and yet.
        let result = told.recv_timeout(HANGS_AFTER);
        let result = result.unwrap_or_else(|_| Err(vec!["the world hangs".to_owned()]));
        result.map_err(|broken| {
            let again = format!("cargo xtask sim --sockets {} --seed {seed}", self.driver);
            Failure { seed, plan: plan.to_string(), broken, log: Vec::new(), again }
        })
    }

    fn plan(self, seed: u64, place: &Place) -> Plan {
        let mut plan = Plan::of(seed).planted(self.bug).on_sockets(self.driver, &place.dir);
        if self.bug.is_some() {
            (plan.loops, plan.link_loop) = (1, 0);
            plan.tempo.patience = Duration::from_secs(2);
            plan.tempo.grace = Duration::from_secs(1);
        }
        plan
    }
}

/// A server on threads.
pub(super) struct Sockets {
    began: Instant,
    handle: Handle,
    /// Told once, when all loops have ended.
    ended: Receiver<Result<(), Error>>,
    over: bool,
    /// What sockets the peers get.
    rng: Rng,
    tiny_buffers: bool,
    peers: u32,
    place: Place,
}

impl Sockets {
    fn new(
        run: SocketRun,
        place: Place,
        plan: &Arc<Plan>,
        book: &Book,
        detached: &DetachedSockets,
    ) -> Result<Self, Error> {
        let (handle, ended) = match run.bug {
            None => start(run.driver, plan, book, detached)?,
            Some(_) => start_planted(run.driver, plan, book, detached)?,
        };
        Ok(Self {
            began: present(),
            handle,
            ended,
            over: false,
            rng: Rng::with_seed(plan.seed ^ 0x7065_6572),
            tiny_buffers: plan.tiny_buffers,
            peers: 0,
            place,
        })
    }

    fn note_end(&mut self, result: Result<(), Error>) {
        self.over = true;
        if let Err(error) = result {
            panic!("a loop ended by an error: {error}");
        }
    }
}

impl Stage for Sockets {
    type Peer = SocketPeer;
    type Datagrams = UdpSocket;

    const STANDS_STILL: bool = false;

    fn now(&self) -> Duration {
        present() - self.began
    }

    fn handle(&self) -> &Handle {
        &self.handle
    }

    fn is_over(&mut self) -> bool {
        if !self.over {
            match self.ended.try_recv() {
                Ok(result) => self.note_end(result),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => panic!("a thread of the server panicked"),
            }
        }
        self.over
    }

    fn connect(&mut self, to: &Addr) -> SocketPeer {
        self.peers += 1;
        let traits = SocketTraits {
            unix_name: self.place.dir.join(format!("peer{}", self.peers)),
            buffers: self.tiny_buffers.then(|| 1 << self.rng.u32(TINY_SHIFT)),
            read_most: 1 << self.rng.u32(9..=16),
        };
        SocketPeer::connect(to, &traits).expect("a socket")
    }

    fn bind(&mut self) -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        socket.set_nonblocking(true).expect("a socket");
        socket
    }

    fn turn(&mut self) -> bool {
        // Its threads do that.
        false
    }

    fn wait(&mut self, latest: Option<Duration>) {
        let until = latest.map_or(LOOK, |latest| latest.saturating_sub(self.now()));
        // In place of sleep(2): the end of the server ends the wait.
        let step = until.clamp(Duration::from_micros(20), LOOK);
        if self.over {
            #[expect(clippy::disallowed_methods, reason = "plays peers, not a loop")]
            std::thread::sleep(step);
            return;
        }
        match self.ended.recv_timeout(step) {
            Ok(result) => self.note_end(result),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => panic!("a thread of the server panicked"),
        }
    }

    fn jog(&mut self, _: &mut Rng) {
        // The kernel does that.
    }

    fn calm(&mut self) {
        // Theirs never end.
    }

    fn buffered_bytes(&self) -> impl Iterator<Item = usize> {
        self.handle.stats().loops.into_iter().map(|counted| counted.buffered_bytes as usize)
    }
}

impl Drop for Sockets {
    /// A world that broke a law leaves its server running. What does not stop even now, because a
    /// loop hangs, is left behind: its world has failed already.
    fn drop(&mut self) {
        if !self.over {
            self.handle.stop();
            let _ = self.ended.recv_timeout(FAREWELL);
        }
    }
}

fn start(
    driver: DriverKind,
    plan: &Arc<Plan>,
    book: &Book,
    detached: &DetachedSockets,
) -> Result<(Handle, Receiver<Result<(), Error>>), Error> {
    let setup = set_up_of(plan, book, detached);
    let builder = plan.builder().driver(driver).loops(Loops::Count(plan.loops));
    let running = builder.start(setup)?;
    let handle = running.handle();
    let (tell, ended) = channel();
    std::thread::spawn(move || tell.send(running.join()));
    Ok((handle, ended))
}

/// A bug stands between driver and loop, where only a loop that is turned by its owner has a place
/// for it.
fn start_planted(
    driver: DriverKind,
    plan: &Arc<Plan>,
    book: &Book,
    detached: &DetachedSockets,
) -> Result<(Handle, Receiver<Result<(), Error>>), Error> {
    let setup = set_up_of(plan, book, detached);
    let (tell, ended) = channel();
    let (tell_handle, handle) = channel();
    let plan = plan.clone();
    std::thread::spawn(move || {
        let run = Turning { plan, setup, tell_handle };
        let result = match driver {
            DriverKind::Portable => run.over(ReadyDriver::portable),
            #[cfg(target_os = "linux")]
            DriverKind::Ring => {
                let open = |limits| mainspring_io::RingDriver::new(limits);
                run.over(|limits| open(limits).map_err(io::Error::other))
            }
            _ => run.over(ReadyDriver::new),
        };
        tell.send(result)
    });
    match handle.recv() {
        Ok(handle) => Ok((handle, ended)),
        Err(_) => Err(ended.recv().ok().and_then(Result::err).expect("why it did not start")),
    }
}

/// One loop with a bug, on the thread that turns it.
struct Turning<F> {
    plan: Arc<Plan>,
    setup: F,
    tell_handle: Sender<Handle>,
}

impl<F: Fn(&mut Shard<'_>) -> Result<(), Error>> Turning<F> {
    fn over<D: Driver>(
        self,
        driver: impl FnOnce(DriverLimits) -> io::Result<D>,
    ) -> Result<(), Error> {
        let Self { plan, setup, tell_handle } = self;
        let driver = driver(plan.limits.driver.clone()).map_err(Error::Driver)?;
        let planted = Planted::new(driver, &plan.trap);
        let (mut loops, handle) = plan.builder().simulate([planted], setup)?;
        let _ = tell_handle.send(handle);
        while loops[0].turn()? {}
        Ok(())
    }
}

fn set_up_of(
    plan: &Arc<Plan>,
    book: &Book,
    detached: &DetachedSockets,
) -> impl Fn(&mut Shard<'_>) -> Result<(), Error> + Send + Sync + 'static {
    let (plan, book, detached) = (plan.clone(), book.clone(), detached.clone());
    move |shard| set_up(shard, &plan, &book, &detached)
}

/// A directory for the unix sockets of one world.
#[derive(Debug)]
struct Place {
    dir: PathBuf,
}

impl Place {
    fn new() -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("mainspring-world-{}-{number}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).expect("room for a directory");
        Self { dir }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn present() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "the scripts play other machines, not a loop")]
    Instant::now()
}

/// Worlds at a time: they wait more than they work.
const AT_A_TIME: usize = 3;
const FAILURES_MAX: usize = 5;
/// More than patience, grace and afterlife together.
const HANGS_AFTER: Duration = Duration::from_secs(60);
/// Detached connections are looked at so often.
const LOOK: Duration = Duration::from_micros(500);
const FAREWELL: Duration = Duration::from_secs(2);
