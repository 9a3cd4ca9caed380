//! One connected, or connecting, stream socket.

use super::SHORTEST_LOAN;
use super::table::State;
use crate::region::ReadBuffers;
use crate::{Addr, Flow, Key, Outbox, OwnedStream, SendState, Sink};
use mio::net::TcpStream;
#[cfg(unix)]
use mio::net::UnixStream;
use mio::{Interest, Registry, Token, event::Source};
use socket2::SockRef;
use std::io::{self, ErrorKind, IoSlice};
use std::net::Shutdown;
use std::time::Duration;

/// Whether the kernel raises a new edge after a read or write that fell short, so that the one that
/// finds nothing can be saved. epoll and kqueue do; elsewhere only `WouldBlock` arms the next
/// event.
const SHORT_MEANS_DRAINED: bool = cfg!(unix);

/// How many bytes of one piece a send offers Windows, which takes any send whole while its buffer has
/// room for a byte: an outbox of any size would leave the loop and its limits.
const PIECE_MAX: usize = 64 << 10;

#[derive(Debug)]
pub(super) enum StreamSocket {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

/// How a socket left its turn.
#[derive(Debug)]
pub(super) enum Served {
    /// Nothing more to do until the next event.
    Idle,
    /// There is more; it stands at the back of the queue.
    Again,
    /// It broke.
    Failed(io::Error),
}

/// Runs `$body` with the socket inside, whatever its family.
macro_rules! with_socket {
    ($self:expr, $socket:ident => $body:expr) => {
        match $self {
            StreamSocket::Tcp($socket) => $body,
            #[cfg(unix)]
            StreamSocket::Unix($socket) => $body,
        }
    };
}
pub(super) use with_socket;

impl StreamSocket {
    pub(super) fn from_owned(stream: OwnedStream) -> io::Result<Self> {
        if let OwnedStream::Simulated(_) | OwnedStream::Piped(_) = stream {
            return Err(io::Error::new(
                ErrorKind::Unsupported,
                "a stream that is no socket of the kernel's cannot join them",
            ));
        }
        stream.set_nonblocking(true)?;
        Ok(Self::from_nonblocking(stream))
    }

    /// Takes in a socket of the kernel that never waits.
    pub(super) fn from_nonblocking(stream: OwnedStream) -> Self {
        match stream {
            OwnedStream::Tcp(stream) => Self::Tcp(TcpStream::from_std(stream)),
            #[cfg(unix)]
            OwnedStream::Unix(stream) => Self::Unix(UnixStream::from_std(stream)),
            OwnedStream::Simulated(_) | OwnedStream::Piped(_) => {
                unreachable!("callers keep them out")
            }
        }
    }

    pub(super) fn into_owned(self) -> OwnedStream {
        match self {
            Self::Tcp(stream) => OwnedStream::Tcp(stream.into()),
            #[cfg(unix)]
            Self::Unix(stream) => OwnedStream::Unix(stream.into()),
        }
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        with_socket!(self, socket => socket.register(registry, token, both))
    }

    pub(super) fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        with_socket!(self, socket => socket.deregister(registry))
    }

    pub(super) fn is_tcp(&self) -> bool {
        matches!(self, Self::Tcp(_))
    }

    pub(super) fn as_sock_ref(&self) -> SockRef<'_> {
        with_socket!(self, socket => SockRef::from(socket))
    }

    pub(super) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        with_socket!(self, socket => socket.shutdown(how))
    }

    /// Makes the drop that follows reset the connection.
    pub(super) fn reset_on_drop(&self) {
        if self.is_tcp() {
            let _ = self.as_sock_ref().set_linger(Some(Duration::ZERO));
        }
    }

    fn take_error(&self) -> io::Result<Option<io::Error>> {
        with_socket!(self, socket => socket.take_error())
    }

    fn local_addr(&self) -> io::Result<Addr> {
        match self {
            Self::Tcp(stream) => stream.local_addr().map(super::plain),
            #[cfg(unix)]
            Self::Unix(stream) => stream.local_addr().map(Addr::from),
        }
    }

    fn check_connected(&self) -> io::Result<()> {
        with_socket!(self, socket => socket.peer_addr().map(drop))
    }

    #[inline(always)]
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.recv_once(buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    /// Sends until the outbox is empty or the socket is full. What then has to wait does not wait in
    /// a read buffer.
    #[inline(always)]
    pub(super) fn send(&self, outbox: &mut Outbox) -> io::Result<SendState> {
        let sent = self.send_until_full(outbox);
        if !matches!(sent, Ok(SendState::Done)) {
            outbox.let_go();
        }
        sent
    }

    fn send_until_full(&self, outbox: &mut Outbox) -> io::Result<SendState> {
        while outbox.queued() > 0 {
            let (offered, sent) = self.send_front(outbox);
            match sent {
                Ok(taken) => {
                    outbox.advance(taken);
                    if taken < offered && SHORT_MEANS_DRAINED {
                        return Ok(SendState::Waiting);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Ok(SendState::Waiting);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(SendState::Done)
    }

    /// One system call: how many bytes it offered, and how many the kernel took.
    #[inline(always)]
    fn send_front(&self, outbox: &Outbox) -> (usize, io::Result<usize>) {
        match outbox.contiguous() {
            Some(bytes) => {
                let bytes = piece_of(bytes);
                (bytes.len(), self.send_once(bytes))
            }
            None => self.send_gathered(outbox),
        }
    }

    #[inline(never)]
    fn send_gathered(&self, outbox: &Outbox) -> (usize, io::Result<usize>) {
        let mut slices = [IoSlice::new(&[]); Outbox::SLICES];
        let filled = outbox.slices(&mut slices);
        let slices = &slices[..filled];
        if cfg!(windows) && slices[0].len() > PIECE_MAX {
            return (PIECE_MAX, self.send_once(piece_of(&slices[0])));
        }
        (slices.iter().map(|slice| slice.len()).sum(), self.send_slices(slices))
    }

    /// Does what the events of this turn, or earlier ones, have left to do.
    #[inline(always)]
    pub(super) fn serve(
        &mut self,
        key: Key,
        state: &mut State,
        buffers: &mut ReadBuffers,
        delivered: &mut usize,
        sink: &mut impl Sink,
    ) -> Served {
        let rare = State::CONNECTING.and(State::ERROR).and(State::WRITABLE);
        let served = if state.any(rare) {
            self.serve_rare(key, state, buffers, delivered, sink)
        } else if state.has(State::RECEIVING.and(State::READABLE)) {
            self.receive(key, state, buffers, delivered, sink)
        } else {
            return Served::Idle;
        };
        match served {
            Err(error) => Served::Failed(error),
            Ok(()) if state.has(State::RECEIVING.and(State::READABLE)) => Served::Again,
            Ok(()) => Served::Idle,
        }
    }

    /// As [`serve`](Self::serve), for a socket with more to do than to receive.
    #[inline(never)]
    fn serve_rare(
        &mut self,
        key: Key,
        state: &mut State,
        buffers: &mut ReadBuffers,
        delivered: &mut usize,
        sink: &mut impl Sink,
    ) -> io::Result<()> {
        if state.has(State::CONNECTING) && !self.finish_connect(key, state, sink)? {
            return Ok(());
        }
        if state.has(State::RECEIVING.and(State::READABLE)) {
            self.receive(key, state, buffers, delivered, sink)?;
        }
        // What can be read comes before the error; one that reading did not show is asked for.
        if state.has(State::ERROR) && !state.has(State::RECEIVING.and(State::READABLE)) {
            state.clear(State::ERROR);
            if let Some(error) = self.take_error()? {
                return Err(error);
            }
        }
        if state.has(State::WAITING.and(State::WRITABLE)) {
            state.clear(State::WAITING.and(State::WRITABLE));
            sink.sent(key, 0);
        }
        Ok(())
    }

    /// Whether the handshake is over.
    fn finish_connect(
        &self,
        key: Key,
        state: &mut State,
        sink: &mut impl Sink,
    ) -> io::Result<bool> {
        if let Some(error) = self.take_error()? {
            return Err(error);
        }
        match self.check_connected() {
            Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(false),
            other => other?,
        }
        let local = self.local_addr()?;
        state.clear(State::CONNECTING.and(State::ERROR));
        sink.connected(key, local);
        Ok(true)
    }

    #[inline(always)]
    fn receive(
        &mut self,
        key: Key,
        state: &mut State,
        buffers: &mut ReadBuffers,
        delivered: &mut usize,
        sink: &mut impl Sink,
    ) -> io::Result<()> {
        loop {
            let buffer = buffers.front();
            let count = match self.recv(buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    state.clear(State::READABLE.and(State::HANGUP));
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
            if count == 0 {
                state.clear(State::READABLE.and(State::HANGUP));
                state.set(State::ENDED);
                sink.eof(key);
                return Ok(());
            }
            *delivered += count;
            let short = count < buffer.len();
            if short && SHORT_MEANS_DRAINED && !state.has(State::HANGUP) {
                state.clear(State::READABLE);
            }
            let flow = if count < SHORTEST_LOAN {
                sink.data(key, &mut buffer[..count])
            } else {
                sink.loan(key, buffers.loan(count))
            };
            if flow == Flow::Pause {
                state.clear(State::RECEIVING);
                return Ok(());
            }
            // After a hangup no further event will tell of the end: read on to see it now.
            if !short || !state.has(State::HANGUP) {
                return Ok(());
            }
        }
    }

    /// After a failed send: delivers what the peer had sent before, as far as it fits one buffer.
    pub(super) fn receive_rest(
        &mut self,
        key: Key,
        state: State,
        buffers: &mut ReadBuffers,
        sink: &mut impl Sink,
    ) {
        if state.has(State::RECEIVING)
            && !state.any(State::ENDED.and(State::CONNECTING))
            && let Ok(count @ 1..) = self.recv(buffers.front())
        {
            let _ = sink.data(key, &mut buffers.front()[..count]);
        }
    }
}

fn piece_of(bytes: &[u8]) -> &[u8] {
    if cfg!(windows) { &bytes[..bytes.len().min(PIECE_MAX)] } else { bytes }
}
