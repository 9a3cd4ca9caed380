//! A task: a future, and what is known of it from outside.

use crate::local;
use crate::waiting::Waiting;
use mainspring_loop::ConnId;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Wake, Waker};

pub(crate) type LocalFuture = Pin<Box<dyn Future<Output = ()>>>;

/// What a panic brings, and the loop is to have.
pub(crate) type Payload = Box<dyn Any + Send>;

/// A panic of a task, as the hook of [`Tasks::on_panic`](crate::Tasks::on_panic) gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskPanic {
    /// The connection that the task was made for; `None` for a task of [`spawn`](crate::spawn).
    pub conn: Option<ConnId>,
    /// What the panic said.
    pub message: String,
}

/// Names a task of an executor, and no later one in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TaskKey {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Done,
    Cancelled,
    Panicked(String),
}

pub(crate) struct Task {
    pub(crate) key: TaskKey,
    /// Absent while it is polled, and when it has ended.
    pub(crate) future: Cell<Option<LocalFuture>>,
    /// The connection in whose callbacks it is polled.
    pub(crate) conn: Cell<Option<ConnId>>,
    /// To be dropped in place of the next poll.
    pub(crate) cancelled: Cell<bool>,
    pub(crate) end: RefCell<Option<End>>,
    /// Who waits for the end.
    pub(crate) joiner: Waiting,
    pub(crate) waker: Waker,
    place: Arc<TaskWaker>,
}

impl Task {
    pub(crate) fn new(
        key: TaskKey,
        future: LocalFuture,
        conn: Option<ConnId>,
        mailbox: Arc<Mailbox>,
    ) -> Self {
        let place = Arc::new(TaskWaker { key, queued: AtomicBool::new(false), mailbox });
        Self {
            key,
            future: Cell::new(Some(future)),
            conn: Cell::new(conn),
            cancelled: Cell::new(false),
            end: RefCell::new(None),
            joiner: Waiting::default(),
            waker: place.clone().into(),
            place,
        }
    }

    /// Wakes that come from now on are worth another poll.
    pub(crate) fn leave_queue(&self) {
        self.place.queued.store(false, Ordering::SeqCst);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.end.borrow().is_some()
    }

    /// Has the task dropped by the executor, where a panic of its parts is caught.
    pub(crate) fn cancel(&self) {
        if !self.is_over() && !self.cancelled.replace(true) {
            self.waker.wake_by_ref();
        }
    }
}

/// What is behind the waker of a task. A task stands at most once in the queues.
struct TaskWaker {
    key: TaskKey,
    queued: AtomicBool,
    mailbox: Arc<Mailbox>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::SeqCst) {
            self.mailbox.put(self.key);
        }
    }
}

/// The part of an executor that other threads reach.
pub(crate) struct Mailbox {
    /// The executor's number, of all in the process.
    pub(crate) number: u64,
    /// Tasks woken by other threads; no more than there are tasks.
    woken: Mutex<Vec<TaskKey>>,
    /// Has the loop call the handler.
    notifier: OnceLock<Waker>,
}

impl Mailbox {
    pub(crate) fn new(number: u64) -> Self {
        Self { number, woken: Mutex::default(), notifier: OnceLock::new() }
    }

    pub(crate) fn set_notifier(&self, notifier: Waker) {
        let _ = self.notifier.set(notifier);
    }

    /// Has the handler called, in this turn or the next.
    pub(crate) fn notify(&self) {
        if let Some(notifier) = self.notifier.get() {
            notifier.wake_by_ref();
        }
    }

    fn put(&self, key: TaskKey) {
        match local::find(self.number) {
            Some(executor) => executor.enqueue(key),
            None => self.woken.lock().unwrap_or_else(PoisonError::into_inner).push(key),
        }
        self.notify();
    }

    /// Moves what other threads have woken to the end of `queue`.
    pub(crate) fn empty_into(&self, queue: &mut impl Extend<TaskKey>) {
        let mut woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
        queue.extend(woken.drain(..));
    }
}

/// What a panic said, if it said it in text.
pub(crate) fn message(payload: &Payload) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("(no message)").to_owned()
}
