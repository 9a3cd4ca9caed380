//! Signals of the process, caught as wakes of a driver.

use crate::wake::{KernelWake, WakeFlag};
use std::io::{self, ErrorKind};
use std::sync::Arc;

/// The largest number that fits into the set of those that have arrived.
#[cfg(unix)]
const LARGEST: i32 = 64;

/// What a driver has caught, until it is dropped.
///
/// The program's disposition of a signal is not put back then: a signal that nobody catches any more
/// does nothing.
#[derive(Debug, Default)]
pub(crate) struct CaughtSignals {
    #[cfg(unix)]
    actions: Vec<signal_hook_registry::SigId>,
}

impl CaughtSignals {
    /// Has each arrival of signal `number` noted with the flag, and end the driver's sleep.
    #[cfg(unix)]
    pub(crate) fn catch<K: KernelWake>(
        &mut self,
        number: i32,
        wake: &Arc<WakeFlag<K>>,
    ) -> io::Result<()> {
        let forbidden = signal_hook_registry::FORBIDDEN;
        if !(1..=LARGEST).contains(&number) || forbidden.contains(&number) {
            return Err(refused(number));
        }
        let wake = Arc::clone(wake);
        let arrived = move || wake.signal_arrived(bit(number));
        // SAFETY: the action may run between any two instructions of any thread, so it must be
        // "async-signal-safe" (signal-safety(7)). `signal_arrived` changes atomics and calls
        // `KernelWake::wake`, of which the trait demands that it make system calls only, and neither
        // lock nor allocate. The memory that it reads is kept by its `Arc`.
        let action = unsafe { signal_hook_registry::register(number, arrived) }?;
        self.actions.push(action);
        Ok(())
    }

    /// Other systems have no signals.
    #[cfg(not(unix))]
    pub(crate) fn catch<K: KernelWake>(
        &mut self,
        number: i32,
        _wake: &Arc<WakeFlag<K>>,
    ) -> io::Result<()> {
        Err(refused(number))
    }
}

#[cfg(unix)]
impl Drop for CaughtSignals {
    fn drop(&mut self) {
        for action in self.actions.drain(..) {
            signal_hook_registry::unregister(action);
        }
    }
}

/// The numbers in a set, the smallest first. Most sets are empty: every wake brings one.
pub(crate) fn numbers(mut set: u64) -> impl Iterator<Item = i32> {
    std::iter::from_fn(move || {
        let lowest = set.trailing_zeros();
        set &= set.checked_sub(1)?;
        Some(lowest as i32 + 1)
    })
}

#[cfg(any(unix, test))]
fn bit(number: i32) -> u64 {
    1 << (number - 1)
}

#[cold]
fn refused(number: i32) -> io::Error {
    let kind = if cfg!(unix) { ErrorKind::InvalidInput } else { ErrorKind::Unsupported };
    io::Error::new(kind, format!("signal {number} cannot be caught"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_gives_back_the_numbers_that_were_put_in() {
        let put_in = [1, 2, 15, 63, 64];
        let set = put_in.into_iter().fold(0, |set, number| set | bit(number));
        assert_eq!(numbers(set).collect::<Vec<_>>(), put_in);
        assert_eq!(numbers(0).count(), 0);
    }
}
