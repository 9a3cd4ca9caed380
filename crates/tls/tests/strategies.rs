//! Strategies above TLS: blocking code on threads, fair portions.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "tests run by the clock")]

mod support;

use mainspring_loop::{
    Action, Conn, Detached, Handler, Input, Limits, Pool, PoolLimits, Running, Server,
    ServerBuilder, ThreadFault, ThreadLimits, ThreadMeter, Threads,
};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use support::*;

/// Serves a handler on one loop over TLS.
fn serve<H: Handler>(
    builder: ServerBuilder,
    handler: impl Fn() -> H + Send + Sync + 'static,
) -> (Running, Authority) {
    let authority = Authority::new();
    let tls = tls(&authority.issue(&["localhost"]));
    let started = builder.start(move |shard| {
        let host = shard.host(handler());
        tls.listen(shard, host, "tcp://127.0.0.1:0").map(drop)
    });
    (started.unwrap(), authority)
}

/// A server of threads, what they count, and what went wrong.
struct Bench {
    running: Running,
    meter: ThreadMeter,
    faults: Receiver<String>,
    authority: Authority,
}

impl Bench {
    fn start<S: TryFrom<Detached> + 'static>(
        limits: ThreadLimits,
        code: impl Fn(S) + Send + Sync + 'static,
    ) -> Self {
        let (tell, faults) = channel();
        let tell = Mutex::new(tell);
        let hook = move |_, fault: &ThreadFault<'_>| {
            let _ = tell.lock().unwrap().send(fault.to_string());
        };
        let threads = Threads::serve_with_hook(limits, code, hook);
        let meter = threads.meter();
        let (running, authority) = serve(Server::builder(), move || threads.clone());
        Self { running, meter, faults, authority }
    }

    fn client(&self) -> Client {
        Dial::to("localhost", &self.authority).connect(inet(&self.running)).unwrap()
    }

    fn next_fault(&self) -> String {
        self.faults.recv_timeout(PATIENCE).expect("a fault is told")
    }
}

/// Echoes whatever comes, blocking.
fn echo(mut stream: Detached) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
}

#[test]
fn blocking_code_serves_connections_over_tls() {
    let _bound = bound(120);
    let bench = Bench::start(ThreadLimits::default(), echo);
    let seed = 7;
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut clients: Vec<Client> = (0..5).map(|_| bench.client()).collect();
    for length in [1, 100, 5000, 60_000] {
        for client in &mut clients {
            let bytes: Vec<u8> = (0..length).map(|_| rng.u8(..)).collect();
            client.echo(&bytes).unwrap();
        }
    }
    assert_eq!(bench.meter.snapshot().live, 5);
    for client in clients {
        // Our close_notify follows when the thread has returned.
        assert_eq!(client.close().unwrap(), b"");
    }
    eventually("all are served", || {
        let stats = bench.meter.snapshot();
        (stats.served, stats.live) == (5, 0)
    });
    stop(bench.running);
}

/// More than fits in the pipe, the outbox and the sockets goes both ways at the same time.
#[test]
fn a_flood_passes_through_in_both_directions() {
    let _bound = bound(240);
    let (authority, count) = (Authority::new(), 8 << 20);
    let tls = tls(&authority.issue(&["localhost"]));
    let limits = Limits { output_high: 32 << 10, output_low: 8 << 10, ..Limits::default() };
    let threads = Threads::serve(ThreadLimits::default(), echo);
    let started = Server::builder().limits(limits).start(move |shard| {
        let host = shard.host(threads.clone());
        tls.listen(shard, host, "tcp://127.0.0.1:0").map(drop)
    });
    let running = started.unwrap();
    let Client { stream } = Dial::to("localhost", &authority).connect(inet(&running)).unwrap();
    let (mut tls, mut socket) = stream.into_parts();
    let mut sent = 0;
    let mut received = 0;
    let byte = |at: usize| (at.wrapping_mul(2_654_435_761) >> 13) as u8;
    socket.set_nonblocking(true).unwrap();
    let wait = |error: io::Error| {
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        thread::sleep(Duration::from_micros(100));
    };
    while received < count {
        if sent < count && !tls.wants_write() {
            let more: Vec<u8> = (sent..count.min(sent + 16_000)).map(byte).collect();
            sent += tls.writer().write(&more).unwrap();
        }
        while tls.wants_write() {
            if let Err(error) = tls.write_tls(&mut socket) {
                wait(error);
                break;
            }
        }
        match tls.read_tls(&mut socket) {
            Ok(0) => panic!("it ended after {received} bytes"),
            Ok(_) => drop(tls.process_new_packets().unwrap()),
            Err(error) => wait(error),
        }
        let mut plain = [0; 16 << 10];
        while let Ok(count @ 1..) = tls.reader().read(&mut plain) {
            for got in &plain[..count] {
                assert_eq!(*got, byte(received), "byte {received}");
                received += 1;
            }
        }
    }
    stop(running);
}

#[test]
fn a_panic_over_tls_closes_its_connection_and_no_other() {
    let _bound = bound(120);
    let bench = Bench::start(ThreadLimits::default(), |stream: Detached| {
        let mut lines = BufReader::new(stream);
        let mut line = String::new();
        while lines.read_line(&mut line).is_ok_and(|count| count > 0) {
            assert!(line != "boom\n", "it said boom");
            lines.get_mut().write_all(line.as_bytes()).unwrap();
            line.clear();
        }
    });
    let (mut other, mut client) = (bench.client(), bench.client());
    other.echo(b"one\n").unwrap();
    client.stream.write_all(b"boom\n").unwrap();
    assert_eq!(client.stream.read(&mut [0; 10]).unwrap(), 0, "an end with close_notify");
    assert_eq!(bench.next_fault(), "its thread panicked: it said boom");
    other.echo(b"two\n").unwrap();
    stop(bench.running);
}

/// What a plain socket does is done here too: half-closes, timeouts, second owners.
#[test]
fn the_stream_of_a_thread_is_a_stream() {
    let _bound = bound(120);
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let bench = Bench::start(ThreadLimits::default(), move |mut stream: Detached| {
        let tell = tell.lock().unwrap().clone();
        stream.stream().set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let silence = stream.read(&mut [0; 10]).unwrap_err();
        tell.send(format!("{:?}", silence.kind())).unwrap();
        stream.stream().set_read_timeout(None).unwrap();
        let second = stream.stream().try_clone().unwrap();
        stream.write_all(b"the last word").unwrap();
        second.shutdown(Shutdown::Write).unwrap();
        tell.send(format!("{:?}", stream.write(b"x").unwrap_err().kind())).unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        tell.send(String::from_utf8(rest).unwrap()).unwrap();
    });
    let mut client = bench.client();
    let mut heard = Vec::new();
    client.stream.read_to_end(&mut heard).unwrap();
    assert_eq!(heard, b"the last word");
    client.stream.write_all(b"still heard").unwrap();
    client.stream.conn.send_close_notify();
    client.stream.flush().unwrap();
    let next = || told.recv_timeout(PATIENCE).unwrap();
    assert_eq!([next(), next(), next()], ["WouldBlock", "BrokenPipe", "still heard"]);
    stop(bench.running);
}

/// A stream that is cut off is an error to the thread, and no end.
#[test]
fn a_thread_hears_of_a_stream_that_was_cut_off() {
    let _bound = bound(120);
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let bench = Bench::start(ThreadLimits::default(), move |mut stream: Detached| {
        let end = stream.read_to_end(&mut Vec::new()).unwrap_err();
        tell.lock().unwrap().send(end.to_string()).unwrap();
    });
    let client = bench.client();
    client.stream.sock.shutdown(Shutdown::Write).unwrap();
    let told = told.recv_timeout(PATIENCE).unwrap();
    assert_eq!(told, "tls: the stream ended without close_notify");
    stop(bench.running);
}

#[test]
fn connections_over_tls_wait_for_threads_and_want_streams_that_are_no_sockets() {
    let _bound = bound(120);
    let limits = ThreadLimits { threads_max: 1, waiting_max: 1, ..ThreadLimits::default() };
    let bench = Bench::start(limits, echo);
    let mut first = bench.client();
    first.echo(b"one").unwrap();
    let mut second = bench.client();
    second.stream.write_all(b"two").unwrap();
    eventually("it waits", || bench.meter.snapshot().waiting == 1);
    drop(first);
    let mut back = [0; 3];
    second.stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"two");
    stop(bench.running);

    let bench = Bench::start(ThreadLimits::default(), |_: TcpStream| {});
    let mut client = bench.client();
    assert_eq!(client.stream.read(&mut [0; 10]).unwrap(), 0);
    assert_eq!(bench.next_fault(), "not a connection of the kind that is served");
    stop(bench.running);
}

/// A stop ends reads that wait.
#[test]
fn a_stop_ends_threads_over_tls() {
    let _bound = bound(120);
    let bench = Bench::start(ThreadLimits::default(), echo);
    let mut clients: Vec<Client> = (0..3).map(|_| bench.client()).collect();
    clients.iter_mut().for_each(|client| client.echo(b"x").unwrap());
    stop(bench.running);
    let stats = bench.meter.snapshot();
    assert_eq!((stats.served, stats.live, stats.abandoned), (3, 0, 0));
}

/// Portions are of plain bytes, however long the records are in which they come.
#[test]
fn a_pool_shares_out_what_comes_through_tls() {
    let _bound = bound(120);
    let limits = PoolLimits { read_chunk: 100, fair_quantum: 1000, ..PoolLimits::default() };
    let most = Arc::new(Mutex::new(0));
    let seen = most.clone();
    let (running, authority) = serve(Server::builder(), move || {
        let seen = seen.clone();
        Pool::new(limits.clone(), move |conn: &mut Conn<'_>, input: &mut Input<'_>| {
            let mut most = seen.lock().unwrap();
            *most = input.len().max(*most);
            conn.out().extend_from_slice(input.take());
            Action::Continue
        })
    });
    let dial = Dial::to("localhost", &authority);
    let mut clients: Vec<Client> = (0..4).map(|_| dial.connect(inet(&running)).unwrap()).collect();
    let bytes: Vec<u8> = (0..30_000_u32).map(|at| (at % 251) as u8).collect();
    for _ in 0..3 {
        clients.iter_mut().for_each(|client| client.echo(&bytes).unwrap());
    }
    assert_eq!(*most.lock().unwrap(), 100);
    clients.into_iter().for_each(|client| assert_eq!(client.close().unwrap(), b""));
    stop(running);
}
