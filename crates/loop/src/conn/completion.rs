//! The one answer to a send from another thread.

use crate::panic::{self, Caught};
use std::fmt;

/// How a send ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendOutcome {
    /// Every byte was handed to the kernel.
    Sent,
    /// The connection or the server ended before that, or had ended already.
    Closed,
}

/// A callback that is called exactly once: by [`complete`](Completion::complete), or with
/// `Closed` when it is dropped, on whatever way that happens.
pub(crate) struct Completion(Option<Box<dyn FnOnce(SendOutcome) + Send>>);

impl Completion {
    pub(crate) fn new(done: impl FnOnce(SendOutcome) + Send + 'static) -> Self {
        Self(Some(Box::new(done)))
    }

    /// Calls back. A panic of the callback ends here, for the caller to count.
    pub(crate) fn complete(mut self, outcome: SendOutcome) -> Result<(), Caught> {
        let done = self.0.take();
        panic::caught(|| done.map_or((), |done| done(outcome)))
    }

    /// Drops the callback uncalled: the send was never accepted.
    pub(crate) fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        // This may run while another panic unwinds: nothing may get out.
        if let Some(done) = self.0.take()
            && let Err(panic) = panic::caught(|| done(SendOutcome::Closed))
        {
            panic.log(&"send completion");
        }
    }
}

impl fmt::Debug for Completion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Completion")
    }
}
