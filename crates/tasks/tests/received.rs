//! Received memory in the hands of tasks: passed on, held on to, given up.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "tests over sockets wait in real time")]

mod support;

use mainspring_tasks::{Received, Stream, Tasks, copy};
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use support::*;

const TOTAL: usize = 4 << 20;

fn noise(seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; TOTAL];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

/// Sends `bytes` in pieces of many lengths, and their end, while another thread reads.
fn send_in_pieces(client: &Client, seed: u64, bytes: Vec<u8>) -> thread::JoinHandle<()> {
    let mut writer = client.0.try_clone().unwrap();
    thread::spawn(move || {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let most = if rng.bool() { 300 } else { 60_000 };
            let (now, later) = rest.split_at(rng.usize(1..=rest.len().min(most)));
            writer.write_all(now).unwrap();
            rest = later;
        }
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    })
}

async fn forward_all(mut stream: Stream) -> std::io::Result<()> {
    while let Some(received) = stream.receive().await? {
        assert!(!received.is_empty());
        stream.forward(received).await?;
    }
    Ok(())
}

#[test]
fn an_echo_without_copies_keeps_every_byte_in_order() {
    let _bound = bound(60);
    let server = Served::start(|| {
        Tasks::serve(|stream| async {
            forward_all(stream).await.unwrap();
        })
    });
    for seed in 0..3 {
        let mut client = server.client();
        let sender = send_in_pieces(&client, seed, noise(seed));
        assert!(client.rest() == noise(seed), "seed {seed}");
        sender.join().unwrap();
    }
    let total = server.running.handle().stats().total;
    assert_eq!((total.bytes_in, total.bytes_out), (3 * TOTAL as u64, 3 * TOTAL as u64));
    assert!(total.bytes_forwarded > TOTAL as u64 / 2, "{total:?}");
    server.stop(0);
}

/// What is written before and after a value goes before and after it, and two values in one poll keep
/// their order, though only one of them can go without a copy.
#[test]
fn what_is_written_around_a_forward_stays_around_it() {
    let _bound = bound(60);
    let server = Served::start(|| {
        Tasks::serve(|mut stream: Stream| async move {
            while let Some(mut received) = stream.receive().await.unwrap() {
                let length = received.len() as u32;
                stream.write_all(&length.to_be_bytes()).await.unwrap();
                stream.write_all(&received[..1]).await.unwrap();
                received.advance(1);
                stream.forward(received).await.unwrap();
                stream.write_all(b"!").await.unwrap();
            }
            stream.write_all(&[0; 4]).await.unwrap();
        })
    });
    let mut client = server.client();
    let sender = send_in_pieces(&client, 5, noise(5));
    let (mut got, mut length) = (Vec::new(), [0; 4]);
    loop {
        client.0.read_exact(&mut length).unwrap();
        let length = u32::from_be_bytes(length) as usize;
        if length == 0 {
            break;
        }
        let mut piece = vec![0; length + 1];
        client.0.read_exact(&mut piece).unwrap();
        assert_eq!(piece.pop(), Some(b'!'));
        got.append(&mut piece);
    }
    assert!(got == noise(5), "other bytes, or in another order");
    sender.join().unwrap();
    server.stop(0);
}

#[test]
fn a_relay_without_copies_tells_how_much_it_was() {
    let _bound = bound(60);
    let echoes = Served::start(|| Tasks::serve(echo));
    let at = echoes.addr();
    let log = Log::default();
    let told = log.clone();
    let server = Served::start(move || {
        let log = told.clone();
        Tasks::serve(move |client: Stream| {
            let log = log.clone();
            async move {
                let upstream = mainspring_tasks::connect(format!("tcp://{at}")).await.unwrap();
                let (mut from_client, mut to_client) = client.split();
                let (mut from_upstream, mut to_upstream) = upstream.split();
                let there = mainspring_tasks::spawn(async move {
                    copy(&mut from_client, &mut to_upstream).await.unwrap()
                });
                let back = copy(&mut from_upstream, &mut to_client).await.unwrap();
                log.add(format!("{} {back}", there.await.unwrap()));
            }
        })
    });
    let mut client = server.client();
    let sender = send_in_pieces(&client, 9, noise(9));
    assert!(client.rest() == noise(9), "other bytes, or in another order");
    sender.join().unwrap();
    log.wait_for(&format!("{TOTAL} {TOTAL}"));
    assert!(server.running.handle().stats().total.bytes_forwarded > 0);
    server.stop(0);
    echoes.stop(0);
}

/// More tasks than a driver has memory to spare hold on to long deliveries: others are served all the
/// same, what was held is still right after that, and then nothing is scarce any more.
#[test]
fn tasks_that_sit_on_received_memory_stop_nobody() {
    const HOLDERS: usize = 300;
    const LENGTH: usize = 20_000;
    let _bound = bound(120);
    let held = Arc::new(AtomicUsize::new(0));
    let count = held.clone();
    let server = Served::start(move || {
        let held = count.clone();
        Tasks::serve(move |mut stream: Stream| {
            let held = held.clone();
            async move {
                if stream.peek(1).await.unwrap()[0] != b'h' {
                    return forward_all(stream).await.unwrap();
                }
                let (mut all, mut count) = (Vec::<Received>::new(), 0);
                while count < LENGTH {
                    let received = stream.receive().await.unwrap().unwrap();
                    count += received.len();
                    all.push(received);
                }
                held.fetch_add(1, Ordering::SeqCst);
                // Until the end of the stream.
                assert!(stream.receive().await.unwrap().is_none());
                for received in all {
                    stream.forward(received).await.unwrap();
                }
            }
        })
    });
    let text = |nth: usize| -> Vec<u8> {
        (0..LENGTH).map(|at| if at == 0 { b'h' } else { (at / 3 + nth) as u8 }).collect()
    };
    let mut holders: Vec<Client> = (0..HOLDERS).map(|_| server.client()).collect();
    for (nth, holder) in holders.iter_mut().enumerate() {
        holder.send(&text(nth));
    }
    eventually("all are held", || held.load(Ordering::SeqCst) == HOLDERS);
    let forwarded = || server.running.handle().stats().total.bytes_forwarded;
    let echo = |seed| {
        let mut client = server.client();
        let mut bytes = noise(seed);
        bytes[0] = b'e';
        let sender = send_in_pieces(&client, seed, bytes.clone());
        assert!(client.rest() == bytes, "other bytes, or in another order");
        sender.join().unwrap();
    };
    echo(1);
    assert_eq!(forwarded(), 0, "there is memory to spare: not enough holders");
    for (nth, holder) in holders.iter_mut().enumerate() {
        holder.finish();
        assert!(holder.rest() == text(nth), "holder {nth}");
    }
    let before = forwarded();
    echo(2);
    assert!(forwarded() - before > TOTAL as u64 / 4, "memory came back");
    server.stop(0);
}

/// A task that is cancelled, or panics, while it holds received memory, gives it back.
#[test]
fn what_a_panicking_task_held_is_given_back() {
    let _bound = bound(60);
    let server = Served::start(|| {
        Tasks::serve(|mut stream: Stream| async move {
            if stream.peek(1).await.unwrap()[0] == b'p' {
                let received = stream.receive().await.unwrap().unwrap();
                panic!("with {} bytes in hand", received.len());
            }
            forward_all(stream).await.unwrap();
        })
    });
    const PANICS: usize = 400;
    for _ in 0..PANICS {
        let mut client = server.client();
        // It may be gone before all is sent.
        let _ = client.0.write_all(&[b'p'; 20_000]);
        client.expect_gone();
    }
    server.eventually(|stats| stats.panicked, PANICS as u64);
    let mut client = server.client();
    let mut bytes = noise(3);
    bytes[0] = b'e';
    let sender = send_in_pieces(&client, 3, bytes.clone());
    assert!(client.rest() == bytes, "other bytes, or in another order");
    sender.join().unwrap();
    let forwarded = server.running.handle().stats().total.bytes_forwarded;
    assert!(forwarded > TOTAL as u64 / 4, "{forwarded} bytes were not copied");
    server.stop(PANICS as u64);
}
