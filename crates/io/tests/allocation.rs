//! D12: no allocation per event after warm-up. The only test of this binary: the count is the
//! process's.

mod recorder;

use mainspring_io::{
    Accepted, Addr, DatagramOutbox, Driver, Flow, Key, Outbox, OwnedStream, SendState, Sink,
};
use recorder::Rig;
use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{self, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const CONNECTIONS: usize = 16;
const WARM_UP: usize = 20;
const TURNS: usize = 200;

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as for the caller.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as for the caller.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Echoes what it is told, from one outbox, without memory of its own.
struct Echo {
    ready: Vec<Key>,
    bytes: [u8; 64],
    datagrams: DatagramOutbox,
}

impl Sink for Echo {
    fn begin(&mut self, _: Instant) {
        self.ready.clear();
    }
    fn data(&mut self, key: Key, bytes: &mut [u8]) -> Flow {
        self.bytes.copy_from_slice(bytes);
        self.ready.push(key);
        Flow::Continue
    }
    fn datagram(&mut self, _: Key, from: &Addr, bytes: &mut [u8]) -> Flow {
        self.datagrams.push(Some(from.clone()), bytes);
        Flow::Continue
    }
    fn accepted(&mut self, _: Key, _: Accepted) {}
    fn accept_failed(&mut self, _: Key, _: io::Error) {}
    fn connected(&mut self, _: Key, _: Addr) {}
    fn datagram_dropped(&mut self, _: Key, _: usize, error: io::Error) {
        panic!("{error}");
    }
    fn eof(&mut self, _: Key) {}
    fn sent(&mut self, _: Key, _: usize) {}
    fn failed(&mut self, _: Key, error: io::Error) {
        panic!("{error}");
    }
    fn closed(&mut self, _: Key) {}
    fn released(&mut self, _: Key, _: OwnedStream) {}
}

#[test]
fn a_warm_echo_turn_allocates_nothing() {
    for mut rig in Rig::both() {
        let mut peers: Vec<(Key, TcpStream)> = (0..CONNECTIONS).map(|_| rig.pair()).collect();
        let datagram = rig.key();
        let at = rig
            .driver
            .bind(
                datagram,
                &"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into(),
                &Default::default(),
            )
            .unwrap();
        let Addr::Inet(at) = at else { panic!("a UDP socket has an internet address") };
        rig.driver.recv_start(datagram);
        let friend = UdpSocket::bind("127.0.0.1:0").unwrap();
        rig.turn(Duration::from_millis(5));

        let ready = Vec::with_capacity(2 * CONNECTIONS);
        let mut echo = Echo { ready, bytes: [0; 64], datagrams: DatagramOutbox::new() };
        let mut outbox = Outbox::new();
        let mut before = 0;
        for turn in 0..WARM_UP + TURNS {
            if turn == WARM_UP {
                before = ALLOCATIONS.load(Ordering::Relaxed);
            }
            for (_, peer) in &mut peers {
                peer.write_all(&[turn as u8; 64]).unwrap();
            }
            friend.send_to(&[turn as u8; 64], at).unwrap();
            rig.driver.poll(Some(Duration::from_secs(5)), &mut echo).unwrap();
            assert_eq!(echo.ready.len(), CONNECTIONS);
            for key in &echo.ready {
                outbox.tail().extend_from_slice(&echo.bytes);
                assert_eq!(rig.driver.send(*key, &mut outbox), SendState::Done);
            }
            let sent = rig.driver.send_datagrams(datagram, &mut echo.datagrams);
            assert_eq!(sent, SendState::Done);
            let mut answer = [0; 64];
            for (_, peer) in &mut peers {
                peer.read_exact(&mut answer).unwrap();
                assert_eq!(answer, [turn as u8; 64]);
            }
            assert_eq!(friend.recv(&mut answer).unwrap(), 64);
        }
        let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
        assert_eq!(allocations, 0, "in {TURNS} turns");
    }
}
