//! The driver over the readiness of the operating system: epoll, kqueue, IOCP.
//!
//! Every socket is registered once, edge-triggered, for both directions, so that a warm turn costs
//! one wait, one read per connection that has something to say, and one write per reply. An edge is
//! told once, therefore everything announced and not yet served stands in one queue:
//!
//! ```text
//!   kernel --events--> State bits of the slot --+
//!   recv_start, full reads, budget ran out -----+--> queue --serve--> Sink
//!   close, abort, release, failed sends ------------> reports --------> Sink
//! ```

pub(crate) mod datagram;
pub(crate) mod listener;
mod poll;
pub(crate) mod settings;
mod stream;
mod table;
mod transfer;
#[cfg(unix)]
pub(crate) mod unix_path;
mod wait;

use crate::region::ReadBuffers;
use crate::signals::CaughtSignals;
use crate::wake::WakeFlag;
use crate::{
    Addr, DatagramOutbox, Driver, DriverLimits, Key, ListenOptions, Outbox, OwnedStream, SendState,
    Sink, SocketOptions,
};
use datagram::{Batches, DatagramSocket, Sent};
use listener::Listener;
use mio::{Poll, Token};
use poll::Report;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket as RawSocket, Type};
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};
use stream::StreamSocket;
use table::{Socket, State, Table, token_of};
use wait::Events;

/// No key has this token: its slot number would be 2^32 - 1.
const WAKE: Token = Token(usize::MAX);
/// Smaller read buffers would cost more system calls than they save memory.
const SMALLEST_READ_BUFFER: usize = 512;

/// How many read buffers there are at most: one, and others in the place of those that sinks have kept
/// for the rest of the turn.
const READ_BUFFERS_MAX: usize = 32;
/// Shorter deliveries are copied by those who want to keep them, which is cheaper.
pub(crate) const SHORTEST_LOAN: usize = 4096;

/// The kernel as a [`Driver`], by readiness.
///
/// One read buffer serves all connections, so that an idle one costs this driver 24 bytes. Opening
/// one costs the poller one registration; closing it, or changing what it waits for, costs none.
#[derive(Debug)]
pub struct ReadyDriver {
    poller: Poll,
    events: Events,
    wake: Arc<WakeFlag<mio::Waker>>,
    signals: CaughtSignals,
    table: Table,
    /// Keys with something to do, each at most once, served in turn.
    queue: VecDeque<Key>,
    /// What is to be told in the next poll, in order.
    reports: VecDeque<Report>,
    /// Listeners that rest after a failed accept.
    resting: Vec<Key>,
    /// Datagram sockets whose sends the system has no memory for.
    starved: Vec<Key>,
    buffers: ReadBuffers,
    batches: Batches,
    limits: DriverLimits,
    /// As told by the last `begin`.
    now: Instant,
    /// Whether the last poll asked the kernel: two in a row must not do without.
    asked: bool,
    failed_waits: u32,
}

impl ReadyDriver {
    /// A driver that uses the best system calls that this system has.
    ///
    /// # Errors
    ///
    /// If the system gives no poller: out of descriptors, usually.
    pub fn new(limits: DriverLimits) -> io::Result<Self> {
        let events = Events::new(limits.events_per_turn.max(1));
        Self::with(limits, events, Batches::new())
    }

    /// A driver that uses only system calls that every system has: the same datagrams leave and
    /// arrive, one per call.
    ///
    /// # Errors
    ///
    /// As for [`new`](ReadyDriver::new).
    pub fn portable(limits: DriverLimits) -> io::Result<Self> {
        let events = Events::portable(limits.events_per_turn.max(1));
        Self::with(limits, events, Batches::none())
    }

    fn with(limits: DriverLimits, events: Events, batches: Batches) -> io::Result<Self> {
        let poller = Poll::new()?;
        let wake = WakeFlag::new(mio::Waker::new(poller.registry(), WAKE)?);
        Ok(Self {
            events,
            wake,
            signals: CaughtSignals::default(),
            table: Table::default(),
            queue: VecDeque::new(),
            reports: VecDeque::new(),
            resting: Vec::new(),
            starved: Vec::new(),
            buffers: ReadBuffers::new(
                limits.read_buffer.max(SMALLEST_READ_BUFFER),
                READ_BUFFERS_MAX,
            ),
            batches,
            now: clock(),
            asked: false,
            failed_waits: 0,
            limits: DriverLimits { accepts_per_turn: limits.accepts_per_turn.max(1), ..limits },
            poller,
        })
    }

    fn insert_stream(
        &mut self,
        key: Key,
        mut stream: StreamSocket,
        state: State,
    ) -> io::Result<()> {
        self.table.check_vacant(key)?;
        stream.register(self.poller.registry(), token_of(key))?;
        self.table.insert(key, Socket::Stream(stream), state);
        Ok(())
    }

    fn insert_datagram(&mut self, key: Key, mut socket: DatagramSocket) -> io::Result<Addr> {
        self.table.check_vacant(key)?;
        let bound = socket.local_addr()?;
        socket.register(self.poller.registry(), token_of(key))?;
        self.table.insert(key, Socket::Datagram(Box::new(socket)), State::default());
        Ok(bound)
    }

    fn stream_mut(&mut self, key: Key) -> Option<(&mut StreamSocket, &mut State)> {
        let slot = self.table.get_mut(key)?;
        match &mut slot.socket {
            Socket::Stream(stream) => Some((stream, &mut slot.state)),
            _ => None,
        }
    }

    /// A descriptor is free again: listeners that rest for want of one need not wait.
    fn relieve_listeners(&mut self) {
        while let Some(key) = self.resting.pop() {
            self.end_rest(key);
        }
    }

    fn end_rest(&mut self, key: Key) {
        if let Some(slot) = self.table.get_mut(key) {
            slot.state.clear(State::RESTING);
            slot.state.set(State::READABLE);
            enqueue(&mut self.queue, key, &mut slot.state);
        }
    }

    #[cold]
    fn broke(&mut self, key: Key, error: io::Error) -> SendState {
        self.reports.push_back(Report::Broken(key, error));
        SendState::Waiting
    }

    fn close_with(&mut self, key: Key, before: impl FnOnce(&StreamSocket)) {
        let Some((socket, _)) = self.table.remove(key) else {
            return;
        };
        if let Socket::Stream(stream) = &socket {
            before(stream);
        }
        drop(socket);
        self.reports.push_back(Report::Closed(key));
        self.relieve_listeners();
    }
}

impl Driver for ReadyDriver {
    fn now(&self) -> Instant {
        clock()
    }

    fn listen(&mut self, key: Key, at: &Addr, options: &ListenOptions) -> io::Result<Addr> {
        self.table.check_vacant(key)?;
        let (mut listener, bound) = Listener::open(at, options)?;
        listener.register(self.poller.registry(), token_of(key))?;
        self.table.insert(key, Socket::Listener(Box::new(listener)), State::default());
        Ok(bound)
    }

    fn bind(&mut self, key: Key, at: &Addr, options: &ListenOptions) -> io::Result<Addr> {
        let socket = DatagramSocket::bind(at, options, &mut self.batches)?;
        self.insert_datagram(key, socket)
    }

    fn connect(&mut self, key: Key, to: &Addr, options: &SocketOptions) -> io::Result<()> {
        self.table.check_vacant(key)?;
        match start_connect(to, options)? {
            Ok(stream) => self.insert_stream(key, stream, State::CONNECTING),
            Err(error) => {
                self.reports.push_back(Report::NeverOpened(key, error));
                Ok(())
            }
        }
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
        let stream = StreamSocket::from_owned(stream)?;
        self.insert_stream(key, stream, State::default())
    }

    fn release(&mut self, key: Key) {
        if self.stream_mut(key).is_none() {
            return;
        }
        if let Some((Socket::Stream(mut stream), _)) = self.table.remove(key) {
            if let Err(error) = stream.deregister(self.poller.registry()) {
                tracing::debug!(?key, %error, "a released socket stays known to the poller");
            }
            self.reports.push_back(Report::Released(key, stream.into_owned()));
        }
    }

    fn set_options(&mut self, key: Key, options: &SocketOptions) -> io::Result<()> {
        match self.table.get_mut(key).map(|slot| &slot.socket) {
            Some(Socket::Stream(stream)) => {
                settings::apply(&stream.as_sock_ref(), options, stream.is_tcp())
            }
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
        let Some(slot) = self.table.get_mut(key) else {
            return;
        };
        slot.state.set(State::RECEIVING);
        if slot.state.has(State::READABLE) {
            enqueue(&mut self.queue, key, &mut slot.state);
        }
    }

    fn recv_stop(&mut self, key: Key) {
        if let Some(slot) = self.table.get_mut(key) {
            slot.state.clear(State::RECEIVING);
        }
    }

    fn send(&mut self, key: Key, outbox: &mut Outbox) -> SendState {
        let Some((stream, state)) = self.stream_mut(key) else {
            return unsent(outbox.is_empty());
        };
        if state.has(State::CONNECTING) {
            state.set(State::WAITING);
            return SendState::Waiting;
        }
        match stream.send(outbox) {
            Ok(SendState::Done) => SendState::Done,
            Ok(SendState::Waiting) => {
                state.set(State::WAITING);
                SendState::Waiting
            }
            Err(error) => self.broke(key, error),
        }
    }

    fn send_datagrams(&mut self, key: Key, outbox: &mut DatagramOutbox) -> SendState {
        let Some(slot) = self.table.get_mut(key) else {
            return unsent(outbox.is_empty());
        };
        let Socket::Datagram(socket) = &mut slot.socket else {
            return unsent(outbox.is_empty());
        };
        let reports = &mut self.reports;
        let sent = socket.send(outbox, &self.batches, &mut |error| {
            report_dropped(reports, key, error);
        });
        let room_is_told =
            sent == Sent::Full && socket.await_room(self.poller.registry(), token_of(key)).is_ok();
        if sent != Sent::Done && !room_is_told {
            // It is tried again before long.
            self.starved.push(key);
        }
        if sent != Sent::Done {
            slot.state.set(State::WAITING);
        }
        sent.into()
    }

    fn shutdown(&mut self, key: Key) {
        if let Some((stream, _)) = self.stream_mut(key)
            && let Err(error) = stream.shutdown(Shutdown::Write)
        {
            // The peer has gone already; its events tell the rest.
            tracing::debug!(?key, %error, "shutdown");
        }
    }

    fn close(&mut self, key: Key) {
        self.close_with(key, |stream| {
            // The peer gets its end even if another process holds a copy of the descriptor.
            let _ = stream.shutdown(Shutdown::Write);
            if stream.is_tcp() {
                settings::linger_in_background(&stream.as_sock_ref());
            }
        });
    }

    fn abort(&mut self, key: Key) {
        self.close_with(key, StreamSocket::reset_on_drop);
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

/// One report for a run of datagrams that met the same fate.
fn report_dropped(reports: &mut VecDeque<Report>, key: Key, error: io::Error) {
    match reports.back_mut() {
        Some(Report::Dropped(of, count, before))
            if *of == key && before.raw_os_error() == error.raw_os_error() =>
        {
            *count += 1;
        }
        _ => reports.push_back(Report::Dropped(key, 1, error)),
    }
}

fn enqueue(queue: &mut VecDeque<Key>, key: Key, state: &mut State) {
    if !state.has(State::QUEUED) {
        state.set(State::QUEUED);
        queue.push_back(key);
    }
}

/// The answer to a send on a key that is closed, or about to be reported so.
pub(crate) fn unsent(nothing_queued: bool) -> SendState {
    if nothing_queued { SendState::Done } else { SendState::Waiting }
}

/// An address as its users write it: IPv4 stays IPv4 where it came through an IPv6 socket.
pub(crate) fn plain(address: SocketAddr) -> Addr {
    match address {
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(v4) => Addr::Inet(SocketAddr::from((v4, v6.port()))),
            None => Addr::Inet(address),
        },
        SocketAddr::V4(_) => Addr::Inet(address),
    }
}

/// Starts a handshake. The outer error is that of a socket that could not be had, the inner one
/// the answer to the attempt.
fn start_connect(
    to: &Addr,
    options: &SocketOptions,
) -> io::Result<Result<StreamSocket, io::Error>> {
    let (socket, address) = match to {
        Addr::Inet(to) => {
            let domain = Domain::for_address(*to);
            let socket = RawSocket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
            (socket, SockAddr::from(*to))
        }
        #[cfg(unix)]
        Addr::Unix(to) => {
            (RawSocket::new(Domain::UNIX, Type::STREAM, None)?, unix_path::address_of(to)?)
        }
        #[cfg(not(unix))]
        Addr::Unix(_) => return Err(ErrorKind::Unsupported.into()),
    };
    socket.set_nonblocking(true)?;
    let is_tcp = matches!(to, Addr::Inet(_));
    settings::apply(&SockRef::from(&socket), options, is_tcp)?;
    Ok(match socket.connect(&address) {
        Err(error) if !is_in_progress(&error) => Err(error),
        #[cfg(unix)]
        _ if !is_tcp => Ok(StreamSocket::from_nonblocking(OwnedStream::Unix(socket.into()))),
        _ => Ok(StreamSocket::from_nonblocking(OwnedStream::Tcp(socket.into()))),
    })
}

#[cfg(unix)]
fn is_in_progress(error: &io::Error) -> bool {
    // connect(2), EINTR: "the connection request is not terminated but completes asynchronously".
    matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EINTR))
}

#[cfg(not(unix))]
fn is_in_progress(error: &io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock
}
