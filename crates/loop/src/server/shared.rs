//! What the loops of one server share: nothing on the way of a byte.

use crate::remote::inbox::Inbox;
use crate::remote::post::{Post, Work};
use crate::server::offload::Offload;
use crate::stats::LoopCounters;
use crate::{Balance, Error, Limits, ServerStats};
use concurrent_queue::ConcurrentQueue;
use mainspring_io::Addr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub(crate) struct ServerShared {
    pub(crate) loops: Vec<Arc<LoopShared>>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) balance: Balance,
    pub(crate) drain: Duration,
    pub(crate) seed: u64,
    pub(crate) offload: Offload,
    /// The bound addresses, by listener.
    addrs: Mutex<Vec<Addr>>,
    /// Connections open or being opened, against `Limits::connections_max`.
    connections: AtomicUsize,
    /// The most there have been.
    connections_peak: AtomicUsize,
    /// Why the server was aborted.
    aborted: Mutex<Option<Cause>>,
    /// Whether the log has why a loop runs without a ring.
    #[cfg(target_os = "linux")]
    fallback_told: AtomicBool,
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What others know of one loop.
pub(crate) struct LoopShared {
    pub(crate) inbox: Inbox<Post>,
    /// Answers of the offload pool. No more than there are jobs, which are bounded.
    pub(crate) finished: ConcurrentQueue<Work>,
    pub(crate) counters: Arc<LoopCounters>,
    /// Whether wakers of handlers have been used since the loop looked at them.
    handlers_woken: AtomicBool,
    /// Connections assigned to the loop, those on their way included.
    load: AtomicUsize,
}

/// What a server can be told from any thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    StopListening,
    CloseAll,
    Drain,
    Stop,
    Abort,
}

impl ServerShared {
    pub(crate) fn new(
        loops: usize,
        limits: Limits,
        balance: Balance,
        drain: Duration,
        seed: u64,
        offload: Offload,
    ) -> Arc<Self> {
        Arc::new(Self {
            loops: (0..loops).map(|_| Arc::new(LoopShared::new(&limits))).collect(),
            limits: Arc::new(limits),
            balance,
            drain,
            seed,
            offload,
            addrs: Mutex::default(),
            connections: AtomicUsize::new(0),
            connections_peak: AtomicUsize::new(0),
            aborted: Mutex::default(),
            #[cfg(target_os = "linux")]
            fallback_told: AtomicBool::new(false),
        })
    }

    /// Tells every loop. Control has a queue of its own, so that a full inbox cannot keep a server
    /// from stopping.
    pub(crate) fn control(&self, control: Control) {
        for home in &self.loops {
            home.finish(Box::new(move |_, state| state.controls.push(control)));
        }
    }

    /// Logs, once for all loops, why they run on readiness.
    #[cfg(target_os = "linux")]
    pub(crate) fn tell_fallback(&self, reason: &dyn std::fmt::Display) {
        if !self.fallback_told.swap(true, Ordering::Relaxed) {
            crate::panic::log(|| tracing::info!("{reason}; the loops wait by readiness instead"));
        }
    }

    /// Counts a connection in, unless there are too many.
    pub(crate) fn reserve_connection(&self) -> bool {
        let max = self.limits.connections_max;
        let add = |open: usize| (open < max).then_some(open + 1);
        let before = self.connections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        if let Ok(before) = before {
            self.connections_peak.fetch_max(before + 1, Ordering::Relaxed);
        }
        before.is_ok()
    }

    pub(crate) fn assign_connection(&self, home: u16) {
        self.loops[usize::from(home)].load.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn reassign_connection(&self, from: u16, to: u16) {
        self.loops[usize::from(from)].load.fetch_sub(1, Ordering::Relaxed);
        self.assign_connection(to);
    }

    /// Counts an assigned connection out.
    pub(crate) fn release_connection(&self, home: u16) {
        self.loops[usize::from(home)].load.fetch_sub(1, Ordering::Relaxed);
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// Notes why the server is aborted; the first cause stays.
    pub(crate) fn set_abort(&self, cause: Cause) {
        self.aborted.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(cause);
    }

    /// How the server ended whose loops ended so.
    pub(crate) fn outcome(&self, loops: Result<(), Error>) -> Result<(), Error> {
        let aborted = self.aborted.lock().unwrap_or_else(PoisonError::into_inner).take();
        loops.and(aborted.map_or(Ok(()), |cause| Err(Error::Aborted(cause))))
    }

    /// The bound address of a listener that some loop has opened already.
    pub(crate) fn addr(&self, listener: usize) -> Option<Addr> {
        self.addrs.lock().unwrap_or_else(PoisonError::into_inner).get(listener).cloned()
    }

    pub(crate) fn set_addr(&self, listener: usize, addr: &Addr) {
        let mut addrs = self.addrs.lock().unwrap_or_else(PoisonError::into_inner);
        if addrs.len() == listener {
            addrs.push(addr.clone());
        }
    }

    pub(crate) fn addrs(&self) -> Vec<Addr> {
        self.addrs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn stats(&self) -> ServerStats {
        let loops = self.loops.iter().map(|home| home.counters.snapshot()).collect();
        ServerStats::of(loops, self.connections_peak.load(Ordering::Relaxed))
    }
}

impl LoopShared {
    fn new(limits: &Limits) -> Self {
        Self {
            inbox: Inbox::new(limits.inbox_max, limits.inbox_bytes_max),
            finished: ConcurrentQueue::unbounded(),
            counters: Arc::default(),
            handlers_woken: AtomicBool::new(false),
            load: AtomicUsize::new(0),
        }
    }

    /// A waker of a handler of this loop has been used.
    pub(crate) fn note_woken_handler(&self) {
        self.handlers_woken.store(true, Ordering::SeqCst);
    }

    pub(crate) fn has_woken_handlers(&self) -> bool {
        self.handlers_woken.load(Ordering::Relaxed)
    }

    /// Whether to look at the wakers of the handlers: those used from now on ask for another look.
    pub(crate) fn take_woken_handlers(&self) -> bool {
        self.has_woken_handlers() && self.handlers_woken.swap(false, Ordering::SeqCst)
    }

    /// Queues work that is bounded by other means, and ends the loop's sleep.
    pub(crate) fn finish(&self, work: Work) {
        if self.finished.push(work).is_ok() {
            self.inbox.notify();
        }
    }

    pub(crate) fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }

    /// Refuses everything from now on. What is queued stays for [`Inbox::pop`].
    pub(crate) fn close(&self) {
        self.inbox.close();
        self.finished.close();
    }
}
