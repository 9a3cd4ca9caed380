//! Input that goes on as output, from where it was received: on the same connection and on another.
#![allow(clippy::disallowed_methods, reason = "tests run by the clock")]

mod support;

use mainspring_io::Address;
use mainspring_loop::{
    Action, CloseReason, Conn, ConnId, Cx, Handler, Input, Limits, Opened, Server,
};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;
use support::*;

const BYTES: usize = 4 << 20;

fn pattern(seed: u8) -> Vec<u8> {
    (0..BYTES).map(|at| (at / 5) as u8 ^ seed).collect()
}

fn dial(at: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// Writes a pattern on a thread of its own and reads it back, after `rest`.
fn exchange(at: SocketAddr, seed: u8, rest: Duration) {
    let mut stream = dial(at);
    let mut writer = stream.try_clone().unwrap();
    let writes = thread::spawn(move || writer.write_all(&pattern(seed)).unwrap());
    thread::sleep(rest);
    let mut read = vec![0; BYTES];
    stream.read_exact(&mut read).unwrap();
    writes.join().unwrap();
    assert!(read == pattern(seed), "other bytes, or in another order");
}

fn forwarding_echo(conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
    conn.forward(input);
    Action::Continue
}

fn copying_echo(conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
    conn.out().extend_from_slice(input.take());
    Action::Continue
}

/// Puts a line before and behind each delivery, so that copied and kept bytes stand in turn.
fn framed_echo(conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
    let len = input.len();
    conn.out().extend_from_slice(format!("<{len}>").as_bytes());
    conn.forward(input);
    assert!(input.is_empty());
    conn.out().push(b'!');
    Action::Continue
}

/// Appends each delivery in two vectors: the first by exchange, where nothing is queued in front.
fn appending_echo(conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
    let mut first = input.take().to_vec();
    let mut second = first.split_off(first.len() / 2);
    for bytes in [&mut first, &mut second] {
        let before = conn.out_bytes();
        let count = bytes.len();
        assert_eq!(conn.append(bytes), before + count);
        assert_eq!((conn.out_bytes(), bytes.len()), (before + count, 0));
    }
    Action::Continue
}

/// Keeps deliveries, and gives every other one back before it forwards it.
#[derive(Default)]
struct Keeping {
    rounds: usize,
    given_back: usize,
}

impl Handler for Keeping {
    type State = ();

    fn on_open(&mut self, _: &mut Conn<'_>) -> Opened<()> {
        Opened::Accept(())
    }

    fn on_data(&mut self, (): &mut (), conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
        self.rounds += 1;
        let len = input.len();
        let Some(mut kept) = input.keep() else {
            conn.out().extend_from_slice(input.take());
            return Action::Continue;
        };
        assert!(input.is_empty() && kept.bytes().len() == len);
        if self.rounds.is_multiple_of(2) {
            conn.forward_kept(kept);
            return Action::Continue;
        }
        conn.out().extend_from_slice(&kept.bytes()[..len / 2]);
        kept.advance(len / 2);
        input.give_back(kept).expect("it is of this delivery");
        assert_eq!(input.len(), len - len / 2);
        self.given_back += 1;
        // What is left is carried over, or looked at again as it is.
        match self.given_back.is_multiple_of(2) {
            true => Action::Yield,
            false => {
                conn.forward(input);
                Action::Continue
            }
        }
    }

    fn on_close(&mut self, (): (), _: ConnId, _: &mut Cx<'_>, _: CloseReason) {
        assert!(self.given_back > 0, "nothing was ever kept");
    }
}

#[test]
fn what_is_kept_is_forwarded_or_given_back() {
    let _bound = bound(60);
    let running = start_with(Server::builder(), &[TCP], Keeping::default);
    exchange(inet(&running), 1, Duration::ZERO);
    exchange(inet(&running), 2, Duration::from_millis(100));
    let stats = running.handle().stats().total;
    assert_eq!((stats.bytes_out, stats.panics), (2 * BYTES as u64, 0));
    assert!(stats.bytes_forwarded > BYTES as u64 / 8, "{stats:?}");
}

#[test]
fn an_echo_without_copies_keeps_every_byte_in_order() {
    let _bound = bound(60);
    let running = start_with(Server::builder(), &[TCP], || forwarding_echo);
    let at = inet(&running);
    let exchanges: Vec<_> = (0..4u8)
        .map(|seed| {
            // Some read from the start, some let the output wait.
            let rest = Duration::from_millis(100 * u64::from(seed % 2));
            thread::spawn(move || exchange(at, seed, rest))
        })
        .collect();
    exchanges.into_iter().for_each(|exchange| exchange.join().unwrap());
    let stats = running.handle().stats().total;
    assert_eq!((stats.bytes_in, stats.bytes_out), (4 * BYTES as u64, 4 * BYTES as u64));
    assert!(stats.bytes_forwarded > BYTES as u64 / 4, "{stats:?}");
    stop(running);
}

#[test]
fn copied_bytes_stand_before_and_behind_those_that_were_not() {
    let _bound = bound(60);
    let running = start_with(Server::builder(), &[TCP], || framed_echo);
    let mut stream = dial(inet(&running));
    let mut writer = stream.try_clone().unwrap();
    let writes = thread::spawn(move || {
        let pattern = pattern(7);
        pattern.chunks(40_000).for_each(|chunk| writer.write_all(chunk).unwrap());
    });
    let (mut payload, mut byte) = (Vec::new(), [0]);
    while payload.len() < BYTES {
        let mut header = Vec::new();
        while header.last() != Some(&b'>') {
            stream.read_exact(&mut byte).unwrap();
            header.push(byte[0]);
        }
        let len = String::from_utf8(header).unwrap();
        let len: usize = len.trim_start_matches('<').trim_end_matches('>').parse().unwrap();
        let start = payload.len();
        payload.resize(start + len, 0);
        stream.read_exact(&mut payload[start..]).unwrap();
        stream.read_exact(&mut byte).unwrap();
        assert_eq!(byte, *b"!");
    }
    writes.join().unwrap();
    assert!(payload == pattern(7));
    assert!(running.handle().stats().total.bytes_forwarded > 0);
    stop(running);
}

#[test]
fn appended_vectors_keep_their_order_and_are_left_empty() {
    let _bound = bound(60);
    let running = start_with(Server::builder(), &[TCP], || appending_echo);
    let at = inet(&running);
    exchange(at, 5, Duration::ZERO);
    exchange(at, 6, Duration::from_millis(100));
    let stats = running.handle().stats().total;
    assert_eq!((stats.bytes_out, stats.panics), (2 * BYTES as u64, 0));
    stop(running);
}

#[test]
fn many_that_do_not_read_leave_memory_to_those_that_do() {
    let _bound = bound(60);
    let limits = Limits { write_timeout: None, ..Limits::default() };
    let running = start_with(Server::builder().limits(limits), &[TCP], || forwarding_echo);
    let at = inet(&running);
    // Each stops when its output is over the high mark and nobody takes it.
    let deaf: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut stream = dial(at);
            stream.set_write_timeout(Some(Duration::from_millis(50))).unwrap();
            let _ = stream.write_all(&pattern(1));
            stream
        })
        .collect();
    let before = running.handle().stats().total.bytes_forwarded;
    exchange(at, 3, Duration::ZERO);
    let forwarded = running.handle().stats().total.bytes_forwarded - before;
    assert!(forwarded > BYTES as u64 / 4, "{forwarded} of {BYTES} bytes were not copied");
    drop(deaf);
    stop(running);
}

/// One end of a relay; each is dialled for one that was accepted.
struct Relay {
    upstream: Address,
}

impl Handler for Relay {
    type State = ConnId;

    fn on_open(&mut self, conn: &mut Conn<'_>) -> Opened<ConnId> {
        let id = conn.id();
        conn.set_relay(true);
        let mut cx = conn.cx();
        let this = cx.this::<Self>();
        match cx.connect(this, &self.upstream, id) {
            Ok(other) => Opened::Accept(other),
            Err(_) => Opened::Refuse,
        }
    }

    fn on_connected(&mut self, _: &mut ConnId, conn: &mut Conn<'_>) -> Action {
        conn.set_relay(true);
        Action::Continue
    }

    fn on_data(&mut self, to: &mut ConnId, conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
        let mut cx = conn.cx();
        let Some(mut other) = cx.conn(*to) else { return Action::Close };
        other.forward(input);
        if other.is_choked() { Action::Pause } else { Action::Continue }
    }

    fn on_drained(&mut self, other: &mut ConnId, conn: &mut Conn<'_>) -> Action {
        conn.cx().resume(*other);
        Action::Continue
    }

    fn on_close(&mut self, other: ConnId, _: ConnId, cx: &mut Cx<'_>, _: CloseReason) {
        cx.close(other);
    }
}

#[test]
fn a_relay_passes_on_to_another_connection() {
    let _bound = bound(60);
    let echo = start_with(Server::builder(), &[TCP], || copying_echo);
    let upstream: Address = format!("tcp://{}", inet(&echo)).parse().unwrap();
    let relay = start_with(Server::builder(), &[TCP], move || Relay { upstream: upstream.clone() });
    let at = inet(&relay);
    let slow = thread::spawn(move || exchange(at, 1, Duration::from_millis(200)));
    exchange(at, 2, Duration::ZERO);
    slow.join().unwrap();
    assert!(relay.handle().stats().total.bytes_forwarded > BYTES as u64);
    for running in [relay, echo] {
        stop(running);
    }
}
