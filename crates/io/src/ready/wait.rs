//! The wait for events, and what it told.
//!
//! mio counts timeouts in whole milliseconds, rounded up, as epoll_wait(2) does. A timer, due at a
//! tick of a millisecond that need not begin when a sleep does, would be late by half of one more on
//! average. epoll_pwait2(2) (Linux 5.11) counts in nanoseconds; where there is none, a sandbox that
//! does not know it included, sleeps are rounded up as they are everywhere else.

use super::table::State;
use mio::{Poll, Token};
use std::io;
use std::time::Duration;

/// What the last wait told.
#[derive(Debug)]
pub(super) struct Events {
    plain: mio::Events,
    told: Vec<Told>,
    #[cfg(target_os = "linux")]
    exact: Option<exact::Waiter>,
}

/// One event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub(super) token: Token,
    /// What it may change of the socket: bits among `READABLE`, `HANGUP`, `WRITABLE` and `ERROR`.
    pub(super) state: State,
}

impl Events {
    /// Room for `capacity` events of a wait (at least one), by the best system calls that there are.
    pub(super) fn new(capacity: usize) -> Self {
        #[cfg(target_os = "linux")]
        return Self { exact: Some(exact::Waiter::new(capacity)), ..Self::portable(0) };
        #[cfg(not(target_os = "linux"))]
        Self::portable(capacity)
    }

    /// As [`new`](Events::new), by those that every system has.
    pub(super) fn portable(capacity: usize) -> Self {
        Self {
            plain: mio::Events::with_capacity(capacity),
            told: Vec::with_capacity(capacity),
            #[cfg(target_os = "linux")]
            exact: None,
        }
    }

    /// Sleeps until there are events, or `timeout` is over, and fetches them. After an error there
    /// are none.
    #[inline(always)]
    pub(super) fn wait(&mut self, poller: &mut Poll, timeout: Option<Duration>) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        if let Some(exact) = &mut self.exact {
            return exact.wait(poller, timeout);
        }
        self.told.clear();
        poller.poll(&mut self.plain, timeout)?;
        self.told.extend(self.plain.iter().map(Told::from));
        Ok(())
    }

    /// How many events the last wait told.
    pub(super) fn len(&self) -> usize {
        #[cfg(target_os = "linux")]
        if let Some(exact) = &self.exact {
            return exact.len();
        }
        self.told.len()
    }

    /// The event at `index`.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[inline(always)]
    pub(super) fn told(&self, index: usize) -> Told {
        #[cfg(target_os = "linux")]
        if let Some(exact) = &self.exact {
            return exact.told(index);
        }
        self.told[index]
    }
}

impl From<&mio::event::Event> for Told {
    fn from(event: &mio::event::Event) -> Self {
        Self {
            token: event.token(),
            state: State::told(
                event.is_readable(),
                event.is_read_closed(),
                event.is_writable() || event.is_write_closed(),
                event.is_error(),
            ),
        }
    }
}

#[cfg(target_os = "linux")]
mod exact;
