//! Ticks: fixed delay, adaptive, from the first to the last.
#![allow(clippy::disallowed_methods, reason = "tests run by the clock")]

mod support;

use mainspring_loop::{Loops, Server, Tick};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use support::*;

#[test]
fn twenty_five_ticks_of_ten_milliseconds_take_a_quarter_of_a_second() {
    let _bound = bound(30);
    let began = Instant::now();
    let log = Log::new();
    let probe = log.clone();
    let running = start_with(Server::builder(), &[], move || {
        let mut ticks = 0;
        Probe::new(&probe).tick(move |cx| {
            if ticks == 25 {
                cx.shutdown();
            }
            ticks += 1;
            Tick::After(Duration::from_millis(10))
        })
    });
    running.join().unwrap();
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(250), "early: {took:?}");
    assert!(took < Duration::from_secs(1), "late: {took:?}");
}

#[test]
fn a_shutdown_from_the_first_tick_is_not_lost() {
    let _bound = bound(60);
    for round in 0..50 {
        let log = Log::new();
        let probe = log.clone();
        let builder = Server::builder().loops(Loops::Count(1 + round % 3));
        let running = start_with(builder, &[TCP], move || {
            Probe::new(&probe).tick(|cx| {
                cx.shutdown();
                Tick::After(Duration::from_secs(3600))
            })
        });
        running.join().unwrap();
        assert_eq!(log.count("tick"), 1);
    }
}

#[test]
fn only_loop_0_ticks_unless_asked_otherwise() {
    let _bound = bound(30);
    for everywhere in [false, true] {
        let ticked: Arc<Mutex<Vec<usize>>> = Arc::default();
        let (told, log) = (ticked.clone(), Log::new());
        let running = Server::builder().loops(Loops::Count(3)).start(move |shard| {
            let told = told.clone();
            let host = shard.host(Probe::new(&log).tick(move |cx| {
                told.lock().unwrap().push(cx.loop_index());
                Tick::Stop
            }));
            if everywhere {
                shard.tick_on_every_loop(host);
            }
            Ok(())
        });
        let running = running.unwrap();
        let wanted: &[usize] = if everywhere { &[0, 1, 2] } else { &[0] };
        eventually("the ticks", || ticked.lock().unwrap().len() >= wanted.len());
        thread::sleep(Duration::from_millis(50));
        stop(running);
        let mut ticked = ticked.lock().unwrap().clone();
        ticked.sort_unstable();
        assert_eq!(ticked, wanted);
    }
}

#[test]
fn a_delay_of_nothing_ticks_once_per_turn_without_sleep() {
    let _bound = bound(30);
    let log = Log::new();
    let began = Instant::now();
    let running = start_with(Server::builder(), &[], move || {
        let mut ticks = 0;
        Probe::new(&log).tick(move |cx| {
            ticks += 1;
            if ticks == 20_000 {
                cx.shutdown();
            }
            Tick::After(Duration::ZERO)
        })
    });
    running.join().unwrap();
    // A sleep of a millisecond each would take twenty seconds.
    assert!(began.elapsed() < Duration::from_secs(10), "took {:?}", began.elapsed());
}

#[test]
fn an_adaptive_tick_follows_the_traffic_within_its_two_ends() {
    const BUSY: Duration = Duration::from_nanos(1_000_000_000 / 60);
    const IDLE: Duration = Duration::from_secs(1);
    let _bound = bound(60);
    let log = Log::new();
    let probe = log.clone();
    let running =
        start(move || Probe::echo(&probe).tick(|_| Tick::Adaptive { busy: BUSY, idle: IDLE }));
    // Idle: about once a second.
    log.wait_for(1, "tick");
    let before = log.count("tick");
    thread::sleep(Duration::from_millis(2_200));
    let idle = log.count("tick") - before;
    assert!((1..=3).contains(&idle), "{idle} ticks in 2.2 s without traffic");
    // Busy: at most sixty times a second, and much more often than once.
    let mut client = Client::tcp(inet(&running));
    let (before, began) = (log.count("tick"), Instant::now());
    while began.elapsed() < Duration::from_secs(2) {
        client.send(b"x");
        client.expect(b"x");
    }
    let busy = log.count("tick") - before;
    let most = (began.elapsed().as_secs_f64() * 60.0) as usize + 1;
    assert!(busy <= most, "{busy} ticks in {:?}", began.elapsed());
    assert!(busy >= 40, "only {busy} ticks under load");
    stop(running);
}
