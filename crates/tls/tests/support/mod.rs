//! What the tests of TLS stand on: an authority, an echo server, blocking clients over rustls'
//! buffered connection, which shares no code with ours, and foreign programs.
#![allow(dead_code, unused_imports, reason = "each test binary uses a part of it")]
#![allow(clippy::disallowed_methods, reason = "clients and deadlines of tests run by the clock")]

mod authority;
mod client;
mod echo;
mod program;

pub(crate) use authority::{Authority, Issued, Wish};
pub(crate) use client::{Client, Dial};
pub(crate) use echo::{Echo, Seen};
pub(crate) use program::{Folder, Program};

use mainspring_io::Addr;
use mainspring_loop::{Running, Server, ServerBuilder};
use mainspring_tls::{Identity, TlsServer};
use std::net::SocketAddr;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How long any single expectation may take to come true on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

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

pub(crate) fn identity(issued: &Issued) -> Identity {
    Identity::pem(&issued.cert, &issued.key)
}

/// A server with one certificate.
pub(crate) fn tls(issued: &Issued) -> TlsServer {
    TlsServer::builder().identity(identity(issued)).build().unwrap()
}

/// An echo server on a port of the system's choice, and what its handlers see.
pub(crate) fn start(builder: ServerBuilder, tls: &TlsServer) -> (Running, Seen) {
    let (seen, tls) = (Seen::default(), tls.clone());
    let log = seen.clone();
    let started = builder.start(move |shard| {
        let host = shard.host(Echo::new(&log));
        tls.listen(shard, host, "tcp://127.0.0.1:0").map(drop)
    });
    (started.unwrap(), seen)
}

pub(crate) fn inet(running: &Running) -> SocketAddr {
    match &running.addrs()[0] {
        Addr::Inet(addr) => *addr,
        Addr::Unix(_) => panic!("not an internet address"),
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
