//! The tasks of one handler: their queue, and what they want of the loop.

use crate::dial::Dial;
use crate::drain::DrainWaiters;
use crate::link::Link;
use crate::local::Entered;
use crate::sleep::Sleepers;
use crate::task::{End, LocalFuture, Mailbox, Payload, Task, TaskKey, TaskPanic, message};
use mainspring_loop::{ConnId, Cx};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

/// What a handler has counted of its tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskStats {
    /// Tasks that live now, those of connections and those of [`spawn`](crate::spawn).
    pub running: u64,
    /// Tasks that were made.
    pub started: u64,
    /// Tasks that ended by a panic. The loop counts them among its panics too.
    pub panicked: u64,
    /// Tasks that were cancelled.
    pub cancelled: u64,
    /// Bytes that tasks wrote and that came too late for their connection.
    pub dropped_bytes: u64,
}

type Hook = Box<dyn FnMut(&TaskPanic)>;

/// The tasks of one handler. It is reached by the handler, by streams, and by wakers of this thread;
/// none of its cells is borrowed while code of the user's runs.
pub(crate) struct Executor {
    pub(crate) mailbox: Arc<Mailbox>,
    tasks: RefCell<Places>,
    /// Tasks to poll, in the order in which they were woken.
    queue: RefCell<VecDeque<TaskKey>>,
    /// Connections on which something was changed that the loop has to hear of.
    touched: RefCell<Vec<Rc<Link>>>,
    pub(crate) dials: RefCell<Vec<Dial>>,
    pub(crate) sleepers: RefCell<Sleepers>,
    pub(crate) drain: DrainWaiters,
    /// Whether [`settle`](Executor::settle) has anything to do.
    unsettled: Cell<bool>,
    /// `Limits::output_high`.
    pub(crate) output_high: Cell<usize>,
    pub(crate) stats: Cell<TaskStats>,
    hook: Cell<Option<Hook>>,
}

/// Tasks by their keys.
#[derive(Default)]
struct Places {
    places: Vec<Place>,
    vacant: Vec<u32>,
}

#[derive(Default)]
struct Place {
    generation: u32,
    task: Option<Rc<Task>>,
}

impl Executor {
    pub(crate) fn new() -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        Self {
            mailbox: Arc::new(Mailbox::new(NUMBERS.fetch_add(1, Ordering::Relaxed))),
            tasks: RefCell::default(),
            queue: RefCell::default(),
            touched: RefCell::default(),
            dials: RefCell::default(),
            sleepers: RefCell::default(),
            drain: DrainWaiters::default(),
            unsettled: Cell::new(false),
            output_high: Cell::new(usize::MAX),
            stats: Cell::default(),
            hook: Cell::default(),
        }
    }

    pub(crate) fn number(&self) -> u64 {
        self.mailbox.number
    }

    pub(crate) fn set_hook(&self, hook: Hook) {
        self.hook.set(Some(hook));
    }

    pub(crate) fn count(&self, count: impl FnOnce(&mut TaskStats)) {
        let mut stats = self.stats.get();
        count(&mut stats);
        self.stats.set(stats);
    }

    /// Takes in a task. Nothing polls it before it is woken or [run](Executor::run).
    pub(crate) fn insert(&self, future: LocalFuture, conn: Option<ConnId>) -> Rc<Task> {
        self.count(|stats| {
            stats.started += 1;
            stats.running += 1;
        });
        let mut tasks = self.tasks.borrow_mut();
        let key = tasks.vacant_key();
        let task = Rc::new(Task::new(key, future, conn, self.mailbox.clone()));
        tasks.places[key.index as usize].task = Some(task.clone());
        task
    }

    /// Puts a task at the end of the queue.
    pub(crate) fn enqueue(&self, key: TaskKey) {
        self.queue.borrow_mut().push_back(key);
    }

    /// Takes in what other threads have woken, and tells how many tasks wait.
    pub(crate) fn ready(&self) -> usize {
        let mut queue = self.queue.borrow_mut();
        self.mailbox.empty_into(&mut *queue);
        queue.len()
    }

    /// The next task of the queue that has not ended.
    pub(crate) fn next(&self) -> Option<Rc<Task>> {
        loop {
            let key = self.queue.borrow_mut().pop_front()?;
            if let Some(task) = self.tasks.borrow().get(key) {
                task.leave_queue();
                return Some(task);
            }
        }
    }

    /// Polls a task once.
    ///
    /// # Errors
    ///
    /// The payload of its panic, for the loop to count and log. All else about it has been done.
    pub(crate) fn run(&self, task: &Task) -> Result<(), Payload> {
        self.run_here(task)
    }

    /// As [`run`](Executor::run), compiled into its caller: for the path of every request.
    #[inline(always)]
    pub(crate) fn run_here(&self, task: &Task) -> Result<(), Payload> {
        let Some(mut future) = task.future.take() else { return Ok(()) };
        let _entered = Entered::new(self.number());
        if task.cancelled.get() {
            self.count(|stats| stats.cancelled += 1);
            return self.end(task, End::Cancelled, future);
        }
        let mut context = Context::from_waker(&task.waker);
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut context))) {
            Ok(Poll::Pending) => {
                // None was there, so that none is to be dropped.
                mem::forget(task.future.replace(Some(future)));
                Ok(())
            }
            Ok(Poll::Ready(())) => self.end(task, End::Done, future),
            Err(payload) => self.end_by_panic(task, payload, future),
        }
    }

    #[inline(never)]
    fn end_by_panic(
        &self,
        task: &Task,
        payload: Payload,
        future: LocalFuture,
    ) -> Result<(), Payload> {
        self.panicked(task, &payload);
        // A second panic while its parts are dropped has nothing to add.
        let _ = self.end(task, End::Panicked(message(&payload)), future);
        Err(payload)
    }

    #[inline(never)]
    fn end(&self, task: &Task, end: End, future: LocalFuture) -> Result<(), Payload> {
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(future)));
        if let (Err(payload), true) = (&dropped, end == End::Done || end == End::Cancelled) {
            self.panicked(task, payload);
        }
        *task.end.borrow_mut() = Some(end);
        self.count(|stats| stats.running -= 1);
        let gone = self.tasks.borrow_mut().remove(task.key);
        task.joiner.wake();
        drop(gone);
        dropped
    }

    /// Counts a panic of a task, and tells the hook.
    fn panicked(&self, task: &Task, payload: &Payload) {
        let conn = task.conn.get();
        self.tell_panic(&TaskPanic { conn, message: message(payload) });
    }

    /// As for a task's panic, for one that came before there was a task.
    pub(crate) fn tell_panic(&self, panic: &TaskPanic) {
        self.count(|stats| stats.panicked += 1);
        let Some(mut hook) = self.hook.take() else { return };
        let told = catch_unwind(AssertUnwindSafe(|| hook(panic)));
        if told.is_err() {
            tracing::error!("the hook for panics of tasks panicked");
        }
        self.hook.set(Some(hook));
    }

    /// Notes that the loop has to hear of a connection.
    pub(crate) fn touch(&self, link: Rc<Link>) {
        self.touched.borrow_mut().push(link);
        self.unsettled.set(true);
    }

    /// Notes that the loop has to hear of dials or sleepers.
    pub(crate) fn unsettle(&self) {
        self.unsettled.set(true);
    }

    /// Whether tasks have asked anything of the loop since the last time.
    pub(crate) fn is_unsettled(&self) -> bool {
        self.unsettled.get()
    }

    /// Does what tasks have asked of the loop since the last time.
    pub(crate) fn settle(&self, cx: &mut Cx<'_>) {
        if self.unsettled.get() {
            self.settle_all(cx);
        }
    }

    #[inline(never)]
    fn settle_all(&self, cx: &mut Cx<'_>) {
        self.unsettled.set(false);
        self.carry_out_dials(cx);
        self.sleepers.borrow_mut().settle(cx);
        loop {
            let Some(link) = self.touched.borrow_mut().pop() else { return };
            link.settle(cx);
        }
    }

    /// Drops all tasks. They cannot be polled any more.
    pub(crate) fn clear(&self) {
        let _entered = Entered::new(self.number());
        // What is dropped may spawn more, but not for ever.
        for _ in 0..8 {
            let tasks = mem::take(&mut *self.tasks.borrow_mut());
            if tasks.places.iter().all(|place| place.task.is_none()) {
                break;
            }
            for task in tasks.places.into_iter().filter_map(|place| place.task) {
                if let Some(future) = task.future.take() {
                    let _ = self.end(&task, End::Cancelled, future);
                }
            }
        }
        self.touched.take();
        self.dials.take();
    }
}

impl Places {
    fn vacant_key(&mut self) -> TaskKey {
        let index = self.vacant.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            u32::try_from(self.places.len() - 1).expect("fewer than 2^32 tasks")
        });
        TaskKey { index, generation: self.places[index as usize].generation }
    }

    fn get(&self, key: TaskKey) -> Option<Rc<Task>> {
        let place = self.places.get(key.index as usize)?;
        if place.generation == key.generation { place.task.clone() } else { None }
    }

    fn remove(&mut self, key: TaskKey) -> Option<Rc<Task>> {
        let place = self.places.get_mut(key.index as usize)?;
        if place.generation != key.generation {
            return None;
        }
        let task = place.task.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.vacant.push(key.index);
        Some(task)
    }
}
