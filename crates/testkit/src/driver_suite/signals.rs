//! D14: signals of the process.
//!
//! They reach every driver of the process that catches them, so that tests of one process take
//! turns. The kernel may deliver one on any thread, and hence a moment after it was sent.

use crate::Bed;
use crate::harness::Harness;
use mainspring_io::Driver;
use std::io::ErrorKind;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// D14: a caught signal "ends the current or the next `poll` and is one `signal` call of it".
pub fn d14_a_signal_ends_a_sleep_and_is_told<H: Harness>() {
    let _turn = turn();
    let mut bed = Bed::<H>::new();
    if !bed.catches(USR1) {
        return;
    }
    bed.harness.raise(USR1);
    let slept = bed.harness.sleep(Some(LONG), &mut bed.record);
    assert!(slept < LONG / 2, "slept {slept:?} in spite of a signal");
    bed.until("the signal is told", |bed| !bed.record.signals.is_empty());
    assert_eq!(bed.record.signals, [USR1]);
}

/// D14: "those of its kind that arrive before that are the same one", and those of another kind are
/// not.
pub fn d14_signals_of_a_kind_are_one_and_kinds_are_kept_apart<H: Harness>() {
    let _turn = turn();
    let mut bed = Bed::<H>::new();
    if !bed.catches(USR1) || !bed.catches(USR2) {
        return;
    }
    for _ in 0..100 {
        bed.harness.raise(USR1);
        bed.harness.raise(USR2);
    }
    let told = |bed: &Bed<H>, number| bed.record.signals.iter().filter(|&&it| it == number).count();
    bed.until("both are told", |bed| told(bed, USR1) > 0 && told(bed, USR2) > 0);
    bed.until_quiet();
    for number in [USR1, USR2] {
        let times = told(&bed, number);
        assert!(times < 50, "{number} was told {times} times, and nobody polled meanwhile");
    }
}

/// `catch_signal`: "Each driver that does is told of each."
pub fn d14_each_driver_is_told<H: Harness>() {
    let _turn = turn();
    let mut bed = Bed::<H>::new();
    if !bed.catches(USR1) {
        return;
    }
    bed.harness.swap_loops();
    assert!(bed.catches(USR1), "the other loop's driver is of the same kind");
    bed.harness.raise(USR1);
    for times in 1..=2 {
        bed.until("this driver tells it", |bed| bed.record.signals.len() == times);
        bed.harness.swap_loops();
    }
}

/// `catch_signal` answers `InvalidInput` "for a number that is none, or of a signal that cannot be
/// caught".
pub fn d14_what_cannot_be_caught_is_refused<H: Harness>() {
    let mut bed = Bed::<H>::new();
    for number in [-1, 0, 65, i32::MAX, KILL, STOP, SEGV] {
        let kind = bed.driver().catch_signal(number).expect_err("none to catch").kind();
        assert!(kind == ErrorKind::InvalidInput || kind == ErrorKind::Unsupported, "{kind}");
    }
}

/// D14: "What the system would have done does not happen, even when the driver is gone."
pub fn d14_a_signal_does_no_harm_when_the_driver_is_gone<H: Harness>() {
    let _turn = turn();
    let mut bed = Bed::<H>::new();
    if !bed.catches(USR2) {
        return;
    }
    drop(bed);
    let mut bed = Bed::<H>::new();
    bed.harness.raise(USR2);
    bed.until_quiet();
    assert_eq!(bed.record.signals, [], "it was not this driver that caught it");
}

impl<H: Harness> Bed<H> {
    /// Catches a signal. `false` on a system without signals.
    fn catches(&mut self, number: i32) -> bool {
        match self.driver().catch_signal(number) {
            Err(error) if error.kind() == ErrorKind::Unsupported && cfg!(not(unix)) => false,
            caught => {
                caught.expect("a signal to catch");
                true
            }
        }
    }

    /// Polls until nothing has happened for a while.
    fn until_quiet(&mut self) {
        let mut slept = Duration::ZERO;
        while slept < Duration::from_millis(20) {
            let harness = &mut self.harness;
            slept = harness.sleep(Some(Duration::from_millis(30)), &mut self.record);
        }
    }
}

fn turn() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As on Linux and, where it matters, elsewhere.
const USR1: i32 = if cfg!(any(target_os = "linux", target_os = "android")) { 10 } else { 30 };
const USR2: i32 = if cfg!(any(target_os = "linux", target_os = "android")) { 12 } else { 31 };
const KILL: i32 = 9;
const STOP: i32 = if cfg!(any(target_os = "linux", target_os = "android")) { 19 } else { 17 };
const SEGV: i32 = 11;
const LONG: Duration = Duration::from_secs(20);
