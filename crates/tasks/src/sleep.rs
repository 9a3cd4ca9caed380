//! Time, as the loop has it.

use crate::executor::Executor;
use crate::local;
use mainspring_loop::{Cx, TimerId};
use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// Waits for `after`, from the first poll, in steps of 1 ms and never less. Time is the loop's: in
/// simulation nothing sleeps.
///
/// # Panics
///
/// When it is polled outside of a task.
pub fn sleep(after: Duration) -> Sleep {
    Sleep { until: Until::After(after), place: None }
}

/// Waits until `instant` by the clock of the loop's driver, in steps of 1 ms and never less.
///
/// # Panics
///
/// When it is polled outside of a task.
pub fn sleep_until(instant: Instant) -> Sleep {
    Sleep { until: Until::At(instant), place: None }
}

/// The future of [`sleep`] and [`sleep_until`]. Dropping it takes its timer back.
#[derive(Debug)]
#[must_use = "futures do nothing unless they are awaited"]
pub struct Sleep {
    until: Until,
    place: Option<Place>,
}

/// Gives `future` the time `after`, counted from its first poll; then drops it.
///
/// # Errors
///
/// [`Elapsed`] if it was not ready in time.
///
/// # Panics
///
/// When it is polled outside of a task.
pub async fn timeout<F: Future>(after: Duration, future: F) -> Result<F::Output, Elapsed> {
    let (mut future, mut sleep) = (pin!(future), pin!(sleep(after)));
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Ok(output)),
        Poll::Pending => sleep.as_mut().poll(cx).map(|()| Err(Elapsed)),
    })
    .await
}

/// The time of a [`timeout`] was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not done in time")
    }
}

impl std::error::Error for Elapsed {}

impl From<Elapsed> for std::io::Error {
    fn from(elapsed: Elapsed) -> Self {
        Self::new(std::io::ErrorKind::TimedOut, elapsed)
    }
}

#[derive(Clone, Copy, Debug)]
enum Until {
    After(Duration),
    At(Instant),
}

/// Where an executor keeps a sleeper. Numbers, so that a `Sleep` may be sent about.
#[derive(Clone, Copy, Debug)]
struct Place {
    executor: u64,
    index: u32,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker();
        let Some(place) = self.place else {
            let executor = local::current("sleep");
            let waker = waker.clone();
            let index = executor.sleepers.borrow_mut().add(self.until, waker);
            executor.unsettle();
            self.place = Some(Place { executor: executor.number(), index });
            return Poll::Pending;
        };
        let Some(executor) = local::find(place.executor) else {
            // Its loop has ended, or is another thread's: nobody would wake it.
            return Poll::Ready(());
        };
        executor.poll_sleeper(place.index, waker)
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(place) = self.place
            && let Some(executor) = local::find(place.executor)
        {
            let waker = executor.sleepers.borrow_mut().remove(place.index);
            executor.unsettle();
            drop(waker);
        }
    }
}

/// The sleepers of one executor. The loop has a timer for each.
#[derive(Default)]
pub(crate) struct Sleepers {
    places: Vec<Option<Sleeper>>,
    vacant: Vec<u32>,
    by_timer: HashMap<TimerId, u32>,
    /// Sleepers without a timer, if they are still there.
    unarmed: Vec<u32>,
    /// Timers without a sleeper.
    orphans: Vec<TimerId>,
}

struct Sleeper {
    until: Until,
    timer: Option<TimerId>,
    /// `None` when the time has come.
    waker: Option<Waker>,
}

impl Sleepers {
    fn add(&mut self, until: Until, waker: Waker) -> u32 {
        let sleeper = Some(Sleeper { until, timer: None, waker: Some(waker) });
        let index = match self.vacant.pop() {
            Some(index) => {
                self.places[index as usize] = sleeper;
                index
            }
            None => {
                self.places.push(sleeper);
                u32::try_from(self.places.len() - 1).expect("fewer than 2^32 sleepers")
            }
        };
        self.unarmed.push(index);
        index
    }

    fn remove(&mut self, index: u32) -> Option<Waker> {
        let sleeper = self.places[index as usize].take()?;
        self.vacant.push(index);
        if let Some(timer) = sleeper.timer
            && self.by_timer.remove(&timer).is_some()
        {
            self.orphans.push(timer);
        }
        sleeper.waker
    }

    /// Arms and cancels the timers that follow from what tasks did.
    pub(crate) fn settle(&mut self, cx: &mut Cx<'_>) {
        for timer in self.orphans.drain(..) {
            cx.cancel_timer(timer);
        }
        for index in self.unarmed.drain(..) {
            let Some(sleeper) = &mut self.places[index as usize] else { continue };
            if sleeper.timer.is_some() {
                // The place has changed hands, and stands here twice.
                continue;
            }
            let after = match sleeper.until {
                Until::After(after) => after,
                Until::At(instant) => instant.saturating_duration_since(cx.now()),
            };
            let timer = cx.set_timer(after);
            sleeper.timer = Some(timer);
            let count = self.by_timer.len() + 1;
            if self.by_timer.capacity() < 2 * count {
                // A table that is at most half full is tidied up in its place, not in a new one.
                self.by_timer.reserve(3 * count);
            }
            self.by_timer.insert(timer, index);
        }
    }
}

impl Executor {
    fn poll_sleeper(&self, index: u32, waker: &Waker) -> Poll<()> {
        let fresh = waker.clone();
        let mut sleepers = self.sleepers.borrow_mut();
        let Some(sleeper) = &mut sleepers.places[index as usize] else { return Poll::Ready(()) };
        if sleeper.waker.is_none() {
            return Poll::Ready(());
        }
        let before = sleeper.waker.replace(fresh);
        drop(sleepers);
        drop(before);
        Poll::Pending
    }

    /// A timer of the handler fired.
    pub(crate) fn wake_sleeper(&self, timer: TimerId) {
        let mut sleepers = self.sleepers.borrow_mut();
        let Some(index) = sleepers.by_timer.remove(&timer) else { return };
        let waker = sleepers.places[index as usize].as_mut().and_then(|it| it.waker.take());
        drop(sleepers);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
