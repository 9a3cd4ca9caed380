//! Wakes and timers of handlers, which are of no connection.
#![allow(clippy::disallowed_methods, reason = "tests run by the clock")]

mod support;

use mainspring_loop::{Action, Cx, Limits, Server};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant};
use support::*;

type Wakers = Arc<Mutex<Option<Waker>>>;

/// A probe that gives its waker away at the start.
fn giving(log: &Log, wakers: &Wakers) -> Probe {
    let wakers = wakers.clone();
    Probe::new(log).start(move |cx, _| {
        *wakers.lock().unwrap() = Some(cx.waker());
        Action::Continue
    })
}

fn given_waker(wakers: &Wakers) -> Waker {
    eventually("the handler has started", || wakers.lock().unwrap().is_some());
    wakers.lock().unwrap().clone().unwrap()
}

#[test]
fn a_thread_wakes_a_handler_and_wakes_meanwhile_are_one_call() {
    let _bound = bound(30);
    let wakers = Wakers::default();
    let given = wakers.clone();
    let server =
        Reached::new(Limits { inbox_max: 10, ..Limits::default() }, move |log| giving(log, &given));
    let waker = given_waker(&wakers);
    let held = server.hold_up();
    while server.remote.post(|_, _| {}).is_ok() {}
    for _ in 0..10_000 {
        waker.wake_by_ref();
    }
    drop(held);
    server.log.wait_for(1, "notify");
    server.settle();
    assert_eq!(server.log.count("notify"), 1);
    waker.wake_by_ref();
    server.log.wait_for(2, "notify");
    stop(server.running);
    waker.wake();
    assert_eq!(server.log.count("notify"), 2, "harmless after the end");
}

#[test]
fn threads_that_wake_all_the_time_lose_no_wake() {
    const THREADS: usize = 4;
    const WAKES: usize = 20_000;
    let _bound = bound(60);
    let (wakers, asked) = (Wakers::default(), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::new(AtomicUsize::new(0));
    let (given, told, sees) = (wakers.clone(), asked.clone(), seen.clone());
    let server = Reached::new(Limits::default(), move |log| {
        let (told, sees) = (told.clone(), sees.clone());
        giving(log, &given).notify(move |_| {
            sees.store(told.load(Ordering::SeqCst), Ordering::SeqCst);
        })
    });
    let waker = given_waker(&wakers);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for nth in 0..WAKES {
                    asked.fetch_add(1, Ordering::SeqCst);
                    waker.wake_by_ref();
                    if nth % 1_000 == 0 {
                        // The loop falls asleep.
                        thread::sleep(Duration::from_micros(200));
                    }
                }
            });
        }
    });
    eventually("the last wake is seen", || seen.load(Ordering::SeqCst) == THREADS * WAKES);
    stop(server.running);
}

/// The number of the turn.
fn turn_of(cx: &Cx<'_>) -> u64 {
    cx.stats().wakeups
}

#[test]
fn a_wake_from_a_callback_is_answered_in_the_same_turn_and_one_from_the_answer_in_the_next() {
    let _bound = bound(30);
    let turns = Arc::new(Mutex::new(Vec::new()));
    let (woke, told) = (turns.clone(), turns.clone());
    let running = {
        let log = Log::new();
        start(move || {
            let (woke, told, mut left) = (woke.clone(), told.clone(), 3);
            Probe::new(&log)
                .data(move |conn, input| {
                    input.take();
                    let mut cx = conn.cx();
                    woke.lock().unwrap().push(turn_of(&cx));
                    cx.waker().wake();
                    Action::Continue
                })
                .notify(move |cx| {
                    told.lock().unwrap().push(turn_of(cx));
                    left -= 1;
                    if left > 0 {
                        cx.waker().wake();
                    }
                })
        })
    };
    let mut client = Client::tcp(inet(&running));
    client.send(b"x");
    eventually("three calls", || turns.lock().unwrap().len() == 4);
    let turns = turns.lock().unwrap().clone();
    let first = turns[0];
    assert_eq!(turns, [first, first, first + 1, first + 2]);
    stop(running);
}

#[test]
fn each_handler_has_its_own_waker() {
    let _bound = bound(30);
    let (one, other) = (Wakers::default(), Wakers::default());
    let (log, other_log) = (Log::new(), Log::new());
    let setup = (one.clone(), other.clone(), log.clone(), other_log.clone());
    let running = Server::builder()
        .start(move |shard| {
            let (one, other, log, other_log) = &setup;
            shard.host(giving(log, one));
            shard.host(giving(other_log, other));
            Ok(())
        })
        .unwrap();
    given_waker(&other).wake();
    other_log.wait_for(1, "notify");
    assert_eq!((log.count("notify"), other_log.count("notify")), (0, 1));
    given_waker(&one).wake();
    log.wait_for(1, "notify");
    assert_eq!(other_log.count("notify"), 1);
    stop(running);
}

#[test]
fn timers_of_a_handler_fire_in_order_and_one_that_is_taken_back_does_not() {
    let _bound = bound(30);
    let fired = Arc::new(Mutex::new(Vec::new()));
    let armed = Arc::new(Mutex::new(Vec::new()));
    let (arms, fires) = (armed.clone(), fired.clone());
    let log = Log::new();
    let told = log.clone();
    let running = start(move || {
        let (arms, fires) = (arms.clone(), fires.clone());
        Probe::new(&told)
            .start(move |cx, _| {
                let mut arms = arms.lock().unwrap();
                for after_ms in [30, 10, 20, 15] {
                    let after = Duration::from_millis(after_ms);
                    arms.push((cx.set_timer(after), cx.now() + after));
                }
                let cancelled = arms[2].0;
                assert!(cx.cancel_timer(cancelled) && !cx.cancel_timer(cancelled));
                Action::Continue
            })
            .alarm(move |cx, id| {
                assert!(!cx.cancel_timer(id), "it has fired");
                fires.lock().unwrap().push((id, Instant::now()));
            })
    });
    log.wait_for(3, "alarm");
    thread::sleep(Duration::from_millis(20));
    stop(running);
    let (armed, fired) = (armed.lock().unwrap(), fired.lock().unwrap());
    let order: Vec<_> = fired.iter().map(|(id, _)| *id).collect();
    assert_eq!(order, [armed[1].0, armed[3].0, armed[0].0]);
    for (id, at) in fired.iter() {
        let (_, due) = armed.iter().find(|(armed, _)| armed == id).unwrap();
        assert!(at >= due, "early");
    }
}

#[test]
fn a_panic_in_either_is_counted_and_the_next_call_comes() {
    let _bound = bound(30);
    let wakers = Wakers::default();
    let given = wakers.clone();
    let server = Reached::new(Limits::default(), move |log| {
        giving(log, &given)
            .notify(|cx| {
                cx.set_timer(Duration::ZERO);
                panic!("notified");
            })
            .alarm(|_, _| panic!("alarmed"))
    });
    let waker = given_waker(&wakers);
    for round in 1..=3 {
        waker.wake_by_ref();
        server.log.wait_for(round, "notify");
        server.log.wait_for(round, "alarm");
    }
    eventually_total(&server.running.handle(), |total| total.panics, 6);
    stop(server.running);
}

#[test]
fn a_timer_of_a_handler_does_not_keep_the_server_from_ending() {
    let _bound = bound(10);
    let log = Log::new();
    let told = log.clone();
    let running = start(move || {
        Probe::new(&told).start(|cx, _| {
            cx.set_timer(Duration::from_secs(3600));
            Action::Continue
        })
    });
    log.wait_for(1, "start");
    stop(running);
    assert_eq!(log.count("alarm"), 0);
}
