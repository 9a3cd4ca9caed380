//! Starts services, waits for a signal or the first failure, and stops them all.

mod job;
mod signals;

pub use self::job::Stopping;

use self::job::Job;
use self::signals::Signals;
use crate::Error;
use mainspring_loop::Running;
use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// Whatever a service says has gone wrong.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How a service is told to stop, from another thread than its own. It returns at once, and what it
/// says is harmless when the service has ended.
pub type Stopper = Box<dyn Fn(Stop) + Send + Sync>;

/// How a service is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It takes nothing new, and finishes what it is at within a time that it knows.
    Drain,
    /// It finishes nothing.
    AtOnce,
}

/// Something that runs until it is stopped: a server's [`Running`], or what [`Runner::job`] makes of
/// a function.
pub trait Service: Send + 'static {
    /// The way to stop it. Asked for once, before [`wait`](Service::wait).
    fn stopper(&self) -> Stopper;

    /// Returns when it has ended, by itself or because it was stopped. Called once, on a thread of
    /// its own.
    ///
    /// # Errors
    ///
    /// Why it has ended, if not in good order.
    fn wait(self: Box<Self>) -> Result<(), BoxError>;
}

/// Runs several services as one program.
///
/// [`run`](Runner::run) starts them in their order and waits until all have ended, until the first
/// fails, or until SIGINT or SIGTERM. In the last two cases it stops all that run, each in the time
/// that its own drain takes, and no longer than the [`deadline`](Runner::deadline); a second signal
/// ends the wait at once. A panic is a failure. The first failure is the result, however many follow.
///
/// A service that ends in good order leaves the others running.
///
/// # Examples
///
/// ```no_run
/// use mainspring_app::{BoxError, Runner, Stopping};
/// use mainspring_loop::{Action, Conn, Input, Server};
/// use std::process::ExitCode;
/// use std::time::Duration;
///
/// fn main() -> ExitCode {
///     Runner::new()
///         .service("echo", || {
///             Server::builder().start(|shard| {
///                 let echo = shard.host(|conn: &mut Conn<'_>, input: &mut Input<'_>| {
///                     conn.out().extend_from_slice(input.take());
///                     Action::Continue
///                 });
///                 shard.listen(echo, "tcp://localhost:5000").map(drop)
///             })
///         })
///         .job("sweeper", |stopping: &Stopping| {
///             while !stopping.wait_for(Duration::from_secs(60)) {
///                 // Sweep.
///             }
///             Ok::<(), BoxError>(())
///         })
///         .main()
/// }
/// ```
#[must_use = "nothing starts before `run` or `main`"]
pub struct Runner {
    starts: Vec<(String, Start)>,
    deadline: Option<Duration>,
    on_start: Option<Box<dyn FnOnce()>>,
    on_stop: Option<Box<dyn FnOnce()>>,
}

type Start = Box<dyn FnOnce() -> Result<Box<dyn Service>, BoxError>>;

impl Runner {
    /// Nothing to run, and half a minute to stop in.
    pub fn new() -> Self {
        let deadline = Some(Duration::from_secs(30));
        Self { starts: Vec::new(), deadline, on_start: None, on_stop: None }
    }

    /// Adds a service. `start` is called by [`run`](Runner::run), on its thread.
    pub fn service<S: Service, E: Into<BoxError>>(
        mut self,
        name: &str,
        start: impl FnOnce() -> Result<S, E> + 'static,
    ) -> Self {
        let start = || match start() {
            Ok(service) => Ok(Box::new(service) as Box<dyn Service>),
            Err(error) => Err(error.into()),
        };
        self.starts.push((name.to_owned(), Box::new(start)));
        self
    }

    /// Adds a function that runs on a thread of its own until it returns; it is to look at
    /// [`Stopping`] often enough.
    pub fn job<E: Into<BoxError>>(
        self,
        name: &str,
        work: impl FnOnce(&Stopping) -> Result<(), E> + Send + 'static,
    ) -> Self {
        self.service(name, move || Ok::<_, BoxError>(Job::new(work)))
    }

    /// How long services may take to stop, beyond which [`run`](Runner::run) returns
    /// [`Error::NotStopped`] and leaves them to the end of the process. Default 30 s; `None` is for
    /// ever.
    pub fn deadline(mut self, deadline: Option<Duration>) -> Self {
        self.deadline = deadline;
        self
    }

    /// Called when every service has been started: every server listens, and nothing says yet that
    /// any has served.
    pub fn on_start(mut self, call: impl FnOnce() + 'static) -> Self {
        self.on_start = Some(Box::new(call));
        self
    }

    /// Called when every service has ended, after the last callback of every server. Not when the
    /// end was cut short by a second signal or by the deadline.
    pub fn on_stop(mut self, call: impl FnOnce() + 'static) -> Self {
        self.on_stop = Some(Box::new(call));
        self
    }

    /// Runs until all is over. From here on SIGINT and SIGTERM are this function's; they do nothing
    /// any more when it has returned.
    ///
    /// # Errors
    ///
    /// The first failure of a start or of a service, or how the end was cut short.
    pub fn run(mut self) -> Result<(), Error> {
        let (tell, events) = channel();
        let _signals = Signals::watch(tell.clone())?;
        let mut run = Run::new(tell, events);
        for (name, start) in std::mem::take(&mut self.starts) {
            if run.goes_on() {
                run.start(name, start);
            }
        }
        if run.goes_on()
            && let Some(call) = self.on_start.take()
        {
            run.call("on_start", call);
        }
        run.until_ended(self.deadline)?;
        if let Some(call) = self.on_stop.take() {
            run.call("on_stop", call);
        }
        run.failure.map_or(Ok(()), Err)
    }

    /// As [`run`](Runner::run), for the end of `fn main`: a failure is logged, and said by the exit
    /// code, which is [`Error::exit_code`]'s.
    pub fn main(self) -> std::process::ExitCode {
        match self.run() {
            Ok(()) => std::process::ExitCode::SUCCESS,
            Err(error) => {
                tracing::error!(%error, "ended");
                error.exit_code().into()
            }
        }
    }
}

impl Default for Runner {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.starts.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Runner").field("services", &names).finish_non_exhaustive()
    }
}

impl Service for Running {
    fn stopper(&self) -> Stopper {
        let handle = self.handle();
        Box::new(move |stop| match stop {
            Stop::Drain => handle.drain(),
            Stop::AtOnce => handle.stop(),
        })
    }

    fn wait(self: Box<Self>) -> Result<(), BoxError> {
        Ok(self.join()?)
    }
}

/// What a run waits for.
enum Event {
    #[cfg_attr(not(unix), expect(dead_code, reason = "the system ends the process"))]
    Signal(i32),
    Ended {
        index: usize,
        failure: Option<Error>,
    },
}

/// A run under way.
struct Run {
    services: Vec<Started>,
    /// Unbounded, so that no event is lost: there is one end for each service, and signals of one
    /// kind are one while they wait.
    events: Receiver<Event>,
    tell: Sender<Event>,
    /// The first one.
    failure: Option<Error>,
    /// Since when everything has been told to stop.
    stopping: Option<Instant>,
    /// Why the run is not to wait until all have stopped.
    cut: Option<Error>,
}

struct Started {
    name: String,
    stopper: Stopper,
    ended: bool,
}

impl Run {
    fn new(tell: Sender<Event>, events: Receiver<Event>) -> Self {
        Self { services: Vec::new(), events, tell, failure: None, stopping: None, cut: None }
    }

    /// Whether nothing has happened that stops it.
    fn goes_on(&mut self) -> bool {
        while let Ok(event) = self.events.try_recv() {
            self.take(event);
        }
        self.stopping.is_none()
    }

    fn start(&mut self, name: String, start: Start) {
        let started = caught(&name, start).and_then(|started| {
            started.map_err(|cause| Error::Start { service: name.clone(), cause })
        });
        let spawned = started.and_then(|service| self.spawn(name, service));
        if let Err(error) = spawned {
            self.fail(error);
        }
    }

    /// Waits for a service on a thread of its own.
    fn spawn(&mut self, name: String, service: Box<dyn Service>) -> Result<(), Error> {
        let stopper = caught(&name, || service.stopper())?;
        let (index, tell, of) = (self.services.len(), self.tell.clone(), name.clone());
        let wait = move || {
            let ended = caught(&of, || service.wait()).and_then(|ended| {
                ended.map_err(|cause| Error::Failed { service: of.clone(), cause })
            });
            // A run that was cut short does not listen any more.
            let _ = tell.send(Event::Ended { index, failure: ended.err() });
        };
        std::thread::Builder::new().name(name.clone()).spawn(wait).map_err(Error::Thread)?;
        self.services.push(Started { name, stopper, ended: false });
        Ok(())
    }

    fn call(&mut self, name: &str, call: Box<dyn FnOnce()>) {
        if let Err(error) = caught(name, call) {
            self.fail(error);
        }
    }

    /// Waits until every service has ended.
    fn until_ended(&mut self, deadline: Option<Duration>) -> Result<(), Error> {
        while self.services.iter().any(|service| !service.ended) {
            if let Some(cut) = self.cut.take() {
                self.tell_all(Stop::AtOnce);
                return Err(self.failure.take().unwrap_or(cut));
            }
            let left = self.stopping.zip(deadline).map(|(since, deadline)| {
                deadline.saturating_sub(now().saturating_duration_since(since))
            });
            let event = match left {
                None => self.events.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(left) => self.events.recv_timeout(left),
            };
            match event {
                Ok(event) => self.take(event),
                Err(_) => self.cut = Some(self.not_stopped()),
            }
        }
        Ok(())
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Signal(signal) if self.stopping.is_some() => {
                tracing::warn!(signal, "stopping at once");
                self.cut = Some(Error::Interrupted { signal });
            }
            Event::Signal(signal) => {
                tracing::info!(signal, "draining; another signal stops at once");
                self.stop();
            }
            Event::Ended { index, failure } => {
                self.services[index].ended = true;
                if let Some(error) = failure {
                    self.fail(error);
                }
            }
        }
    }

    /// Keeps the first failure, logs the others, and stops everything.
    fn fail(&mut self, error: Error) {
        match &self.failure {
            None => self.failure = Some(error),
            Some(_) => tracing::error!(%error, "failed too"),
        }
        self.stop();
    }

    fn stop(&mut self) {
        if self.stopping.is_none() {
            self.stopping = Some(now());
            self.tell_all(Stop::Drain);
        }
    }

    fn tell_all(&self, stop: Stop) {
        for service in self.services.iter().filter(|service| !service.ended) {
            if let Err(error) = caught(&service.name, || (service.stopper)(stop)) {
                tracing::error!(%error, "cannot be stopped");
            }
        }
    }

    fn not_stopped(&self) -> Error {
        let left = self.services.iter().filter(|service| !service.ended);
        Error::NotStopped { services: left.map(|service| service.name.clone()).collect() }
    }
}

/// Calls what may panic.
fn caught<T>(service: &str, call: impl FnOnce() -> T) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|payload| Error::Panicked {
        service: service.to_owned(),
        message: message(payload.as_ref()),
    })
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "with a value that is no text".to_owned())
}

#[expect(clippy::disallowed_methods, reason = "it waits for threads, outside of every loop")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests;
