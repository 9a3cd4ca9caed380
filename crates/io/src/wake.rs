//! Ends a sleeping poll from any thread, whatever the poll sleeps on.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Wake, Waker};

/// How often a wake is tried that the kernel refuses. What `eventfd(2)` and its like can answer
/// besides success passes: an interrupt, a full counter. A wake that is given up leaves the
/// sender's work lying until something else ends the poll.
const ATTEMPTS: usize = 64;

/// What ends a sleep in the kernel.
pub(crate) trait KernelWake: Send + Sync + 'static {
    /// Ends the present sleep or the next. Called by signal handlers too: it must make system calls
    /// only, and neither lock nor allocate.
    fn wake(&self) -> io::Result<()>;
}

impl KernelWake for mio::Waker {
    fn wake(&self) -> io::Result<()> {
        mio::Waker::wake(self)
    }
}

/// The driver's end of its wakers, which share it and may outlive it.
#[derive(Debug)]
pub(crate) struct WakeFlag<K> {
    kernel: K,
    /// Set by the first wake after a poll has seen the last one: the others need no system call.
    raised: AtomicBool,
    /// The set of caught signals that have arrived and have not been taken.
    signals: AtomicU64,
}

impl<K: KernelWake> WakeFlag<K> {
    pub(crate) fn new(kernel: K) -> Arc<Self> {
        Arc::new(Self { kernel, raised: AtomicBool::new(false), signals: AtomicU64::new(0) })
    }

    /// What the sleep is ended with.
    #[cfg(target_os = "linux")]
    pub(crate) fn kernel(&self) -> &K {
        &self.kernel
    }

    pub(crate) fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }

    /// The poll saw the wake. Whoever finds the flag raised until here has published what it
    /// woke for, and that is seen by all that follows in this turn: hence acquire and release.
    /// Returns the signals that have arrived, as a set.
    pub(crate) fn lower(&self) -> u64 {
        self.raised.swap(false, Ordering::AcqRel);
        self.signals.swap(0, Ordering::AcqRel)
    }

    /// A signal has arrived: `bit` stands for it in the set. Runs in a signal handler.
    #[cfg(unix)]
    pub(crate) fn signal_arrived(&self, bit: u64) {
        self.signals.fetch_or(bit, Ordering::AcqRel);
        self.end_sleep();
    }

    fn end_sleep(&self) {
        if self.raised.swap(true, Ordering::AcqRel) {
            return;
        }
        let woken = (0..ATTEMPTS).any(|_| self.kernel.wake().is_ok());
        if !woken {
            // It must not keep later ones from trying.
            self.raised.store(false, Ordering::Release);
        }
    }
}

impl<K: KernelWake> Wake for WakeFlag<K> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.end_sleep();
    }
}
