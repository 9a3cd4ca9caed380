//! A list of lines that several threads write and a test waits for.

use super::PATIENCE;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Shared>);

#[derive(Default)]
struct Shared {
    lines: Mutex<Vec<String>>,
    added: Condvar,
    numbers: AtomicU64,
    tags: AtomicU64,
}

impl Log {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn add(&self, line: impl Into<String>) {
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line.into());
        self.0.added.notify_all();
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn count(&self, prefix: &str) -> usize {
        self.lines().iter().filter(|line| line.starts_with(prefix)).count()
    }

    /// Waits until `count` lines begin with `prefix`, and returns them.
    #[track_caller]
    pub(crate) fn wait_for(&self, count: usize, prefix: &str) -> Vec<String> {
        let until = Instant::now() + PATIENCE;
        let mut lines = self.0.lines.lock().unwrap();
        loop {
            let found = lines.iter().filter(|line| line.starts_with(prefix));
            let found: Vec<String> = found.cloned().collect();
            if found.len() >= count {
                return found;
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited for {count} x {prefix:?}, got {lines:#?}");
            lines = self.0.added.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// 1, 2, 3, ..
    pub(crate) fn number(&self) -> u64 {
        self.0.numbers.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// How many [`Tag`](super::Tag)s with this log are alive.
    pub(crate) fn tags(&self) -> u64 {
        self.0.tags.load(Ordering::SeqCst)
    }

    pub(super) fn tag_made(&self) {
        self.0.tags.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn tag_dropped(&self) {
        self.0.tags.fetch_sub(1, Ordering::SeqCst);
    }
}
