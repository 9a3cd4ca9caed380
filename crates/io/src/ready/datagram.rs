//! Datagram sockets: plain calls everywhere, batches where the kernel has them.

#[cfg(target_os = "linux")]
mod batch;

use super::listener::open_bound;
use super::plain;
use super::stream::Served;
use super::table::State;
use crate::codes::{is_of_one_datagram, is_shortage};
use crate::taken::open_when_free;
use crate::{Addr, DatagramOutbox, Flow, Key, ListenOptions, SendState, Sink};
#[cfg(target_os = "linux")]
use batch::Batch;
use mio::net::UdpSocket;
use mio::{Interest, Registry, Token, event::Source};
use socket2::{SockRef, Type};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// How many datagrams one socket delivers before others have their turn.
const PER_TURN: usize = 32;
/// No UDP datagram is longer, coalesced ones included.
const LONGEST: usize = 64 * 1024;

/// The memory that all datagram sockets of a driver receive into, made when the first one opens.
#[derive(Debug)]
pub(crate) struct Batches {
    single: Box<[u8]>,
    #[cfg(target_os = "linux")]
    batch: Option<Box<Batch>>,
    #[cfg(target_os = "linux")]
    wanted: bool,
}

/// A datagram socket of the driver.
#[derive(Debug)]
pub(crate) struct DatagramSocket {
    socket: UdpSocket,
    is_ipv6: bool,
    /// The poller tells when there is room to send. It does not if nothing waits for that: each
    /// datagram that leaves would be an event.
    awaits_room: bool,
    /// Runs of equally long datagrams may arrive as one message.
    #[cfg(target_os = "linux")]
    coalesced: bool,
    /// Runs of equally long datagrams leave as one message that the kernel cuts up.
    #[cfg(target_os = "linux")]
    segments: bool,
}

/// What to do after a failed send.
#[derive(Debug, PartialEq, Eq)]
enum SendFault {
    Retry,
    /// The socket's buffer is full; the kernel announces when it is not.
    Full,
    /// The system's buffers are full; nothing announces when they are not.
    Starved,
    /// This datagram cannot be sent.
    Refused,
}

/// How far a send of datagrams has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    Done,
    Full,
    Starved,
}

impl Batches {
    /// Batches where the kernel has them.
    pub(crate) fn new() -> Self {
        Self {
            #[cfg(target_os = "linux")]
            wanted: true,
            ..Self::none()
        }
    }

    /// Plain calls only.
    pub(super) fn none() -> Self {
        Self {
            single: Box::default(),
            #[cfg(target_os = "linux")]
            batch: None,
            #[cfg(target_os = "linux")]
            wanted: false,
        }
    }

    fn prepare(&mut self) {
        #[cfg(target_os = "linux")]
        if self.wanted {
            self.batch.get_or_insert_with(Batch::new);
            return;
        }
        if self.single.is_empty() {
            self.single = vec![0; LONGEST].into_boxed_slice();
        }
    }
}

impl DatagramSocket {
    pub(crate) fn bind(
        at: &Addr,
        options: &ListenOptions,
        batches: &mut Batches,
    ) -> io::Result<Self> {
        Self::open(inet(at)?, options, batches)
    }

    pub(crate) fn connect(
        to: &Addr,
        options: &ListenOptions,
        batches: &mut Batches,
    ) -> io::Result<Self> {
        let to = inet(to)?;
        let any: IpAddr = match to {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = Self::open(SocketAddr::new(any, 0), options, batches)?;
        socket.socket.connect(to)?;
        Ok(socket)
    }

    fn open(at: SocketAddr, options: &ListenOptions, batches: &mut Batches) -> io::Result<Self> {
        let socket = open_when_free(|| open_bound(at, Type::DGRAM, options))?;
        // The BSDs and their kin refuse datagrams that are longer than the send buffer, which at
        // first is a few thousand bytes.
        if cfg!(all(unix, not(target_os = "linux"))) && options.socket.send_buffer.is_none() {
            socket.set_send_buffer_size(LONGEST)?;
        }
        batches.prepare();
        let socket = UdpSocket::from_std(socket.into());
        Ok(Self {
            is_ipv6: socket.local_addr()?.is_ipv6(),
            awaits_room: false,
            #[cfg(target_os = "linux")]
            coalesced: batches.wanted && options.gro && batch::receive_coalesced(&socket),
            #[cfg(target_os = "linux")]
            segments: batches.wanted && options.gso && batch::can_segment(&socket),
            socket,
        })
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.socket.register(registry, token, Interest::READABLE)
    }

    /// Has the poller tell when a socket that is full has room again.
    pub(super) fn await_room(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        if !self.awaits_room {
            let both = Interest::READABLE | Interest::WRITABLE;
            self.socket.reregister(registry, token, both)?;
            self.awaits_room = true;
        }
        Ok(())
    }

    /// There is room: the poller need not tell any more.
    pub(super) fn end_wait(&mut self, registry: &Registry, token: Token) {
        if self.awaits_room {
            // Refused, it tells more than it needs to.
            self.awaits_room = self.socket.reregister(registry, token, Interest::READABLE).is_err();
        }
    }

    pub(crate) fn local_addr(&self) -> io::Result<Addr> {
        self.socket.local_addr().map(plain)
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn as_raw_fd(&self) -> std::os::fd::RawFd {
        std::os::fd::AsRawFd::as_raw_fd(&self.socket)
    }

    pub(crate) fn as_sock_ref(&self) -> SockRef<'_> {
        SockRef::from(&self.socket)
    }

    pub(crate) fn multicast(&self, group: IpAddr, join: bool) -> io::Result<()> {
        match (group, join) {
            (IpAddr::V4(group), true) => {
                self.socket.join_multicast_v4(&group, &Ipv4Addr::UNSPECIFIED)
            }
            (IpAddr::V4(group), false) => {
                self.socket.leave_multicast_v4(&group, &Ipv4Addr::UNSPECIFIED)
            }
            (IpAddr::V6(group), true) => self.socket.join_multicast_v6(&group, 0),
            (IpAddr::V6(group), false) => self.socket.leave_multicast_v6(&group, 0),
        }
    }

    /// Does what the events of this turn, or earlier ones, have left to do.
    pub(super) fn serve(
        &mut self,
        key: Key,
        state: &mut State,
        batches: &mut Batches,
        delivered: &mut usize,
        sink: &mut impl Sink,
    ) -> Served {
        if state.has(State::WAITING.and(State::WRITABLE)) {
            state.clear(State::WAITING.and(State::WRITABLE));
            sink.sent(key, 0);
        }
        if !state.has(State::RECEIVING) && state.has(State::ERROR) {
            // An unreachable peer is no fault of the socket; asking clears the error.
            let _ = self.socket.take_error();
        }
        state.clear(State::ERROR);
        if !state.has(State::RECEIVING.and(State::READABLE)) {
            return Served::Idle;
        }
        match self.receive(key, state, batches, delivered, sink) {
            Err(error) => Served::Failed(error),
            Ok(()) if state.has(State::RECEIVING.and(State::READABLE)) => Served::Again,
            Ok(()) => Served::Idle,
        }
    }

    fn receive(
        &mut self,
        key: Key,
        state: &mut State,
        batches: &mut Batches,
        delivered: &mut usize,
        sink: &mut impl Sink,
    ) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        if let Some(batch) = &mut batches.batch {
            let outcome = self.receive_batch(key, state, batch, delivered, sink);
            if outcome.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::ENOSYS)) {
                // A sandbox may lack the batched calls; the next turn goes without.
                (batches.batch, batches.wanted) = (None, false);
                batches.prepare();
                return Ok(());
            }
            return self.after_receive(state, outcome);
        }
        let outcome = self.receive_singly(key, state, &mut batches.single, delivered, sink);
        self.after_receive(state, outcome)
    }

    /// Sorts errors of the socket from those that some network path left with it.
    fn after_receive(&self, state: &mut State, outcome: io::Result<()>) -> io::Result<()> {
        match outcome {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                state.clear(State::READABLE.and(State::HANGUP));
                Ok(())
            }
            // Reading goes on in the next turn.
            Err(error) if is_passing(&error) => Ok(()),
            other => other,
        }
    }

    fn receive_singly(
        &self,
        key: Key,
        state: &mut State,
        buffer: &mut [u8],
        delivered: &mut usize,
        sink: &mut impl Sink,
    ) -> io::Result<()> {
        for _ in 0..PER_TURN {
            let (count, from) = self.socket.recv_from(buffer)?;
            *delivered += count;
            if sink.datagram(key, &plain(from), &mut buffer[..count]) == Flow::Pause {
                state.clear(State::RECEIVING);
                break;
            }
        }
        Ok(())
    }

    /// Sends from the front of `outbox`, telling `dropped` of each datagram that is given up.
    pub(crate) fn send(
        &mut self,
        outbox: &mut DatagramOutbox,
        batches: &Batches,
        dropped: &mut impl FnMut(io::Error),
    ) -> Sent {
        #[cfg(target_os = "linux")]
        if batches.batch.is_some() {
            return self.send_batches(outbox, dropped);
        }
        #[cfg(not(target_os = "linux"))]
        let _ = batches;
        self.send_singly(outbox, dropped)
    }

    fn send_singly(
        &self,
        outbox: &mut DatagramOutbox,
        dropped: &mut impl FnMut(io::Error),
    ) -> Sent {
        while let Some(outcome) = self.send_first(outbox) {
            match outcome {
                Ok(_) => outbox.advance(1),
                Err(error) => match SendFault::of(&error) {
                    SendFault::Retry => {}
                    SendFault::Full => return Sent::Full,
                    SendFault::Starved => return Sent::Starved,
                    SendFault::Refused => {
                        outbox.advance(1);
                        dropped(error);
                    }
                },
            }
        }
        Sent::Done
    }

    fn send_first(&self, outbox: &DatagramOutbox) -> Option<io::Result<usize>> {
        let (to, payload) = outbox.iter().next()?;
        Some(match to {
            None => self.socket.send(payload),
            Some(Addr::Inet(to)) => self.socket.send_to(payload, self.reachable(*to)),
            Some(other) => inet(other).map(|_| 0),
        })
    }

    #[cfg(target_os = "linux")]
    fn receive_batch(
        &self,
        key: Key,
        state: &mut State,
        batch: &mut Batch,
        delivered: &mut usize,
        sink: &mut impl Sink,
    ) -> io::Result<()> {
        let received = batch.receive(&self.socket, self.coalesced, |from, bytes| {
            *delivered += bytes.len();
            if sink.datagram(key, &plain(from), bytes) == Flow::Pause {
                state.clear(State::RECEIVING);
            }
        })?;
        // After an error event the queue behind the error must be looked at once more.
        if received < batch::SLOTS && !state.has(State::HANGUP) {
            state.clear(State::READABLE);
        }
        Ok(())
    }

    #[cfg(target_os = "linux")]
    fn send_batches(
        &mut self,
        outbox: &mut DatagramOutbox,
        dropped: &mut impl FnMut(io::Error),
    ) -> Sent {
        // How many datagrams from the front leave uncut, after the kernel refused to cut them.
        let mut uncut = 0;
        while !outbox.is_empty() {
            let segments = self.segments && uncut == 0;
            let limit = if uncut == 0 { usize::MAX } else { uncut };
            let reachable = |to: &Addr| inet(to).ok().map(|to| self.reachable(to));
            let attempt = Batch::send(&self.socket, outbox, reachable, segments, limit);
            let error = match attempt.sent {
                Ok(sent) => {
                    outbox.advance(sent);
                    uncut = uncut.saturating_sub(sent);
                    continue;
                }
                Err(error) => error,
            };
            match SendFault::of(&error) {
                SendFault::Retry => {}
                SendFault::Full => return Sent::Full,
                SendFault::Starved => return Sent::Starved,
                // A sandbox may lack the batched calls.
                SendFault::Refused if error.raw_os_error() == Some(libc::ENOSYS) => {
                    return self.send_singly(outbox, dropped);
                }
                SendFault::Refused if attempt.first > 1 => {
                    uncut = attempt.first;
                    // The device cannot do it at all.
                    self.segments = error.raw_os_error() != Some(libc::EIO);
                }
                SendFault::Refused => {
                    outbox.advance(1);
                    uncut = uncut.saturating_sub(1);
                    dropped(error);
                }
            }
        }
        Sent::Done
    }

    /// `to` as this socket's family writes it.
    fn reachable(&self, to: SocketAddr) -> SocketAddr {
        match to {
            SocketAddr::V4(v4) if self.is_ipv6 => {
                SocketAddr::from((v4.ip().to_ipv6_mapped(), v4.port()))
            }
            _ => to,
        }
    }
}

impl From<Sent> for SendState {
    fn from(sent: Sent) -> Self {
        if sent == Sent::Done { Self::Done } else { Self::Waiting }
    }
}

impl SendFault {
    fn of(error: &io::Error) -> Self {
        if is_shortage(error) {
            return Self::Starved;
        }
        match error.kind() {
            ErrorKind::Interrupted => Self::Retry,
            ErrorKind::WouldBlock => Self::Full,
            _ => Self::Refused,
        }
    }
}

/// Whether the next receive may well succeed: interrupted, short of memory, or told what an
/// earlier datagram met on its way.
pub(crate) fn is_passing(error: &io::Error) -> bool {
    let has_passing_kind = matches!(
        error.kind(),
        ErrorKind::Interrupted
            | ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::NetworkUnreachable
            | ErrorKind::HostUnreachable
            | ErrorKind::TimedOut
    );
    has_passing_kind || is_shortage(error) || is_of_one_datagram(error)
}

fn inet(at: &Addr) -> io::Result<SocketAddr> {
    match at {
        Addr::Inet(at) => Ok(*at),
        Addr::Unix(_) => Err(io::Error::new(
            ErrorKind::Unsupported,
            "datagrams go over UDP; unix datagram sockets are not offered",
        )),
    }
}
