//! What threads count.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The live figures of a [`Threads`](crate::Threads), readable from any thread.
#[derive(Clone, Debug, Default)]
pub struct ThreadMeter(Arc<Figures>);

#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) live: Figure,
    pub(super) live_max: Figure,
    pub(super) waiting: Figure,
    pub(super) served: Figure,
    pub(super) panicked: Figure,
    pub(super) refused: Figure,
    pub(super) waited_too_long: Figure,
    pub(super) unsuitable: Figure,
    pub(super) failed: Figure,
    pub(super) abandoned: Figure,
}

#[derive(Debug, Default)]
pub(super) struct Figure(AtomicU64);

impl Figure {
    pub(super) fn add(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn sub(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn raise_to(&self, value: u64) {
        self.0.fetch_max(value, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A snapshot of a [`ThreadMeter`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ThreadStats {
    /// Connections that have a thread now.
    pub live: u64,
    /// The most there have been at a time.
    pub live_max: u64,
    /// Connections that wait for a thread now.
    pub waiting: u64,
    /// Connections whose code has returned.
    pub served: u64,
    /// Connections whose code has panicked.
    pub panicked: u64,
    /// Connections refused because the queue was full.
    pub refused: u64,
    /// Connections closed because no thread had time for them.
    pub waited_too_long: u64,
    /// Connections of the wrong kind.
    pub unsuitable: u64,
    /// Connections for which there was no thread or no descriptor.
    pub failed: u64,
    /// Threads that had not ended when the server had.
    pub abandoned: u64,
}

impl ThreadMeter {
    /// The figures as they are now.
    #[must_use]
    pub fn snapshot(&self) -> ThreadStats {
        let figures = self.figures();
        ThreadStats {
            live: figures.live.get(),
            live_max: figures.live_max.get(),
            waiting: figures.waiting.get(),
            served: figures.served.get(),
            panicked: figures.panicked.get(),
            refused: figures.refused.get(),
            waited_too_long: figures.waited_too_long.get(),
            unsuitable: figures.unsuitable.get(),
            failed: figures.failed.get(),
            abandoned: figures.abandoned.get(),
        }
    }

    pub(super) fn figures(&self) -> &Figures {
        &self.0
    }
}
