//! What a link that is kept up owes to the other side: patience.
//!
//! [`LinkWatch`] is told of every dial and of every change of one link of a
//! [`Reconnect`](mainspring_loop::Reconnect), and holds them to what [`Backoff`] and [`Retry`]
//! promise.
//!
//! [`Backoff`]: mainspring_loop::Backoff

use mainspring_loop::{LinkChange, Retry};
use std::time::{Duration, Instant};

/// One link, as its dials and changes tell of it.
#[derive(Clone, Debug)]
pub struct LinkWatch {
    retry: Retry,
    /// How many addresses there are, and how many of them this attempt has tried.
    addresses: u32,
    tried: u32,
    is_up: bool,
    is_over: bool,
    failures: u32,
    /// Before this time it must not be dialled.
    due: Option<Instant>,
    dials: u64,
    connected: u64,
    gave_up: bool,
}

impl LinkWatch {
    /// A link that has not been dialled yet, to so many addresses.
    #[must_use]
    pub fn new(retry: Retry, addresses: u32) -> Self {
        Self {
            retry,
            addresses: addresses.max(1),
            tried: 0,
            is_up: false,
            is_over: false,
            failures: 0,
            due: None,
            dials: 0,
            connected: 0,
            gave_up: false,
        }
    }

    /// Whether it is up.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.is_up
    }

    /// Whether it will not be dialled again.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether it has been given up.
    #[must_use]
    pub fn gave_up(&self) -> bool {
        self.gave_up
    }

    /// Dials so far.
    #[must_use]
    pub fn dials(&self) -> u64 {
        self.dials
    }

    /// How many of them came up.
    #[must_use]
    pub fn connected(&self) -> u64 {
        self.connected
    }

    /// It is dialled.
    ///
    /// # Errors
    ///
    /// If it is up, is over, or has not waited.
    pub fn dialled(&mut self, now: Instant) -> Result<(), String> {
        self.dials += 1;
        self.tried = (self.tried + 1) % self.addresses;
        let due = self.due.take();
        if self.is_up || self.is_over {
            return Err(format!("it is dialled, though it is up or over: {self:?}"));
        }
        match due.filter(|due| now < *due) {
            Some(due) => Err(format!("it is dialled too early by {:?}: {self:?}", due - now)),
            None => Ok(()),
        }
    }

    /// Something has become of it. `is_ending` says that its server ends: nothing is tried again.
    ///
    /// # Errors
    ///
    /// If that cannot follow from what was before, or the delay is not a back-off's.
    pub fn changed(
        &mut self,
        now: Instant,
        change: &LinkChange,
        is_ending: bool,
    ) -> Result<(), String> {
        let gives_up = matches!(change, LinkChange::GaveUp { .. });
        if self.is_over && (self.gave_up || !gives_up) {
            return Err(format!("{change:?} after the end: {self:?}"));
        }
        match *change {
            LinkChange::Connected { .. } if self.is_up => {
                Err(format!("two connections at once: {self:?}"))
            }
            LinkChange::Connected { .. } => {
                self.is_up = true;
                self.connected += 1;
                Ok(())
            }
            LinkChange::Lost { .. } if !self.is_up => {
                Err(format!("lost what was not there: {self:?}"))
            }
            LinkChange::Lost { up, retry, .. } => {
                (self.is_up, self.tried) = (false, 0);
                let is_steady = up >= self.retry.steady;
                self.failures = if is_steady { 0 } else { self.failures + 1 };
                self.ended(now, retry, is_ending)
            }
            LinkChange::Failed { .. } if self.is_up => {
                Err(format!("a dial beside a connection: {self:?}"))
            }
            LinkChange::Failed { retry: Some(Duration::ZERO), .. } if self.tried > 0 => Ok(()),
            LinkChange::Failed { retry, .. } => {
                self.tried = 0;
                self.failures += 1;
                self.ended(now, retry, is_ending)
            }
            LinkChange::GaveUp { attempts } => {
                self.gave_up = true;
                let same = Some(attempts) == self.retry.attempts_max && attempts == self.failures;
                if same { Ok(()) } else { Err(format!("given up after {attempts}: {self:?}")) }
            }
            ref other => Err(format!("{other:?} was not asked for: {self:?}")),
        }
    }

    fn ended(
        &mut self,
        now: Instant,
        delay: Option<Duration>,
        is_ending: bool,
    ) -> Result<(), String> {
        let Some(delay) = delay else {
            self.is_over = true;
            let expected = is_ending || Some(self.failures) == self.retry.attempts_max;
            return if expected { Ok(()) } else { Err(format!("not tried again: {self:?}")) };
        };
        self.due = Some(now + delay);
        let (least, most) = self.step();
        if delay < least || delay > most {
            return Err(format!("waits {delay:?}, not {least:?} to {most:?}: {self:?}"));
        }
        Ok(())
    }

    /// The delays that may follow the last failure.
    fn step(&self) -> (Duration, Duration) {
        let Retry { delay_min, delay_max, .. } = self.retry;
        let factor = 2_u32.pow(self.failures.clamp(1, 20));
        let most = (delay_min * factor).min(delay_max);
        ((most / 2).max(delay_min), most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainspring_loop::CloseReason;

    const MS: Duration = Duration::from_millis(1);

    fn failed(retry: Duration) -> LinkChange {
        LinkChange::Failed { reason: CloseReason::DialTimeout, retry: Some(retry) }
    }

    #[test]
    fn a_dial_that_does_not_wait_is_found_and_one_that_waits_is_not() {
        #[expect(clippy::disallowed_methods, reason = "any moment will do")]
        let now = Instant::now();
        let mut watch = LinkWatch::new(Retry::default(), 1);
        watch.dialled(now).unwrap();
        watch.changed(now, &failed(150 * MS), false).unwrap();
        watch.clone().dialled(now + 150 * MS).unwrap();
        assert!(watch.dialled(now + 149 * MS).is_err());
    }

    #[test]
    fn delays_that_do_not_grow_and_ends_without_a_reason_are_found() {
        #[expect(clippy::disallowed_methods, reason = "any moment will do")]
        let now = Instant::now();
        let mut watch = LinkWatch::new(Retry::default(), 1);
        watch.dialled(now).unwrap();
        watch.changed(now, &failed(150 * MS), false).unwrap();
        watch.dialled(now + 150 * MS).unwrap();
        assert!(watch.clone().changed(now, &failed(150 * MS), false).is_err());
        let last = LinkChange::Failed { reason: CloseReason::DialTimeout, retry: None };
        assert!(watch.clone().changed(now, &last, false).is_err());
        watch.changed(now, &last, true).unwrap();
        assert!(watch.is_over() && watch.dialled(now + 900 * MS).is_err());
    }
}
