//! One place to wait at.

use std::cell::{Cell, RefCell};
use std::task::Waker;

/// The waker of whoever waits for one thing, kept when it has been used: the next wait is mostly of
/// the same task and then costs no clone.
///
/// Wakers are code of the user's. None is called, cloned or dropped while the place is borrowed; to
/// compare them calls nothing.
#[derive(Default)]
pub(crate) struct Waiting {
    waker: RefCell<Option<Waker>>,
    waits: Cell<bool>,
}

impl Waiting {
    /// Has `waker` woken by the next [`wake`](Waiting::wake).
    pub(crate) fn register(&self, waker: &Waker) {
        if !self.has(waker) {
            self.keep(waker);
        }
        self.waits.set(true);
    }

    #[inline(never)]
    fn keep(&self, waker: &Waker) {
        drop(self.waker.replace(Some(waker.clone())));
    }

    fn has(&self, waker: &Waker) -> bool {
        self.waker.borrow().as_ref().is_some_and(|kept| kept.will_wake(waker))
    }

    /// Whether anybody waits.
    pub(crate) fn is_awaited(&self) -> bool {
        self.waits.get()
    }

    /// Wakes whoever waits.
    pub(crate) fn wake(&self) {
        if self.waits.replace(false)
            && let Some(waker) = self.waker.take()
        {
            waker.wake();
        }
    }

    /// If it is `waker` that waits, ends its wait without waking it.
    pub(crate) fn release(&self, waker: &Waker) -> bool {
        let is_it = self.waits.get() && self.has(waker);
        if is_it {
            self.waits.set(false);
        }
        is_it
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl Wake for Counting {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn the_last_who_waits_is_woken_once() {
        let (one, other) = (Arc::new(Counting::default()), Arc::new(Counting::default()));
        let (first, second) = (Waker::from(one.clone()), Waker::from(other.clone()));
        let waiting = Waiting::default();
        waiting.wake();
        waiting.register(&first);
        waiting.register(&second);
        assert!(!waiting.release(&first) && waiting.is_awaited());
        waiting.wake();
        waiting.wake();
        let woken = |who: &Counting| who.0.load(Ordering::Relaxed);
        assert_eq!((woken(&one), woken(&other)), (0, 1));
        waiting.register(&first);
        assert!(waiting.release(&first) && !waiting.release(&first));
        waiting.wake();
        assert_eq!(woken(&one), 0, "released, not woken");
    }
}
