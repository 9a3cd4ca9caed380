//! Deadlines of connections: writes without progress, silence.
#![allow(clippy::disallowed_methods, reason = "tests run by the clock")]

mod support;

use mainspring_loop::{Action, Limits, Running, Server};
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};
use support::*;

const SHORT: Duration = Duration::from_millis(200);

fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}

/// A server that answers anything with more than the kernel takes.
fn flooding_server(log: &Log, limits: Limits) -> Running {
    let log = log.clone();
    start_with(Server::builder().limits(limits), &[TCP], move || {
        Probe::new(&log).data(|conn, input| {
            if &*input.take() == b"flood" {
                conn.out().resize(32 << 20, b'x');
            }
            Action::Continue
        })
    })
}

#[test]
fn a_write_without_progress_times_out() {
    let _bound = bound(60);
    // An idle timeout as well: its timer is armed first and must not hold the other one up.
    for idle_timeout in [None, Some(Duration::from_secs(600))] {
        let log = Log::new();
        let limits = limits(|limits| {
            limits.write_timeout = Some(SHORT);
            limits.idle_timeout = idle_timeout;
        });
        let running = flooding_server(&log, limits);
        let mut client = Client::tcp(inet(&running));
        log.wait_for(1, "open");
        thread::sleep(2 * SHORT);
        let began = Instant::now();
        client.send(b"flood");
        log.wait_for(1, "close 1 WriteTimeout");
        let took = began.elapsed();
        assert!(took >= SHORT && took < 10 * SHORT, "took {took:?}");
        stop(running);
    }
}

#[test]
fn bytes_from_the_peer_are_no_progress_of_a_write() {
    let _bound = bound(60);
    let log = Log::new();
    let limits = limits(|limits| {
        limits.write_timeout = Some(SHORT);
        // Input goes on, however much is unsent.
        limits.output_high = limits.output_max;
    });
    let running = flooding_server(&log, limits);
    let mut client = Client::tcp(inet(&running));
    client.send(b"flood");
    log.wait_for(1, "data");
    let began = Instant::now();
    while began.elapsed() < 10 * SHORT && client.stream.write_all(b"x").is_ok() {
        thread::sleep(SHORT / 10);
    }
    log.wait_for(1, "close 1 WriteTimeout");
    assert!(began.elapsed() < 10 * SHORT, "took {:?}", began.elapsed());
    stop(running);
}

#[test]
fn a_write_that_makes_progress_does_not_time_out() {
    // Longer than a loaded machine keeps the client from its next read, shorter than all of them.
    const TIMEOUT: Duration = Duration::from_millis(1_500);
    let _bound = bound(60);
    let log = Log::new();
    let running = flooding_server(&log, limits(|limits| limits.write_timeout = Some(TIMEOUT)));
    let mut client = Client::tcp(inet(&running));
    client.send(b"flood");
    for _ in 0..32 {
        client.receive(1 << 20);
        thread::sleep(TIMEOUT / 20);
    }
    assert_eq!(log.count("close"), 0);
    stop(running);
}

#[test]
fn the_longest_timeouts_are_no_timeouts() {
    let _bound = bound(60);
    let log = Log::new();
    let running = flooding_server(
        &log,
        limits(|limits| {
            limits.write_timeout = Some(Duration::MAX);
            limits.idle_timeout = Some(Duration::MAX);
            limits.dial_timeout = Duration::MAX;
            limits.linger = Duration::MAX;
        }),
    );
    let mut client = Client::tcp(inet(&running));
    client.send(b"flood");
    client.receive(1 << 20);
    thread::sleep(SHORT);
    client.receive(31 << 20);
    assert_eq!(log.count("close"), 0);
    stop(running);
}

#[test]
fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    // Longer than a loaded machine keeps the busy client from its next byte.
    const IDLE: Duration = Duration::from_secs(1);
    let _bound = bound(60);
    let log = Log::new();
    let probe = log.clone();
    let limits = limits(|limits| limits.idle_timeout = Some(IDLE));
    let running = start_with(Server::builder().limits(limits), &[TCP], move || Probe::echo(&probe));
    let (began, mut idle) = (Instant::now(), Client::tcp(inet(&running)));
    log.wait_for(1, "open");
    let mut busy = Client::tcp(inet(&running));
    while log.count("close") == 0 || began.elapsed() < 3 * IDLE {
        busy.send(b"x");
        busy.expect(b"x");
        thread::sleep(IDLE / 10);
        assert!(began.elapsed() < 20 * IDLE, "too late");
    }
    idle.expect_end();
    assert_eq!(log.count("close 1 IdleTimeout"), 1);
    assert_eq!(log.count("close"), 1);
    let began = Instant::now();
    log.wait_for(1, "close 2 IdleTimeout");
    assert!(began.elapsed() + IDLE / 5 >= IDLE, "early: {:?}", began.elapsed());
    stop(running);
}

#[test]
fn a_connection_may_have_an_idle_timeout_of_its_own() {
    let _bound = bound(60);
    let log = Log::new();
    let probe = log.clone();
    let limits = limits(|limits| limits.idle_timeout = Some(Duration::from_secs(600)));
    let running = start_with(Server::builder().limits(limits), &[TCP], move || {
        Probe::echo(&probe).data(|conn, input| {
            match &*input.take() {
                b"short" => conn.set_idle_timeout(Some(SHORT)),
                b"none" => conn.set_idle_timeout(None),
                _ => {}
            }
            conn.out().push(b'.');
            Action::Continue
        })
    });
    let mut one = Client::tcp(inet(&running));
    let mut other = Client::tcp(inet(&running));
    for (client, words) in [(&mut one, [&b"none"[..], b"short"]), (&mut other, [b"short", b"none"])]
    {
        for word in words {
            client.send(word);
            client.expect(b".");
        }
    }
    log.wait_for(1, "close 1 IdleTimeout");
    thread::sleep(2 * SHORT);
    assert_eq!(log.count("close"), 1);
    stop(running);
}
