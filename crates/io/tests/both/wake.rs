//! Waking a sleeping poll from other threads (D10).

use super::recorder::{PATIENCE, Rig};
use mainspring_io::Driver;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

#[test]
fn a_wake_ends_the_present_poll_and_the_next() {
    let mut rig = Rig::new();
    let waker = rig.driver.waker();
    let start = Instant::now();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        waker.wake();
    });
    rig.turn(PATIENCE);
    assert!(start.elapsed() >= Duration::from_millis(40), "it did not sleep");
    assert!(start.elapsed() < PATIENCE / 2, "it was not woken");
    thread.join().unwrap();

    rig.driver.waker().wake();
    rig.turn(PATIENCE);
    assert!(start.elapsed() < PATIENCE / 2, "the earlier wake was lost");
}

#[test]
fn wakes_coalesce() {
    let mut rig = Rig::new();
    let waker = rig.driver.waker();
    for _ in 0..1000 {
        waker.wake_by_ref();
    }
    rig.turn(PATIENCE);
    let start = Instant::now();
    rig.turn(Duration::from_millis(60));
    assert!(start.elapsed() >= Duration::from_millis(50), "one wake ended two polls");
}

#[test]
fn no_wake_of_many_threads_is_lost() {
    const ROUNDS: usize = 20_000;
    let mut rig = Rig::new();
    let posted = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let (waker, posted) = (rig.driver.waker(), posted.clone());
            std::thread::spawn(move || {
                for _ in 0..ROUNDS {
                    posted.fetch_add(1, Ordering::Release);
                    waker.wake_by_ref();
                }
            })
        })
        .collect();
    let start = Instant::now();
    // Looks at the counter only after a poll: had a wake been lost, the last one would sleep long.
    while posted.load(Ordering::Acquire) < 3 * ROUNDS {
        rig.turn(PATIENCE);
    }
    assert!(start.elapsed() < PATIENCE, "a poll slept through a wake");
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn a_wake_after_the_driver_is_harmless() {
    let waker = Rig::new().driver.waker();
    waker.wake_by_ref();
    waker.wake();
}
