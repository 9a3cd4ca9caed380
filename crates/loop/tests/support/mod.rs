//! What the tests of the loop stand on: a handler that tells what it saw, blocking clients that do
//! not wait for ever, and a bound on each test.
#![allow(dead_code, unused_imports, reason = "each test binary uses a part of it")]
#![allow(clippy::disallowed_methods, reason = "clients and deadlines of tests run by the clock")]

mod client;
mod log;
mod probe;
mod process;
mod reached;
mod seal;

pub(crate) use client::Client;
pub(crate) use log::Log;
pub(crate) use probe::{Probe, Tag};
pub(crate) use process::{CpuTime, TempDir};
pub(crate) use reached::Reached;
pub(crate) use seal::{CUT, NOT_SEALED, Seal, SealInfo, seal, unseal};

use mainspring_io::Addr;
use mainspring_loop::{Handle, Handler, LoopStats, Running, Server, ServerBuilder, ServerStats};
use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How long any single expectation may take to come true on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const TCP: &str = "tcp://127.0.0.1:0";

/// Ends the process if the test that holds it is not over in time.
pub(crate) struct Bound {
    _over: Sender<()>,
}

/// Bounds the test that is running.
#[expect(clippy::print_stderr, reason = "the last words of a test that hangs")]
pub(crate) fn bound(seconds: u64) -> Bound {
    let (over, told) = channel::<()>();
    let test = thread::current().name().unwrap_or("a test").to_owned();
    thread::spawn(move || {
        if told.recv_timeout(Duration::from_secs(seconds)) == Err(RecvTimeoutError::Timeout) {
            eprintln!("{test} was not over after {seconds} s");
            std::process::exit(101);
        }
    });
    Bound { _over: over }
}

/// An address of each kind that the system has: of TCP, and `unix`.
pub(crate) fn each_kind(unix: &str) -> Vec<&str> {
    if cfg!(unix) { vec![TCP, unix] } else { vec![TCP] }
}

/// Starts a server with one handler on several addresses.
pub(crate) fn start_with<H: Handler>(
    builder: ServerBuilder,
    addresses: &[&str],
    handler: impl Fn() -> H + Send + Sync + 'static,
) -> Running {
    let addresses: Vec<String> = addresses.iter().map(|address| (*address).to_owned()).collect();
    let started = builder.start(move |shard| {
        let host = shard.host(handler());
        for address in &addresses {
            shard.listen(host, address)?;
        }
        Ok(())
    });
    started.expect("the server starts")
}

/// Starts a server with one loop, default limits and one handler on a port of the system's choice.
pub(crate) fn start<H: Handler>(handler: impl Fn() -> H + Send + Sync + 'static) -> Running {
    start_with(Server::builder(), &[TCP], handler)
}

/// The address of the server's first listener.
pub(crate) fn inet(running: &Running) -> SocketAddr {
    inet_of(&running.addrs()[0])
}

pub(crate) fn inet_of(addr: &Addr) -> SocketAddr {
    match addr {
        Addr::Inet(addr) => *addr,
        Addr::Unix(_) => panic!("{addr} is not an internet address"),
    }
}

/// Stops the server and waits for its end.
pub(crate) fn stop(running: Running) {
    running.handle().stop();
    running.join().expect("the server ends in good order");
}

/// Waits until `holds`, and says `what` did not come true if it never does.
#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "not in time: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until the server's figures are as they should be.
#[track_caller]
pub(crate) fn eventually_stats(
    handle: &Handle,
    what: &str,
    holds: impl Fn(&ServerStats) -> bool,
) -> ServerStats {
    let until = Instant::now() + PATIENCE;
    loop {
        let stats = handle.stats();
        if holds(&stats) {
            return stats;
        }
        assert!(Instant::now() < until, "not in time: {what}: {:?}", stats.total);
        thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until some figures of the whole server are `wanted`: they may be told only when the turn
/// ends that has made them.
#[track_caller]
pub(crate) fn eventually_total<T: PartialEq + Debug>(
    handle: &Handle,
    figures: impl Fn(&LoopStats) -> T,
    wanted: T,
) {
    let until = Instant::now() + PATIENCE;
    loop {
        let got = figures(&handle.stats().total);
        if got == wanted {
            return;
        }
        assert!(Instant::now() < until, "not in time: {wanted:?}, but {got:?}");
        thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) fn random_bytes(rng: &mut fastrand::Rng, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    rng.fill(&mut bytes);
    bytes
}

/// Compares long byte strings without printing them.
#[track_caller]
pub(crate) fn assert_same_bytes(got: &[u8], wanted: &[u8], about: &str) {
    assert_eq!(got.len(), wanted.len(), "{about}: length");
    let differs = got.iter().zip(wanted).position(|(got, wanted)| got != wanted);
    assert_eq!(differs, None, "{about}: first difference");
}
