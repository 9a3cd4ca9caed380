//! Peers that do not speak TLS, stop in the middle, or cut a stream short.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "tests run by the clock")]

mod support;

use mainspring_loop::{CloseReason, Limits, Server};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use support::*;

fn raw(running: &mainspring_loop::Running) -> TcpStream {
    let stream = TcpStream::connect(inet(running)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[test]
fn garbage_gets_an_alert_and_is_closed_and_counted() {
    let _bound = bound(60);
    let authority = Authority::new();
    let (running, seen) = start(Server::builder(), &tls(&authority.issue(&["localhost"])));
    let seed = 5;
    let mut rng = fastrand::Rng::with_seed(seed);
    for round in 0..20 {
        let mut stream = raw(&running);
        let mut garbage: Vec<u8> = (0..rng.usize(8..2000)).map(|_| rng.u8(..)).collect();
        // Not the head of any record, so that nothing more is waited for.
        garbage[0] |= 0x80;
        stream.write_all(&garbage).unwrap();
        let mut answer = Vec::new();
        // Unread garbage may turn our end into a reset after the alert.
        let _ = stream.read_to_end(&mut answer);
        assert_eq!(answer, [21, 3, 3, 0, 2, 2, 50], "seed {seed}, round {round}");
    }
    let handle = running.handle();
    eventually("twenty failures", || handle.stats().total.handshakes_failed == 20);
    assert!(seen.events().opened.is_empty());
    Dial::to("localhost", &authority).connect(inet(&running)).unwrap().echo(b"x").unwrap();
    stop(running);
}

#[test]
fn a_handshake_that_stops_or_crawls_is_ended_by_the_deadline() {
    let _bound = bound(60);
    let authority = Authority::new();
    let deadline = Duration::from_millis(400);
    let limits = Limits { handshake_timeout: deadline, ..Limits::default() };
    let builder = Server::builder().limits(limits);
    let (running, seen) = start(builder, &tls(&authority.issue(&["localhost"])));
    let began = Instant::now();
    let (mut silent, mut crawling) = (raw(&running), raw(&running));
    // The head of a hello of 500 bytes, which never comes to its end.
    let crawl = std::thread::spawn(move || {
        crawling.write_all(&[22, 3, 1, 1, 244, 1, 0, 1, 240, 3, 3]).unwrap();
        while crawling.write_all(&[0]).is_ok() && began.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(20));
        }
        began.elapsed()
    });
    let mut rest = Vec::new();
    let _ = silent.read_to_end(&mut rest);
    assert!(began.elapsed() >= deadline, "ended after {:?}", began.elapsed());
    assert!(began.elapsed() < 10 * deadline, "ended after {:?}", began.elapsed());
    let crawled = crawl.join().unwrap();
    assert!(crawled < 10 * deadline, "crawled for {crawled:?}");
    let handle = running.handle();
    eventually("two failures", || handle.stats().total.handshakes_failed == 2);
    assert!(seen.events().opened.is_empty());
    stop(running);
}

/// 300 peers that say nothing cost no thread and no other peer its handshake.
#[test]
fn silent_peers_are_in_nobodys_way() {
    let _bound = bound(60);
    let authority = Authority::new();
    let (running, _) = start(Server::builder(), &tls(&authority.issue(&["localhost"])));
    let silent: Vec<TcpStream> = (0..300).map(|_| raw(&running)).collect();
    let dial = Dial::to("localhost", &authority);
    for _ in 0..20 {
        dial.connect(inet(&running)).unwrap().echo(b"still there").unwrap();
    }
    drop(silent);
    stop(running);
}

#[test]
fn a_changed_byte_ends_the_connection_with_the_reason() {
    let _bound = bound(60);
    let authority = Authority::new();
    let (running, seen) = start(Server::builder(), &tls(&authority.issue(&["localhost"])));
    let mut client = Dial::to("localhost", &authority).connect(inet(&running)).unwrap();
    client.echo(b"x").unwrap();
    // A record of application data that nobody has encrypted.
    client.stream.sock.write_all(&[&[23, 3, 3, 0, 32][..], &[7; 32]].concat()).unwrap();
    eventually("the end", || !seen.events().closed.is_empty());
    let reason = seen.events().closed[0];
    assert!(matches!(reason, CloseReason::Layer(_)), "{reason:?}");
    assert_eq!(reason.to_string(), "tls: a record cannot be decrypted");
    let error = client.echo(b"y").unwrap_err().to_string();
    assert!(error.contains("BadRecordMac"), "the peer is told by an alert: {error}");
    stop(running);
}
