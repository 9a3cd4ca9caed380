//! A server that drains, as tasks see it.

use crate::local;
use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// Ready when a graceful stop of the server has begun
/// ([`Handle::drain`](mainspring_loop::Handle::drain)), or had: the time to finish the request at
/// hand and return.
///
/// A task that waits for its next request in a
/// [`timeout`](crate::timeout) or a `select` with this ends at once, and so lets the server end
/// before its drain time is over.
///
/// # Panics
///
/// When it is polled outside of a task.
pub fn draining() -> Draining {
    Draining { place: None }
}

/// The future of [`draining`].
#[derive(Debug)]
#[must_use = "futures do nothing unless they are awaited"]
pub struct Draining {
    place: Option<Place>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    executor: u64,
    index: usize,
}

impl Future for Draining {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let executor = local::current("draining");
        if executor.drain.begun.get() {
            return Poll::Ready(());
        }
        let place = self.place.filter(|place| place.executor == executor.number());
        let index = executor.drain.wait(place.map(|place| place.index), cx.waker());
        self.place = Some(Place { executor: executor.number(), index });
        Poll::Pending
    }
}

impl Drop for Draining {
    fn drop(&mut self) {
        if let Some(place) = self.place
            && let Some(executor) = local::find(place.executor)
        {
            executor.drain.leave(place.index);
        }
    }
}

/// Those of one executor that wait for the drain.
#[derive(Default)]
pub(crate) struct DrainWaiters {
    begun: Cell<bool>,
    waiters: RefCell<Waiters>,
}

#[derive(Default)]
struct Waiters {
    wakers: Vec<Option<Waker>>,
    vacant: Vec<usize>,
}

impl DrainWaiters {
    pub(crate) fn begin(&self) {
        self.begun.set(true);
        let count = self.waiters.borrow().wakers.len();
        for index in 0..count {
            let waker = self.waiters.borrow_mut().wakers[index].take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// Has `waker` woken, in the place that it has, or a new one.
    fn wait(&self, place: Option<usize>, waker: &Waker) -> usize {
        let waker = waker.clone();
        let mut waiters = self.waiters.borrow_mut();
        let index = place.or_else(|| waiters.vacant.pop()).unwrap_or_else(|| {
            waiters.wakers.push(None);
            waiters.wakers.len() - 1
        });
        let before = waiters.wakers[index].replace(waker);
        drop(waiters);
        drop(before);
        index
    }

    fn leave(&self, index: usize) {
        let mut waiters = self.waiters.borrow_mut();
        let waker = waiters.wakers[index].take();
        waiters.vacant.push(index);
        drop(waiters);
        drop(waker);
    }
}
