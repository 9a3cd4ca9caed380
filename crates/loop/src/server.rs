//! The loops that run one set-up, and the handle to them.

pub(crate) mod balance;
pub(crate) mod offload;
mod prepared;
pub(crate) mod shard;
pub(crate) mod shared;
pub(crate) mod sim_loop;

use crate::server::offload::Offload;
use crate::server::prepared::Prepared;
use crate::server::shard::Shard;
use crate::server::shared::{Control, ServerShared};
use crate::{Balance, ConnInfo, Error, Limits, ServerStats};
use mainspring_io::{Addr, DriverKind};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// How many loops a server runs, each on a thread of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loops {
    /// This many; 0 counts as 1.
    Count(usize),
    /// One for each processor that the process may use.
    PerCore,
}

/// Servers are made here.
///
/// # Examples
///
/// ```
/// use mainspring_loop::{Action, Conn, Input, Loops, Server};
/// use std::io::{Read, Write};
///
/// let server = Server::builder().loops(Loops::Count(2)).start(|shard| {
///     let echo = shard.host(|conn: &mut Conn<'_>, input: &mut Input<'_>| {
///         conn.out().extend_from_slice(input.take());
///         Action::Continue
///     });
///     shard.listen(echo, "tcp://127.0.0.1:0")?;
///     Ok(())
/// })?;
///
/// let mut client = std::net::TcpStream::connect(server.addrs()[0].to_string())?;
/// client.write_all(b"hello")?;
/// let mut echoed = [0; 5];
/// client.read_exact(&mut echoed)?;
/// assert_eq!(&echoed, b"hello");
///
/// server.handle().stop();
/// server.join()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Server {
    _not_constructible: (),
}

/// How a server will be.
#[derive(Clone, Debug)]
pub struct ServerBuilder {
    loops: Loops,
    pin: bool,
    balance: Balance,
    driver: DriverKind,
    limits: Limits,
    drain: Duration,
    seed: Option<u64>,
}

impl Server {
    /// One loop, the best driver, default limits, five seconds to drain.
    #[must_use]
    pub fn builder() -> ServerBuilder {
        ServerBuilder {
            loops: Loops::Count(1),
            pin: false,
            balance: Balance::default(),
            driver: DriverKind::Auto,
            limits: Limits::default(),
            drain: Duration::from_secs(5),
            seed: None,
        }
    }
}

impl ServerBuilder {
    /// How many loops. Default one.
    #[must_use]
    pub fn loops(mut self, loops: Loops) -> Self {
        self.loops = loops;
        self
    }

    /// Binds loop `n` to the `n`-th processor that the process may use. Default off. On systems
    /// other than Linux, and where the system refuses, a log line says so and the server runs
    /// unpinned.
    #[must_use]
    pub fn pin(mut self, pin: bool) -> Self {
        self.pin = pin;
        self
    }

    /// How connections are shared out. Default [`Balance::Kernel`].
    #[must_use]
    pub fn balance(mut self, balance: Balance) -> Self {
        self.balance = balance;
        self
    }

    /// Which driver. Default [`DriverKind::Auto`], for which the environment variable
    /// `MAINSPRING_DRIVER` may name another; an unknown name there is an error of the start.
    #[must_use]
    pub fn driver(mut self, driver: DriverKind) -> Self {
        self.driver = driver;
        self
    }

    /// The limits. Default [`Limits::default`].
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// How long a stop waits for connections to finish. Default 5 s.
    #[must_use]
    pub fn drain(mut self, drain: Duration) -> Self {
        self.drain = drain;
        self
    }

    /// The seed of every random choice. Default: another one for each server.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets the loops up, one after the other, and lets them run.
    ///
    /// `setup` runs once on the thread of each loop.
    ///
    /// # Errors
    ///
    /// The first error of a set-up or of the system; whatever had been opened is closed again. An
    /// `on_start` that panics ends the server, which [`join`](Running::join) tells.
    pub fn start<F>(self, setup: F) -> Result<Running, Error>
    where
        F: Fn(&mut Shard<'_>) -> Result<(), Error> + Send + Sync + 'static,
    {
        let shared = self.share(Offload::threads)?;
        let setup = Arc::new(setup);
        let mut running = Running { shared: shared.clone(), threads: Vec::new() };
        let mut go = Vec::new();
        for index in 0..shared.loops.len() {
            let (report, told) = channel();
            let (start, started) = channel();
            let (setup, shared) = (setup.clone(), shared.clone());
            let (driver, pin) = (self.driver, self.pin.then_some(index));
            let thread = std::thread::Builder::new()
                .name(format!("mainspring-{index}"))
                .spawn(move || {
                    pin_to(pin);
                    let prepared = Prepared::new(driver, &shared, index, |shard| setup(shard));
                    run_when_told(prepared, &shared, &report, &started)
                })
                .map_err(Error::Thread)?;
            running.threads.push(thread);
            go.push(start);
            if told.recv() != Ok(()) {
                // Dropping `go` ends the loops that are ready, and `join` says what went wrong.
                drop(go);
                return Err(running.join().err().unwrap_or(Error::Panicked("set-up")));
            }
        }
        for start in go {
            let _ = start.send(());
        }
        Ok(running)
    }

    /// Runs one loop on the calling thread until the server has stopped. Neither the set-up nor the
    /// handlers need be `Send`.
    ///
    /// # Errors
    ///
    /// As for [`start`](ServerBuilder::start) and [`join`](Running::join), and [`Error::Misuse`] if
    /// more than one loop was asked for.
    pub fn run<F>(self, setup: F) -> Result<(), Error>
    where
        F: FnOnce(&mut Shard<'_>) -> Result<(), Error>,
    {
        if self.loop_count() > 1 {
            return Err(Error::Misuse("`run` has one loop; use `start` for several"));
        }
        let shared = self.share(Offload::threads)?;
        pin_to(self.pin.then_some(0));
        let ended = Prepared::new(self.driver, &shared, 0, setup)?.run();
        shared.outcome(ended)
    }

    fn share(&self, offload: fn(&Limits) -> Offload) -> Result<Arc<ServerShared>, Error> {
        self.limits.check().map_err(Error::Misuse)?;
        crate::panic::watch();
        let seed = self.seed.unwrap_or_else(|| RandomState::new().hash_one(0));
        let (limits, offload) = (self.limits.clone(), offload(&self.limits));
        Ok(ServerShared::new(self.loop_count(), limits, self.balance, self.drain, seed, offload))
    }

    fn loop_count(&self) -> usize {
        match self.loops {
            Loops::Count(count) => count.clamp(1, u16::MAX.into()),
            Loops::PerCore => std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
        }
    }
}

/// A server whose loops run on threads of their own.
///
/// Dropping it stops the server and waits for its end, or, on the thread of a loop, for the end of
/// the other loops.
pub struct Running {
    shared: Arc<ServerShared>,
    threads: Vec<JoinHandle<Result<(), Error>>>,
}

impl Running {
    /// The handle to the server, for any thread.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle { shared: self.shared.clone() }
    }

    /// The bound addresses in the order of the set-up's `listen` calls.
    #[must_use]
    pub fn addrs(&self) -> Vec<Addr> {
        self.shared.addrs()
    }

    /// Waits until the server has stopped. On the thread of one of its loops, which cannot wait for
    /// its own end, until the other loops have ended.
    ///
    /// # Errors
    ///
    /// The first error that ended a loop; [`Error::Panicked`] if that was an `on_start`,
    /// [`Error::Aborted`] after [`Handle::abort`].
    pub fn join(mut self) -> Result<(), Error> {
        self.wait()
    }

    fn wait(&mut self) -> Result<(), Error> {
        let mut result = Ok(());
        for thread in self.threads.drain(..) {
            if thread.thread().id() == std::thread::current().id() {
                // A handler owns its own server: a thread cannot wait for its own end.
                continue;
            }
            let ended = thread.join().unwrap_or(Err(Error::Panicked("a loop")));
            if result.is_ok() {
                result = ended;
            }
        }
        self.shared.outcome(result)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.control(Control::Stop);
        if let Err(error) = self.wait() {
            crate::panic::log(|| tracing::error!(%error, "the server ended with an error"));
        }
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("addrs", &self.addrs()).finish_non_exhaustive()
    }
}

/// Stops, drains and inspects a server from any thread. Harmless when the server has ended.
#[derive(Clone)]
pub struct Handle {
    pub(crate) shared: Arc<ServerShared>,
}

impl Handle {
    /// Stops accepting, and closes every connection after its unsent output has been sent, but not
    /// later than the drain time.
    pub fn stop(&self) {
        self.shared.control(Control::Stop);
    }

    /// Stops accepting, resets every connection, and has [`Running::join`] say why:
    /// [`Error::Aborted`] with the first cause that was given.
    pub fn abort(&self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) {
        self.shared.set_abort(cause.into());
        self.shared.control(Control::Abort);
    }

    /// Stops accepting, lets connections finish what they are at
    /// ([`Conn::set_busy`](crate::Conn::set_busy)), and cuts what is left when the drain time is
    /// over.
    pub fn drain(&self) {
        self.shared.control(Control::Drain);
    }

    /// Closes the listeners; open connections go on.
    pub fn stop_listening(&self) {
        self.shared.control(Control::StopListening);
    }

    /// Closes every connection after its output has been sent; the server goes on.
    pub fn close_all(&self) {
        self.shared.control(Control::CloseAll);
    }

    /// What the server has counted.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        self.shared.stats()
    }

    /// The open connections of all loops, in no order. Each loop is asked, and answers in its next
    /// turn, for which it takes the longer the more it has.
    ///
    /// `None` if a loop did not answer within `wait`, as one does not that is busy for so long, or
    /// that this is called on: a loop lists its own by [`Cx::connections`](crate::Cx::connections)
    /// and [`Conn::info`](crate::Conn::info).
    #[must_use]
    pub fn connections(&self, wait: Duration) -> Option<Vec<ConnInfo>> {
        self.shared.conn_infos(wait)
    }

    /// The bound addresses.
    #[must_use]
    pub fn addrs(&self) -> Vec<Addr> {
        self.shared.addrs()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("addrs", &self.addrs()).finish_non_exhaustive()
    }
}

fn run_when_told(
    prepared: Result<Prepared, Error>,
    shared: &ServerShared,
    report: &Sender<()>,
    started: &Receiver<()>,
) -> Result<(), Error> {
    let prepared = prepared?;
    let _ = report.send(());
    if started.recv().is_err() {
        return Ok(());
    }
    let result = prepared.run();
    if result.is_err() {
        // One loop less would serve only some of the clients: end the others too.
        shared.control(Control::Stop);
    }
    result
}

#[cfg(target_os = "linux")]
fn pin_to(nth: Option<usize>) {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let Some(nth) = nth else { return };
    let pinned = sched_getaffinity(None).and_then(|allowed| {
        let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect();
        let mut one = CpuSet::new();
        one.set(cores[nth % cores.len()]);
        sched_setaffinity(None, &one)
    });
    if let Err(error) = pinned {
        crate::panic::log(
            || tracing::warn!(loop_index = nth, %error, "cannot pin the loop to a processor"),
        );
    }
}

#[cfg(not(target_os = "linux"))]
fn pin_to(nth: Option<usize>) {
    if let Some(nth) = nth {
        crate::panic::log(|| {
            tracing::warn!(loop_index = nth, "pinning is not available on this system")
        });
    }
}
