//! The executors of a thread: how free functions and wakers find theirs.

use crate::executor::Executor;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

thread_local! {
    /// Every executor that lives on this thread. Few: one for each `Tasks` of its loops.
    static EXECUTORS: RefCell<Vec<Rc<Executor>>> = const { RefCell::new(Vec::new()) };
    /// The number of the executor that is polling a task; 0 is none.
    static CURRENT: Cell<u64> = const { Cell::new(0) };
}

pub(crate) fn add(executor: &Rc<Executor>) {
    EXECUTORS.with_borrow_mut(|all| all.push(executor.clone()));
}

/// Forgets an executor, also while the thread itself ends.
pub(crate) fn remove(number: u64) {
    let gone = EXECUTORS.try_with(|all| {
        let mut all = all.borrow_mut();
        let at = all.iter().position(|executor| executor.number() == number)?;
        Some(all.swap_remove(at))
    });
    drop(gone);
}

/// The executor of this number, if it lives on this thread.
pub(crate) fn find(number: u64) -> Option<Rc<Executor>> {
    let found = EXECUTORS
        .try_with(|all| all.borrow().iter().find(|executor| executor.number() == number).cloned());
    found.ok().flatten()
}

/// The executor that polls the task from which this is called.
///
/// # Panics
///
/// If that is none: `what` works only inside of a task.
#[track_caller]
pub(crate) fn current(what: &str) -> Rc<Executor> {
    let found = find(CURRENT.get());
    found.unwrap_or_else(|| panic!("{what} works only inside of a task of `Tasks`"))
}

/// Whether this executor polls the task from which this is called.
pub(crate) fn is_current(number: u64) -> bool {
    CURRENT.get() == number
}

/// While it lives, `number` is the current executor.
pub(crate) struct Entered {
    before: u64,
}

impl Entered {
    pub(crate) fn new(number: u64) -> Self {
        Self { before: CURRENT.replace(number) }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.before);
    }
}
