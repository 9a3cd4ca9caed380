//! System calls that fail: the server lives on, every connection is served to its end or closed at
//! once, and a fresh one is served as if nothing had been.
//!
//! The calls fail by strace(1), which does not carry them out: a `close` that "fails" so leaves the
//! descriptor open, which no kernel does, and an `EAGAIN` comes while data or room is there. Under
//! edge-triggered events that is unfair: the edge that would tell of the data has gone by. It is
//! injected only into calls after which the test makes the kernel raise another edge, as a kernel
//! that had meant it would.
#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods, reason = "clients live in real time")]

mod robust;

use robust::client::{Outcome, Protocol, ask, connect, is_timeout, outcome, try_connect};
use robust::server::Launch;
use robust::strace::{Injection, Traced, calls_until_ready};
use robust::{HANG, wait_until};
use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

/// How many connections each failing call meets.
const CLIENTS: usize = 24;
/// More than one read buffer of the server, and less than what the sockets hold.
const LARGE: usize = 100_000;

#[test]
fn accept() {
    let errors =
        ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "ECONNABORTED", "EINTR", "EPROTO", "EPERM"];
    for error in errors {
        let outcomes = run(ready(), Injection::of("accept4", error));
        // Whatever accepting fails with, the connection stays in the queue of this kernel.
        assert_eq!(outcomes.closed, 0, "accept4 {error}");
    }
}

/// Each loop has a listener, and `accept4` fails in all of them.
#[test]
fn accept_with_four_loops() {
    let launch = ready().args(&["--loops", "4"]);
    let outcomes = run(launch, Injection::of("accept4", "EMFILE").step(2));
    assert_eq!(outcomes.closed, 0);
}

/// Behind a wildcard address the server asks each connection for its own.
#[test]
fn asking_for_the_own_address() {
    let launch = Launch::of("echo").listen("tcp4://0.0.0.0:0");
    run(launch, Injection::of("getsockname", "ENOBUFS"));
}

#[test]
fn receive() {
    let outcomes = run(ready(), Injection::of("recvfrom", "EINTR"));
    assert_eq!(outcomes.closed, 0, "an interrupted call is made again");
    for error in ["ECONNRESET", "ENOMEM", "ETIMEDOUT"] {
        let outcomes = run(ready(), Injection::of("recvfrom", error));
        assert!(outcomes.closed > 0 && outcomes.served > 0, "recvfrom {error}: {outcomes:?}");
    }
}

#[test]
fn send() {
    let outcomes = run(ready(), Injection::of("sendto", "EINTR"));
    assert_eq!(outcomes.closed, 0, "an interrupted call is made again");
    for error in ["EPIPE", "ECONNRESET", "ENOBUFS", "ENOMEM"] {
        let outcomes = run(ready(), Injection::of("sendto", error));
        assert!(outcomes.closed > 0 && outcomes.served > 0, "sendto {error}: {outcomes:?}");
    }
}

/// A wait that fails is a wait that brought nothing, once or often.
#[test]
fn wait() {
    for injection in [
        Injection::of("epoll_pwait", "EINTR"),
        Injection::of("epoll_pwait", "ENOMEM"),
        Injection::of("epoll_pwait", "EINTR").step(1).times(200),
        Injection::of("epoll_pwait", "EBADF").times(1),
    ] {
        let outcomes = run(ready(), injection);
        assert_eq!(outcomes.closed, 0, "{injection:?}");
    }
}

/// Sleeps that are to end with a timer are another call, which older kernels and sandboxes do not
/// have.
#[test]
fn wait_with_a_timer() {
    for injection in [
        Injection::of("epoll_pwait2", "EINTR"),
        Injection::of("epoll_pwait2", "ENOMEM"),
        Injection::of("epoll_pwait2", "ENOSYS").after(1).times(1),
        Injection::of("epoll_pwait2", "EPERM").after(1).times(1),
    ] {
        let outcomes = run(ready().args(&["--idle-timeout", "1m"]), injection);
        assert_eq!(outcomes.closed, 0, "{injection:?}");
    }
}

/// On the ring one call waits, receives and sends for all: whatever it fails with, nothing is lost.
#[test]
fn enter() {
    for injection in [
        Injection::of("io_uring_enter", "EINTR"),
        Injection::of("io_uring_enter", "EAGAIN"),
        Injection::of("io_uring_enter", "ENOMEM"),
        Injection::of("io_uring_enter", "EBUSY"),
        Injection::of("io_uring_enter", "EINTR").step(1).times(200),
        Injection::of("io_uring_enter", "EBADF").times(1),
    ] {
        let outcomes = run(Launch::of("echo").args(&["--driver", "ring"]), injection);
        assert_eq!(outcomes.closed, 0, "{injection:?}");
    }
}

/// A connection that the poller does not take is closed.
#[test]
fn register() {
    for error in ["ENOMEM", "ENOSPC"] {
        let outcomes = run(ready(), Injection::of("epoll_ctl", error));
        assert!(outcomes.closed > 0 && outcomes.served > 0, "epoll_ctl {error}: {outcomes:?}");
    }
    let outcomes = run(ready(), Injection::of("ioctl", "ENOMEM"));
    assert!(outcomes.served > 0, "{outcomes:?}");
}

#[test]
fn end_of_stream_and_close() {
    for injection in [
        Injection::of("shutdown", "ENOTCONN"),
        Injection::of("close", "EIO"),
        Injection::of("close", "EINTR"),
    ] {
        let outcomes = run(Launch::of("echo"), injection);
        assert_eq!(outcomes.closed, 0, "{injection:?}");
    }
}

/// The servers of protocols end connections by themselves: after an error, and on request.
#[test]
fn ends_by_redis_and_http() {
    for (protocol, last) in [
        (Protocol::Redis, &b"*1\r\n$4\r\nQUIT\r\n"[..]),
        (Protocol::Redis, b"*nonsense\r\n"),
        (Protocol::Http, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
        (Protocol::Http, b"nonsense\r\n\r\n"),
    ] {
        ends(protocol, last, Injection::of("close", "EIO"));
        // An end of stream that is not sent makes the client wait until the server has lingered: 2
        // s. Once is enough.
        ends(protocol, last, Injection::of("shutdown", "ENOTCONN").times(1));
    }
}

/// Options of accepted sockets, where the program sets any, and the reset of an aborted connection.
#[test]
fn options() {
    for protocol in Protocol::ALL {
        for error in ["ENOPROTOOPT", "ENOMEM"] {
            let injection = Injection::of("setsockopt", error).after(1).step(1).times(100);
            let launch = Launch::of(protocol.demo()).args(&["--write-timeout", "500ms"]);
            let traced = start(launch, &injection);
            // A peer that never reads is aborted, and that takes an option.
            let deaf = connect(traced.server.address());
            ask(protocol, &deaf).expect("served");
            flood(&deaf, protocol.request());
            let gone = wait_until(HANG, || traced.injected() > 0);
            assert!(gone, "no option was set\n{}", traced.server.log());
            ask(protocol, &connect(traced.server.address())).expect("a good client is served");
            traced.server.assert_alive("setsockopt");
        }
    }
}

/// An `EAGAIN` that the next edge makes good: the client goes on sending, as one does that has had
/// no answer to the first.
#[test]
fn spurious_readiness() {
    for call in ["recvfrom", "sendto"] {
        let injection = Injection::of(call, "EAGAIN").after(1).step(2);
        let traced = start(ready(), &injection);
        for _ in 0..CLIENTS {
            let stream = connect(traced.server.address());
            stream.set_read_timeout(Some(Duration::from_millis(50))).expect("a socket");
            let mut got = Vec::new();
            let arrived = wait_until(HANG, || {
                (&stream).write_all(b"x").expect("fits the buffers");
                let mut buffer = [0; 64];
                match (&stream).read(&mut buffer) {
                    Ok(0) => panic!("{call}: closed"),
                    Ok(count) => got.extend_from_slice(&buffer[..count]),
                    Err(error) => assert!(is_timeout(&error), "{call}: {error}"),
                }
                got.len() >= 8
            });
            assert!(arrived, "{call}: hangs\n{}", traced.server.log());
        }
        assert!(traced.injected() > 0, "no {call} failed");
        fresh(traced.server.address(), Protocol::Echo);
    }
}

/// The wake of another thread: an accepted connection handed to the next loop, and the stop.
#[test]
fn wake() {
    for (error, step) in [("EAGAIN", 2), ("EINTR", 2), ("EINTR", 1)] {
        // Without a log the only writes are those that wake.
        let args = ["--loops", "2", "--balance", "round-robin", "--log", "off"];
        let launch = Launch::of("echo").args(&args);
        let (outcomes, mut traced) =
            run_on(&launch, Injection::of("write", error).after(1).step(step));
        assert_eq!(outcomes.closed, 0, "write {error}");
        let (code, took) = traced.server.terminate(HANG);
        assert_eq!(code, Some(0), "after {took:?}");
    }
}

/// Datagrams may be lost, and no more than that.
#[test]
fn datagrams() {
    for (call, errors) in [
        ("recvmmsg", &["EINTR", "ENOMEM", "ECONNREFUSED"][..]),
        ("sendmmsg", &["EINTR", "ENOBUFS", "EPERM", "EHOSTUNREACH", "EAGAIN"]),
    ] {
        for error in errors {
            let launch = ready().listen("udp://127.0.0.1:0");
            let traced = start(launch, &Injection::of(call, error));
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
            socket.connect(traced.server.address()).expect("a socket");
            socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a socket");
            let mut buffer = [0; 64];
            for number in 0..CLIENTS {
                let answered = wait_until(HANG, || {
                    socket.send(&[number as u8]).expect("fits the buffers");
                    socket.recv(&mut buffer).is_ok()
                });
                assert!(answered, "{call} {error}: deaf\n{}", traced.server.log());
            }
            assert!(traced.injected() > 0, "no {call} failed with {error}");
            traced.server.assert_alive(call);
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Outcomes {
    served: usize,
    closed: usize,
}

/// Echo on the driver whose calls these are.
fn ready() -> Launch {
    Launch::of("echo").args(&["--driver", "ready"])
}

fn start(launch: Launch, injection: &Injection) -> Traced {
    let before = calls_until_ready(launch.clone(), injection.call);
    Traced::start(launch, injection, before)
}

fn run(launch: Launch, injection: Injection) -> Outcomes {
    let (outcomes, mut traced) = run_on(&launch, injection);
    if matches!(injection.call, "recvfrom" | "sendto") {
        // A signal reaches its thread by the same calls on a socket of the process's own.
        return outcomes;
    }
    // A connection that the server has lost sight of would keep it from ending.
    let (code, took) = traced.server.terminate(HANG);
    assert_eq!(code, Some(0), "{injection:?}\n{}", traced.server.log());
    assert!(took < Duration::from_secs(4), "{injection:?}: a stop took {took:?}");
    outcomes
}

/// Sends an echo server clients, one after the other and some at a time, while calls fail.
fn run_on(launch: &Launch, injection: Injection) -> (Outcomes, Traced) {
    let traced = start(launch.clone(), &injection);
    let port = traced.server.address().port();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let what = format!("{} {}", injection.call, injection.error);
    let mut outcomes = Outcomes::default();
    let mut count = |outcome| match outcome {
        Outcome::Served => outcomes.served += 1,
        Outcome::Closed => outcomes.closed += 1,
    };
    for _ in 0..CLIENTS / 2 {
        count(outcome(converse(address), &what));
    }
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..CLIENTS / 2).map(|_| scope.spawn(|| outcome(converse(address), &what))).collect();
        for thread in threads {
            count(thread.join().expect("no client hangs"));
        }
    });
    assert!(traced.injected() > 0, "{what}: no call failed");
    traced.server.assert_alive(&what);
    fresh(address, Protocol::Echo);
    (outcomes, traced)
}

/// Small messages, a large one, and the end of the stream, which the server answers with its own.
fn converse(address: SocketAddr) -> io::Result<()> {
    let stream = try_connect(address)?;
    for _ in 0..4 {
        ask(Protocol::Echo, &stream)?;
    }
    let large = vec![b'x'; LARGE];
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| (&stream).write_all(&large));
        let mut got = vec![0; LARGE];
        let read = (&stream).read_exact(&mut got);
        let sent = sending.join().expect("a client does not panic");
        read.and(sent)?;
        if got == large { Ok(()) } else { Err(io::Error::other("other bytes")) }
    })?;
    stream.shutdown(Shutdown::Write)?;
    match (&stream).read(&mut [0])? {
        0 => Ok(()),
        _ => Err(io::Error::other("more bytes than were sent")),
    }
}

/// The failing is over after so many calls: then clients are served as ever.
fn fresh(address: SocketAddr, protocol: Protocol) {
    let served = wait_until(HANG, || ask(protocol, &connect(address)).is_ok());
    assert!(served, "no fresh connection is served");
}

/// Clients of which each is sent away by the server after `last`.
fn ends(protocol: Protocol, last: &[u8], injection: Injection) {
    let traced = start(Launch::of(protocol.demo()), &injection);
    let what = format!("{} {injection:?}", protocol.demo());
    for _ in 0..CLIENTS {
        let stream = connect(traced.server.address());
        ask(protocol, &stream).expect("served");
        (&stream).write_all(last).expect("fits the buffers");
        let mut rest = Vec::new();
        let end = BufReader::new(&stream).read_to_end(&mut rest).map(drop);
        outcome(end, &what);
        assert!(!rest.is_empty(), "{what}: the last answer is lost");
    }
    assert!(traced.injected() > 0, "{what}: no call failed");
    fresh(traced.server.address(), protocol);
}

/// Sends until the server has stopped to read, or has closed.
fn flood(mut stream: &TcpStream, request: &[u8]) {
    let requests = request.repeat(1000);
    stream.set_write_timeout(Some(Duration::from_millis(200))).expect("a socket");
    while stream.write_all(&requests).is_ok() {}
}
