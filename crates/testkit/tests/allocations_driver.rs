//! D12: "No allocation per event after warm-up, except for an accepted or connected socket."
//!
//! Apart from the suite, because it brings its own global allocator. `SimDriver` is exempt: a world
//! stores what is under way, and its speed serves nobody.

use mainspring_io::{
    Accepted, Addr, DatagramOutbox, Driver, DriverLimits, Flow, Key, ListenOptions, Outbox,
    OwnedStream, ReadyDriver, SendState, Sink,
};
use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::time::{Duration, Instant};

/// An echo of one stream and one datagram socket that keeps its memory.
#[derive(Default)]
struct Echo {
    accepted: Option<OwnedStream>,
    outbox: Outbox,
    datagrams: DatagramOutbox,
    sents: usize,
    landed: usize,
    streamed: usize,
}

impl Sink for Echo {
    fn begin(&mut self, _: Instant) {}
    fn accepted(&mut self, _: Key, accepted: Accepted) {
        self.accepted = Some(accepted.stream);
    }
    fn accept_failed(&mut self, _: Key, error: io::Error) {
        panic!("{error}");
    }
    fn connected(&mut self, _: Key, _: Addr) {}
    fn data(&mut self, _: Key, bytes: &mut [u8]) -> Flow {
        self.streamed += bytes.len();
        self.outbox.tail().extend_from_slice(bytes);
        Flow::Continue
    }
    fn datagram(&mut self, _: Key, from: &Addr, bytes: &mut [u8]) -> Flow {
        self.datagrams.push(Some(from.clone()), bytes);
        Flow::Continue
    }
    fn datagram_dropped(&mut self, _: Key, _: usize, error: io::Error) {
        panic!("{error}");
    }
    fn eof(&mut self, _: Key) {}
    fn sent(&mut self, _: Key, bytes: usize) {
        self.sents += 1;
        self.landed += bytes;
    }
    fn failed(&mut self, _: Key, error: io::Error) {
        panic!("{error}");
    }
    fn closed(&mut self, _: Key) {}
    fn released(&mut self, _: Key, _: OwnedStream) {}
    fn signal(&mut self, _: i32) {}
}

fn free_port() -> Addr {
    Addr::Inet("127.0.0.1:0".parse().unwrap())
}

fn echo_streams(driver: &mut impl Driver, peer: &mut TcpStream, sink: &mut Echo, messages: usize) {
    let (message, mut answer) = ([7; 512], [0; 512]);
    for _ in 0..messages {
        peer.write_all(&message).unwrap();
        let until = sink.streamed + message.len();
        while sink.streamed < until {
            driver.poll(Some(PATIENCE), sink).unwrap();
        }
        while driver.send(CONN, &mut sink.outbox) == SendState::Waiting {
            while sink.sents == 0 {
                driver.poll(Some(PATIENCE), sink).unwrap();
            }
            sink.outbox.landed(std::mem::take(&mut sink.landed));
            sink.sents = 0;
        }
        peer.read_exact(&mut answer).unwrap();
        assert_eq!(answer, message);
    }
}

fn echo_datagrams(driver: &mut impl Driver, peer: &UdpSocket, sink: &mut Echo, messages: usize) {
    let mut answer = [0; 512];
    for _ in 0..messages {
        for _ in 0..8 {
            peer.send(&[9; 100]).unwrap();
        }
        while sink.datagrams.len() < 8 {
            driver.poll(Some(PATIENCE), sink).unwrap();
        }
        assert_eq!(driver.send_datagrams(SOCKET, &mut sink.datagrams), SendState::Done);
        for _ in 0..8 {
            assert_eq!(peer.recv(&mut answer).unwrap(), 100);
        }
    }
}

fn assert_no_allocations(mut driver: impl Driver) {
    let options = ListenOptions::default();
    let at = driver.listen(LISTENER, &free_port(), &options).unwrap();
    let Addr::Inet(at) = at else { panic!("not an inet address") };
    let mut peer = TcpStream::connect(at).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut sink = Echo::default();
    while sink.accepted.is_none() {
        driver.poll(Some(PATIENCE), &mut sink).unwrap();
    }
    driver.adopt(CONN, sink.accepted.take().unwrap()).unwrap();
    driver.recv_start(CONN);
    let bound = driver.bind(SOCKET, &free_port(), &options).unwrap();
    let Addr::Inet(bound) = bound else { panic!("not an inet address") };
    driver.recv_start(SOCKET);
    let datagram_peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    datagram_peer.connect(bound).unwrap();
    datagram_peer.set_read_timeout(Some(PATIENCE)).unwrap();

    echo_streams(&mut driver, &mut peer, &mut sink, 100);
    echo_datagrams(&mut driver, &datagram_peer, &mut sink, 100);
    let streams = allocation_counter::measure(|| {
        echo_streams(&mut driver, &mut peer, &mut sink, 1000);
    });
    let datagrams = allocation_counter::measure(|| {
        echo_datagrams(&mut driver, &datagram_peer, &mut sink, 200);
    });
    assert_eq!(streams.count_total, 0, "streams: {streams:?}");
    assert_eq!(datagrams.count_total, 0, "datagrams: {datagrams:?}");
}

#[test]
fn d12_the_counter_counts() {
    let counted = allocation_counter::measure(|| drop(std::hint::black_box(vec![1u8; 10])));
    assert_eq!(counted.count_total, 1);
}

#[test]
fn d12_the_ready_driver_allocates_nothing_per_event() {
    assert_no_allocations(ReadyDriver::new(DriverLimits::default()).unwrap());
}

#[test]
fn d12_the_portable_driver_allocates_nothing_per_event() {
    assert_no_allocations(ReadyDriver::portable(DriverLimits::default()).unwrap());
}

#[test]
#[cfg(target_os = "linux")]
fn d12_the_ring_driver_allocates_nothing_per_event() {
    use mainspring_io::RingDriver;
    assert_no_allocations(RingDriver::new(DriverLimits::default()).unwrap());
    assert_no_allocations(RingDriver::plain(DriverLimits::default()).unwrap());
}

const LISTENER: Key = Key::new(0, 0);
const CONN: Key = Key::new(1, 0);
const SOCKET: Key = Key::new(2, 0);
const PATIENCE: Duration = Duration::from_secs(5);
