//! Streams: what is read and written, how they end, and how they hold back.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "tests over sockets wait in real time")]

mod support;

use futures_io::{AsyncBufRead, AsyncWrite};
use mainspring_loop::{Limits, Pool, PoolLimits, Server};
use mainspring_tasks::{Stream, Tasks, connect, sleep, spawn};
use std::future::poll_fn;
use std::io::{IoSlice, Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;
use support::*;

fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

#[track_caller]
fn assert_same(got: &[u8], wanted: &[u8]) {
    assert_eq!(got.len(), wanted.len());
    let differs = got.iter().zip(wanted).position(|(got, wanted)| got != wanted);
    assert_eq!(differs, None, "first difference");
}

#[test]
fn every_byte_comes_back_in_order_on_many_connections() {
    let _bound = bound(60);
    let server = Served::start(|| Tasks::serve(echo));
    let at = server.addr();
    thread::scope(|scope| {
        for seed in 0..8 {
            scope.spawn(move || {
                let sent = noise(seed, 3 << 20);
                let mut client = Client::connect(at);
                let mut writer = client.0.try_clone().unwrap();
                let whole = sent.clone();
                let sender = thread::spawn(move || {
                    let mut rng = fastrand::Rng::with_seed(seed);
                    let mut rest = &whole[..];
                    while !rest.is_empty() {
                        let (now, later) = rest.split_at(rng.usize(1..=rest.len().min(300_000)));
                        writer.write_all(now).unwrap();
                        rest = later;
                    }
                    writer.shutdown(std::net::Shutdown::Write).unwrap();
                });
                assert_same(&client.rest(), &sent);
                sender.join().unwrap();
            });
        }
    });
    server.eventually(|stats| (stats.started, stats.running), (8, 0));
    server.stop(0);
}

#[test]
fn a_banner_leaves_before_anything_is_read_and_the_end_after_what_was_written() {
    let _bound = bound(30);
    let server = Served::start(|| {
        Tasks::serve(|mut stream: Stream| async move {
            stream.write_all(b"hello ").await.unwrap();
            let name = stream.peer().to_string();
            assert_eq!(stream.listener(), Some(0));
            assert_ne!(stream.local(), stream.peer());
            stream.write_all(name.as_bytes()).await.unwrap();
        })
    });
    let mut client = server.client();
    let me = client.0.local_addr().unwrap();
    assert_eq!(client.rest(), format!("hello {me}").as_bytes());
    server.stop(0);
}

#[test]
fn bytes_are_shown_without_being_consumed_and_then_read() {
    let _bound = bound(30);
    let server = Served::start(|| {
        Tasks::serve(|mut stream: Stream| async move {
            let shown = stream.peek(5).await.unwrap().to_vec();
            assert!(shown.starts_with(b"abcde"), "{shown:?}");
            // What was shown stays, whatever else happens meanwhile.
            let held = poll_fn(|cx| Pin::new(&mut stream).poll_fill_buf(cx).map_ok(<[u8]>::to_vec));
            assert_eq!(held.await.unwrap(), shown);
            Pin::new(&mut stream).consume(2);
            let mut rest = [0; 6];
            stream.read_exact(&mut rest).await.unwrap();
            stream.write_all(&rest).await.unwrap();
            // Fewer than asked for: the stream has ended.
            assert_eq!(stream.peek(9).await.unwrap(), b"last");
            assert!(stream.read_exact(&mut [0; 9]).await.is_err());
            stream.write_all(b"!").await.unwrap();
        })
    });
    let mut client = server.client();
    for byte in b"abcdefgh" {
        client.send(&[*byte]);
        thread::sleep(Duration::from_millis(2));
    }
    client.expect(b"cdefgh");
    client.send(b"last");
    client.finish();
    assert_eq!(client.rest(), b"!");
    server.stop(0);
}

#[test]
fn pieces_are_written_in_one_go_and_nothing_after_the_close() {
    let _bound = bound(30);
    let server = Served::start(|| {
        Tasks::serve(|mut stream: Stream| async move {
            let pieces = [b"one, ".as_slice(), b"", b"two"].map(IoSlice::new);
            let count = poll_fn(|cx| Pin::new(&mut stream).poll_write_vectored(cx, &pieces)).await;
            assert_eq!(count.unwrap(), 8);
            poll_fn(|cx| Pin::new(&mut stream).poll_close(cx)).await.unwrap();
            let late = stream.write_all(b"late").await.unwrap_err();
            assert_eq!(kind(&late), "BrokenPipe");
            // The other direction goes on.
            let mut buffer = [0; 2];
            stream.read_exact(&mut buffer).await.unwrap();
            assert_eq!(&buffer, b"ok");
        })
    });
    let mut client = server.client();
    assert_eq!(client.rest(), b"one, two");
    client.send(b"ok");
    server.eventually(|stats| stats.running, 0);
    server.stop(0);
}

#[test]
fn the_halves_work_for_two_tasks_and_the_connection_ends_with_the_second() {
    let _bound = bound(30);
    let server = Served::start(|| {
        Tasks::serve(|stream: Stream| async move {
            let (mut read, mut write) = stream.split();
            let writer = spawn(async move {
                for nth in 0..5_u8 {
                    write.write_all(&[b'0' + nth]).await.unwrap();
                    sleep(Duration::from_millis(2)).await;
                }
                // The drop of this half ends this side's stream; the peer's goes on.
            });
            let mut got = vec![0; 4];
            read.read_exact(&mut got).await.unwrap();
            assert_eq!(got, b"ping");
            writer.await.unwrap();
            assert_eq!(read.read(&mut got).await.unwrap(), 0);
        })
    });
    let mut client = server.client();
    client.send(b"ping");
    assert_eq!(client.rest(), b"01234");
    assert_eq!(server.stats().running, 1, "it reads until we end our stream");
    client.finish();
    server.eventually(|stats| stats.running, 0);
    server.stop(0);
}

/// The server writes all the time to a peer that does not read, and sees no more taken than the
/// limits say.
#[test]
fn writes_wait_for_a_peer_that_does_not_read() {
    const TOTAL: usize = 16 << 20;
    let _bound = bound(60);
    let limits = Limits { output_high: 64 << 10, output_low: 16 << 10, ..Limits::default() };
    let written = Arc::new(AtomicUsize::new(0));
    let counts = written.clone();
    let server = Served::with(limits, move || {
        let counts = counts.clone();
        Tasks::serve(move |mut stream: Stream| {
            let counts = counts.clone();
            async move {
                let chunk = [7; 10_000];
                let mut left = TOTAL;
                while left > 0 {
                    let count = left.min(chunk.len());
                    stream.write_all(&chunk[..count]).await.unwrap();
                    counts.fetch_add(count, Ordering::SeqCst);
                    left -= count;
                }
            }
        })
    });
    let mut client = server.client();
    let (mut before, mut still) = (0, 0);
    while still < 10 {
        thread::sleep(Duration::from_millis(10));
        let now = written.load(Ordering::SeqCst);
        still = if now == before && now > 0 { still + 1 } else { 0 };
        before = now;
    }
    assert!(before < TOTAL, "the peer has not read, and all has been taken");
    let buffered = server.running.handle().stats().total.buffered_bytes as usize;
    assert!(buffered <= (64 << 10) + 1, "{buffered} bytes are buffered");
    let got = client.rest();
    assert!(got.len() == TOTAL && got.iter().all(|byte| *byte == 7));
    server.stop(0);
}

/// The same memory by the traits of tokio: shown, consumed in part, then read.
#[cfg(feature = "tokio")]
#[test]
fn the_traits_of_tokio_show_and_consume() {
    use tokio::io::{AsyncBufRead, AsyncRead, ReadBuf};
    let _bound = bound(30);
    let server = Served::start(|| {
        Tasks::serve(|mut stream: Stream| async move {
            let shown = poll_fn(|cx| {
                let shown = AsyncBufRead::poll_fill_buf(Pin::new(&mut stream), cx);
                shown.map_ok(|bytes| bytes[0])
            });
            let first = shown.await.unwrap();
            AsyncBufRead::consume(Pin::new(&mut stream), 1);
            let mut bytes = [0; 20_000];
            let mut filled = 0;
            while filled < bytes.len() {
                let mut buffer = ReadBuf::new(&mut bytes[filled..]);
                poll_fn(|cx| AsyncRead::poll_read(Pin::new(&mut stream), cx, &mut buffer))
                    .await
                    .unwrap();
                filled += buffer.filled().len();
            }
            stream.write_all(&bytes).await.unwrap();
            stream.write_all(&[first]).await.unwrap();
        })
    });
    let mut client = server.client();
    let sent = noise(1, 20_001);
    client.send(&sent);
    let mut wanted = sent[1..].to_vec();
    wanted.push(sent[0]);
    assert_same(&client.rest(), &wanted);
    server.stop(0);
}

/// A task that does not read holds the sender back, and has all of it later.
#[test]
fn input_that_is_not_read_stays_in_the_kernel() {
    const TOTAL: usize = 64 << 20;
    let _bound = bound(60);
    let server = Served::start(|| {
        Tasks::serve(|mut stream: Stream| async move {
            let mut first = [0; 100];
            stream.read_exact(&mut first).await.unwrap();
            sleep(Duration::from_millis(300)).await;
            let (mut buffer, mut count) = (vec![0; 100_000], first.len());
            while let got @ 1.. = stream.read(&mut buffer).await.unwrap() {
                assert!(buffer[..got].iter().all(|byte| *byte == 9));
                count += got;
            }
            stream.write_all(count.to_string().as_bytes()).await.unwrap();
        })
    });
    let mut client = server.client();
    let mut writer = client.0.try_clone().unwrap();
    let sender = thread::spawn(move || {
        writer.write_all(&vec![9; TOTAL]).unwrap();
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    thread::sleep(Duration::from_millis(200));
    let total = server.running.handle().stats().total;
    assert!(total.buffered_bytes <= 2 << 20, "{} bytes are buffered", total.buffered_bytes);
    assert!(!sender.is_finished(), "{TOTAL} bytes do not fit into a kernel");
    assert_eq!(client.rest(), TOTAL.to_string().as_bytes());
    sender.join().unwrap();
    server.stop(0);
}

#[test]
fn a_task_dials_relays_and_is_told_what_fails() {
    let _bound = bound(30);
    let upstream = Served::start(|| Tasks::serve(echo));
    let to = format!("tcp://{}", upstream.addr());
    let server = Served::start(move || {
        let to = to.clone();
        Tasks::serve(move |client: Stream| {
            let to = to.clone();
            async move {
                let upstream = connect(to.as_str()).await.unwrap();
                assert_eq!(upstream.listener(), None);
                let (from_client, to_client) = client.split();
                let (from_upstream, to_upstream) = upstream.split();
                let there = spawn(relay(from_client, to_upstream));
                relay(from_upstream, to_client).await;
                there.await.unwrap();
            }
        })
    });
    let sent = noise(4, 5 << 20);
    let mut client = server.client();
    let (mut writer, whole) = (client.0.try_clone().unwrap(), sent.clone());
    let sender = thread::spawn(move || {
        writer.write_all(&whole).unwrap();
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    assert_same(&client.rest(), &sent);
    sender.join().unwrap();
    server.eventually(|stats| stats.running, 0);
    upstream.eventually(|stats| (stats.started, stats.running), (1, 0));
    server.stop(0);
    upstream.stop(0);
}

async fn relay(mut from: mainspring_tasks::ReadHalf, mut to: mainspring_tasks::WriteHalf) {
    let mut buffer = vec![0; 10_000];
    while let count @ 1.. = from.read(&mut buffer).await.unwrap() {
        to.write_all(&buffer[..count]).await.unwrap();
    }
}

#[test]
fn dials_that_cannot_be_say_why() {
    let _bound = bound(30);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let free = taken.local_addr().unwrap();
    drop(taken);
    let log = Log::default();
    let told = log.clone();
    let limits = Limits { connections_max: 2, ..Limits::default() };
    let server = Served::with(limits, move || {
        let told = told.clone();
        Tasks::serve(move |stream: Stream| {
            let told = told.clone();
            async move {
                let _open = stream;
                for at in [format!("tcp://{free}"), "udp://127.0.0.1:1".into(), "tulip://x".into()]
                {
                    told.add(kind(&connect(at.as_str()).await.unwrap_err()));
                }
                // The one that is given up frees its place.
                let at = format!("tcp://{free}");
                let none = mainspring_tasks::timeout(Duration::ZERO, connect(at.as_str())).await;
                told.add(format!("{}", none.is_err() || none.unwrap().is_err()));
                told.add("done");
                sleep(Duration::from_secs(3600)).await;
            }
        })
    });
    let _client = server.client();
    log.wait_for("done");
    let wanted = ["ConnectionRefused", "InvalidInput", "InvalidInput", "true", "done"];
    assert_eq!(log.lines(), wanted);
    eventually("the given-up dial is gone", || {
        server.running.handle().stats().total.connections == 1
    });
    // A second one fills the server: its dial is refused at once.
    let _second = server.client();
    eventually("refused for want of room", || log.lines().contains(&"QuotaExceeded".to_owned()));
    server.stop(0);
}

#[test]
fn a_reset_is_an_error_and_a_task_may_reset() {
    let _bound = bound(30);
    let log = Log::default();
    let told = log.clone();
    let server = Served::start(move || {
        let told = told.clone();
        Tasks::serve(move |mut stream: Stream| {
            let told = told.clone();
            async move {
                stream.write_all(b"hi").await.unwrap();
                let mut buffer = [0; 10];
                match stream.read(&mut buffer).await {
                    Ok(_) => stream.abort(),
                    Err(error) => {
                        told.add(kind(&error));
                        let late = stream.write_all(b"x").await.unwrap_err();
                        told.add(kind(&late));
                    }
                }
            }
        })
    });
    let mut client = server.client();
    client.expect(b"hi");
    client.send(b"reset me");
    let error = client.0.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let mut client = server.client();
    client.expect(b"hi");
    client.reset();
    eventually("told", || log.lines().len() == 2);
    assert_eq!(log.lines(), ["ConnectionReset", "ConnectionReset"]);
    server.stop(0);
}

#[test]
fn when_the_server_closes_connections_their_tasks_are_told_and_run_to_their_end() {
    let _bound = bound(30);
    let log = Log::default();
    let told = log.clone();
    let server = Served::start(move || {
        let told = told.clone();
        Tasks::serve(move |mut stream: Stream| {
            let told = told.clone();
            async move {
                let error = stream.read(&mut [0; 10]).await.unwrap_err();
                told.add(error.to_string());
                sleep(Duration::from_millis(5)).await;
                told.add("cleaned up");
            }
        })
    });
    let mut client = server.client();
    server.eventually(|stats| stats.running, 1);
    server.running.handle().close_all();
    client.expect_gone();
    log.wait_for("cleaned up");
    assert_eq!(log.lines()[0], text(mainspring_loop::CloseReason::Local));
    server.eventually(|stats| stats.running, 0);
    server.stop(0);
}

/// Tasks inside of another handler serve as ever; what they cannot do is said.
#[test]
fn tasks_work_inside_of_a_pool_but_cannot_dial_there() {
    let _bound = bound(30);
    let server = Server::builder().start(|shard| {
        let tasks = Tasks::serve(|mut stream: Stream| async move {
            sleep(Duration::from_millis(2)).await;
            let error = connect("tcp://127.0.0.1:1").await.unwrap_err();
            stream.write_all(kind(&error).as_bytes()).await.unwrap();
            echo(stream).await;
        });
        let host = shard.host(Pool::new(PoolLimits::default(), tasks));
        shard.listen(host, "tcp://127.0.0.1:0").map(drop)
    });
    let server = server.unwrap();
    let mut client = Client::connect(inet(&server.addrs()[0]));
    client.expect(b"Unsupported");
    let sent = noise(8, 1 << 20);
    let (mut writer, whole) = (client.0.try_clone().unwrap(), sent.clone());
    let sender = thread::spawn(move || {
        writer.write_all(&whole).unwrap();
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    assert_same(&client.rest(), &sent);
    sender.join().unwrap();
    assert_eq!(server.handle().stats().total.panics, 0);
    server.handle().stop();
    server.join().unwrap();
}
