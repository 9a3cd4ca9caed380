//! A warm task that echoes does not allocate, nor does one that sleeps, or that is woken.
//!
//! The only test of its process: the allocator counts for all threads, clients included, which do
//! not allocate either.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "tests over sockets wait in real time")]

mod support;

use mainspring_tasks::{Stream, Tasks, sleep, timeout, yield_now};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;
use std::io::{Read, Write};
use std::time::Duration;
use support::*;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const CONNECTIONS: usize = 16;
const ROUNDS: usize = 500;

/// Allocations while `work` runs.
fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATOR.stats();
    work();
    let used = ALLOCATOR.stats() - before;
    used.allocations + used.reallocations
}

/// Echoes; the first byte says how.
async fn served(mut stream: Stream) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let patience = Duration::from_secs(30);
        let count = match buffer[0] {
            b't' => timeout(patience, stream.read(&mut buffer)).await??,
            b'f' => match stream.receive().await? {
                Some(received) => {
                    // The last byte says how it goes on.
                    buffer[0] = received[received.len() - 1];
                    stream.forward(received).await?;
                    continue;
                }
                None => 0,
            },
            b'p' => {
                stream.peek(1).await?;
                stream.read(&mut buffer).await?
            }
            _ => stream.read(&mut buffer).await?,
        };
        match buffer[0] {
            _ if count == 0 => return Ok(()),
            b's' => sleep(Duration::from_millis(1)).await,
            b'y' => yield_now().await,
            // Whatever else is sent meanwhile meets in the next turn.
            b'h' => std::thread::sleep(Duration::from_millis(20)),
            _ => {}
        }
        stream.write_all(&buffer[..count]).await?;
    }
}

#[test]
fn a_warm_task_does_not_allocate() {
    let _bound = bound(120);
    let server = Served::start(|| {
        Tasks::serve(|stream| async {
            let _ = served(stream).await;
        })
    });
    let mut clients: Vec<Client> = (0..CONNECTIONS).map(|_| server.client()).collect();
    let mut holder = server.client();
    let mut buffer = vec![0; 1 << 14];
    let mut rounds = |count: usize, message: &[u8], buffer: &mut [u8]| {
        for _ in 0..count {
            for client in &mut clients {
                client.0.write_all(message).unwrap();
            }
            for client in &mut clients {
                client.0.read_exact(&mut buffer[..message.len()]).unwrap();
                assert!(buffer[..message.len()] == *message);
            }
        }
    };
    for way in [b'e', b't', b'p', b's', b'y', b'f'] {
        for size in [1, 1_000, 10_000] {
            let message = vec![way; size];
            for _ in 0..3 {
                // All come at the same time, so that everything grows to the size which that takes.
                holder.send(b"h");
                rounds(1, &message, &mut buffer);
                holder.expect(b"h");
                rounds(ROUNDS / 10, &message, &mut buffer);
            }
            let count = if way == b's' { ROUNDS / 10 } else { ROUNDS };
            // A delivery that came in two parts, or at the end of a buffer, takes memory in a way in
            // which none did before: then it was not warm yet.
            let mut grown = 1;
            for _ in 0..5 {
                if grown > 0 {
                    grown = allocations(|| rounds(count, &message, &mut buffer));
                }
            }
            let way = char::from(way);
            assert_eq!(grown, 0, "{way}: {count} rounds of {size} bytes on {CONNECTIONS}");
        }
    }
    assert_eq!(allocations(|| drop(Vec::<u8>::with_capacity(10))), 1, "the counter counts");
    server.stop(0);
}
