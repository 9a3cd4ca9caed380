//! Every interleaving of the inbox's wake protocol, on the real queue.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p mainspring-loop --test loom --release`
#![cfg(loom)]

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use mainspring_loop::inbox::Inbox;
use std::task::{Wake, Waker};

/// Stands for the poller: a wake makes the present or the next sleep end.
struct Poller {
    woken: Mutex<bool>,
    changed: Condvar,
    wakes: AtomicUsize,
}

struct PollerWaker(Arc<Poller>);

impl Wake for PollerWaker {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.wakes.fetch_add(1, Ordering::SeqCst);
        *self.0.woken.lock().unwrap() = true;
        self.0.changed.notify_one();
    }
}

impl Poller {
    /// Sleeps until woken. If a wake is lost nobody ends this sleep, which loom reports as a
    /// deadlock.
    fn sleep(&self) {
        let mut woken = self.woken.lock().unwrap();
        while !std::mem::take(&mut *woken) {
            woken = self.changed.wait(woken).unwrap();
        }
    }
}

fn poller() -> (Arc<Poller>, Waker) {
    let (woken, changed) = (Mutex::new(false), Condvar::new());
    let poller = Arc::new(Poller { woken, changed, wakes: AtomicUsize::new(0) });
    let waker = Waker::from(std::sync::Arc::new(PollerWaker(poller.clone())));
    (poller, waker)
}

#[test]
fn no_wake_is_lost_between_a_look_and_a_sleep() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let (poller, waker) = poller();
        let inbox = Arc::new(Inbox::new(2, 0));
        inbox.set_waker(waker);
        let senders: Vec<_> = (0..2)
            .map(|item| {
                let inbox = inbox.clone();
                thread::spawn(move || inbox.push(item, 0).expect("room for two"))
            })
            .collect();
        let mut received = 0;
        loop {
            if inbox.begin_look() {
                while inbox.pop().is_some() {
                    received += 1;
                }
            }
            if received == 2 {
                break;
            }
            if !inbox.is_notified() {
                poller.sleep();
            }
        }
        senders.into_iter().for_each(|sender| sender.join().unwrap());
    });
}

#[test]
fn pushes_between_two_looks_are_one_wake() {
    loom::model(|| {
        let (poller, waker) = poller();
        let inbox = Arc::new(Inbox::new(4, 0));
        inbox.set_waker(waker);
        let other = inbox.clone();
        let sender = thread::spawn(move || {
            other.push(1, 0).unwrap();
            other.push(2, 0).unwrap();
        });
        sender.join().unwrap();
        assert_eq!(poller.wakes.load(Ordering::SeqCst), 1);
        assert!(inbox.begin_look());
        assert_eq!((inbox.pop(), inbox.pop(), inbox.pop()), (Some(1), Some(2), None));
        inbox.push(3, 0).unwrap();
        assert_eq!(poller.wakes.load(Ordering::SeqCst), 2);
    });
}

#[test]
fn the_byte_limit_holds_for_racing_senders() {
    loom::model(|| {
        let inbox = Arc::new(Inbox::new(4, 10));
        let other = inbox.clone();
        let sender = thread::spawn(move || other.push(1, 6).is_ok());
        let here = inbox.push(2, 6).is_ok();
        let there = sender.join().unwrap();
        assert!(!(here && there), "twelve bytes in an inbox for ten");
        let mut queued = 0;
        while inbox.pop().is_some() {
            inbox.release(6);
            queued += 1;
        }
        assert_eq!(queued, usize::from(here) + usize::from(there));
        assert!(inbox.push(3, 10).is_ok(), "refused and released bytes no longer count");
    });
}
