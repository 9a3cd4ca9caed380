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
use std::sync::Mutex;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const CONNECTIONS: usize = 16;
const ROUNDS: usize = 500;

/// Held by whoever wants the loop to stand still.
static HOLD: Mutex<()> = Mutex::new(());

fn echo(conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
    drop(HOLD.lock().unwrap());
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

fn connect(running: &Running, count: usize) -> Vec<TcpStream> {
    let Addr::Inet(at) = running.addrs()[0].clone() else { panic!("an internet address") };
    let connect = |_| {
        let stream = TcpStream::connect(at).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    };
    (0..count).map(connect).collect()
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

/// Makes the worst turn that can come, so that none that comes later is the first of its kind: more
/// connections than are measured have their bytes there at the same time, in pieces and whole. As many
/// vectors are in use at once as ever will be; how many that are in a turn by chance depends on how
/// fast the machine is.
fn meet(running: &Running, wire: &[u8], cut: usize) {
    let mut crowd = connect(running, 3 * CONNECTIONS);
    let mut back = [0; 4096];
    for cut in [cut, wire.len()] {
        for part in [&wire[..cut], &wire[cut..]] {
            let hold = HOLD.lock().unwrap();
            crowd.iter_mut().for_each(|client| client.write_all(part).unwrap());
            drop(hold);
        }
        for client in &mut crowd {
            client.read_exact(&mut back[..wire.len()]).unwrap();
        }
    }
}

/// Serves, warms up, and counts what exchanges allocate then.
fn used(layers: fn() -> Layers, request: &[u8], cut: usize) -> usize {
    let running = start(layers);
    meet(&running, request, cut);
    let mut clients = connect(&running, CONNECTIONS);
    exchange(&mut clients, request, 300, cut);
    let used = allocations(|| exchange(&mut clients, request, ROUNDS, cut));
    running.handle().stop();
    running.join().unwrap();
    used
}

fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATOR.stats();
    work();
    let used = ALLOCATOR.stats() - before;
    used.allocations + used.reallocations
}

#[test]
fn warm_layers_do_not_allocate() {
    let request = [b'r'; 200];
    let one = || Layers::new().above(Xor::new(*b"key"));
    assert_eq!(used(one, &request, 200), 0, "one layer");
    assert_eq!(used(one, &request, 77), 0, "one layer, in two pieces");
    let two = || Layers::new().above(Xor::new(*b"key")).above(Xor::new(*b"other"));
    assert_eq!(used(two, &request, 200), 0, "two layers");
    assert_eq!(used(two, &request, 77), 0, "two layers, in two pieces");
    // Stored blocks, so that each request is the same and its answer is as long.
    let mut request = vec![0, 100, 0, 155, 255];
    request.extend([b'r'; 100]);
    request.extend([0, 0, 0, 255, 255]);
    let deflate = || Layers::new().above(Deflate::raw().level(0));
    assert_eq!(used(deflate, &request, 50), 0, "deflate, in two pieces");
    assert_eq!(allocations(|| drop(Vec::<u8>::with_capacity(10))), 1, "the counter counts");
}
