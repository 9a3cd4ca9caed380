//! A warm loop does not allocate for connections with layers either.
//!
//! The only test of its process: the allocator counts for all threads, clients included, which do
//! not allocate.
#![allow(clippy::disallowed_methods, reason = "tests over sockets run by the clock")]

use mainspring_io::{Addr, Address};
use mainspring_layers::{Deflate, Xor};
use mainspring_loop::{Action, Conn, Input, Layers, Running, Server};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const CONNECTIONS: usize = 16;
const ROUNDS: usize = 500;

fn echo(conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
    conn.out().extend_from_slice(input.take());
    Action::Continue
}

fn start(layers: impl Fn() -> Layers + Clone + Send + Sync + 'static) -> Running {
    let started = Server::builder().start(move |shard| {
        let host = shard.host(echo);
        let address: Address = "tcp://127.0.0.1:0".try_into()?;
        shard.listen_layered(host, &address, address.listen_options(), layers.clone()).map(drop)
    });
    started.unwrap()
}

fn connect(running: &Running) -> Vec<TcpStream> {
    let Addr::Inet(at) = running.addrs()[0].clone() else { panic!("an internet address") };
    let connect = |_| {
        let stream = TcpStream::connect(at).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    };
    (0..CONNECTIONS).map(connect).collect()
}

/// Every client sends, in two pieces if it is to, then every client receives as much.
fn exchange(clients: &mut [TcpStream], wire: &[u8], rounds: usize, cut: usize) {
    let mut back = [0; 4096];
    for _ in 0..rounds {
        for client in clients.iter_mut() {
            client.write_all(&wire[..cut]).unwrap();
        }
        for client in clients.iter_mut().filter(|_| cut < wire.len()) {
            client.write_all(&wire[cut..]).unwrap();
        }
        for client in clients.iter_mut() {
            client.read_exact(&mut back[..wire.len()]).unwrap();
        }
    }
}

fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATOR.stats();
    work();
    let used = ALLOCATOR.stats() - before;
    used.allocations + used.reallocations
}

#[test]
fn warm_layers_do_not_allocate() {
    let running = start(|| Layers::new().above(Xor::new(*b"key")));
    let mut clients = connect(&running);
    let request = [b'r'; 200];
    exchange(&mut clients, &request, 300, 200);
    let used = allocations(|| exchange(&mut clients, &request, ROUNDS, 200));
    assert_eq!(used, 0, "one layer");
    running.handle().stop();
    running.join().unwrap();

    let running = start(|| Layers::new().above(Xor::new(*b"key")).above(Xor::new(*b"other")));
    let mut clients = connect(&running);
    exchange(&mut clients, &request, 300, 77);
    let used = allocations(|| exchange(&mut clients, &request, ROUNDS, 77));
    assert_eq!(used, 0, "two layers");
    running.handle().stop();
    running.join().unwrap();
    deflate_allocates_once();
}

/// Stored blocks, so that each request is the same and its answer is as long.
fn deflate_allocates_once() {
    let running = start(|| Layers::new().above(Deflate::raw().level(0)));
    let mut clients = connect(&running);
    let mut request = vec![0, 100, 0, 155, 255];
    request.extend([b'r'; 100]);
    request.extend([0, 0, 0, 255, 255]);
    exchange(&mut clients, &request, 300, 50);
    let used = allocations(|| exchange(&mut clients, &request, ROUNDS, 50));
    // Where two pieces meet in a turn as they never have before, one more vector comes into being.
    assert!(used <= 16, "deflate, in two pieces: {used} allocations");
    assert_eq!(allocations(|| drop(Vec::<u8>::with_capacity(10))), 1, "the counter counts");
    running.handle().stop();
    running.join().unwrap();
}
