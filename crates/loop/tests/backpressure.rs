//! Peers that read slowly, send too much, or fall silent.
#![allow(clippy::disallowed_methods, reason = "tests run by the clock")]

mod support;

use mainspring_io::SocketOptions;
use mainspring_loop::{Action, CloseReason, Limits, Server};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use support::*;

const SHORT: Duration = Duration::from_millis(200);

fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}

/// Little room in the kernel, so that tests need not fill megabytes of it.
fn small_kernel_buffer() -> SocketOptions {
    SocketOptions { send_buffer: Some(16 << 10), ..SocketOptions::default() }
}

#[test]
fn a_peer_that_does_not_read_costs_neither_memory_nor_time() {
    const TOTAL: usize = 64 << 20;
    let _bound = bound(120);
    let log = Log::new();
    let cpu = Arc::new(Mutex::new(None::<CpuTime>));
    let (probe, tell) = (log.clone(), cpu.clone());
    let limits = Limits::default();
    let bound_bytes = (limits.output_high + limits.driver.read_buffer) as u64;
    let running = start_with(Server::builder().limits(limits), &[TCP], move || {
        let tell = tell.clone();
        Probe::echo(&probe).start(move |_, _| {
            *tell.lock().unwrap() = CpuTime::of_this_thread();
            Action::Continue
        })
    });
    let mut client = Client::tcp(inet(&running));
    let mut sender = client.try_clone();
    let sending = thread::spawn(move || {
        let mut rng = fastrand::Rng::with_seed(8);
        for _ in 0..TOTAL / (1 << 16) {
            sender.send(&random_bytes(&mut rng, 1 << 16));
        }
    });
    // Until everything between the two ends is full.
    let handle = running.handle();
    let mut before = 0;
    eventually("the server stops reading", || {
        thread::sleep(Duration::from_millis(500));
        std::mem::replace(&mut before, handle.stats().total.bytes_in) == before && before > 0
    });
    let cpu = cpu.lock().unwrap().clone();
    let ticks = || cpu.as_ref().map_or(0, CpuTime::ticks);
    let (before, stats) = (ticks(), handle.stats().total);
    thread::sleep(Duration::from_secs(1));
    let later = handle.stats().total;
    assert!(ticks() - before <= 1, "{} ticks of 10 ms in 1 s", ticks() - before);
    assert!(later.wakeups - stats.wakeups <= 2, "{} wakeups", later.wakeups - stats.wakeups);
    assert_eq!(later.bytes_in, stats.bytes_in, "reading goes on");
    assert!(later.buffered_bytes <= bound_bytes, "{} bytes buffered", later.buffered_bytes);
    assert!(later.buffered_bytes > 0);
    let mut rng = fastrand::Rng::with_seed(8);
    for block in 0..TOTAL / (1 << 16) {
        let wanted = random_bytes(&mut rng, 1 << 16);
        assert_same_bytes(&client.receive(1 << 16), &wanted, &format!("block {block}"));
        let buffered = handle.stats().total.buffered_bytes;
        assert!(buffered <= bound_bytes, "{buffered} bytes buffered");
    }
    sending.join().unwrap();
    assert!(log.count("drained 1") > 0);
    drop(client);
    log.wait_for(1, "close 1 Peer");
    eventually_total(&handle, |total| total.buffered_bytes, 0);
    stop(running);
}

#[test]
fn output_beyond_its_maximum_closes_a_slow_consumer_and_is_counted() {
    let _bound = bound(60);
    let log = Log::new();
    let produced = Arc::new(AtomicU64::new(0));
    let (probe, count) = (log.clone(), produced.clone());
    let limits = limits(|limits| limits.output_max = 1 << 20);
    let max = limits.output_max as u64;
    let running = start_with(Server::builder().limits(limits), &[TCP], move || {
        let count = count.clone();
        Probe::new(&probe)
            .open(|conn| {
                conn.set_options(small_kernel_buffer());
                conn.set_timer(Duration::ZERO);
                Some(Action::Continue)
            })
            .timer(move |conn, _| {
                conn.out().extend_from_slice(&[1; 50_000]);
                count.fetch_add(50_000, Ordering::SeqCst);
                conn.set_timer(Duration::ZERO);
                Action::Continue
            })
    });
    let client = Client::tcp(inet(&running));
    log.wait_for(1, "close 1 SlowConsumer");
    let total = eventually_stats(&running.handle(), "closed", |stats| stats.total.connections == 0);
    let total = total.total;
    assert!(total.dropped_slow_bytes > 0 && total.dropped_slow_bytes <= max + 100_000, "{total:?}");
    assert_eq!(total.bytes_out + total.dropped_slow_bytes, produced.load(Ordering::SeqCst));
    assert_eq!(total.buffered_bytes, 0);
    drop(client);
    stop(running);
}

#[test]
fn a_send_from_elsewhere_beyond_the_maximum_closes_a_slow_consumer_too() {
    let _bound = bound(60);
    let server = Reached::new(limits(|limits| limits.output_max = 1 << 20), Probe::echo);
    let (client, id) = server.client();
    let mut sent = 0;
    let chunk = bytes::Bytes::from(vec![2; 100_000]);
    eventually("closed", || {
        if server.remote.send(id, chunk.clone()).is_ok() {
            sent += chunk.len() as u64;
        }
        server.settle();
        server.log.count("close 1 SlowConsumer") == 1
    });
    let handle = server.running.handle();
    let total = eventually_stats(&handle, "closed", |stats| stats.total.connections == 0).total;
    let late = total.dropped_sends * chunk.len() as u64;
    assert_eq!(total.bytes_out + total.dropped_slow_bytes + late, sent);
    drop(client);
    stop(server.running);
}

#[test]
fn the_memory_of_the_whole_server_is_bounded() {
    const CLIENTS: usize = 8;
    let _bound = bound(60);
    let limits = limits(|limits| {
        limits.output_max = 2 << 20;
        limits.memory_max = 4 << 20;
    });
    let (memory_max, low) = (limits.memory_max as u64, limits.output_low as u64);
    let server = Reached::new(limits, Probe::echo);
    let clients: Vec<_> = (0..CLIENTS).map(|_| server.client()).collect();
    let chunk = bytes::Bytes::from(vec![3; 50_000]);
    let mut most = 0;
    // Far more than the kernel takes of it and the server may keep.
    for _ in 0..400 {
        for (_, id) in &clients {
            while server.remote.send(*id, chunk.clone()).is_err() {
                thread::yield_now();
            }
        }
        server.settle();
        most = most.max(server.running.handle().stats().total.buffered_bytes);
    }
    let slack = chunk.len() as u64 * CLIENTS as u64 + low;
    assert!(most <= memory_max + slack, "{most} bytes buffered");
    assert!(most > memory_max / 2, "only {most} bytes buffered: the test does not test");
    assert!(server.log.count("close") > 0);
    assert_eq!(
        server.log.count("close"),
        (1..=CLIENTS)
            .map(|number| { server.log.count(&format!("close {number} SlowConsumer")) })
            .sum::<usize>()
    );
    stop(server.running);
}

#[test]
fn input_that_nobody_consumes_is_kept_up_to_its_maximum() {
    let _bound = bound(60);
    let log = Log::new();
    let probe = log.clone();
    let limits = limits(|limits| limits.input_max = 100_000);
    let running = start_with(Server::builder().limits(limits), &[TCP], move || {
        Probe::new(&probe).data(|_, _| Action::Continue)
    });
    let mut within = Client::tcp(inet(&running));
    within.send(&[0; 100_000]);
    let handle = running.handle();
    eventually_stats(&handle, "kept", |stats| stats.total.buffered_bytes == 100_000);
    assert_eq!(log.count("close"), 0);
    within.send(&[0; 1]);
    within.expect_gone();
    log.wait_for(1, "close 1 InputTooLong");
    eventually_stats(&handle, "freed", |stats| stats.total.buffered_bytes == 0);
    assert_eq!(handle.stats().total.dropped_input_bytes, 100_001);
    stop(running);
}

#[test]
fn a_handler_that_needs_more_is_called_when_it_is_there() {
    let _bound = bound(30);
    let log = Log::new();
    let probe = log.clone();
    let running = start(move || {
        Probe::new(&probe).data(|conn, input| {
            if let Some(missing) = NonZeroUsize::new(6usize.saturating_sub(input.len())) {
                input.need(missing);
            } else {
                let length = input.len() as u8;
                input.consume(6);
                conn.out().push(length);
            }
            Action::Continue
        })
    });
    let mut client = Client::tcp(inet(&running));
    for byte in 0..6 {
        client.send(&[byte]);
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(client.receive(1), [6]);
    assert_eq!(log.count("data"), 2, "once for the first byte, once for all");
    // The end of the stream is an end to waiting.
    client.send(b"ab");
    log.wait_for(3, "data");
    client.finish();
    client.expect_end();
    let golden = ["data 1 \"ab\"", "data 1 \"ab\"", "eof 1", "close 1 Peer"];
    log.wait_for(1, "close");
    let lines = log.lines();
    assert_eq!(lines[lines.len() - 4..], golden);
    stop(running);
}

#[test]
fn a_pause_keeps_the_bytes_for_the_resume() {
    let _bound = bound(60);
    let received = Arc::new(Mutex::new(Vec::new()));
    let keep = received.clone();
    let server = Reached::new(Limits::default(), move |log| {
        let keep = keep.clone();
        Probe::new(log).data(move |_, input| {
            // One byte per delivery, whatever came.
            keep.lock().unwrap().push(input.bytes()[0]);
            input.consume(1);
            Action::Pause
        })
    });
    let (mut client, id) = server.client();
    client.send(b"abc");
    server.log.wait_for(1, "data");
    client.send(b"def");
    client.finish();
    server.settle();
    for round in 1..6 {
        assert_eq!(server.log.count("data"), round, "nothing comes while paused");
        server.remote.resume(id).unwrap();
        server.log.wait_for(round + 1, "data");
        assert_eq!(server.log.count("eof"), 0, "the end comes after the last byte");
    }
    server.settle();
    assert_eq!(server.log.count("eof"), 0, "the end waits too");
    server.remote.resume(id).unwrap();
    client.expect_end();
    server.log.wait_for(1, "close 1 Peer");
    assert_eq!(*received.lock().unwrap(), b"abcdef");
    stop(server.running);
}

#[test]
fn a_paused_connection_lets_the_peer_feel_it() {
    let _bound = bound(60);
    let server = Reached::new(Limits::default(), |log| {
        Probe::new(log).data(|_, input| {
            input.take();
            Action::Pause
        })
    });
    let (client, id) = server.client();
    let mut sender = client.try_clone();
    let total = 32 << 20;
    let sending = thread::spawn(move || sender.send(&vec![0; total]));
    server.log.wait_for(1, "data");
    let handle = server.running.handle();
    thread::sleep(SHORT);
    let first = handle.stats().total;
    assert!(first.bytes_in < 1 << 20, "{} bytes received while paused", first.bytes_in);
    // D3: what the driver had taken before it heard of the pause, which is bounded.
    let taken_max = Limits::default().driver.bytes_per_turn as u64;
    assert!(first.buffered_bytes <= taken_max, "{} bytes held", first.buffered_bytes);
    eventually("all is received", || {
        server.remote.resume(id).unwrap();
        handle.stats().total.bytes_in == total as u64
    });
    sending.join().unwrap();
    stop(server.running);
}

#[test]
fn a_client_that_has_ended_its_stream_still_gets_the_whole_reply() {
    let _bound = bound(60);
    let payload = random_bytes(&mut fastrand::Rng::with_seed(12), 8 << 20);
    let reply = payload.clone();
    let log = Log::new();
    let probe = log.clone();
    let running = start(move || {
        let reply = reply.clone();
        Probe::new(&probe).data(move |conn, input| {
            input.take();
            conn.out().extend_from_slice(&reply);
            Action::Continue
        })
    });
    let mut client = Client::tcp(inet(&running));
    client.send(b"request");
    client.finish();
    log.wait_for(1, "data");
    thread::sleep(SHORT);
    assert_same_bytes(&client.receive_to_end(), &payload, "reply");
    log.wait_for(1, &format!("close 1 {:?}", CloseReason::Peer));
    stop(running);
}

#[test]
fn a_handler_may_go_on_sending_after_the_end_of_input() {
    let _bound = bound(30);
    let log = Log::new();
    let probe = log.clone();
    let running = start(move || {
        Probe::new(&probe)
            .eof(|conn| {
                conn.set_timer(Duration::from_millis(20));
                Action::Continue
            })
            .timer(|conn, _| {
                conn.out().extend_from_slice(b"afterthought");
                Action::Close
            })
    });
    let mut client = Client::tcp(inet(&running));
    client.finish();
    assert_eq!(client.receive_to_end(), b"afterthought");
    log.wait_for(1, "close 1 Peer");
    stop(running);
}

#[test]
fn bytes_that_come_with_the_end_are_not_lost() {
    let _bound = bound(60);
    let received = Arc::new(AtomicU64::new(0));
    let (count, log) = (received.clone(), Log::new());
    let probe = log.clone();
    let running = start(move || {
        let count = count.clone();
        Probe::new(&probe).data(move |_, input| {
            count.fetch_add(input.take().len() as u64, Ordering::SeqCst);
            Action::Continue
        })
    });
    let mut rng = fastrand::Rng::with_seed(13);
    let mut total = 0;
    for round in 0..100 {
        let length = rng.usize(1..200_000);
        let mut client = Client::tcp(inet(&running));
        client.send(&random_bytes(&mut rng, length));
        total += length as u64;
        drop(client);
        log.wait_for(round + 1, "close");
        assert_eq!(received.load(Ordering::SeqCst), total, "round {round}, seed 13");
    }
    assert_eq!(log.count("eof"), 100);
    stop(running);
}

#[test]
fn a_handler_that_stops_when_choked_gets_the_rest_when_drained() {
    const REQUESTS: usize = 20_000;
    const REPLY: usize = 1_000;
    let _bound = bound(60);
    let limits = limits(|limits| limits.input_max = 16 << 10);
    let bound_bytes = (limits.output_high + limits.driver.read_buffer + REPLY) as u64;
    let log = Log::new();
    let running = start_with(Server::builder().limits(limits), &[TCP], move || {
        Probe::new(&log).data(|conn, input| {
            while !input.is_empty() && !conn.is_choked() {
                let number = input.bytes()[0];
                input.consume(1);
                conn.out().extend_from_slice(&[number; REPLY]);
            }
            Action::Continue
        })
    });
    let mut client = Client::tcp(inet(&running));
    // All requests in one piece: each delivery asks for far more than may be buffered.
    let requests: Vec<u8> = (0..REQUESTS).map(|index| index as u8).collect();
    client.send(&requests);
    thread::sleep(SHORT);
    let handle = running.handle();
    for (index, request) in requests.iter().enumerate() {
        let reply = client.receive(REPLY);
        assert!(reply.iter().all(|byte| byte == request), "reply {index}");
        let buffered = handle.stats().total.buffered_bytes;
        assert!(buffered <= bound_bytes, "{buffered} bytes buffered");
    }
    stop(running);
}

/// Each look brings room for a few requests; what one reading brings behind them must not add up.
#[test]
fn what_a_choked_handler_leaves_does_not_grow_from_look_to_look() {
    const REQUESTS: usize = 2 << 20;
    const REPLY: usize = 16;
    let _bound = bound(120);
    let limits = limits(|limits| {
        (limits.input_max, limits.output_high, limits.output_low) = (16 << 10, 4 << 10, 1 << 10);
        limits.driver.read_buffer = 16 << 10;
    });
    // What a ring had received before it was told to stop comes on top (contract D3): a buffer.
    let most_allowed = limits.input_max + (256 << 10);
    let most = Arc::new(AtomicUsize::new(0));
    let (log, seen) = (Log::new(), most.clone());
    let running = start_with(Server::builder().limits(limits), &[TCP], move || {
        let seen = seen.clone();
        Probe::new(&log).data(move |conn, input| {
            seen.fetch_max(input.len(), Ordering::Relaxed);
            while !input.is_empty() && !conn.is_choked() {
                input.consume(1);
                conn.out().extend_from_slice(&[b'r'; REPLY]);
            }
            Action::Continue
        })
    });
    let mut client = Client::tcp(inet(&running));
    let mut writer = client.try_clone();
    let writing = thread::spawn(move || writer.send(&vec![b'q'; REQUESTS]));
    for _ in 0..REQUESTS / 1024 {
        assert_eq!(client.receive(1024 * REPLY), [b'r'; 1024 * REPLY]);
    }
    writing.join().unwrap();
    let most = most.load(Ordering::Relaxed);
    assert!(most <= most_allowed, "{most} bytes carried, {most_allowed} allowed");
    stop(running);
}

#[test]
fn a_choked_handler_gets_the_rest_also_when_all_output_leaves_at_once() {
    const REQUESTS: usize = 500;
    let _bound = bound(60);
    // Far less than the kernel takes: the output is never seen waiting.
    let limits = limits(|limits| (limits.output_high, limits.output_low) = (1_000, 100));
    let log = Log::new();
    let probe = log.clone();
    let running = start_with(Server::builder().limits(limits), &[TCP], move || {
        Probe::new(&probe).data(|conn, input| {
            while !input.is_empty() && !conn.is_choked() {
                input.consume(1);
                conn.out().extend_from_slice(&[b'r'; 300]);
            }
            Action::Continue
        })
    });
    let mut client = Client::tcp(inet(&running));
    client.send(&[b'q'; REQUESTS]);
    assert_eq!(client.receive(300 * REQUESTS).len(), 300 * REQUESTS);
    assert!(log.count("drained") >= REQUESTS / 4 - 1);
    // The same when the end of the stream is there already.
    let mut client = Client::tcp(inet(&running));
    client.send(&[b'q'; REQUESTS]);
    client.finish();
    assert_eq!(client.receive_to_end().len(), 300 * REQUESTS);
    stop(running);
}
