//! An idle server takes no processor time, and a stop ends within the drain time.
#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods, reason = "clients live in real time")]

mod robust;

use robust::HANG;
use robust::client::{Protocol, ask, connect, read_to_end};
use robust::server::{Launch, Server};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// 50 open connections, 5 seconds: not one tick of 10 ms in any thread, and nobody even wakes up.
/// The HTTP server, too, reads the clock for its dates only when there is a request.
#[test]
fn idle_servers_sleep() {
    let servers: Vec<(Protocol, Server, Vec<TcpStream>)> = Protocol::ALL
        .into_iter()
        .map(|protocol| {
            let server = Launch::of(protocol.demo()).args(&["--loops", "2"]).start();
            let open: Vec<_> = (0..50).map(|_| connect(server.address())).collect();
            open.iter().for_each(|client| ask(protocol, client).expect("served"));
            (protocol, server, open)
        })
        .collect();
    robust::pause(Duration::from_millis(200));
    let spent = |server: &Server| (server.process().ticks(), server.process().sleeps());
    let before: Vec<_> = servers.iter().map(|(_, server, _)| spent(server)).collect();
    robust::pause(Duration::from_secs(5));
    for ((protocol, server, open), before) in servers.iter().zip(before) {
        assert_eq!(spent(server), before, "{protocol:?}: (ticks, sleeps) after 5 idle seconds");
        open.iter().for_each(|client| ask(*protocol, client).expect("still served"));
    }
}

/// Who is idle is sent away at once, and nothing is waited for.
#[test]
fn a_stop_with_idle_connections_is_quick() {
    for protocol in Protocol::ALL {
        for loops in ["1", "4"] {
            let mut server = Launch::of(protocol.demo()).args(&["--loops", loops]).start();
            let open: Vec<_> = (0..20).map(|_| connect(server.address())).collect();
            open.iter().for_each(|client| ask(protocol, client).expect("served"));
            let (code, took) = server.terminate(HANG);
            assert_eq!(code, Some(0), "{}", server.log());
            assert!(took < Duration::from_secs(2), "{protocol:?}: took {took:?}");
            for client in &open {
                assert_eq!(read_to_end(client).expect("an end in good order"), b"");
            }
        }
    }
}

/// A transfer that is under way comes to its end; the stop waits for it, and for nobody else.
#[test]
fn a_stop_lets_a_reader_finish() {
    const BYTES: usize = 2 << 20;
    let protocol = Protocol::Redis;
    let mut server = Launch::of("redis").listen("tcp://127.0.0.1:0?sndbuf=32k").start();
    let reader = connect(server.address());
    let value = "v".repeat(BYTES);
    let set = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${BYTES}\r\n{value}\r\n");
    (&reader).write_all(set.as_bytes()).expect("taken");
    let mut ok = [0; 5];
    (&reader).read_exact(&mut ok).expect("a reply");
    let idle = connect(server.address());
    ask(protocol, &idle).expect("served");
    (&reader).write_all(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n").expect("taken");
    let mut head = [0; 10];
    (&reader).read_exact(&mut head).expect("the first bytes of the reply");
    server.process().signal(rustix::process::Signal::TERM);
    robust::pause(Duration::from_millis(500));
    assert_eq!(read_to_end(&idle).expect("an end in good order"), b"", "an idle one is closed");
    assert!(server.process().is_alive(), "it waits for the reader");
    let rest = read_to_end(&reader).expect("an end in good order");
    assert_eq!(head.len() + rest.len(), format!("${BYTES}\r\n").len() + BYTES + 2);
    let status = server.wait(Duration::from_secs(2)).expect("nobody is left to wait for");
    assert_eq!(status.code(), Some(0));
}

/// Whoever never reads is cut when the drain time is over.
#[test]
fn a_stop_does_not_wait_longer_than_the_drain_time() {
    for protocol in Protocol::ALL {
        let mut server = Launch::of(protocol.demo()).args(&["--drain", "1s"]).start();
        let deaf: Vec<_> = (0..5).map(|_| connect(server.address())).collect();
        for mut client in &deaf {
            let requests = protocol.request().repeat(100_000);
            client.set_write_timeout(Some(Duration::from_millis(200))).expect("a socket");
            while client.write_all(&requests).is_ok() {}
        }
        let (code, took) = server.terminate(HANG);
        assert_eq!(code, Some(0), "{}", server.log());
        // The drain time, and a machine that is busy.
        assert!(took < Duration::from_secs(3), "{protocol:?}: took {took:?}");
        assert!(took >= Duration::from_millis(900), "{protocol:?}: did not wait: {took:?}");
    }
}
