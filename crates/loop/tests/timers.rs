//! Timers of connections.
#![allow(clippy::disallowed_methods, reason = "tests run by the clock")]

mod support;

use mainspring_loop::{Action, TimerId};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use support::*;

/// A timer as a test sees it.
#[derive(Clone, Debug)]
struct Armed {
    id: TimerId,
    after: Duration,
    at: Instant,
    fired: Option<Duration>,
    order: usize,
}

type Timers = Arc<Mutex<Vec<Armed>>>;

/// Notes that the timer has fired; any timer fires once.
fn note(timers: &Timers, id: TimerId) {
    let mut timers = timers.lock().unwrap();
    let order = timers.iter().filter(|timer| timer.fired.is_some()).count();
    let timer = timers.iter_mut().find(|timer| timer.id == id).expect("one that was armed");
    assert!(timer.fired.is_none(), "fired twice");
    timer.fired = Some(timer.at.elapsed());
    timer.order = order;
}

#[test]
fn timers_fire_in_order_and_never_early() {
    const COUNT: usize = 200;
    let _bound = bound(30);
    let timers: Timers = Arc::default();
    let (log, armed) = (Log::new(), timers.clone());
    let running = start(move || {
        let (armed, fired) = (armed.clone(), armed.clone());
        Probe::new(&log)
            .open(move |conn| {
                let mut rng = fastrand::Rng::with_seed(6);
                let mut timers = armed.lock().unwrap();
                for _ in 0..COUNT {
                    let after = Duration::from_micros(rng.u64(..300_000));
                    let (at, id) = (conn.cx().now(), conn.set_timer(after));
                    timers.push(Armed { id, after, at, fired: None, order: 0 });
                }
                Some(Action::Continue)
            })
            .timer(move |_, id| {
                note(&fired, id);
                Action::Continue
            })
    });
    let _client = Client::tcp(inet(&running));
    let all_fired = || {
        let timers = timers.lock().unwrap();
        timers.len() == COUNT && timers.iter().all(|timer| timer.fired.is_some())
    };
    eventually("all timers fire", all_fired);
    stop(running);
    let mut timers = timers.lock().unwrap().clone();
    for timer in &timers {
        let fired = timer.fired.unwrap();
        assert!(fired >= timer.after, "early: {timer:?}");
        assert!(fired < timer.after + Duration::from_secs(2), "late: {timer:?}");
    }
    timers.sort_by_key(|timer| timer.order);
    // In steps of a millisecond; within one in the order of arming.
    let step = |timer: &Armed| timer.after.as_micros().div_ceil(1_000);
    for pair in timers.windows(2) {
        assert!(step(&pair[0]) <= step(&pair[1]) + 1, "{pair:?}");
    }
}

#[test]
fn a_cancelled_timer_does_not_fire_and_a_fired_one_cannot_be_cancelled() {
    let _bound = bound(30);
    let log = Log::new();
    let probe = log.clone();
    let running = start(move || {
        let (tell, mut kept) = (probe.clone(), None);
        let mut fired = Vec::new();
        Probe::new(&probe)
            .open(|conn| {
                let ids: Vec<TimerId> =
                    (0..10).map(|_| conn.set_timer(Duration::from_millis(10))).collect();
                assert!(ids.iter().all(|id| conn.cancel_timer(*id)));
                assert!(!ids.iter().any(|id| conn.cancel_timer(*id)));
                conn.set_timer(Duration::from_millis(30));
                Some(Action::Continue)
            })
            .timer(move |conn, id| {
                assert!(!conn.cancel_timer(id), "it has fired");
                fired.push(id);
                // Once more, from inside; then an end.
                if fired.len() == 1 {
                    kept = Some(conn.set_timer(Duration::ZERO));
                } else {
                    assert_eq!(kept, Some(id));
                    tell.add("over");
                }
                Action::Continue
            })
    });
    let _client = Client::tcp(inet(&running));
    log.wait_for(1, "over");
    thread::sleep(Duration::from_millis(50));
    assert_eq!(log.count("timer"), 2);
    assert_eq!(running.handle().stats().total.panics, 0);
    stop(running);
}

#[test]
fn timers_of_closed_connections_never_fire() {
    let _bound = bound(60);
    let log = Log::new();
    let probe = log.clone();
    let running = start(move || {
        Probe::new(&probe)
            .open(|conn| {
                for step in 0..5 {
                    conn.set_timer(Duration::from_millis(20 + step));
                }
                Some(Action::Continue)
            })
            .data(|_, input| {
                input.take();
                Action::Close
            })
    });
    for round in 0..30 {
        let mut client = Client::tcp(inet(&running));
        log.wait_for(round + 1, "open");
        // Closed by either side, before its time; the next tenant of the slot arms its own.
        if round % 2 == 0 {
            client.send(b"close");
        }
        drop(client);
        log.wait_for(round + 1, "close");
    }
    thread::sleep(Duration::from_millis(60));
    stop(running);
    let lines = log.lines();
    for (index, line) in lines.iter().enumerate() {
        if let Some(number) = line.strip_prefix("timer ") {
            let closed = format!("close {number} ");
            let before = lines[..index].iter().any(|line| line.starts_with(&closed));
            assert!(!before, "{line} after its close");
        }
    }
}

#[test]
fn a_timer_may_answer_and_close() {
    let _bound = bound(30);
    let log = Log::new();
    let probe = log.clone();
    let running = start(move || {
        Probe::new(&probe)
            .open(|conn| {
                conn.set_timer(Duration::from_millis(20));
                conn.set_timer(Duration::from_millis(20));
                Some(Action::Continue)
            })
            .timer(|conn, _| {
                conn.out().extend_from_slice(b"time is up");
                Action::Close
            })
    });
    let mut client = Client::tcp(inet(&running));
    assert_eq!(client.receive_to_end(), b"time is up");
    drop(client);
    log.wait_for(1, "close 1 Local");
    assert_eq!(log.count("timer"), 1, "a closing connection's timers are silent");
    stop(running);
}

#[test]
fn hundreds_of_timers_due_at_once_all_fire() {
    let _bound = bound(30);
    let log = Log::new();
    let probe = log.clone();
    let running = start(move || {
        Probe::new(&probe).open(|conn| {
            // More than one turn fires: `Limits::posts_per_turn`.
            for _ in 0..1_000 {
                conn.set_timer(Duration::from_millis(5));
            }
            Some(Action::Continue)
        })
    });
    let _client = Client::tcp(inet(&running));
    log.wait_for(1_000, "timer");
    stop(running);
    assert_eq!(log.count("timer"), 1_000);
}
