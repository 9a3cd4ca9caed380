//! Tasks of tasks.

use crate::local;
use crate::task::{End, Task};
use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Runs a future beside the task that calls this, on the same loop. It is polled for the first time
/// in this turn or the next.
///
/// Dropping the handle cancels the task; [`JoinHandle::detach`] lets it run to its end.
///
/// # Panics
///
/// Outside of a task. From elsewhere there is [`Tasks::spawn`](crate::Tasks::spawn).
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
{
    spawn_on(&local::current("spawn"), future)
}

pub(crate) fn spawn_on<F>(executor: &crate::executor::Executor, future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
{
    let result = Rc::new(Cell::new(None));
    let slot = result.clone();
    let task = executor.insert(Box::pin(async move { slot.set(Some(future.await)) }), None);
    task.waker.wake_by_ref();
    JoinHandle { task, result, cancels: true }
}

/// Lets everything else that is ready have its turn.
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A task of [`spawn`]: a future of its result.
#[must_use = "dropping it cancels the task; `detach` lets it run"]
pub struct JoinHandle<T> {
    task: Rc<Task>,
    result: Rc<Cell<Option<T>>>,
    cancels: bool,
}

impl<T> JoinHandle<T> {
    /// Cancels the task: its future is dropped before it would be polled again. The handle then
    /// tells [`JoinError::Cancelled`], or the result if there was one already.
    pub fn abort(&self) {
        self.task.cancel();
    }

    /// Lets the task run to its end. A panic of it is still counted, logged and told to the hook.
    pub fn detach(mut self) {
        self.cancels = false;
    }

    /// Whether the task has ended, in whatever way.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.is_over()
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = match &*self.task.end.borrow() {
            Some(End::Done) => self.result.take().ok_or(JoinError::Cancelled),
            Some(End::Cancelled) => Err(JoinError::Cancelled),
            Some(End::Panicked(message)) => Err(JoinError::Panicked(message.clone())),
            None => {
                self.task.joiner.register(cx.waker());
                return Poll::Pending;
            }
        };
        Poll::Ready(answer)
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        if self.cancels {
            self.task.cancel();
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("finished", &self.is_finished()).finish_non_exhaustive()
    }
}

/// Why a task has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JoinError {
    /// It was cancelled before it was done, or its result has been taken.
    Cancelled,
    /// It panicked, with this message.
    Panicked(String),
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled => f.write_str("the task was cancelled"),
            Self::Panicked(message) => write!(f, "the task panicked: {message}"),
        }
    }
}

impl std::error::Error for JoinError {}
