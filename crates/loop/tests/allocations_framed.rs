//! Frames cost no allocation once the loop is warm, whole or in pieces.
//!
//! The only test of its process: the allocator counts for all threads, the client included, which
//! does not allocate either.

mod support;

use mainspring_loop::{Action, Framed, Pool, PoolLimits, Server};
use mainspring_wire::{LengthPrefix, Separator};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use support::*;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const FRAMES: usize = 1500;
const PAYLOAD: usize = 1024;

/// Echoes of length-prefixed frames, of lines in a pool, and of frames with timeouts.
fn server() -> mainspring_loop::Running {
    let started = Server::builder().start(|shard| {
        let prefixed = LengthPrefix::varint().max(16 * 1024);
        let plain = shard.host(Framed::new(prefixed.clone(), |conn, frame| {
            conn.send(&*frame).map_or(Action::Close, |()| Action::Continue)
        }));
        shard.listen(plain, TCP)?;
        let lines = Framed::new(Separator::new("\r\n"), |conn, frame| {
            conn.send(&*frame).map_or(Action::Close, |()| Action::Continue)
        });
        let limits = PoolLimits { read_chunk: 700, fair_quantum: 1500, ..PoolLimits::default() };
        let pooled = shard.host(Pool::new(limits, lines));
        shard.listen(pooled, TCP)?;
        let timed = Framed::new(prefixed, |conn, frame| {
            conn.send(&*frame).map_or(Action::Close, |()| Action::Continue)
        });
        let timed = timed.read_timeout(Duration::from_secs(60));
        let timed = shard.host(timed.frame_timeout(Duration::from_secs(60)));
        shard.listen(timed, TCP).map(drop)
    });
    started.expect("the server starts")
}

/// Sends a frame in `pieces` and has it back, again and again.
fn exchange(client: &mut TcpStream, frame: &[u8], pieces: usize, count: usize, got: &mut [u8]) {
    for _ in 0..count {
        for piece in frame.chunks(frame.len().div_ceil(pieces)) {
            client.write_all(piece).unwrap();
            if pieces > 1 {
                // So that each piece is a read of its own.
                std::hint::black_box(spin());
            }
        }
        client.read_exact(got).unwrap();
        assert!(got == frame);
    }
}

fn spin() -> u64 {
    (0..2_000u64).fold(0, |sum, next| sum.wrapping_mul(31).wrapping_add(next))
}

#[test]
fn a_warm_framed_echo_does_not_allocate() {
    let _bound = bound(120);
    let running = server();
    let mut prefixed = vec![b'x'; PAYLOAD + 2];
    prefixed[..2].copy_from_slice(&[0x80 | (PAYLOAD & 0x7f) as u8, (PAYLOAD >> 7) as u8]);
    let mut line = vec![b'x'; PAYLOAD];
    line.extend_from_slice(b"\r\n");
    let mut got = vec![0; PAYLOAD + 2];
    for (listener, frame) in [(0, &prefixed), (1, &line), (2, &prefixed)] {
        let mut client = TcpStream::connect(inet_of(&running.addrs()[listener])).unwrap();
        client.set_nodelay(true).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        for pieces in [1, 3] {
            exchange(&mut client, frame, pieces, 500, &mut got);
            let before = ALLOCATOR.stats();
            exchange(&mut client, frame, pieces, FRAMES, &mut got);
            let after = ALLOCATOR.stats() - before;
            let made = after.allocations + after.reallocations;
            assert_eq!(made, 0, "listener {listener}, {pieces} pieces: {after:?}");
        }
    }
    stop(running);
}
