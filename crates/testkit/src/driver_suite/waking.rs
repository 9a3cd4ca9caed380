//! D10 and D11: sleep, wakes and time.

use crate::Bed;
use crate::harness::Harness;
use mainspring_io::Driver;
use std::time::Duration;

/// D10: `wake()` "ends the current or the next `poll`".
pub fn d10_a_wake_before_poll_ends_it<H: Harness>() {
    let mut bed = Bed::<H>::new();
    bed.turn();
    bed.driver().waker().wake();
    let slept = bed.harness.sleep(Some(LONG), &mut bed.record);
    assert!(slept < LONG / 2, "slept {slept:?} in spite of a wake");
}

/// D10: a wake from another thread ends a poll without a time limit.
pub fn d10_a_wake_from_elsewhere_ends_a_sleep<H: Harness>() {
    let mut bed = Bed::<H>::new();
    bed.harness.wake_later(Duration::from_millis(50));
    let slept = bed.harness.sleep(None, &mut bed.record);
    assert!(slept < LONG / 2, "slept {slept:?} in spite of a wake");
}

/// D10: "Wakes coalesce": a hundred of them cost a few turns, and then the driver sleeps again.
pub fn d10_wakes_coalesce<H: Harness>() {
    let mut bed = Bed::<H>::new();
    let waker = bed.driver().waker();
    for _ in 0..100 {
        waker.wake_by_ref();
    }
    let (mut polls, mut slept) = (0, Duration::ZERO);
    while slept < Duration::from_millis(20) {
        slept = bed.harness.sleep(Some(Duration::from_millis(30)), &mut bed.record);
        polls += 1;
        assert!(polls < 50, "one hundred wakes ended {polls} polls");
    }
}

/// D10: a wake "does no harm when the driver is gone."
pub fn d10_a_waker_outlives_its_driver<H: Harness>() {
    let mut bed = Bed::<H>::new();
    let waker = bed.driver().waker();
    drop(bed);
    waker.wake_by_ref();
    waker.wake();
}

/// D11: "The clock is read once per `poll` and told by `begin`."
pub fn d11_begin_comes_first_and_time_does_not_go_back<H: Harness>() {
    let mut bed = Bed::<H>::new();
    let (_key, _peer) = bed.conn();
    bed.record.began.clear();
    for polls in 1..=20 {
        let before = bed.driver().now();
        bed.turn();
        assert_eq!(bed.record.began.len(), polls, "one `begin` per poll");
        let told = *bed.record.began.last().expect("a begin");
        assert!(before <= told && told <= bed.driver().now());
    }
    assert!(bed.record.began.is_sorted());
}

/// `poll`: "Sleeps until something happens, but at most for `timeout`". It may return early, but
/// not all the time.
pub fn d11_a_timeout_is_slept_and_not_spun<H: Harness>() {
    let mut bed = Bed::<H>::new();
    let (_listener, _) = bed.listen();
    bed.turn();
    let (mut polls, mut slept) = (0, Duration::ZERO);
    while slept < Duration::from_millis(100) {
        slept += bed.harness.sleep(Some(Duration::from_millis(10)), &mut bed.record);
        polls += 1;
        assert!(polls < 200, "{polls} polls slept {slept:?} together");
    }
    assert!(polls >= 2, "a poll of 10 ms slept {slept:?}");
}

const LONG: Duration = Duration::from_secs(20);
