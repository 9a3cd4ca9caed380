//! The scenario that evio's own test ran, on every combination of addresses, loops and drivers, and
//! with every byte compared.

mod support;

use mainspring_io::{Addr, DriverKind};
use mainspring_loop::{Action, Balance, Loops, Server};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use support::*;

const CLIENTS: usize = 10;
const ROUNDS: usize = 3;
const BANNER: &[u8] = b"sweetness\r\n";

/// Ten clients read the banner and have random blocks of up to a mebibyte echoed. The server stops
/// itself when the tenth has gone.
fn scenario(driver: DriverKind, with_unix: bool, loops: Loops, balance: Balance) {
    let _bound = bound(120);
    let about = format!("{driver}, unix: {with_unix}, {loops:?}, {balance}");
    let dir = TempDir::new();
    let unix = dir.unix("echo");
    let addresses: &[&str] = if with_unix { &[TCP, &unix] } else { &[TCP] };
    let log = Log::new();
    let (probe, gone) = (log.clone(), Arc::new(AtomicUsize::new(0)));
    let builder = Server::builder().driver(driver).loops(loops).balance(balance);
    let running = start_with(builder, addresses, move || {
        let gone = gone.clone();
        Probe::echo(&probe)
            .open(|conn| {
                assert!(conn.stats().bytes_in == 0 && conn.listener().is_some());
                conn.out().extend_from_slice(BANNER);
                Some(Action::Continue)
            })
            .close(move |cx, _, _| {
                if gone.fetch_add(1, Ordering::SeqCst) + 1 == CLIENTS {
                    cx.shutdown();
                }
            })
    });
    let addrs = running.addrs();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|index| {
            let to = addrs[index % addrs.len()].clone();
            let about = about.clone();
            thread::spawn(move || echo_client(&to, index as u64, &about))
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    running.join().unwrap_or_else(|error| panic!("{about}: {error}"));
    assert_eq!((log.count("open"), log.count("close")), (CLIENTS, CLIENTS), "{about}");
    assert_eq!(log.tags(), 0, "{about}: states are left");
}

fn echo_client(to: &Addr, seed: u64, about: &str) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut client = Client::connect(to);
    client.expect(BANNER);
    for round in 0..ROUNDS {
        let length = rng.usize(0..=1 << 20);
        let block = random_bytes(&mut rng, length);
        let mut sender = client.try_clone();
        thread::scope(|scope| {
            scope.spawn(|| sender.send(&block));
            let back = client.receive(length);
            assert_same_bytes(&back, &block, &format!("{about}: seed {seed}, round {round}"));
        });
    }
}

macro_rules! matrix {
    ($($name:ident: $driver:ident, $with_unix:expr, $loops:expr, $balance:ident;)*) => {
        $(
            #[test]
            fn $name() {
                scenario(DriverKind::$driver, $with_unix, $loops, Balance::$balance);
            }
        )*
    };
}

matrix! {
    ready_tcp_one_loop_random: Ready, false, Loops::Count(1), Random;
    ready_tcp_five_loops_least_connections: Ready, false, Loops::Count(5), LeastConnections;
    ready_tcp_loop_per_core_round_robin: Ready, false, Loops::PerCore, RoundRobin;
    ready_tcp_three_loops_kernel: Ready, false, Loops::Count(3), Kernel;
    portable_tcp_one_loop_random: Portable, false, Loops::Count(1), Random;
    portable_tcp_five_loops_least_connections: Portable, false, Loops::Count(5), LeastConnections;
    portable_tcp_loop_per_core_round_robin: Portable, false, Loops::PerCore, RoundRobin;
    portable_tcp_three_loops_kernel: Portable, false, Loops::Count(3), Kernel;
}

#[cfg(unix)]
matrix! {
    ready_tcp_and_unix_one_loop_random: Ready, true, Loops::Count(1), Random;
    ready_tcp_and_unix_five_loops_least_connections: Ready, true, Loops::Count(5), LeastConnections;
    ready_tcp_and_unix_loop_per_core_round_robin: Ready, true, Loops::PerCore, RoundRobin;
    ready_tcp_and_unix_three_loops_kernel: Ready, true, Loops::Count(3), Kernel;
    portable_tcp_and_unix_one_loop_random: Portable, true, Loops::Count(1), Random;
    portable_tcp_and_unix_five_loops_least_connections: Portable, true, Loops::Count(5), LeastConnections;
    portable_tcp_and_unix_loop_per_core_round_robin: Portable, true, Loops::PerCore, RoundRobin;
    portable_tcp_and_unix_three_loops_kernel: Portable, true, Loops::Count(3), Kernel;
}

#[cfg(target_os = "linux")]
matrix! {
    ring_tcp_one_loop_random: Ring, false, Loops::Count(1), Random;
    ring_tcp_five_loops_least_connections: Ring, false, Loops::Count(5), LeastConnections;
    ring_tcp_loop_per_core_round_robin: Ring, false, Loops::PerCore, RoundRobin;
    ring_tcp_three_loops_kernel: Ring, false, Loops::Count(3), Kernel;
    ring_tcp_and_unix_one_loop_random: Ring, true, Loops::Count(1), Random;
    ring_tcp_and_unix_five_loops_least_connections: Ring, true, Loops::Count(5), LeastConnections;
    ring_tcp_and_unix_loop_per_core_round_robin: Ring, true, Loops::PerCore, RoundRobin;
    ring_tcp_and_unix_three_loops_kernel: Ring, true, Loops::Count(3), Kernel;
}
