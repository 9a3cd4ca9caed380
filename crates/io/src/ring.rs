//! The driver over the completion ring of Linux, io_uring(7).
//!
//! Standing orders become operations that stay in the kernel and complete again and again; what
//! they bring arrives in memory that the kernel was lent beforehand. A warm turn is one system call,
//! whatever happens in it: it hands over the sends of the last turn and fetches what has completed.
//!
//! ```text
//!   listen, recv_start, send, connect, close
//!        |                                                       memory of the driver
//!        v   operations                                  +----------------------------------+
//!      Queue ------------------------------> kernel ---->| Buffers: what arrives            |
//!        ^                                     |   <-----| Sends: what leaves               |
//!        |   completions, by Token             |         +----------------------------------+
//!      serve <---------------------------------+
//!        |
//!        +--> Sink        reports (close, release) --> Sink
//! ```
//!
//! What was looked at and left out:
//!
//! * **Registered ring descriptor** (`IORING_REGISTER_RING_FDS`): an enter of a process with several
//!   threads took 345 ns in place of 390 ns, below one percent of the cheapest turn that does
//!   something. The registration belongs to the thread and keeps the ring alive with it, while a
//!   driver may be dropped on another thread.
//! * **Zero copy** (`IORING_OP_SEND_ZC`): over the loopback device, which copies all the same, a send
//!   and its receive took 1.2 times as long at 1 KiB, 1.3 at 16 KiB, 1.7 at 64 KiB and at 256 KiB.
//!   There was no size from which on it won.
//! * **Bundles** (`IORING_RECVSEND_BUNDLE`): one completion for several buffers. An incremental
//!   buffer is as long as a whole read already, and without those the kernel is one whose bundles
//!   were still being mended.

mod accept;
mod buffers;
mod closing;
mod connect;
mod datagram;
mod operations;
mod probe;
mod queue;
mod receive;
mod send;
mod sends;
mod table;
#[cfg(test)]
mod tests;
mod token;
mod turn;
mod wake;

use crate::ready::datagram::{Batches, DatagramSocket};
use crate::ready::listener::Listener;
use crate::ready::settings;
use crate::signals::CaughtSignals;
use crate::wake::WakeFlag;
use crate::{
    Addr, DatagramOutbox, Driver, DriverLimits, Key, ListenOptions, Outbox, OwnedStream,
    RingUnavailable, SendState, Sink, SocketOptions,
};
use buffers::Buffers;
use closing::Broken;
use connect::Handshakes;
use datagram::Layout;
use operations::Operation;
use probe::{Features, Sizes};
use queue::Queue;
use sends::Sends;
use socket2::SockRef;
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Shutdown};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};
use table::{Socket, State, Table};
use token::{Kind, Token};
use turn::Report;
use wake::EventCounter;

/// The group of the buffers that streams receive into.
const STREAMS: u16 = 0;
/// Smaller buffers would cost more completions than they save memory.
const SMALLEST_BUFFER: usize = 512;
/// Larger ones have no use: the kernel does not hold so much for one socket.
const LARGEST_BUFFER: usize = 16 << 20;
/// What the buffers of a driver come to, unless that were too few or too many of them. The kernel
/// goes round all of them: more than the processor's cache holds would make every byte a miss. When
/// they run out, receiving pauses until the loop has caught up.
const BUFFER_BYTES: usize = 1 << 20;
const FEWEST_BUFFERS: usize = 4;
const MOST_BUFFERS: usize = 1024;
/// Where each receive uses up a whole buffer they must be many, and hence small; more of the memory
/// then goes unused.
const WHOLE_BUFFER: usize = 16 * 1024;
const WHOLE_BUFFERS: usize = 256;

/// The kernel as a [`Driver`], by completions.
///
/// It is opened on any thread and belongs to the one that polls it first: elsewhere `poll` fails
/// from then on. Dropping it there ends what is under way in good order; dropping it elsewhere does
/// too, but gives the memory that the kernel may still use up for lost.
#[derive(Debug)]
pub struct RingDriver {
    // The first field, so that the ring is gone before the memory that it uses.
    queue: Queue,
    buffers: Option<Buffers>,
    datagram_buffers: Option<Buffers>,
    layout: Box<Layout>,
    sends: Sends,
    handshakes: Handshakes,
    table: Table,
    wake: Arc<WakeFlag<EventCounter>>,
    signals: CaughtSignals,
    /// What is to be told in the next poll, in order.
    reports: VecDeque<Report>,
    /// Connections that the kernel has accepted and nobody has been told of, with their listeners.
    accepts: VecDeque<(Token, OwnedFd)>,
    /// Listeners that begin to accept with the next poll.
    fresh: Vec<Key>,
    /// Listeners that rest after a failed accept.
    resting: Vec<Key>,
    /// Datagram sockets whose sends the system has no memory for.
    starved: Vec<Key>,
    /// Streams that the kernel had no buffer for, oldest first.
    parked: VecDeque<Key>,
    /// Streams that may have to be watched because they do not receive.
    unwatched: Vec<Key>,
    /// Streams whose sends have failed.
    broken: Vec<Broken>,
    /// Sockets that are closed as soon as no operation on its way to the kernel names them.
    doomed: Vec<Socket>,
    batches: Batches,
    limits: DriverLimits,
    /// After how many bytes the kernel asks whether to go on receiving, where it can. Without it
    /// the buffers are the only bound of what still comes after a stop (D3).
    receive_limit: Option<u32>,
    /// As told by the last `begin`.
    now: Instant,
    /// Whether the last poll fetched completions: two in a row must not do without.
    fetched: bool,
    /// Whether the next poll may leave it for later to tell what has been sent.
    sent_may_wait: bool,
}

impl RingDriver {
    /// A driver that uses the best that this kernel's ring has.
    ///
    /// # Errors
    ///
    /// If this process cannot have a ring, and why.
    pub fn new(limits: DriverLimits) -> Result<Self, RingUnavailable> {
        Self::with(limits, Features::of_kernel(), Sizes::USUAL)
    }

    /// A driver that uses only what the ring of the oldest kernel has that it runs on.
    ///
    /// # Errors
    ///
    /// As for [`new`](RingDriver::new).
    pub fn plain(limits: DriverLimits) -> Result<Self, RingUnavailable> {
        Self::with(limits, Features::NONE, Sizes::USUAL)
    }

    fn with(
        limits: DriverLimits,
        features: Features,
        sizes: Sizes,
    ) -> Result<Self, RingUnavailable> {
        let ring = probe::open(sizes)?;
        let buffers = open_buffers(&ring, &limits, features)
            .map_err(|error| RingUnavailable::at("rings of buffers", error))?;
        let counter = EventCounter::new().map_err(|error| RingUnavailable::at("eventfd", error))?;
        let wake = WakeFlag::new(counter);
        let mut driver = Self {
            queue: Queue::new(ring),
            buffers: Some(buffers),
            datagram_buffers: None,
            layout: Box::default(),
            sends: Sends::default(),
            handshakes: Handshakes::default(),
            table: Table::default(),
            wake,
            signals: CaughtSignals::default(),
            reports: VecDeque::new(),
            accepts: VecDeque::new(),
            fresh: Vec::new(),
            resting: Vec::new(),
            starved: Vec::new(),
            parked: VecDeque::new(),
            unwatched: Vec::new(),
            broken: Vec::new(),
            doomed: Vec::new(),
            batches: Batches::new(),
            receive_limit: features.limited.then(|| limits.bytes_per_turn.clamp(1, 1 << 30) as u32),
            now: clock(),
            fetched: false,
            sent_may_wait: false,
            limits,
        };
        driver.arm_wake();
        Ok(driver)
    }

    fn arm_wake(&mut self) {
        let counter = self.wake.kernel().as_raw_fd();
        self.queue.push(Operation::wakes(counter, Token::of_driver(Kind::Wake)));
    }

    /// The buffers that streams receive into, which only a drop takes away.
    fn stream_buffers(buffers: &mut Option<Buffers>) -> &mut Buffers {
        buffers.as_mut().expect("the driver is not being dropped")
    }

    fn insert_stream(&mut self, key: Key, socket: Socket, state: State) {
        self.table.insert(key, socket, state);
        self.unwatched.push(key);
    }
}

/// Buffers of the size that the limits want, handed over to the kernel.
fn open_buffers(
    ring: &io_uring::IoUring,
    limits: &DriverLimits,
    features: Features,
) -> io::Result<Buffers> {
    let wanted = limits.read_buffer.max(SMALLEST_BUFFER);
    if features.incremental {
        let size = wanted.min(LARGEST_BUFFER);
        let count = (BUFFER_BYTES / size).clamp(FEWEST_BUFFERS, MOST_BUFFERS) as u16;
        match Buffers::new(ring, STREAMS, count, size, true) {
            // A kernel that has had the feature taken out.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
            other => return other,
        }
    }
    let size = wanted.min(WHOLE_BUFFER);
    let count = (BUFFER_BYTES / size).clamp(WHOLE_BUFFERS, MOST_BUFFERS) as u16;
    Buffers::new(ring, STREAMS, count, size, false)
}

impl Driver for RingDriver {
    fn now(&self) -> Instant {
        clock()
    }

    fn listen(&mut self, key: Key, at: &Addr, options: &ListenOptions) -> io::Result<Addr> {
        self.table.check_vacant(key)?;
        let (listener, bound) = Listener::open(at, options)?;
        self.table.insert(key, Socket::Listener(Box::new(listener)), State::default());
        self.fresh.push(key);
        Ok(bound)
    }

    fn bind(&mut self, key: Key, at: &Addr, options: &ListenOptions) -> io::Result<Addr> {
        let socket = DatagramSocket::bind(at, options, &mut self.batches)?;
        self.insert_datagram(key, socket)
    }

    fn connect(&mut self, key: Key, to: &Addr, options: &SocketOptions) -> io::Result<()> {
        self.table.check_vacant(key)?;
        self.start_connect(key, to, options)
    }

    fn connect_datagram(
        &mut self,
        key: Key,
        to: &Addr,
        options: &ListenOptions,
    ) -> io::Result<Addr> {
        let socket = DatagramSocket::connect(to, options, &mut self.batches)?;
        self.insert_datagram(key, socket)
    }

    fn adopt(&mut self, key: Key, stream: OwnedStream) -> io::Result<()> {
        self.table.check_vacant(key)?;
        // Whether the socket itself would wait does not matter to the ring.
        let socket = match stream {
            OwnedStream::Tcp(stream) => Socket::Tcp(stream),
            OwnedStream::Unix(stream) => Socket::Unix(stream),
            OwnedStream::Simulated(_) | OwnedStream::Piped(_) => {
                return Err(io::Error::new(
                    ErrorKind::Unsupported,
                    "a stream that is no socket of the kernel's cannot join them",
                ));
            }
        };
        self.insert_stream(key, socket, State::default());
        Ok(())
    }

    fn release(&mut self, key: Key) {
        self.give_up(key);
    }

    fn set_options(&mut self, key: Key, options: &SocketOptions) -> io::Result<()> {
        match self.table.get_mut(key).map(|slot| &slot.socket) {
            Some(Socket::Tcp(stream)) => settings::apply(&SockRef::from(stream), options, true),
            Some(Socket::Unix(stream)) => settings::apply(&SockRef::from(stream), options, false),
            Some(Socket::Datagram(socket)) => {
                settings::apply(&socket.as_sock_ref(), options, false)
            }
            _ => Ok(()),
        }
    }

    fn multicast(&mut self, key: Key, group: IpAddr, join: bool) -> io::Result<()> {
        match self.table.get_mut(key).map(|slot| &slot.socket) {
            Some(Socket::Datagram(socket)) => socket.multicast(group, join),
            _ => Err(ErrorKind::NotFound.into()),
        }
    }

    fn recv_start(&mut self, key: Key) {
        if let Some(slot) = self.table.get_mut(key) {
            slot.state.set(State::RECEIVING);
            self.arm_receive(key);
        }
    }

    fn recv_stop(&mut self, key: Key) {
        self.stop_receiving(key);
    }

    fn send(&mut self, key: Key, outbox: &mut Outbox) -> SendState {
        self.start_send(key, outbox)
    }

    fn let_sent_wait(&mut self) {
        self.sent_may_wait = true;
    }

    fn send_datagrams(&mut self, key: Key, outbox: &mut DatagramOutbox) -> SendState {
        self.send_all_datagrams(key, outbox)
    }

    fn shutdown(&mut self, key: Key) {
        let Some(slot) = self.table.get_mut(key) else {
            return;
        };
        // No send is under way, so that the end cannot overtake one.
        if let Some(stream) = slot.sock_ref()
            && let Err(error) = stream.shutdown(Shutdown::Write)
        {
            // The peer has gone already; its completions tell the rest.
            tracing::debug!(?key, %error, "shutdown");
        }
    }

    fn close(&mut self, key: Key) {
        self.close_in_order(key);
    }

    fn abort(&mut self, key: Key) {
        self.close_with_reset(key);
    }

    fn waker(&self) -> Waker {
        self.wake.waker()
    }

    fn catch_signal(&mut self, number: i32) -> io::Result<()> {
        self.signals.catch(number, &self.wake)
    }

    fn poll(&mut self, timeout: Option<Duration>, sink: &mut impl Sink) -> io::Result<()> {
        self.run_turn(timeout, sink)
    }
}

/// Drivers read the clock for everyone else.
#[expect(clippy::disallowed_methods, reason = "a driver is where the clock comes from")]
fn clock() -> Instant {
    Instant::now()
}
