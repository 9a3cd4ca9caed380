//! Connections that leave their loop.

mod support;

use mainspring_io::OwnedStream;
use mainspring_loop::{Action, Detached, LoopStats, Server};
use std::io::{Read, Write};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use support::*;

const BLOCK: usize = 20 << 10;
const BEFORE: &[u8] = b"--detached--";
const AFTER: &[u8] = b"--resumed--";

/// Both kinds of address, with a directory that has to live as long.
fn addresses() -> (TempDir, Vec<String>) {
    let dir = TempDir::new();
    let unix = dir.unix("detach");
    let addresses = each_kind(&unix).into_iter().map(str::to_owned).collect();
    (dir, addresses)
}

/// A server that gives away each connection when it has received a block and a marker, after
/// having sent the same.
fn giving_server(address: &str, log: &Log) -> (mainspring_loop::Running, Receiver<Detached>) {
    let (give, given) = channel();
    let log = log.clone();
    let running = start_with(Server::builder(), &[address], move || {
        let give = give.clone();
        Probe::new(&log)
            .data(|conn, input| {
                if input.len() < BLOCK + BEFORE.len() {
                    return Action::Continue;
                }
                let bytes = input.bytes()[..BLOCK + BEFORE.len()].to_vec();
                input.consume(bytes.len());
                assert!(bytes.ends_with(BEFORE));
                conn.out().extend_from_slice(&bytes);
                Action::Detach
            })
            .detach(move |socket| give.send(socket).unwrap())
    });
    (running, given)
}

#[test]
fn blocks_and_markers_pass_both_ways_before_and_after() {
    let _bound = bound(60);
    let (_dir, addresses) = addresses();
    for address in addresses {
        let log = Log::new();
        let (running, given) = giving_server(&address, &log);
        let mut rng = fastrand::Rng::with_seed(9);
        let first = [&random_bytes(&mut rng, BLOCK)[..], BEFORE].concat();
        let second = [&random_bytes(&mut rng, BLOCK)[..], AFTER].concat();
        let mut client = Client::connect(&running.addrs()[0]);
        client.send(&first);
        assert_same_bytes(&client.receive(first.len()), &first, "before");
        let mut socket = given.recv_timeout(PATIENCE).unwrap();
        let length = second.len();
        let elsewhere = thread::spawn(move || {
            let mut bytes = vec![0; length];
            socket.read_exact(&mut bytes).unwrap();
            socket.write_all(&bytes).unwrap();
            socket.flush().unwrap();
        });
        client.send(&second);
        assert_same_bytes(&client.receive(length), &second, "after");
        elsewhere.join().unwrap();
        client.expect_end();
        stop(running);
        assert_eq!((log.count("detach"), log.count("close"), log.tags()), (1, 0, 0), "{address}");
    }
}

#[test]
fn what_was_received_and_not_consumed_is_read_first() {
    let _bound = bound(60);
    let (_dir, addresses) = addresses();
    for address in addresses {
        let log = Log::new();
        let (running, given) = giving_server(&address, &log);
        let mut rng = fastrand::Rng::with_seed(10);
        let first = [&random_bytes(&mut rng, BLOCK)[..], BEFORE].concat();
        let second = [&random_bytes(&mut rng, 3 * BLOCK)[..], AFTER].concat();
        let mut client = Client::connect(&running.addrs()[0]);
        // In one piece: the loop receives more than the handler takes.
        client.send(&[&first[..], &second].concat());
        let mut socket = given.recv_timeout(PATIENCE).unwrap();
        let mut bytes = vec![0; second.len()];
        socket.read_exact(&mut bytes).unwrap();
        assert_same_bytes(&bytes, &second, "after");
        assert_same_bytes(&client.receive(first.len()), &first, "before");
        stop(running);
    }
}

#[test]
fn the_parts_are_the_standard_socket_and_the_unread_bytes() {
    let _bound = bound(60);
    let (_dir, addresses) = addresses();
    for address in addresses {
        let log = Log::new();
        let (running, given) = giving_server(&address, &log);
        let first = [&vec![7; BLOCK][..], BEFORE].concat();
        let mut client = Client::connect(&running.addrs()[0]);
        client.send(&[&first[..], b"unread"].concat());
        client.receive(first.len());
        let mut socket = given.recv_timeout(PATIENCE).unwrap();
        // Whether the rest came with the block or after it, the first bytes of it are the next.
        let mut two = [0; 2];
        socket.read_exact(&mut two).unwrap();
        assert_eq!(&two, b"un");
        let (stream, mut rest) = socket.into_parts();
        let mut stream: Box<dyn ReadWrite> = match stream {
            OwnedStream::Tcp(stream) => Box::new(stream),
            #[cfg(unix)]
            OwnedStream::Unix(stream) => Box::new(stream),
            other => panic!("{other:?}"),
        };
        while rest.len() < 4 {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            rest.extend(byte);
        }
        assert_eq!(rest, b"read");
        stream.write_all(b"from std").unwrap();
        client.expect(b"from std");
        stop(running);
    }
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

#[test]
fn waiting_output_leaves_before_the_connection_does() {
    let _bound = bound(60);
    let payload = random_bytes(&mut fastrand::Rng::with_seed(11), 8 << 20);
    let log = Log::new();
    let (probe, reply, (give, given)) = (log.clone(), payload.clone(), channel());
    let running = start_with(Server::builder(), &[TCP], move || {
        let (reply, give) = (reply.clone(), give.clone());
        Probe::new(&probe)
            .data(move |conn, input| {
                input.take();
                conn.out().extend_from_slice(&reply);
                Action::Detach
            })
            .detach(move |socket| give.send(socket).unwrap())
    });
    let mut client = Client::tcp(inet(&running));
    client.send(b"go");
    log.wait_for(1, "data");
    // Comes while the output waits, and belongs to the new owner.
    client.send(b"later");
    assert!(given.recv_timeout(std::time::Duration::from_millis(100)).is_err(), "output waits");
    assert_same_bytes(&client.receive(payload.len()), &payload, "output");
    let mut socket = given.recv_timeout(PATIENCE).unwrap();
    let mut later = [0; 5];
    socket.read_exact(&mut later).unwrap();
    assert_eq!(&later, b"later");
    socket.write_all(b"!").unwrap();
    client.expect(b"!");
    stop(running);
}

#[test]
fn a_detached_connection_outlives_its_server() {
    let _bound = bound(30);
    let log = Log::new();
    let (running, given) = giving_server(TCP, &log);
    let mut client = Client::tcp(inet(&running));
    client.send(&[&vec![0; BLOCK][..], BEFORE].concat());
    client.receive(BLOCK + BEFORE.len());
    let mut socket = given.recv_timeout(PATIENCE).unwrap();
    let figures = |total: &LoopStats| (total.accepted, total.closed, total.connections);
    eventually_total(&running.handle(), figures, (1, 1, 0));
    stop(running);
    client.send(b"ping");
    let mut ping = [0; 4];
    socket.read_exact(&mut ping).unwrap();
    socket.write_all(b"pong").unwrap();
    client.expect(b"pong");
    drop(socket);
    client.expect_end();
}
