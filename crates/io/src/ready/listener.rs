//! Listening sockets: opening them, accepting, and resting when the system has no more to give.

use super::settings;
use super::stream::Served;
#[cfg(unix)]
use super::unix_path::SocketFile;
#[cfg(unix)]
use crate::UnixAddr;
use crate::codes::is_unknown_family;
use crate::taken::open_when_free;
use crate::{Accepted, Addr, Key, ListenOptions, OwnedStream, Sink, SocketOptions};
use mio::net::TcpListener;
#[cfg(unix)]
use mio::net::UnixListener;
use mio::{Interest, Registry, Token, event::Source};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

/// How many connections the kernel keeps ready for a slow loop, unless it allows fewer.
const BACKLOG: u32 = 4096;
/// The first rest after a failed accept; each further one doubles it.
const SHORTEST_REST: Duration = Duration::from_millis(10);
/// D9: accepting resumes within a second of relief.
const LONGEST_REST: Duration = Duration::from_millis(500);
/// This many connections in a row that abort before they are accepted are no accident: rest too.
const ABORTS_IN_A_ROW: u32 = 16;

/// A listening socket of a driver.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: ListenerSocket,
    options: SocketOptions,
    /// What `accepted` tells as the local address, unless the listener is bound to a wildcard.
    local: Option<Addr>,
    rests: Rests,
}

/// When a listener tries again after failed accepts (D9).
#[derive(Debug)]
struct Rests {
    next: Duration,
    until: Option<Instant>,
    aborts: u32,
}

#[derive(Debug)]
enum ListenerSocket {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix {
        socket: UnixListener,
        /// `None` for a name that is not in the file system.
        _file: Option<SocketFile>,
    },
}

impl Listener {
    /// Opens a listening socket and returns it with its bound address.
    pub(crate) fn open(at: &Addr, options: &ListenOptions) -> io::Result<(Self, Addr)> {
        let (socket, bound, local) = match at {
            Addr::Inet(at) => open_when_free(|| open_tcp(*at, options))?,
            #[cfg(unix)]
            Addr::Unix(at) => open_when_free(|| open_unix(at, options))?,
            #[cfg(not(unix))]
            Addr::Unix(_) => return Err(ErrorKind::Unsupported.into()),
        };
        let options = options.socket.clone();
        let rests = Rests { next: SHORTEST_REST, until: None, aborts: 0 };
        Ok((Self { socket, options, local, rests }, bound))
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn as_raw_fd(&self) -> std::os::fd::RawFd {
        use std::os::fd::AsRawFd as _;
        match &self.socket {
            ListenerSocket::Tcp(socket) => socket.as_raw_fd(),
            ListenerSocket::Unix { socket, .. } => socket.as_raw_fd(),
        }
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match &mut self.socket {
            ListenerSocket::Tcp(socket) => socket.register(registry, token, Interest::READABLE),
            #[cfg(unix)]
            ListenerSocket::Unix { socket, .. } => {
                socket.register(registry, token, Interest::READABLE)
            }
        }
    }

    /// When it tries again, if it rests.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.rests.until
    }

    /// It tries again.
    pub(crate) fn end_rest(&mut self) {
        self.rests.until = None;
    }

    /// An accept succeeded.
    pub(crate) fn note_success(&mut self) {
        (self.rests.next, self.rests.aborts) = (SHORTEST_REST, 0);
    }

    /// An accept failed with `error`. Returns whether a rest is due, which then begins.
    pub(crate) fn note_failure(&mut self, error: &io::Error, now: Instant) -> bool {
        let rests = &mut self.rests;
        rests.aborts += 1;
        let rest_is_due = !is_of_one_connection(error) || rests.aborts >= ABORTS_IN_A_ROW;
        if rest_is_due {
            rests.until = Some(now + rests.next);
            rests.next = (rests.next * 2).min(LONGEST_REST);
        }
        rest_is_due
    }

    /// Accepts until nobody waits, the budget is used up, or a rest is due.
    pub(super) fn serve(
        &mut self,
        key: Key,
        budget: &mut usize,
        now: Instant,
        sink: &mut impl Sink,
    ) -> Served {
        self.end_rest();
        loop {
            if *budget == 0 {
                return Served::Again;
            }
            match self.accept() {
                Ok(accepted) => {
                    self.note_success();
                    sink.accepted(key, accepted);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Served::Idle,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    let rest_is_due = self.note_failure(&error, now);
                    sink.accept_failed(key, error);
                    if rest_is_due {
                        return Served::Idle;
                    }
                }
            }
            *budget -= 1;
        }
    }

    fn accept(&self) -> io::Result<Accepted> {
        match &self.socket {
            ListenerSocket::Tcp(socket) => {
                let (stream, peer) = socket.accept()?;
                let stream = std::net::TcpStream::from(stream);
                self.take_in_tcp(stream, peer)
            }
            #[cfg(unix)]
            ListenerSocket::Unix { socket, .. } => {
                let (stream, peer) = socket.accept()?;
                self.take_in_unix(stream.into(), peer.into())
            }
        }
    }

    /// What the kernel has accepted from this listener's queue by itself.
    #[cfg(target_os = "linux")]
    pub(crate) fn take_in(&self, accepted: std::os::fd::OwnedFd) -> io::Result<Accepted> {
        // Asking for the peer fails only where the connection is gone already.
        let gone = |_| io::Error::from(ErrorKind::ConnectionAborted);
        match &self.socket {
            ListenerSocket::Tcp(_) => {
                let stream = std::net::TcpStream::from(accepted);
                let peer = stream.peer_addr().map_err(gone)?;
                self.take_in_tcp(stream, peer)
            }
            ListenerSocket::Unix { .. } => {
                let stream = std::os::unix::net::UnixStream::from(accepted);
                let peer = stream.peer_addr().map_err(gone)?;
                self.take_in_unix(stream, peer.into())
            }
        }
    }

    fn take_in_tcp(&self, stream: std::net::TcpStream, peer: SocketAddr) -> io::Result<Accepted> {
        if !settings::INHERITED
            && let Err(error) = settings::apply(&SockRef::from(&stream), &self.options, true)
        {
            tracing::debug!(%error, "an accepted socket refused an option");
        }
        let local = match &self.local {
            Some(local) => local.clone(),
            // Fails only where the connection is gone already.
            None => {
                let local = stream.local_addr().map_err(|_| ErrorKind::ConnectionAborted)?;
                super::plain(local)
            }
        };
        Ok(Accepted { stream: OwnedStream::Tcp(stream), peer: super::plain(peer), local })
    }

    #[cfg(unix)]
    fn take_in_unix(
        &self,
        stream: std::os::unix::net::UnixStream,
        peer: Addr,
    ) -> io::Result<Accepted> {
        let local = match &self.local {
            Some(local) => local.clone(),
            None => stream.local_addr().map(Addr::from)?,
        };
        Ok(Accepted { stream: OwnedStream::Unix(stream), peer, local })
    }
}

/// Opens a socket of `kind` bound to `at`, ready to listen or to receive.
///
/// Where the system has no IPv6 at all, the unspecified address means that of IPv4: whoever asks
/// for "every address" gets every one there is.
pub(super) fn open_bound(
    at: SocketAddr,
    kind: Type,
    options: &ListenOptions,
) -> io::Result<Socket> {
    match open_bound_exactly(at, kind, options) {
        Err(error)
            if lacks_ipv6(&error) && at.ip() == IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED) =>
        {
            if options.ipv6only == Some(true) {
                return Err(error);
            }
            let at = SocketAddr::from((Ipv4Addr::UNSPECIFIED, at.port()));
            open_bound_exactly(at, kind, options)
        }
        other => other,
    }
}

fn open_bound_exactly(at: SocketAddr, kind: Type, options: &ListenOptions) -> io::Result<Socket> {
    let stream = kind == Type::STREAM;
    let protocol = if stream { Protocol::TCP } else { Protocol::UDP };
    let socket = Socket::new(Domain::for_address(at), kind, Some(protocol))?;
    socket.set_nonblocking(true)?;
    // Elsewhere the option would let two servers share the port without knowing it.
    if cfg!(unix) && stream {
        socket.set_reuse_address(true)?;
    }
    if options.reuseport == Some(true) {
        set_reuse_port(&socket)?;
    }
    if at.is_ipv6() {
        socket.set_only_v6(options.ipv6only.unwrap_or(false))?;
    }
    // Before `listen`: the window scale is told in the handshake.
    settings::apply(&SockRef::from(&socket), &options.socket, stream)?;
    socket.bind(&at.into())?;
    Ok(socket)
}

#[cfg(all(unix, not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin"))))]
fn set_reuse_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

#[cfg(not(all(
    unix,
    not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin"))
)))]
fn set_reuse_port(_: &Socket) -> io::Result<()> {
    Err(io::Error::new(ErrorKind::Unsupported, "this system cannot share a port (reuseport)"))
}

fn lacks_ipv6(error: &io::Error) -> bool {
    is_unknown_family(error) || error.kind() == ErrorKind::AddrNotAvailable
}

fn backlog(options: &ListenOptions) -> i32 {
    i32::try_from(options.backlog.unwrap_or(BACKLOG)).unwrap_or(i32::MAX)
}

fn open_tcp(
    at: SocketAddr,
    options: &ListenOptions,
) -> io::Result<(ListenerSocket, Addr, Option<Addr>)> {
    let socket = open_bound(at, Type::STREAM, options)?;
    socket.listen(backlog(options))?;
    let socket = TcpListener::from_std(socket.into());
    let bound = socket.local_addr()?;
    let local = (!bound.ip().is_unspecified()).then(|| super::plain(bound));
    Ok((ListenerSocket::Tcp(socket), Addr::Inet(bound), local))
}

#[cfg(unix)]
fn open_unix(
    at: &UnixAddr,
    options: &ListenOptions,
) -> io::Result<(ListenerSocket, Addr, Option<Addr>)> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    settings::apply(&SockRef::from(&socket), &options.socket, false)?;
    let file = SocketFile::bind(&socket, at)?;
    socket.listen(backlog(options))?;
    let socket = UnixListener::from_std(socket.into());
    let listener = ListenerSocket::Unix { socket, _file: file };
    let at = Addr::Unix(at.clone());
    Ok((listener, at.clone(), Some(at)))
}

/// Whether the error is that of the connection taken off the queue, and the next may be well.
///
/// accept(2): "Linux accept() passes already-pending network errors on the new socket as an error
/// code from accept(). [..] For reliable operation the application should detect the network errors
/// defined for the protocol after accept() and treat them like EAGAIN by retrying."
fn is_of_one_connection(error: &io::Error) -> bool {
    #[cfg(unix)]
    {
        let Some(code) = error.raw_os_error() else {
            return true;
        };
        matches!(
            code,
            libc::ECONNABORTED
                | libc::ECONNRESET
                | libc::EPERM
                | libc::EPROTO
                | libc::ENETDOWN
                | libc::ENETUNREACH
                | libc::EHOSTDOWN
                | libc::EHOSTUNREACH
                | libc::ENOPROTOOPT
                | libc::EOPNOTSUPP
                | libc::ETIMEDOUT
        )
    }
    #[cfg(not(unix))]
    {
        matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset)
    }
}
