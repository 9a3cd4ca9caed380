//! Peers that behave badly: none of them stops the others, and none makes the server grow or spin.
#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods, reason = "clients live in real time")]

mod robust;

use robust::client::{self, Protocol, ask, connect, outcome, read_to_end};
use robust::process::Process;
use robust::server::Launch;
use robust::{HANG, wait_until};
use rustix::process::Signal;
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What a good client may wait for one reply while others do their worst, on a busy machine and
/// from a program that is not optimized.
const BOUND: Duration = Duration::from_secs(2);
/// Processor time below which a server counts as asleep: one tick of 10 ms in a second.
const ASLEEP: f64 = 0.02;

/// 2,000 connections that are reset, some before they are accepted, some with a request under way.
#[test]
fn reset_storm() {
    const CONNECTIONS: usize = 2000;
    for protocol in Protocol::ALL {
        let server = Launch::of(protocol.demo()).start();
        let address = server.address();
        let worst = beside_a_good_client(protocol, address, || {
            for number in 0..CONNECTIONS {
                let stream = connect(address);
                client::reset_on_drop(&stream);
                if number % 2 == 0 {
                    (&stream).write_all(protocol.request()).expect("fits the buffers");
                }
                if number % 4 == 0 {
                    // Its reply comes back to nobody.
                    let _ = (&stream).read(&mut [0]);
                    let _ = (&stream).write_all(protocol.request());
                }
            }
        });
        assert!(worst < BOUND, "{protocol:?}: a good client waited {worst:?}");
        server.assert_alive("a storm of resets");
    }
}

/// 100 clients ask for much and read nothing. What the server holds for them is bounded, and once
/// they are choked it sleeps.
#[test]
fn peers_that_never_read() {
    for protocol in Protocol::ALL {
        // Small buffers in the kernel, so that what counts is soon what the server holds itself,
        // and the good client's turn comes after 100 small deliveries, not large ones.
        let address = "tcp://127.0.0.1:0?sndbuf=32k&rcvbuf=8k";
        let server = Launch::of(protocol.demo()).listen(address).start();
        if protocol == Protocol::Redis {
            set_large_value(server.address());
        }
        let before = server.process().resident_kib();
        let request = match protocol {
            // 64 KiB come back for each of these.
            Protocol::Redis => b"*2\r\n$3\r\nGET\r\n$5\r\nlarge\r\n".repeat(200),
            _ => protocol.request().repeat(500),
        };
        let mut deaf = Vec::new();
        let worst = beside_a_good_client(protocol, server.address(), || {
            deaf = (0..100).map(|_| connect(server.address())).collect();
            choke(&deaf, &request);
        });
        assert!(worst < BOUND, "{protocol:?}: a good client waited {worst:?}");

        // Per connection: 256 KiB of output at which reading stops, the replies to one more
        // delivery, and the growth of a vector on its way there.
        let grown = server.process().resident_kib().saturating_sub(before);
        assert!(grown < 100 * 1024, "{protocol:?}: grew by {grown} KiB for 100 deaf clients");
        let load = || server.process().load_over(Duration::from_millis(500));
        let sleeps = wait_until(HANG, || load() <= ASLEEP);
        assert!(sleeps, "{protocol:?}: takes {} of a processor for choked clients", load());
        ask(protocol, &connect(server.address())).expect("served");
        drop(deaf);
        let before = Instant::now();
        ask(protocol, &connect(server.address())).expect("served");
        assert!(before.elapsed() < BOUND);
        server.assert_alive("with peers that never read");
    }
}

/// A peer that ends its own stream first gets every reply, and then the server's end.
#[test]
fn half_closed_peers() {
    for protocol in Protocol::ALL {
        let server = Launch::of(protocol.demo()).start();
        for count in [0, 1, 10, 20_000] {
            let stream = connect(server.address());
            std::thread::scope(|scope| {
                let sending = scope.spawn(|| {
                    (&stream).write_all(&protocol.request().repeat(count)).expect("taken");
                    stream.shutdown(Shutdown::Write).expect("connected");
                });
                let mut reader = BufReader::new(&stream);
                for number in 0..count {
                    let reply = protocol.read_reply(&mut reader);
                    reply.unwrap_or_else(|error| {
                        panic!("{protocol:?}: reply {number} of {count}: {error}")
                    });
                }
                let end = reader.read(&mut [0]).expect("an end in good order");
                assert_eq!(end, 0, "{protocol:?}: more than was asked for");
                sending.join().expect("sent");
            });
        }
    }
}

/// The server is stopped while clients connect and ask; all of them are served when it goes on.
#[test]
fn a_stopped_server_serves_all_when_it_goes_on() {
    for protocol in Protocol::ALL {
        let server = Launch::of(protocol.demo()).start();
        let open: Vec<TcpStream> = (0..50).map(|_| connect(server.address())).collect();
        open.iter().for_each(|stream| ask(protocol, stream).expect("served"));
        server.process().signal(Signal::STOP);
        let queued: Vec<TcpStream> = (0..50).map(|_| connect(server.address())).collect();
        for mut stream in open.iter().chain(&queued) {
            stream.write_all(protocol.request()).expect("fits the buffers");
        }
        robust::pause(Duration::from_millis(300));
        server.process().signal(Signal::CONT);
        for stream in open.iter().chain(&queued) {
            let reply = protocol.read_reply(&mut BufReader::new(stream));
            assert_eq!(outcome(reply, "queued"), client::Outcome::Served);
        }
    }
}

/// A client process that is stopped with a transfer under way delays nobody, and gets the rest
/// later.
#[test]
fn a_stopped_client_gets_the_rest_later() {
    let server = Launch::of("echo").start();
    let SocketAddr::V4(address) = server.address() else { panic!("127.0.0.1 was asked for") };
    const BYTES: usize = 8 << 20;
    // bash is a client with a process of its own that can be stopped.
    let script = format!(
        "exec 3<>/dev/tcp/{}/{}; head -c {BYTES} /dev/zero >&3 & head -c {BYTES} <&3 | wc -c",
        address.ip(),
        address.port()
    );
    let client = std::process::Command::new("setsid")
        .args(["bash", "-c", &script])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("bash can be started");
    let signal_all = |signal| {
        let group = rustix::process::Pid::from_raw(client.id().cast_signed()).expect("not 0");
        let _ = rustix::process::kill_process_group(group, signal);
    };
    robust::pause(Duration::from_millis(10));
    signal_all(Signal::STOP);
    for _ in 0..20 {
        ask(Protocol::Echo, &connect(server.address())).expect("served");
    }
    let load = server.process().load_over(Duration::from_millis(500));
    assert!(load <= ASLEEP, "takes {load} of a processor while its client is stopped");
    signal_all(Signal::CONT);
    let process = Process(client.id());
    let ended = wait_until(HANG, || !process.is_alive());
    if !ended {
        signal_all(Signal::KILL);
    }
    let output = client.wait_with_output().expect("a child");
    assert!(ended, "the stopped client hangs");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), BYTES.to_string());
}

/// 100 clients send their requests byte by byte. They are served, and so is everybody else.
#[test]
fn byte_by_byte() {
    for protocol in Protocol::ALL {
        let server = Launch::of(protocol.demo()).start();
        let slow: Vec<TcpStream> = (0..100).map(|_| connect(server.address())).collect();
        let worst = beside_a_good_client(protocol, server.address(), || {
            for byte in protocol.request() {
                robust::pause(Duration::from_millis(10));
                slow.iter().for_each(|mut stream| {
                    stream.write_all(std::slice::from_ref(byte)).expect("open");
                });
            }
        });
        assert!(worst < BOUND, "{protocol:?}: a good client waited {worst:?}");
        for stream in &slow {
            let reply = protocol.read_reply(&mut BufReader::new(stream));
            assert_eq!(outcome(reply, "byte by byte"), client::Outcome::Served, "{protocol:?}");
        }
    }
}

/// One whose head does not come to its end is told so, in time.
#[test]
fn a_head_without_end_is_answered() {
    let server = Launch::of("http").args(&["--header-timeout", "300ms"]).start();
    let stream = connect(server.address());
    (&stream).write_all(b"GET / HTTP/1.1\r\nHost: a").expect("open");
    let start = Instant::now();
    let answer = read_to_end(&stream).expect("an end in good order");
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", answer.escape_ascii());
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

/// Random bytes, and requests with random bytes in them, as fast as they can be sent.
#[test]
fn floods_of_garbage() {
    const SEED: u64 = 0x6172_6261_6765;
    for protocol in Protocol::ALL {
        let server = Launch::of(protocol.demo()).start();
        let before = server.process().resident_kib();
        let worst = beside_a_good_client(protocol, server.address(), || {
            std::thread::scope(|scope| {
                for thread in 0..4 {
                    let address = server.address();
                    scope.spawn(move || {
                        let mut rng = fastrand::Rng::with_seed(SEED + thread);
                        (0..25).for_each(|_| flood_with_garbage(protocol, address, &mut rng));
                    });
                }
            });
        });
        assert!(worst < BOUND, "{protocol:?}: a good client waited {worst:?}, seed {SEED:#x}");
        let grown = server.process().resident_kib().saturating_sub(before);
        assert!(grown < 64 * 1024, "{protocol:?}: grew by {grown} KiB, seed {SEED:#x}");
        server.assert_alive("a flood of garbage");
    }
}

/// 20,000 connections one after the other leave nothing behind.
#[test]
fn churn_leaves_nothing_behind() {
    const CONNECTIONS: usize = 20_000;
    let server = Launch::of("echo").start();
    let address = server.address();
    churn(address, 500);
    let process = server.process();
    let quiet = || wait_until(HANG, || process.descriptors() < 30);
    assert!(quiet(), "descriptors of closed connections: {}", process.descriptors());
    let (descriptors, resident) = (process.descriptors(), process.resident_kib());
    let start = Instant::now();
    churn(address, CONNECTIONS);
    let took = start.elapsed();
    assert!(took < Duration::from_secs(60), "{CONNECTIONS} connections took {took:?}");
    let freed = wait_until(HANG, || process.descriptors() <= descriptors);
    assert!(freed, "{} descriptors, and {descriptors} before", process.descriptors());
    let grown = process.resident_kib().saturating_sub(resident);
    assert!(grown < 4 * 1024, "grew by {grown} KiB in {CONNECTIONS} connections");
    ask(Protocol::Echo, &connect(address)).expect("served");
}

/// The answer to a malformed request arrives, and then the end, although the client goes on
/// sending: a reset would destroy what the client has not read yet.
#[test]
fn the_last_answer_survives_a_client_that_goes_on_sending() {
    for (demo, request, answer) in [
        (
            "redis",
            &b"*1\r\n$nonsense\r\n"[..],
            &b"-ERR Protocol error: invalid bulk length\r\n"[..],
        ),
        ("redis", b"*1\r\n$4\r\nQUIT\r\n", b"+OK\r\n"),
        ("http", b"nonsense\r\n\r\n", b"HTTP/1.1 400 "),
        ("http", b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", b"HTTP/1.1 200 "),
    ] {
        let server = Launch::of(demo).start();
        let stream = connect(server.address());
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let sending = scope.spawn(|| -> io::Result<()> {
                (&stream).write_all(request)?;
                while !stop.load(Ordering::Relaxed) {
                    (&stream).write_all(&[b'x'; 4096])?;
                }
                Ok(())
            });
            // The client looks at its mail late: by now a reset would have done its harm.
            robust::pause(Duration::from_millis(200));
            let got = read_to_end(&stream);
            stop.store(true, Ordering::Relaxed);
            // A reset is told to whichever thread is the first to ask.
            let sent = sending.join().expect("a client does not panic");
            sent.unwrap_or_else(|error| panic!("{demo}: while sending: {error}"));
            let got = got.unwrap_or_else(|error| panic!("{demo}: {error}"));
            assert!(got.starts_with(answer), "{demo}: \"{}\"", got.escape_ascii());
        });
    }
}

/// Runs `others` while one client asks and asks, and tells the longest that it waited. Every one of
/// its requests has to succeed.
fn beside_a_good_client(
    protocol: Protocol,
    address: SocketAddr,
    others: impl FnOnce(),
) -> Duration {
    let stop = AtomicBool::new(false);
    let asked = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let good = scope.spawn(|| {
            let stream = connect(address);
            let mut worst = Duration::ZERO;
            while !stop.load(Ordering::Relaxed) {
                let start = Instant::now();
                ask(protocol, &stream).expect("a good client is served");
                worst = worst.max(start.elapsed());
                asked.fetch_add(1, Ordering::Relaxed);
                robust::pause(Duration::from_millis(1));
            }
            worst
        });
        let raised = Raised(&stop);
        assert!(wait_until(HANG, || asked.load(Ordering::Relaxed) > 0), "not served even before");
        others();
        drop(raised);
        good.join().expect("a good client is served")
    })
}

/// Raises a flag when it is dropped, be it by a test that fails: nobody waits for ever then.
struct Raised<'a>(&'a AtomicBool);

impl Drop for Raised<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Has all of them send `request` until the server takes no more from any.
fn choke(clients: &[TcpStream], request: &[u8]) {
    let mut positions = vec![0; clients.len()];
    clients.iter().for_each(|client| client.set_nonblocking(true).expect("a socket"));
    let (mut idle_rounds, start) = (0, Instant::now());
    while idle_rounds < 20 && start.elapsed() < Duration::from_secs(20) {
        let mut moved = false;
        for (mut client, position) in clients.iter().zip(&mut positions) {
            match client.write(&request[*position..]) {
                Ok(count) => {
                    *position = (*position + count) % request.len();
                    moved = true;
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
            }
        }
        idle_rounds = if moved { 0 } else { idle_rounds + 1 };
        if !moved {
            robust::pause(Duration::from_millis(10));
        }
    }
    assert!(idle_rounds > 0, "the server takes and takes");
}

fn set_large_value(address: SocketAddr) {
    let stream = connect(address);
    let value = "v".repeat(64 * 1024);
    let command = format!("*3\r\n$3\r\nSET\r\n$5\r\nlarge\r\n${}\r\n{value}\r\n", value.len());
    (&stream).write_all(command.as_bytes()).expect("taken");
    let mut reply = [0; 5];
    (&stream).read_exact(&mut reply).expect("a reply");
    assert_eq!(&reply, b"+OK\r\n");
}

/// One connection: it sends until it has sent enough or is thrown out, and reads now and then.
fn flood_with_garbage(protocol: Protocol, address: SocketAddr, rng: &mut fastrand::Rng) {
    let stream = connect(address);
    stream.set_read_timeout(Some(Duration::from_millis(1))).expect("a socket");
    let mut bytes = vec![0; rng.usize(1..8192)];
    let mut replies = [0; 16 * 1024];
    for _ in 0..rng.usize(1..16) {
        rng.fill(&mut bytes);
        if rng.bool() {
            let request = protocol.request();
            let at = rng.usize(..=bytes.len().saturating_sub(request.len()));
            let end = bytes.len().min(at + request.len());
            bytes[at..end].copy_from_slice(&request[..end - at]);
        }
        if (&stream).write_all(&bytes).is_err() || matches!((&stream).read(&mut replies), Ok(0)) {
            return;
        }
    }
}

/// Connections of every kind of end, on four threads.
fn churn(address: SocketAddr, connections: usize) {
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for number in 0..connections / 4 {
                    let stream = connect(address);
                    match number % 4 {
                        0 => {}
                        1 => ask(Protocol::Echo, &stream).expect("served"),
                        2 => (&stream).write_all(b"no answer is read").expect("open"),
                        _ => client::reset_on_drop(&stream),
                    }
                    if number % 4 == 1 {
                        // The server ends first, and no port waits for late segments in between.
                        client::reset_on_drop(&stream);
                    }
                }
            });
        }
    });
}
