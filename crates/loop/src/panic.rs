//! What becomes of a panic in user code.

use crate::stats::LoopCounters;
use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// How many callbacks of this thread are being watched.
    static WATCHED: Cell<u32> = const { Cell::new(0) };
    static BACKTRACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// A panic that did not get out of its callback. Boxed, so that callbacks that do not panic hand
/// their answers back in registers.
pub(crate) struct Caught(Box<Report>);

struct Report {
    message: String,
    backtrace: String,
}

/// Runs a callback; a panic in it ends here.
///
/// The handler may be left half changed, which is the handler's affair and documented there.
#[inline(always)]
pub(crate) fn caught<T>(callback: impl FnOnce() -> T) -> Result<T, Caught> {
    WATCHED.set(WATCHED.get() + 1);
    let result = catch_unwind(AssertUnwindSafe(callback)).map_err(Caught::new);
    WATCHED.set(WATCHED.get() - 1);
    result
}

impl Caught {
    #[cold]
    fn new(payload: Box<dyn Any + Send>) -> Self {
        let message = message(&*payload);
        let backtrace = BACKTRACE.take().unwrap_or_default();
        // The payload is a value of the user's: dropping it can panic too, with a payload that had
        // better not be dropped at all, unless it is a mere message.
        if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload)))
            && !(second.is::<&str>() || second.is::<String>())
        {
            std::mem::forget(second);
        }
        Self(Box::new(Report { message, backtrace }))
    }

    pub(crate) fn message(&self) -> &str {
        &self.0.message
    }

    #[cold]
    pub(crate) fn count(&self, counters: &LoopCounters, about: &dyn Debug) {
        counters.panics.add(1);
        self.log(about);
    }

    pub(crate) fn log(&self, about: &dyn Debug) {
        let Report { message, backtrace } = &*self.0;
        log(|| tracing::error!(?about, %backtrace, "a callback panicked: {message}"));
    }
}

/// Logs. A subscriber is user code too: one that panics, say because nobody reads its output any
/// more, must not end the loop that has something to tell.
pub(crate) fn log(statement: impl FnOnce()) {
    let _ = caught(statement);
}

/// Counts and logs what a callback without an answer made of itself.
pub(crate) fn count(result: Result<(), Caught>, counters: &LoopCounters, about: &dyn Debug) {
    if let Err(panic) = result {
        panic.count(counters, about);
    }
}

/// Has panics in callbacks keep their backtrace for the log in place of printing to standard error.
/// Panics elsewhere go on to the hook that was there before.
pub(crate) fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
            if WATCHED.get() == 0 {
                return before(info);
            }
            let place = info.location().map(|place| format!("at {place}\n")).unwrap_or_default();
            let backtrace = format!("{place}{}", Backtrace::force_capture());
            BACKTRACE.set(Some(backtrace));
        }));
    });
}

fn message(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "(no message)".to_owned()
    }
}
