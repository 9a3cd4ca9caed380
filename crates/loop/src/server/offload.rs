//! Blocking work beside the loops: names, files, computation.

use crate::handler::host::Host;
use crate::remote::post::Work;
use crate::state::LoopState;
use crate::{Cx, Full, Handler, HostId, Limits};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

/// A job that ends in something to do on a loop.
type Job = Box<dyn FnOnce() + Send>;

/// Where jobs run.
pub(crate) enum Offload {
    /// On a bounded number of threads, started as they are needed and sleeping while there is
    /// nothing to do.
    Threads(Pool),
    /// At once, on the loop's own thread: what a simulation needs to be repeatable.
    Inline,
}

pub(crate) struct Pool {
    jobs: SyncSender<Job>,
    waiting: Arc<Mutex<Receiver<Job>>>,
    /// Threads started.
    threads: Mutex<usize>,
    threads_max: usize,
    /// Jobs queued or running.
    busy: Arc<AtomicUsize>,
}

impl Offload {
    pub(crate) fn threads(limits: &Limits) -> Self {
        let (jobs, waiting) = sync_channel(limits.offload_max);
        Self::Threads(Pool {
            jobs,
            waiting: Arc::new(Mutex::new(waiting)),
            threads: Mutex::new(0),
            threads_max: limits.offload_threads,
            busy: Arc::default(),
        })
    }

    fn run(&self, job: Job) -> Result<(), Full> {
        match self {
            Self::Inline => watched(job),
            Self::Threads(pool) => pool.run(job)?,
        }
        Ok(())
    }
}

impl Pool {
    fn run(&self, job: Job) -> Result<(), Full> {
        let queued = self.busy.fetch_add(1, Ordering::Relaxed) + 1;
        match self.jobs.try_send(job) {
            Ok(()) => self.start_thread_for(queued),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.busy.fetch_sub(1, Ordering::Relaxed);
                return Err(Full);
            }
        }
        Ok(())
    }

    /// Starts another thread while there are fewer than there are jobs queued or running.
    fn start_thread_for(&self, jobs: usize) {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        if *threads >= jobs.min(self.threads_max) {
            return;
        }
        let (waiting, busy) = (self.waiting.clone(), self.busy.clone());
        let name = format!("mainspring-offload-{threads}");
        let work = move || {
            loop {
                // The lock is held while waiting: one thread waits in the channel, the others for
                // the lock.
                let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok(job) = job else { return };
                watched(job);
                busy.fetch_sub(1, Ordering::Relaxed);
            }
        };
        match std::thread::Builder::new().name(name).spawn(work) {
            Ok(_) => *threads += 1,
            Err(error) => {
                crate::panic::log(|| tracing::error!(%error, "cannot start an offload thread"))
            }
        }
    }
}

/// A job that panics ends neither its thread nor, in simulation, the callback that gave it.
fn watched(job: Job) {
    if let Err(panic) = crate::panic::caught(job) {
        panic.log(&"offloaded job");
    }
}

impl LoopState {
    /// Runs `job` on the offload pool and what it returns on this loop.
    pub(crate) fn offload(&self, job: impl FnOnce() -> Work + Send + 'static) -> Result<(), Full> {
        let (shared, home) = (self.shared.clone(), usize::from(self.index));
        self.shared.offload.run(Box::new(move || {
            let work = job();
            shared.loops[home].finish(work);
        }))
    }
}

impl Cx<'_> {
    /// Runs `job` on the offload pool, then `then` with its result on the handler `host` of this
    /// loop.
    ///
    /// For work that would block: files, name look-ups, long computations. A job that panics is
    /// caught and logged by the pool, and `then` is dropped uncalled, as it is when the loop ends
    /// before the job. In simulation the job runs at once.
    ///
    /// # Errors
    ///
    /// [`Full`] if [`Limits::offload_max`](crate::Limits::offload_max) jobs are waiting.
    pub fn offload<H: Handler, T: Send + 'static>(
        &mut self,
        host: HostId<H>,
        job: impl FnOnce() -> T + Send + 'static,
        then: impl FnOnce(&mut H, &mut Cx<'_>, T) + Send + 'static,
    ) -> Result<(), Full> {
        let index = host.index;
        self.state.offload(move || {
            let result = job();
            Box::new(move |hosts: &mut [Box<dyn Host>], state: &mut LoopState| {
                let handler = hosts[index as usize].handler().downcast_mut::<H>();
                let handler = handler.expect("a typed id names the handler's type");
                then(handler, &mut Cx { state, host: index }, result);
            })
        })
    }
}
