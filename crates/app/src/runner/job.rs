//! A function as a service.

use super::{BoxError, Service, Stopper};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Tells a job that it is to end.
#[derive(Debug, Default)]
pub struct Stopping {
    told: Mutex<bool>,
    changed: Condvar,
}

impl Stopping {
    /// Whether it is to end.
    #[must_use]
    pub fn is_told(&self) -> bool {
        *self.lock()
    }

    /// Sleeps until it is to end.
    pub fn wait(&self) {
        drop(self.changed.wait_while(self.lock(), |told| !*told));
    }

    /// Sleeps for `time` or until it is to end, and says whether it is: what a job that does
    /// something regularly loops over.
    #[must_use]
    pub fn wait_for(&self, time: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(self.lock(), time, |told| !*told);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn tell(&self) {
        *self.lock() = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The service.
pub(super) struct Job<F> {
    work: F,
    stopping: Arc<Stopping>,
}

impl<F> Job<F> {
    pub(super) fn new(work: F) -> Self {
        Self { work, stopping: Arc::default() }
    }
}

impl<F, E> Service for Job<F>
where
    F: FnOnce(&Stopping) -> Result<(), E> + Send + 'static,
    E: Into<BoxError>,
{
    fn stopper(&self) -> Stopper {
        let stopping = self.stopping.clone();
        Box::new(move |_| stopping.tell())
    }

    fn wait(self: Box<Self>) -> Result<(), BoxError> {
        (self.work)(&self.stopping).map_err(Into::into)
    }
}
