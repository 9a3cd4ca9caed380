//! Wakes of one connection that cannot fail.

use crate::ConnId;
use crate::conn::slot::Flags;
use crate::server::shared::ServerShared;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;

/// What is behind the [`Waker`](std::task::Waker) of a connection.
///
/// At most one wake of each waker waits in its loop, so that their queue is bounded by the wakers
/// that there are and needs no other limit.
pub(crate) struct ConnWaker {
    shared: Arc<ServerShared>,
    id: ConnId,
    queued: AtomicBool,
}

impl ConnWaker {
    pub(crate) fn new(shared: Arc<ServerShared>, id: ConnId) -> Self {
        Self { shared, id, queued: AtomicBool::new(false) }
    }
}

impl Wake for ConnWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.queued.swap(true, Ordering::SeqCst) {
            return;
        }
        let this = self.clone();
        self.shared.loops[usize::from(self.id.home)].finish(Box::new(move |_, state| {
            // Before the callback: what is reported while it runs is worth another one.
            this.queued.store(false, Ordering::SeqCst);
            state.owe(this.id.key, Flags::WOKEN);
        }));
    }
}
