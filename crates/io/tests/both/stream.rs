//! Stream sockets of the kernel under the ready driver.

use super::recorder::{PATIENCE, Rig, Told};
use crate::under_test;
use bytes::Bytes;
use mainspring_io::{
    Addr, Driver, DriverLimits, Keepalive, Key, Linger, ListenOptions, Outbox, OwnedStream,
    SendState, SocketOptions,
};
use socket2::SockRef;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

#[test]
fn echoes_over_tcp() {
    let mut rig = Rig::new();
    let (key, mut peer) = rig.pair();
    for round in 0..3u8 {
        let message = vec![round; 1000 * usize::from(round) + 1];
        let before = rig.seen.received(key).len();
        peer.write_all(&message).unwrap();
        rig.until("the message", |seen| seen.received(key).len() == before + message.len());
        assert_eq!(rig.seen.received(key)[before..], message);
        rig.send_all(key, &message);
        let mut answer = vec![0; message.len()];
        peer.read_exact(&mut answer).unwrap();
        assert_eq!(answer, message);
    }
    rig.assert_sleeps();
    rig.driver.close(key);
    rig.until("closed", |seen| seen.has(key, Told::Closed));
    assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0);
}

#[test]
fn nothing_is_delivered_before_recv_start_or_after_recv_stop() {
    let mut rig = Rig::new();
    let (listener, at) = rig.listen();
    let mut peer = TcpStream::connect(at).unwrap();
    peer.write_all(b"early").unwrap();
    let key = rig.accept_paused();
    for _ in 0..3 {
        rig.turn(Duration::from_millis(5));
    }
    assert_eq!(rig.seen.received(key), b"");
    rig.driver.recv_start(key);
    rig.until("what came before", |seen| seen.received(key) == b"early");

    rig.driver.recv_stop(key);
    peer.write_all(b" late").unwrap();
    for _ in 0..3 {
        rig.turn(Duration::from_millis(5));
    }
    assert_eq!(rig.seen.received(key), b"early");
    rig.driver.recv_start(key);
    rig.until("what came while stopped", |seen| seen.received(key) == b"early late");

    rig.seen.pause = true;
    peer.write_all(b" one").unwrap();
    rig.until("one more read", |seen| seen.received(key) == b"early late one");
    peer.write_all(b" two").unwrap();
    for _ in 0..3 {
        rig.turn(Duration::from_millis(5));
    }
    assert_eq!(rig.seen.received(key), b"early late one");
    rig.assert_sleeps();
    rig.driver.recv_start(key);
    rig.until("the rest", |seen| seen.received(key) == b"early late one two");
    let _ = listener;
}

#[test]
fn a_half_closed_peer_still_gets_its_answer() {
    let mut rig = Rig::new();
    let (key, mut peer) = rig.pair();
    peer.write_all(b"question").unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    rig.until("eof", |seen| seen.has(key, Told::Eof));
    assert_eq!(rig.seen.received(key), b"question");
    rig.send_all(key, b"answer");
    rig.driver.shutdown(key);
    let mut answer = String::new();
    peer.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "answer");
    rig.assert_sleeps();
    rig.driver.close(key);
    rig.until("closed", |seen| seen.has(key, Told::Closed));
    let mut history = rig.seen.history(key).to_vec();
    history.retain(|told| *told != Told::Sent);
    assert_eq!(history, [Told::Data, Told::Eof, Told::Closed]);
}

#[test]
fn data_and_end_that_arrive_together_are_both_seen_with_any_buffer() {
    for size in [511, 512, 513, 1024, 1025] {
        let limits = DriverLimits::default();
        let limits = with_buffer(limits, 512);
        let mut rig = Rig::on(under_test::OPENERS[0](limits).unwrap());
        let (listener, at) = rig.listen();
        let mut peer = TcpStream::connect(at).unwrap();
        peer.write_all(&vec![1; size]).unwrap();
        drop(peer);
        let key = rig.accept();
        rig.until("eof", |seen| seen.has(key, Told::Eof));
        assert_eq!(rig.seen.received(key).len(), size);
        let _ = listener;
    }
}

#[test]
fn the_end_is_told_once() {
    let mut rig = Rig::new();
    let (key, peer) = rig.pair();
    peer.shutdown(Shutdown::Write).unwrap();
    rig.until("eof", |seen| seen.has(key, Told::Eof));
    rig.driver.recv_start(key);
    rig.send_all(key, b"x");
    drop(peer);
    for _ in 0..5 {
        rig.driver.recv_start(key);
        rig.turn(Duration::from_millis(5));
    }
    assert_eq!(rig.seen.history(key).iter().filter(|told| **told == Told::Eof).count(), 1);
}

#[test]
fn a_reset_is_a_failure_and_then_the_end() {
    let mut rig = Rig::new();
    let (key, peer) = rig.pair();
    SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
    drop(peer);
    rig.until("closed", |seen| seen.has(key, Told::Closed));
    let reset = Told::Failed(ErrorKind::ConnectionReset);
    assert_eq!(rig.seen.history(key), [reset, Told::Closed]);
}

#[test]
fn a_reset_is_seen_while_receiving_is_stopped() {
    let mut rig = Rig::new();
    let (key, peer) = rig.pair();
    rig.driver.recv_stop(key);
    rig.turn(Duration::ZERO);
    SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
    drop(peer);
    rig.until("closed", |seen| seen.has(key, Told::Closed));
    assert_eq!(rig.seen.failure(key), Some(ErrorKind::ConnectionReset));
}

#[test]
fn abort_resets_the_peer() {
    let mut rig = Rig::new();
    let (key, mut peer) = rig.pair();
    rig.driver.abort(key);
    rig.until("closed", |seen| seen.has(key, Told::Closed));
    assert_eq!(peer.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_send_to_a_lost_peer_fails_the_key_in_the_next_poll() {
    let mut rig = Rig::new();
    let (key, mut peer) = rig.pair();
    peer.write_all(b"last words").unwrap();
    SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
    drop(peer);
    // The driver has not been told yet. The first send may meet the reset or be swallowed by it.
    let mut outbox = Outbox::new();
    outbox.tail().extend_from_slice(b"answer");
    assert_eq!(rig.driver.send(key, &mut outbox), SendState::Waiting);
    let start = Instant::now();
    rig.driver.poll(None, &mut rig.seen).unwrap();
    assert!(start.elapsed() < Duration::from_secs(1), "the poll slept");
    assert_eq!(rig.seen.history(key).last(), Some(&Told::Closed));
    assert!(rig.seen.failure(key).is_some());
    rig.driver.close(key);
    rig.turn(Duration::ZERO);
}

#[test]
fn a_slow_reader_gets_every_byte_in_order() {
    for vectored in [false, true] {
        let mut rig = Rig::new();
        let (key, mut peer) = rig.pair();
        let size = 8 << 20;
        let (begin, begun) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            begun.recv().unwrap();
            let mut all = Vec::new();
            let mut chunk = vec![0; 100_000];
            while all.len() < size {
                let count = peer.read(&mut chunk).unwrap();
                assert!(count > 0);
                all.extend_from_slice(&chunk[..count]);
                if all.len() % 7 == 0 {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            all
        });
        let bytes: Vec<u8> = (0..size).map(|index| ((index * 31) >> 3) as u8).collect();
        let mut outbox = Outbox::new();
        if vectored {
            for chunk in bytes.chunks(10_007) {
                outbox.push_shared(Bytes::copy_from_slice(chunk));
            }
        } else {
            outbox.tail().extend_from_slice(&bytes);
        }
        let first = rig.driver.send(key, &mut outbox);
        assert_eq!(first, SendState::Waiting, "8 MiB never fit a socket buffer");
        begin.send(()).unwrap();
        rig.await_sent(key, &mut outbox);
        let waits = 1 + rig.send_outbox(key, &mut outbox);
        assert_eq!(rig.sents(key), waits);
        assert!(reader.join().unwrap() == bytes);
    }
}

#[test]
fn a_waiting_send_learns_that_the_peer_has_gone() {
    let mut rig = Rig::new();
    let (key, peer) = rig.pair();
    rig.driver.recv_stop(key);
    let mut outbox = Outbox::new();
    outbox.tail().resize(32 << 20, 1);
    assert_eq!(rig.driver.send(key, &mut outbox), SendState::Waiting);
    drop(peer);
    rig.until("closed", |seen| seen.has(key, Told::Closed));
    assert!(rig.seen.failure(key).is_some());
}

#[test]
fn connects_and_tells_its_own_address() {
    let mut rig = Rig::new();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let key = rig.connect(&server.local_addr().unwrap().into());
    rig.until("connected", |seen| seen.has(key, Told::Connected));
    let (mut peer, from) = server.accept().unwrap();
    assert_eq!(rig.seen.local[&key], Addr::from(from));
    rig.driver.recv_start(key);
    peer.write_all(b"hello").unwrap();
    drop(peer);
    rig.until("eof", |seen| seen.has(key, Told::Eof));
    assert_eq!(rig.seen.history(key), [Told::Connected, Told::Data, Told::Eof]);
}

#[test]
fn a_refused_connection_fails_and_closes() {
    let mut rig = Rig::new();
    let at = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let key = rig.connect(&at.into());
    rig.until("closed", |seen| seen.has(key, Told::Closed));
    let refused = Told::Failed(ErrorKind::ConnectionRefused);
    assert_eq!(rig.seen.history(key), [refused, Told::Closed]);
}

#[test]
fn a_send_before_the_handshake_waits_for_it() {
    let mut rig = Rig::new();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let key = rig.connect(&server.local_addr().unwrap().into());
    let mut outbox = Outbox::new();
    outbox.tail().extend_from_slice(b"x");
    assert_eq!(rig.driver.send(key, &mut outbox), SendState::Waiting);
    rig.until("sent", |seen| seen.has(key, Told::Sent));
    assert_eq!(rig.seen.history(key), [Told::Connected, Told::Sent]);
    rig.land(key, &mut outbox);
    rig.send_outbox(key, &mut outbox);
}

#[test]
fn a_released_socket_is_the_callers_and_can_be_adopted_again() {
    let mut rig = Rig::new();
    let (key, mut peer) = rig.pair();
    rig.driver.release(key);
    rig.until("released", |seen| seen.has(key, Told::Released));
    let (_, stream) = rig.seen.released.remove(0);
    let OwnedStream::Tcp(mut stream) = stream else { panic!("it was a TCP stream") };
    stream.set_nonblocking(false).unwrap();
    peer.write_all(b"direct").unwrap();
    let mut direct = [0; 6];
    stream.read_exact(&mut direct).unwrap();
    peer.write_all(b"through the driver").unwrap();
    let key = rig.key();
    rig.driver.adopt(key, OwnedStream::Tcp(stream)).unwrap();
    rig.driver.recv_start(key);
    rig.until("data", |seen| seen.received(key) == b"through the driver");
}

#[test]
fn orders_for_unknown_keys_do_nothing() {
    let mut rig = Rig::new();
    let (key, mut peer) = rig.pair();
    let stale = Key::new(key.index() as u32, key.generation() - 1);
    for unknown in [stale, Key::new(9_999, 0)] {
        rig.driver.close(unknown);
        rig.driver.abort(unknown);
        rig.driver.release(unknown);
        rig.driver.shutdown(unknown);
        rig.driver.recv_start(unknown);
        rig.driver.recv_stop(unknown);
        assert_eq!(rig.driver.send(unknown, &mut Outbox::new()), SendState::Done);
    }
    peer.write_all(b"still here").unwrap();
    rig.until("data", |seen| seen.received(key) == b"still here");
    assert!(rig.seen.history(stale).is_empty());
}

#[test]
fn a_taken_slot_is_not_taken_twice() {
    let mut rig = Rig::new();
    let (key, _peer) = rig.pair();
    let at = "127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into();
    let error = rig.driver.listen(key, &at, &ListenOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
}

#[test]
fn accepted_sockets_have_the_listeners_options() {
    let mut rig = Rig::new();
    for nodelay in [true, false] {
        let mut options = ListenOptions::default();
        options.socket.nodelay = Some(nodelay);
        let (_, at) = rig.listen_at("127.0.0.1:0".parse().unwrap(), &options);
        let _peer = TcpStream::connect(at).unwrap();
        rig.until("a connection", |seen| !seen.accepted.is_empty());
        let (_, accepted) = rig.seen.accepted.remove(0);
        let OwnedStream::Tcp(stream) = accepted.stream else { panic!("it was a TCP stream") };
        assert_eq!(stream.nodelay().unwrap(), nodelay);
    }
}

#[test]
fn addresses_are_those_of_the_connection_not_of_the_wildcard() {
    let mut rig = Rig::new();
    for at in ["0.0.0.0:0", "[::]:0"] {
        let (_, bound) = rig.listen_at(at.parse().unwrap(), &ListenOptions::default());
        let peer = TcpStream::connect(("127.0.0.1", bound.port())).unwrap();
        rig.until("a connection", |seen| !seen.accepted.is_empty());
        let (_, accepted) = rig.seen.accepted.remove(0);
        assert_eq!(accepted.local, Addr::from(peer.peer_addr().unwrap()), "{at}");
        assert_eq!(accepted.peer, Addr::from(peer.local_addr().unwrap()), "{at}");
    }
}

#[cfg(unix)]
#[test]
fn a_port_is_shared_only_on_request() {
    let mut rig = Rig::new();
    let options = ListenOptions { reuseport: Some(true), ..Default::default() };
    let (_, at) = rig.listen_at("127.0.0.1:0".parse().unwrap(), &options);
    let key = rig.key();
    rig.driver.listen(key, &at.into(), &options).unwrap();
    let key = rig.key();
    let error = rig.driver.listen(key, &at.into(), &ListenOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
}

#[test]
fn keepalive_below_a_second_is_rounded_up() {
    let mut rig = Rig::new();
    let (key, _peer) = rig.pair();
    let keepalive = Keepalive {
        idle: Duration::from_millis(1500),
        interval: Some(Duration::from_millis(10)),
        count: Some(3),
    };
    let options = SocketOptions { keepalive: Some(keepalive), ..Default::default() };
    rig.driver.set_options(key, &options).unwrap();
    rig.driver.release(key);
    rig.until("released", |seen| seen.has(key, Told::Released));
    let (_, OwnedStream::Tcp(stream)) = rig.seen.released.remove(0) else { panic!("TCP") };
    let socket = SockRef::from(&stream);
    assert!(socket.keepalive().unwrap());
    // Windows cannot be asked for the times.
    #[cfg(unix)]
    {
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(2));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(1));
    }
    assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
}

/// Closing a socket that lingers would wait for a peer that does not read.
#[test]
fn a_lingering_socket_does_not_hold_the_loop_up() {
    let mut rig = Rig::new();
    let (key, mut peer) = rig.pair();
    let linger = Some(Linger::For(Duration::from_secs(30)));
    rig.driver.set_options(key, &SocketOptions { linger, ..Default::default() }).unwrap();
    let mut outbox = Outbox::new();
    outbox.tail().resize(32 << 20, 1);
    assert_eq!(rig.driver.send(key, &mut outbox), SendState::Waiting);
    let sent = (32 << 20) - outbox.queued();
    let start = Instant::now();
    rig.driver.close(key);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    let mut rest = Vec::new();
    peer.read_to_end(&mut rest).unwrap();
    if under_test::COMPLETES_LATER {
        // What had not left is dropped with the key (D6).
        assert!(rest.len() <= sent);
    } else {
        assert_eq!(rest.len(), sent);
    }
}

#[test]
fn a_closed_listener_frees_its_port_and_ends_its_key() {
    let mut rig = Rig::new();
    let (listener, at) = rig.listen();
    rig.driver.close(listener);
    rig.until("closed", |seen| seen.has(listener, Told::Closed));
    assert_eq!(TcpStream::connect(at).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn one_busy_connection_does_not_silence_the_others() {
    let mut rig =
        Rig::on(under_test::OPENERS[0](with_buffer(DriverLimits::default(), 512)).unwrap());
    let (busy, mut flood) = rig.pair();
    let (quiet, mut peer) = rig.pair();
    flood.set_nonblocking(true).unwrap();
    let mut flooded = 0;
    while let Ok(count) = flood.write(&[0; 1 << 16]) {
        flooded += count;
    }
    rig.until("the flood", |seen| seen.received(busy).len() >= 2048);
    peer.write_all(b"me too").unwrap();
    for _ in 0..4 {
        rig.turn(PATIENCE);
    }
    assert_eq!(rig.seen.received(quiet), b"me too");
    assert!(rig.seen.received(busy).len() < flooded / 2, "the flood was no flood");
    rig.until("all of it", |seen| seen.received(busy).len() == flooded);
    rig.assert_sleeps();
}

#[test]
fn a_turn_is_bounded_in_bytes_and_nothing_is_lost() {
    let mut limits = with_buffer(DriverLimits::default(), 1024);
    limits.bytes_per_turn = 2048;
    let mut rig = Rig::on(under_test::OPENERS[0](limits).unwrap());
    let mut pairs: Vec<_> = (0..8).map(|_| rig.pair()).collect();
    rig.turn(Duration::from_millis(5));
    for (_, peer) in &mut pairs {
        peer.write_all(&[7; 3000]).unwrap();
    }
    rig.seen.reads.clear();
    while pairs.iter().any(|(key, _)| rig.seen.received(*key).len() < 3000) {
        let before = rig.seen.reads.len();
        rig.driver.poll(Some(PATIENCE), &mut rig.seen).unwrap();
        let turn = &rig.seen.reads[before..];
        let bytes: usize = turn.iter().map(|(_, len)| len).sum();
        assert!(bytes <= 2048 + 1024, "{turn:?}");
        for (at, (key, _)) in turn.iter().enumerate() {
            let twice = turn[..at].iter().any(|(other, _)| other == key);
            assert!(!twice || under_test::COMPLETES_LATER, "read twice: {turn:?}");
        }
    }
}

fn with_buffer(mut limits: DriverLimits, bytes: usize) -> DriverLimits {
    limits.read_buffer = bytes;
    limits
}
