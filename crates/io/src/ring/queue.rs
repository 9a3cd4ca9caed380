//! The two queues shared with the kernel: operations in, completions out.

use super::operations::Operation;
use super::probe;
use super::token::Token;
use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue};
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind};
use std::time::Duration;

/// A ring that fails this often in a row is lost.
const FAILED_ENTERS: u32 = 1_000;
/// Between failed enters, so that a failing ring does not take the processor.
const AFTER_FAILED_ENTER: Duration = Duration::from_millis(1);
/// The kernel refuses times that do not fit its own.
const LONGEST_WAIT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The ring, and what waits before it.
pub(super) struct Queue {
    ring: IoUring,
    /// Operations that the shared memory had no room for. In a warm loop there are none.
    backlog: VecDeque<Operation>,
    /// The ring belongs to the thread that polled first.
    enabled: bool,
    /// Operations that will complete and have not.
    outstanding: usize,
    /// Completions taken so far.
    taken: u64,
    failed_enters: u32,
}

/// What an enter does besides submitting.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wait {
    /// Nothing: what has completed stays with the kernel.
    No,
    /// Fetches what has completed.
    Fetch,
    /// Fetches, and sleeps until so many operations have completed, but at most so long.
    Sleep(u32, Option<Duration>),
}

/// What the kernel says about an operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Completion {
    pub(super) token: Token,
    /// A count or a descriptor, or the negative of an error's number.
    pub(super) result: i32,
    flags: u32,
}

impl Queue {
    pub(super) fn new(ring: IoUring) -> Self {
        Self {
            ring,
            backlog: VecDeque::new(),
            enabled: false,
            outstanding: 0,
            taken: 0,
            failed_enters: 0,
        }
    }

    pub(super) fn ring(&self) -> &IoUring {
        &self.ring
    }

    /// Puts an operation at the end. It is the kernel's with the next [`enter`](Self::enter).
    pub(super) fn push(&mut self, operation: Operation) {
        self.outstanding += usize::from(operation.completes());
        if !self.backlog.is_empty() {
            self.backlog.push_back(operation);
            return;
        }
        if let Err(operation) = self.try_push(operation) {
            // Full: what is there can go now. Before the first poll it cannot.
            if self.enabled {
                let _ = self.submit();
            }
            if let Err(operation) = self.try_push(operation) {
                self.backlog.push_back(operation);
            }
        }
    }

    fn try_push(&mut self, operation: Operation) -> Result<(), Operation> {
        // SAFETY: the memory that an operation works on is valid as long as it must be: that is
        // what the makers of `Operation` are told to see to.
        let pushed = unsafe { self.ring.submission().push(operation.entry()) };
        pushed.map_err(|_| operation)
    }

    /// Whether an operation has not been submitted yet.
    pub(super) fn has_unsubmitted(&mut self) -> bool {
        !self.backlog.is_empty() || !self.ring.submission().is_empty()
    }

    /// Submits, and waits as told, in one system call. An error is the loss of the ring.
    pub(super) fn enter(&mut self, wait: Wait) -> io::Result<()> {
        if !self.enabled {
            probe::enable(&self.ring)?;
            self.enabled = true;
        }
        let mut outcome = Ok(());
        while outcome.is_ok() && !self.backlog.is_empty() {
            self.refill();
            if self.backlog.is_empty() {
                break;
            }
            outcome = self.submit();
        }
        let outcome = outcome.and_then(|()| self.enter_once(wait));
        self.judge(outcome)
    }

    fn refill(&mut self) {
        while let Some(operation) = self.backlog.pop_front() {
            if let Err(operation) = self.try_push(operation) {
                self.backlog.push_front(operation);
                return;
            }
        }
    }

    fn submit(&mut self) -> io::Result<()> {
        self.enter_once(Wait::No)
    }

    fn enter_once(&mut self, wait: Wait) -> io::Result<()> {
        let count = self.ring.submission().len() as u32;
        let (want, flags, limit) = match wait {
            Wait::No => (0, EnterFlags::empty(), None),
            Wait::Fetch => (0, EnterFlags::GETEVENTS, None),
            Wait::Sleep(count, limit) => (count, EnterFlags::GETEVENTS, limit),
        };
        let submitter = self.ring.submitter();
        let entered = match limit {
            None => {
                // SAFETY: no argument is passed.
                unsafe { submitter.enter::<libc::sigset_t>(count, want, flags.bits(), None) }
            }
            Some(limit) => {
                let limit = Timespec::from(limit.min(LONGEST_WAIT));
                let arguments = SubmitArgs::new().timespec(&limit);
                let flags = flags | EnterFlags::EXT_ARG;
                // SAFETY: EXT_ARG says that the argument is of this type; it and the time it points
                // to live until the call returns.
                unsafe { submitter.enter(count, want, flags.bits(), Some(&arguments)) }
            }
        };
        entered.map(drop)
    }

    /// An enter that fails is one that brought nothing, until it keeps failing.
    fn judge(&mut self, outcome: io::Result<()>) -> io::Result<()> {
        let Err(error) = outcome else {
            self.failed_enters = 0;
            return Ok(());
        };
        match error.raw_os_error() {
            // The time is over, or a signal came.
            Some(libc::ETIME | libc::EINTR) => {
                self.failed_enters = 0;
                Ok(())
            }
            // The kernel has dropped completions, or this is not the thread that the ring
            // belongs to.
            Some(libc::EBADR | libc::EEXIST) => Err(error),
            _ => {
                self.failed_enters += 1;
                tracing::debug!(%error, in_a_row = self.failed_enters, "the ring failed");
                if self.failed_enters >= FAILED_ENTERS {
                    return Err(error);
                }
                // What has completed makes room for more.
                if !self.has_completions() {
                    pause_after_failure();
                }
                Ok(())
            }
        }
    }

    /// Whether a completion can be had without asking the kernel.
    pub(super) fn has_completions(&mut self) -> bool {
        !self.ring.completion().is_empty()
    }

    /// The number that the last of the completions at hand will have.
    pub(super) fn end(&mut self) -> u64 {
        self.taken + self.ring.completion().len() as u64
    }

    /// How many completions were taken.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// The oldest completion.
    pub(super) fn next(&mut self) -> Option<Completion> {
        loop {
            let entry = self.ring.completion().next()?;
            self.taken += 1;
            let (result, flags) = (entry.result(), entry.flags());
            let Some(token) = Token::from_bits(entry.user_data()) else {
                debug_assert!(false, "a completion of nobody's: {entry:?}");
                continue;
            };
            let completion = Completion { token, result, flags };
            if token.kind != super::token::Kind::Cancel {
                self.outstanding -= usize::from(!completion.more());
                return Some(completion);
            }
            // A cancellation that found nothing: what it was for has completed meanwhile.
        }
    }

    /// How many operations the kernel has, or is about to get.
    pub(super) fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// An operation has ended that completes only if it fails.
    pub(super) fn forgo(&mut self) {
        self.outstanding -= 1;
    }

    pub(super) fn is_enabled(&self) -> bool {
        self.enabled
    }
}

impl Completion {
    /// Whether the operation goes on.
    pub(super) fn more(self) -> bool {
        cqueue::more(self.flags)
    }

    /// The buffer that was used, and whether the kernel goes on filling it.
    pub(super) fn buffer(self) -> Option<(u16, bool)> {
        cqueue::buffer_select(self.flags).map(|id| (id, cqueue::buffer_more(self.flags)))
    }

    /// The count, or the error.
    pub(super) fn outcome(self) -> io::Result<usize> {
        usize::try_from(self.result).map_err(|_| io::Error::from_raw_os_error(-self.result))
    }

    /// Whether the operation ended for a reason that is no fault of its socket, and may be asked
    /// for again.
    pub(super) fn is_passing(error: &io::Error) -> bool {
        matches!(error.raw_os_error(), Some(libc::ECANCELED | libc::ENOBUFS | libc::ENOMEM))
            || matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock)
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("backlog", &self.backlog.len())
            .field("outstanding", &self.outstanding)
            .field("taken", &self.taken)
            .finish_non_exhaustive()
    }
}

#[expect(clippy::disallowed_methods, reason = "only while the ring itself fails")]
fn pause_after_failure() {
    std::thread::sleep(AFTER_FAILED_ENTER);
}
