//! What only this driver can get wrong: full queues, descriptors that are reused, memory that
//! outlives its owner.
#![allow(clippy::disallowed_methods, reason = "tests bound their own patience")]

use super::*;
use crate::{Accepted, Flow};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;

const PATIENCE: Duration = Duration::from_secs(10);
const FEW: Sizes = Sizes { submissions: 2, completions: 4 };

#[derive(Default)]
struct Seen {
    accepted: Vec<OwnedStream>,
    bytes: Vec<(Key, Vec<u8>)>,
    ends: Vec<Key>,
    failed: Vec<Key>,
    landed: usize,
}

impl Seen {
    fn count(&self, key: Key) -> usize {
        self.bytes.iter().filter(|(of, _)| *of == key).map(|(_, bytes)| bytes.len()).sum()
    }
}

impl Sink for Seen {
    fn begin(&mut self, _: Instant) {}
    fn accepted(&mut self, _: Key, accepted: Accepted) {
        self.accepted.push(accepted.stream);
    }
    fn accept_failed(&mut self, _: Key, error: io::Error) {
        panic!("{error}");
    }
    fn connected(&mut self, _: Key, _: Addr) {}
    fn data(&mut self, key: Key, bytes: &mut [u8]) -> Flow {
        assert!(!self.ends.contains(&key), "data after the end of {key:?}");
        self.bytes.push((key, bytes.to_vec()));
        Flow::Continue
    }
    fn datagram(&mut self, _: Key, _: &Addr, _: &mut [u8]) -> Flow {
        Flow::Continue
    }
    fn datagram_dropped(&mut self, _: Key, _: usize, _: io::Error) {}
    fn eof(&mut self, _: Key) {}
    fn sent(&mut self, _: Key, bytes: usize) {
        self.landed += bytes;
    }
    fn failed(&mut self, key: Key, _: io::Error) {
        self.failed.push(key);
    }
    fn closed(&mut self, key: Key) {
        self.ends.push(key);
    }
    fn released(&mut self, key: Key, _: OwnedStream) {
        self.ends.push(key);
    }

    fn signal(&mut self, _: i32) {}
}

fn driver(sizes: Sizes) -> RingDriver {
    RingDriver::with(DriverLimits::default(), Features::of_kernel(), sizes).unwrap()
}

/// A connected pair: one end for a driver, one for the test.
fn pair() -> (OwnedStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    (OwnedStream::Tcp(listener.accept().unwrap().0), peer)
}

fn until(driver: &mut RingDriver, seen: &mut Seen, mut done: impl FnMut(&Seen) -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done(seen) {
        assert!(Instant::now() < end, "waited in vain; the queue: {:?}", driver.queue);
        driver.poll(Some(Duration::from_millis(20)), seen).unwrap();
    }
}

/// All descriptors of this process that are sockets or rings; other tests may open some meanwhile.
fn is_open(descriptor: i32, inode: &str) -> bool {
    std::fs::read_link(format!("/proc/self/fd/{descriptor}"))
        .is_ok_and(|target| target.to_string_lossy() == inode)
}

fn inode(descriptor: i32) -> String {
    let target = std::fs::read_link(format!("/proc/self/fd/{descriptor}")).unwrap();
    target.to_string_lossy().into_owned()
}

#[test]
fn full_queues_lose_nothing() {
    let mut driver = driver(FEW);
    let mut seen = Seen::default();
    let mut peers = Vec::new();
    // Many more orders than submissions fit, all before the ring may be entered.
    for number in 0..100 {
        let (stream, peer) = pair();
        driver.adopt(Key::new(number, 0), stream).unwrap();
        driver.recv_start(Key::new(number, 0));
        peers.push(peer);
    }
    for round in 1..=5 {
        // Many more events than completions fit, all at once.
        peers.iter_mut().for_each(|peer| peer.write_all(&[round; 100]).unwrap());
        until(&mut driver, &mut seen, |seen| {
            (0..100).all(|number| seen.count(Key::new(number, 0)) == 100 * usize::from(round))
        });
        for number in 0..100 {
            let mut outbox = Outbox::new();
            outbox.tail().extend_from_slice(&[round; 50]);
            assert_eq!(driver.send(Key::new(number, 0), &mut outbox), SendState::Waiting);
        }
        until(&mut driver, &mut seen, |seen| seen.landed == 5000 * usize::from(round));
        for peer in &mut peers {
            let mut answer = [0; 50];
            peer.read_exact(&mut answer).unwrap();
            assert_eq!(answer, [round; 50]);
        }
    }
    assert!(seen.failed.is_empty());
}

#[test]
fn those_without_a_buffer_wait_for_one_and_do_not_ask_all_the_time() {
    const STREAMS: usize = 200;
    const BYTES: usize = 96 << 10;
    let mut driver = driver(Sizes::USUAL);
    let mut seen = Seen::default();
    let mut writers = Vec::new();
    for number in 0..STREAMS {
        let (stream, mut peer) = pair();
        driver.adopt(Key::new(number as u32, 0), stream).unwrap();
        peer.set_nonblocking(true).unwrap();
        let bytes: Vec<u8> = (0..BYTES).map(|at| (at / 3 + number) as u8).collect();
        let written = peer.write(&bytes).unwrap();
        writers.push((peer, bytes, written));
    }
    // Many times more than there are buffers for is there when the first is asked for.
    let sum: usize = writers.iter().map(|(_, _, written)| written).sum();
    assert!(sum > 4 * BUFFER_BYTES, "{sum}");
    (0..STREAMS).for_each(|number| driver.recv_start(Key::new(number as u32, 0)));
    until(&mut driver, &mut seen, |seen| {
        seen.bytes.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() == sum
    });
    for (number, (_, bytes, written)) in writers.iter().enumerate() {
        let key = Key::new(number as u32, 0);
        let got = seen.bytes.iter().filter(|(of, _)| *of == key);
        assert!(got.flat_map(|(_, bytes)| bytes).eq(&bytes[..*written]), "{key:?}");
    }
    let in_vain = driver.queue.taken() as usize - seen.bytes.len();
    assert!(in_vain < 4 * STREAMS, "{in_vain} for {} deliveries", seen.bytes.len());
    assert!(seen.failed.is_empty());
}

#[test]
fn a_stream_without_a_buffer_can_be_stopped_closed_and_given_up() {
    const STREAMS: u32 = 60;
    let mut driver = driver(Sizes::USUAL);
    let mut seen = Seen::default();
    let mut peers = Vec::new();
    for number in 0..STREAMS {
        let (stream, mut peer) = pair();
        driver.adopt(Key::new(number, 0), stream).unwrap();
        peer.set_nonblocking(true).unwrap();
        assert!(peer.write(&[7; 64 << 10]).unwrap() > 0);
        driver.recv_start(Key::new(number, 0));
        peers.push(peer);
    }
    while driver.parked.len() < 3 {
        driver.poll(Some(Duration::ZERO), &mut seen).unwrap();
        assert!(seen.bytes.len() < STREAMS as usize, "buffers for all of them");
    }
    let [last, before, two_before] =
        [0, 1, 2].map(|at| driver.parked[driver.parked.len() - 1 - at]);
    driver.recv_stop(last);
    driver.close(before);
    driver.release(two_before);
    let counts = [last, before].map(|key| seen.count(key));
    until(&mut driver, &mut seen, |seen| {
        [before, two_before].iter().all(|key| seen.ends.contains(key))
            && (0..STREAMS).filter(|number| seen.count(Key::new(*number, 0)) > 0).count()
                >= STREAMS as usize - 3
    });
    for _ in 0..5 {
        driver.poll(Some(Duration::from_millis(1)), &mut seen).unwrap();
    }
    assert_eq!([last, before].map(|key| seen.count(key)), counts);
    assert!(driver.parked.is_empty());
    driver.recv_start(last);
    until(&mut driver, &mut seen, |seen| seen.count(last) > counts[0]);
    assert!(seen.failed.is_empty());
}

#[test]
fn an_operation_on_its_way_never_meets_the_next_owner_of_its_descriptor() {
    let mut driver = driver(Sizes::USUAL);
    let mut seen = Seen::default();
    let (first, _peer) = pair();
    driver.adopt(Key::new(1, 0), first).unwrap();
    // Nothing has been submitted when the key ends, and the next socket takes its number, or would.
    driver.recv_start(Key::new(1, 0));
    let mut outbox = Outbox::new();
    outbox.tail().extend_from_slice(b"for the first peer only");
    assert_eq!(driver.send(Key::new(1, 0), &mut outbox), SendState::Waiting);
    driver.abort(Key::new(1, 0));
    let (second, mut peer) = pair();
    driver.adopt(Key::new(1, 1), second).unwrap();
    peer.write_all(b"for the second key only").unwrap();
    for _ in 0..5 {
        driver.poll(Some(Duration::from_millis(2)), &mut seen).unwrap();
    }
    assert_eq!(seen.ends, [Key::new(1, 0)]);
    assert!(seen.bytes.is_empty(), "nobody receives");
    driver.recv_start(Key::new(1, 1));
    until(&mut driver, &mut seen, |seen| seen.count(Key::new(1, 1)) == 23);
    peer.set_nonblocking(true).unwrap();
    assert_eq!(peer.read(&mut [0; 64]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_dropped_driver_closes_everything_and_frees_what_it_was_sending() {
    let (mut open, mut peers) = (Vec::new(), Vec::new());
    let mut driver = driver(Sizes::USUAL);
    let mut seen = Seen::default();
    let at: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let Addr::Inet(at) =
        driver.listen(Key::new(0, 0), &at.into(), &ListenOptions::default()).unwrap()
    else {
        panic!("an inet listener")
    };
    for number in 1..20 {
        let (stream, peer) = pair();
        let OwnedStream::Tcp(tcp) = &stream else { panic!("TCP") };
        open.push((tcp.as_raw_fd(), inode(tcp.as_raw_fd())));
        let key = Key::new(number, 0);
        driver.adopt(key, stream).unwrap();
        driver.recv_start(key);
        let mut outbox = Outbox::new();
        // More than any socket buffer takes, from a peer that does not read.
        for _ in 0..40 {
            outbox.tail().resize(256 << 10, 7);
            if driver.send(key, &mut outbox) == SendState::Waiting {
                let _ = driver.poll(Some(Duration::ZERO), &mut seen);
            }
        }
        peers.push(peer);
    }
    open.push((driver.wake.kernel().as_raw_fd(), inode(driver.wake.kernel().as_raw_fd())));
    let late = TcpStream::connect(at).unwrap();
    late.set_read_timeout(Some(PATIENCE)).unwrap();
    let waker = driver.waker();
    drop(driver);
    // The counter is the waker's as well.
    let (counter, counter_inode) = open.pop().unwrap();
    assert!(is_open(counter, &counter_inode));
    drop(waker);
    assert!(!is_open(counter, &counter_inode));
    for (descriptor, inode) in &open {
        assert!(!is_open(*descriptor, inode), "descriptor {descriptor} is open");
    }
    for mut peer in peers.into_iter().chain([late]) {
        // An end or a reset, but not silence.
        let mut rest = Vec::new();
        if let Err(error) = peer.read_to_end(&mut rest) {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        }
    }
}

#[test]
fn a_driver_that_never_polled_is_dropped_in_good_order() {
    let mut driver = driver(Sizes::USUAL);
    let (stream, mut peer) = pair();
    driver.adopt(Key::new(0, 0), stream).unwrap();
    driver.recv_start(Key::new(0, 0));
    let mut outbox = Outbox::new();
    outbox.tail().extend_from_slice(b"never sent");
    let _ = driver.send(Key::new(0, 0), &mut outbox);
    drop(driver);
    assert_eq!(peer.read(&mut [0; 16]).unwrap(), 0);
}

#[test]
fn it_belongs_to_the_thread_that_polls_first() {
    let mut driver = driver(Sizes::USUAL);
    let (stream, mut peer) = pair();
    driver.adopt(Key::new(0, 0), stream).unwrap();
    driver.recv_start(Key::new(0, 0));
    peer.write_all(b"hello").unwrap();
    let mut driver = std::thread::spawn(move || {
        let mut seen = Seen::default();
        until(&mut driver, &mut seen, |seen| seen.count(Key::new(0, 0)) == 5);
        driver
    })
    .join()
    .unwrap();
    let error = driver.poll(Some(Duration::ZERO), &mut Seen::default()).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EEXIST));
    drop(driver);
    // The work of the dropped ring may interrupt this very call, which is why it is no plain `read`.
    assert_eq!(peer.read_to_end(&mut Vec::new()).unwrap(), 0, "closed all the same");
}

#[test]
fn the_end_leaves_at_once_with_a_send_under_way() {
    for reset in [false, true] {
        let mut driver = driver(Sizes::USUAL);
        let mut seen = Seen::default();
        let (stream, mut peer) = pair();
        let key = Key::new(0, 0);
        driver.adopt(key, stream).unwrap();
        driver.recv_start(key);
        let mut outbox = Outbox::new();
        let mut landed = 0;
        // Until the socket takes no more, so that a send stays under way.
        for _ in 0..200 {
            if outbox.in_flight() == 0 {
                outbox.tail().resize(256 << 10, 7);
                assert_eq!(driver.send(key, &mut outbox), SendState::Waiting);
            }
            driver.poll(Some(Duration::ZERO), &mut seen).unwrap();
            outbox.landed(seen.landed - std::mem::replace(&mut landed, seen.landed));
        }
        assert!(outbox.in_flight() > 0, "the socket took everything");
        if reset {
            driver.abort(key)
        } else {
            driver.close(key)
        }
        driver.poll(Some(PATIENCE), &mut seen).unwrap();
        assert_eq!(seen.ends, [key]);
        let start = Instant::now();
        let read = peer.read_to_end(&mut Vec::new());
        assert!(start.elapsed() < Duration::from_secs(1));
        if reset {
            assert_eq!(read.unwrap_err().kind(), ErrorKind::ConnectionReset);
        } else {
            assert!(read.unwrap() >= landed);
        }
        until(&mut driver, &mut seen, |_| true);
        for _ in 0..3 {
            driver.poll(Some(Duration::from_millis(1)), &mut seen).unwrap();
        }
        // The waker's poll is all that is left in the kernel.
        assert_eq!(driver.queue.outstanding(), 1);
    }
}

#[test]
fn one_poll_tells_of_a_send_and_of_its_answer() {
    let mut driver = driver(Sizes::USUAL);
    let mut seen = Seen::default();
    let (stream, mut peer) = pair();
    let key = Key::new(0, 0);
    driver.adopt(key, stream).unwrap();
    driver.recv_start(key);
    driver.poll(Some(Duration::ZERO), &mut seen).unwrap();
    let answers = std::thread::spawn(move || {
        let mut request = [0; 3];
        while peer.read_exact(&mut request).is_ok() {
            peer.write_all(b"answer").unwrap();
        }
    });
    let mut at_once = 0;
    for round in 1..=20 {
        let mut outbox = Outbox::new();
        outbox.tail().extend_from_slice(b"ask");
        assert_eq!(driver.send(key, &mut outbox), SendState::Waiting);
        driver.let_sent_wait();
        driver.poll(Some(PATIENCE), &mut seen).unwrap();
        at_once += usize::from(seen.landed == 3 * round && seen.count(key) == 6 * round);
        until(&mut driver, &mut seen, |seen| seen.count(key) == 6 * round);
        assert_eq!(seen.landed, 3 * round);
    }
    // Otherwise the answer was later than the latest time for the other news.
    assert!(at_once > 10, "{at_once} of 20");
    drop(driver);
    answers.join().unwrap();
}

#[test]
fn a_send_that_may_wait_goes_on_by_itself_when_it_falls_short() {
    let mut driver = driver(Sizes::USUAL);
    let mut seen = Seen::default();
    let (stream, mut peer) = pair();
    let key = Key::new(0, 0);
    driver.adopt(key, stream).unwrap();
    let mut outbox = Outbox::new();
    // Far more than any socket buffer takes.
    const BYTES: usize = 64 << 20;
    let pattern: Vec<u8> = (0..BYTES).map(|at| (at / 7) as u8).collect();
    outbox.push_shared(bytes::Bytes::from(pattern.clone()));
    let reader = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        let mut read = vec![0; BYTES];
        peer.read_exact(&mut read).unwrap();
        read
    });
    let (mut landed, end) = (0, Instant::now() + PATIENCE);
    while landed < BYTES {
        if outbox.in_flight() == 0 {
            assert_eq!(driver.send(key, &mut outbox), SendState::Waiting);
        }
        driver.let_sent_wait();
        driver.poll(Some(PATIENCE), &mut seen).unwrap();
        outbox.landed(seen.landed - std::mem::replace(&mut landed, seen.landed));
        assert!(Instant::now() < end, "{landed} bytes of {BYTES}");
    }
    assert!(reader.join().unwrap() == pattern, "bytes in order");
    assert!(driver.sends.is_idle(), "{:?}", driver.sends);
}
