//! `proxy`: a client, the relay, and an upstream that the relay dials.

use crate::PATIENCE;
use crate::client::Client;
use crate::process::{Example, fails, on_free_port};
use mainspring::{Addr, Address, Limits, Running, Server};
use mainspring_examples::proxy::setup;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const LOAD_BYTES: usize = 48 << 20;
/// What a relay holds for one end that does not read: its high mark, and the turn that passed it.
const HELD_BYTES_MAX: u64 = (256 << 10) + (256 << 10) + (64 << 10);

fn relay(upstream: SocketAddr) -> (Running, SocketAddr) {
    let upstream = Address::from(upstream);
    let builder = Server::builder().limits(Limits::default());
    let running = builder.start(move |shard| setup(shard, "tcp://127.0.0.1:0", &upstream));
    let running = running.expect("starts");
    let Addr::Inet(at) = running.addrs()[0] else { panic!("not an IP address") };
    (running, at)
}

/// Bytes that tell where they stand.
fn load() -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(42);
    let mut bytes = vec![0; LOAD_BYTES];
    rng.fill(&mut bytes);
    bytes
}

/// Sends the load over one connection and counts what the kernel took.
fn send_counted(mut to: Client, load: Arc<Vec<u8>>) -> (Arc<AtomicUsize>, JoinHandle<()>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let count = taken.clone();
    let sender = thread::spawn(move || {
        let mut left = &load[..];
        while !left.is_empty() {
            let sent = to.0.write(&left[..left.len().min(64 << 10)]).expect("sends");
            count.fetch_add(sent, Ordering::SeqCst);
            left = &left[sent..];
        }
        to.finish();
    });
    (taken, sender)
}

/// Waits until the count stands still, and returns it.
fn stall(taken: &AtomicUsize) -> usize {
    let until = Instant::now() + PATIENCE;
    loop {
        let before = taken.load(Ordering::SeqCst);
        thread::sleep(Duration::from_millis(500));
        let now = taken.load(Ordering::SeqCst);
        if now == before && now > 0 {
            return now;
        }
        assert!(Instant::now() < until, "the sender is not held back: {now} bytes sent");
    }
}

/// One end sends without pause and the other does not read; then it reads.
fn held_back_and_let_go(sender: Client, mut reader: Client, running: &Running) {
    let load = Arc::new(load());
    let (taken, sending) = send_counted(sender, load.clone());
    let stalled_at = stall(&taken);
    assert!(stalled_at < LOAD_BYTES, "everything was sent to a reader that does not read");
    let held = running.handle().stats().total.buffered_bytes;
    assert!(held <= HELD_BYTES_MAX, "the relay holds {held} bytes");

    let mut got = vec![0; LOAD_BYTES];
    let (first, rest) = got.split_at_mut(LOAD_BYTES / 2);
    reader.0.read_exact(first).expect("the first half");
    thread::sleep(Duration::from_millis(200));
    let held = running.handle().stats().total.buffered_bytes;
    assert!(held <= HELD_BYTES_MAX, "the relay holds {held} bytes");
    reader.0.read_exact(rest).expect("the second half");
    sending.join().expect("sent everything");
    assert!(got == *load, "other bytes came out than went in");
    assert_eq!(running.handle().stats().total.dropped_slow_bytes, 0);
}

#[test]
fn an_upstream_is_held_back_by_a_client_that_does_not_read() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (running, at) = relay(listener.local_addr().expect("bound"));
    let client = Client::connect(at);
    let (upstream, _) = listener.accept().expect("the relay dials");
    upstream.set_write_timeout(Some(PATIENCE)).expect("above zero");
    held_back_and_let_go(Client(upstream), client, &running);
}

#[test]
fn a_client_is_held_back_by_an_upstream_that_does_not_read() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (running, at) = relay(listener.local_addr().expect("bound"));
    let client = Client::connect(at);
    let (upstream, _) = listener.accept().expect("the relay dials");
    upstream.set_read_timeout(Some(PATIENCE)).expect("above zero");
    held_back_and_let_go(client, Client(upstream), &running);
}

#[test]
fn both_directions_at_once_through_processes() {
    let (_echo, upstream) = on_free_port("echo");
    let upstream = format!("tcp://{upstream}");
    let proxy = Example::start("proxy", &["tcp://127.0.0.1:0", &upstream]);
    let at = proxy.ready_inet();
    thread::scope(|scope| {
        for nth in 0..4 {
            scope.spawn(move || {
                let mut sent = vec![0; 2 << 20];
                fastrand::Rng::with_seed(nth).fill(&mut sent);
                let mut client = Client::connect(at);
                let mut writer = Client(client.0.try_clone().expect("a second owner"));
                let mut got = vec![0; sent.len()];
                thread::scope(|both| {
                    both.spawn(|| writer.send(&sent));
                    client.0.read_exact(&mut got).expect("receives");
                });
                assert!(got == sent, "connection {nth}: other bytes came back");
            });
        }
    });
}

#[test]
fn the_end_of_one_side_leaves_the_other_its_last_words() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (running, at) = relay(listener.local_addr().expect("bound"));
    let mut client = Client::connect(at);
    let mut upstream = Client(listener.accept().expect("the relay dials").0);
    upstream.0.set_read_timeout(Some(PATIENCE)).expect("above zero");
    client.send(b"question");
    client.finish();
    upstream.expect(b"question");
    // The client has ended its direction; the answer comes later and still gets through.
    thread::sleep(Duration::from_millis(100));
    upstream.send(b"answer");
    upstream.finish();
    assert_eq!(client.rest(), b"answer");
    assert_eq!(upstream.rest(), b"");
    let until = Instant::now() + PATIENCE;
    while running.handle().stats().total.connections > 0 {
        assert!(Instant::now() < until, "the relay keeps connections that have ended");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_upstream_that_is_not_there_ends_the_client() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let nobody = listener.local_addr().expect("bound");
    drop(listener);
    let (_running, at) = relay(nobody);
    // The end may come so fast that connecting itself tells of it.
    let mut rest = Vec::new();
    let ended = TcpStream::connect_timeout(&at, PATIENCE).and_then(|mut client| {
        client.set_read_timeout(Some(PATIENCE))?;
        client.read_to_end(&mut rest)
    });
    assert_eq!(rest, b"");
    if let Err(error) = ended {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    }
}

#[test]
fn a_datagram_upstream_is_refused() {
    let said = fails("proxy", &["tcp://127.0.0.1:0", "udp://127.0.0.1:1"]);
    assert!(said.contains("must be a tcp or unix address"), "{said}");
}
