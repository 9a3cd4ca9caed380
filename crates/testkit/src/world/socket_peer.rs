//! Peers over the sockets of this machine, for scripts on one thread.

use super::stage::{Played, PlayedDatagrams};
use mainspring_io::{Addr, UnixAddr};
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

/// What sort of socket a peer has.
#[derive(Clone, Debug)]
pub(super) struct SocketTraits {
    /// The name that a peer of a unix socket gives itself: accepted sockets have no other.
    pub(super) unix_name: PathBuf,
    /// `SO_SNDBUF`, and an eighth of `SO_RCVBUF`.
    pub(super) buffers: Option<usize>,
    /// No look at the socket takes more bytes.
    pub(super) read_most: usize,
}

/// A non-blocking stream socket.
#[derive(Debug)]
pub(super) struct SocketPeer {
    /// `None` once closed.
    socket: Option<Socket>,
    to: SockAddr,
    local: Addr,
    phase: Phase,
    reading: bool,
    read_most: usize,
    eof: bool,
    reset: bool,
    write_ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The backlog of a unix socket was full.
    ToBeTried,
    Connecting,
    Open,
    Failed(ErrorKind),
}

impl SocketPeer {
    /// A peer that is connecting.
    ///
    /// # Errors
    ///
    /// If the system has no socket of that sort.
    pub(super) fn connect(to: &Addr, traits: &SocketTraits) -> io::Result<Self> {
        let (domain, to) = match to {
            Addr::Inet(to) => (Domain::for_address(*to), SockAddr::from(*to)),
            Addr::Unix(UnixAddr::Path(path)) => (Domain::UNIX, SockAddr::unix(path)?),
            Addr::Unix(_) => return Err(ErrorKind::Unsupported.into()),
        };
        let socket = Socket::new(domain, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        if let Some(bytes) = traits.buffers {
            socket.set_send_buffer_size(bytes)?;
            socket.set_recv_buffer_size(8 * bytes)?;
        }
        let named = if domain == Domain::UNIX {
            socket.bind(&SockAddr::unix(&traits.unix_name)?)?;
            Some(Addr::Unix(UnixAddr::Path(traits.unix_name.as_path().into())))
        } else {
            socket.set_tcp_nodelay(true)?;
            None
        };
        let phase = begin(&socket, &to);
        let local = named.map_or_else(|| local_of(&socket), Ok)?;
        Ok(Self {
            socket: Some(socket),
            to,
            local,
            phase,
            reading: true,
            read_most: traits.read_most,
            eof: false,
            reset: false,
            write_ended: false,
        })
    }

    /// Learns what has become of the handshake.
    fn settle(&mut self) {
        let Some(socket) = &self.socket else { return };
        match self.phase {
            Phase::ToBeTried => self.phase = begin(socket, &self.to),
            Phase::Connecting => match socket.take_error() {
                Ok(Some(error)) => self.phase = Phase::Failed(error.kind()),
                Ok(None) if socket.peer_addr().is_ok() => self.phase = Phase::Open,
                _ => {}
            },
            Phase::Open | Phase::Failed(_) => {}
        }
    }

    fn broke(&mut self, error: &io::Error) {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::Interrupted => {}
            // The other side has closed in good order: what it sent can still be read.
            ErrorKind::BrokenPipe => self.write_ended = true,
            _ => self.reset = true,
        }
    }
}

impl Played for SocketPeer {
    fn send(&mut self, bytes: &[u8]) -> usize {
        let Some(mut socket) = self.socket.as_ref() else { return 0 };
        let mut sent = 0;
        while sent < bytes.len() {
            match socket.write(&bytes[sent..]) {
                Ok(count) => sent += count,
                Err(error) => {
                    self.broke(&error);
                    break;
                }
            }
        }
        sent
    }

    fn take_received(&mut self) -> Vec<u8> {
        let mut received = Vec::new();
        if !self.reading || self.phase != Phase::Open || self.eof {
            return received;
        }
        let Some(mut socket) = self.socket.as_ref() else { return received };
        received.resize(self.read_most, 0);
        match socket.read(&mut received) {
            Ok(count) => {
                self.eof = count == 0;
                received.truncate(count);
            }
            Err(error) => {
                received.clear();
                self.broke(&error);
            }
        }
        received
    }

    fn stop_reading(&mut self) {
        self.reading = false;
    }

    fn resume_reading(&mut self) {
        self.reading = true;
    }

    fn shutdown_write(&mut self) {
        self.write_ended = true;
        if let Some(socket) = &self.socket {
            // After a reset there is nothing left to end.
            let _ = socket.shutdown(Shutdown::Write);
        }
    }

    fn reset(&mut self) {
        if let Some(socket) = self.socket.take() {
            // A unix socket knows no resets, and takes the option without an effect.
            let _ = socket.set_linger(Some(Duration::ZERO));
        }
    }

    fn close(&mut self) {
        self.socket = None;
    }

    fn is_connected(&mut self) -> bool {
        self.settle();
        self.phase == Phase::Open && self.socket.is_some() && !self.reset
    }

    fn connect_error(&mut self) -> Option<ErrorKind> {
        self.settle();
        match self.phase {
            Phase::Failed(kind) => Some(kind),
            _ => None,
        }
    }

    fn eof(&mut self) -> bool {
        self.eof
    }

    fn reset_seen(&mut self) -> bool {
        if let (Phase::Open, Some(socket)) = (self.phase, &self.socket)
            && let Ok(Some(error)) = socket.take_error()
        {
            self.broke(&error);
        }
        self.reset
    }

    fn write_ended(&mut self) -> bool {
        self.write_ended || self.socket.is_none()
    }

    fn local_addr(&self) -> Addr {
        self.local.clone()
    }
}

/// Errors that say how it ended, and any other, which says that it goes on.
fn begin(socket: &Socket, to: &SockAddr) -> Phase {
    match socket.connect(to).map_err(|error| error.kind()) {
        Ok(()) => Phase::Open,
        // connect(2): "For nonblocking UNIX domain sockets, .. the connection cannot be completed
        // immediately"; it has not begun.
        Err(ErrorKind::WouldBlock) if to.is_unix() => Phase::ToBeTried,
        Err(
            kind @ (ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::AddrNotAvailable
            | ErrorKind::NotFound),
        ) => Phase::Failed(kind),
        Err(_) => Phase::Connecting,
    }
}

fn local_of(socket: &Socket) -> io::Result<Addr> {
    let at = socket.local_addr()?.as_socket();
    at.map(Addr::Inet).ok_or_else(|| ErrorKind::AddrNotAvailable.into())
}

impl PlayedDatagrams for UdpSocket {
    fn send_to(&mut self, to: &Addr, payload: &[u8]) {
        // What finds no room is lost, as datagrams may be.
        let _ = UdpSocket::send_to(self, payload, inet(to));
    }

    fn receive(&mut self) -> Option<(Addr, Vec<u8>)> {
        let mut buffer = vec![0; DATAGRAM_MAX];
        let (count, from) = self.recv_from(&mut buffer).ok()?;
        buffer.truncate(count);
        Some((Addr::Inet(from), buffer))
    }
}

fn inet(at: &Addr) -> SocketAddr {
    match at {
        Addr::Inet(at) => *at,
        Addr::Unix(_) => panic!("datagrams go to inet addresses"),
    }
}

const DATAGRAM_MAX: usize = 2048;
