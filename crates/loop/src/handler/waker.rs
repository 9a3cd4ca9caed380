//! Wakes of one handler that cannot fail.

use crate::server::shared::{LoopShared, ServerShared};
use std::cell::Cell;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;

thread_local! {
    /// The loop that this thread is turning; null between turns.
    static TURNING: Cell<*const LoopShared> = const { Cell::new(ptr::null()) };
}

/// What is behind the [`Waker`](std::task::Waker) of a handler.
///
/// The loop looks in each turn, and before it sleeps, whether any of its handlers was woken, and at
/// their wakers only then. So a wake from within a turn needs neither the inbox nor the driver, and
/// no wake needs a place in a queue.
pub(crate) struct HandlerWaker {
    shared: Arc<ServerShared>,
    home: u16,
    told: AtomicBool,
}

impl HandlerWaker {
    pub(crate) fn new(shared: Arc<ServerShared>, home: u16) -> Self {
        Self { shared, home, told: AtomicBool::new(false) }
    }

    /// For the loop: takes the wakes that wait, all as one. To be called before the callback: what
    /// is reported while that runs is worth another one.
    pub(crate) fn take(&self) -> bool {
        self.told.swap(false, Ordering::SeqCst)
    }
}

impl Wake for HandlerWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.told.swap(true, Ordering::SeqCst) {
            return;
        }
        let home = &self.shared.loops[usize::from(self.home)];
        home.note_woken_handler();
        if !ptr::eq(TURNING.get(), Arc::as_ptr(home)) {
            home.inbox.notify();
        }
    }
}

/// Notes which loop the thread turns, until dropped.
pub(crate) struct Turning {
    before: *const LoopShared,
}

impl Turning {
    pub(crate) fn begin(home: &LoopShared) -> Self {
        Self { before: TURNING.replace(home) }
    }
}

impl Drop for Turning {
    fn drop(&mut self) {
        TURNING.set(self.before);
    }
}
