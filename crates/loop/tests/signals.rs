//! Signals of the process, caught for handlers. Each test has a signal of its own, for all of them
//! share one process.
#![cfg(target_os = "linux")]

mod support;

use mainspring_loop::{Balance, Error, Loops, Running, Server, ServerBuilder};
use rustix::process::{Signal, getpid, kill_process};
use support::*;

fn raise(signal: Signal) {
    kill_process(getpid(), signal).expect("a process may signal itself");
}

/// A server with one probe that catches a signal.
fn catching(
    builder: ServerBuilder,
    log: &Log,
    signal: Signal,
    probe: impl Fn(Probe) -> Probe + Send + Sync + 'static,
) -> Running {
    let log = log.clone();
    let setup = builder.start(move |shard| {
        let host = shard.host(probe(Probe::new(&log)));
        shard.catch_signal(host, signal.as_raw())?;
        shard.listen(host, TCP).map(drop)
    });
    setup.expect("a server that starts")
}

#[test]
fn a_signal_calls_the_handler_that_catches_it() {
    let _bound = bound(60);
    let log = Log::new();
    let running = catching(Server::builder(), &log, Signal::USR1, |probe| probe);
    log.wait_for(1, "start");
    raise(Signal::USR1);
    log.wait_for(1, "signal 10");
    raise(Signal::USR1);
    log.wait_for(2, "signal 10");
    stop(running);
    raise(Signal::USR1);
    assert_eq!(log.count("signal"), 2, "a server that has ended hears nothing, and all goes on");
}

#[test]
fn a_handler_may_drain_the_server_at_a_signal() {
    let _bound = bound(60);
    let log = Log::new();
    let running =
        catching(Server::builder(), &log, Signal::TERM, |probe| probe.signal(|cx, _| cx.drain()));
    log.wait_for(1, "start");
    raise(Signal::TERM);
    running.join().expect("an end in good order");
    assert_eq!((log.count("signal 15"), log.count("drain")), (1, 1));
}

#[test]
fn loop_0_catches_for_all() {
    let _bound = bound(60);
    let log = Log::new();
    let builder = Server::builder().loops(Loops::Count(3)).balance(Balance::RoundRobin);
    let on_loops = log.clone();
    let running = catching(builder, &log, Signal::USR2, move |probe| {
        let on_loops = on_loops.clone();
        probe.signal(move |cx, _| on_loops.add(format!("on loop {}", cx.loop_index())))
    });
    log.wait_for(3, "start");
    raise(Signal::USR2);
    log.wait_for(1, "on loop 0");
    stop(running);
    assert_eq!(log.count("on loop"), 1);
}

#[test]
fn all_handlers_that_catch_a_signal_are_called_once_each() {
    let _bound = bound(60);
    let (one, other, log) = (Log::new(), Log::new(), Log::new());
    let logs = [one.clone(), other.clone(), log.clone()];
    let running = Server::builder().start(move |shard| {
        let [one, other, third] = logs.each_ref().map(|log| shard.host(Probe::new(log)));
        for host in [one, other, one] {
            shard.catch_signal(host, Signal::WINCH.as_raw())?;
        }
        shard.catch_signal(third, Signal::URG.as_raw())?;
        shard.listen(one, TCP).map(drop)
    });
    let running = running.expect("a server that starts");
    log.wait_for(1, "start");
    raise(Signal::WINCH);
    one.wait_for(1, "signal 28");
    other.wait_for(1, "signal 28");
    raise(Signal::URG);
    log.wait_for(1, "signal 23");
    stop(running);
    assert_eq!([&one, &other, &log].map(|log| log.count("signal")), [1, 1, 1]);
}

#[test]
fn a_panic_at_a_signal_is_counted_and_the_server_goes_on() {
    let _bound = bound(60);
    let log = Log::new();
    let running = catching(Server::builder(), &log, Signal::HUP, |probe| {
        probe.signal(|_, _| panic!("at a signal"))
    });
    log.wait_for(1, "start");
    raise(Signal::HUP);
    eventually("the panic is counted", || running.handle().stats().total.panics == 1);
    raise(Signal::HUP);
    log.wait_for(2, "signal 1");
    stop(running);
}

#[test]
fn what_cannot_be_caught_keeps_the_server_from_starting() {
    for number in [Signal::KILL.as_raw(), 0, 1000] {
        let error = Server::builder().start(move |shard| {
            let host = shard.host(Probe::new(&Log::new()));
            shard.catch_signal(host, number)
        });
        let error = error.expect_err("a signal that nobody can catch");
        assert!(matches!(error, Error::Signal { number: of, .. } if of == number), "{error}");
        let text = format!("cannot catch signal {number}: ");
        assert!(error.to_string().starts_with(&text), "{error}");
    }
}
