//! Listening sockets: opening them, accepting, and resting when the system has no more to give.

use super::settings;
use super::stream::Served;
#[cfg(unix)]
use super::unix_path::SocketFile;
#[cfg(unix)]
use crate::UnixAddr;
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

/// A listening socket of the driver.
#[derive(Debug)]
pub(super) struct Listener {
    socket: ListenerSocket,
    options: SocketOptions,
    /// What `accepted` tells as the local address, unless the listener is bound to a wildcard.
    local: Option<Addr>,
    rest: Duration,
    retry_at: Option<Instant>,
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
    pub(super) fn open(at: &Addr, options: &ListenOptions) -> io::Result<(Self, Addr)> {
        let (socket, bound, local) = match at {
            Addr::Inet(at) => open_tcp(*at, options)?,
            #[cfg(unix)]
            Addr::Unix(at) => open_unix(at, options)?,
            #[cfg(not(unix))]
            Addr::Unix(_) => return Err(ErrorKind::Unsupported.into()),
        };
        let options = options.socket.clone();
        let rest = SHORTEST_REST;
        Ok((Self { socket, options, local, rest, retry_at: None, aborts: 0 }, bound))
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
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Accepts until nobody waits, the budget is used up, or a rest is due.
    pub(super) fn serve(
        &mut self,
        key: Key,
        budget: &mut usize,
        now: Instant,
        sink: &mut impl Sink,
    ) -> Served {
        self.retry_at = None;
        loop {
            if *budget == 0 {
                return Served::Again;
            }
            match self.accept() {
                Ok(accepted) => {
                    (self.rest, self.aborts) = (SHORTEST_REST, 0);
                    sink.accepted(key, accepted);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Served::Idle,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    let concerns_one = is_of_one_connection(&error);
                    sink.accept_failed(key, error);
                    self.aborts += 1;
                    if !concerns_one || self.aborts >= ABORTS_IN_A_ROW {
                        self.retry_at = Some(now + self.rest);
                        self.rest = (self.rest * 2).min(LONGEST_REST);
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
                if !settings::INHERITED
                    && let Err(error) =
                        settings::apply(&SockRef::from(&stream), &self.options, true)
                {
                    tracing::debug!(%error, "an accepted socket refused an option");
                }
                let local = match &self.local {
                    Some(local) => local.clone(),
                    // Fails only where the connection is gone already.
                    None => stream
                        .local_addr()
                        .map(super::plain)
                        .map_err(|_| ErrorKind::ConnectionAborted)?,
                };
                let stream = OwnedStream::Tcp(stream.into());
                Ok(Accepted { stream, peer: super::plain(peer), local })
            }
            #[cfg(unix)]
            ListenerSocket::Unix { socket, .. } => {
                let (stream, peer) = socket.accept()?;
                let local = match &self.local {
                    Some(local) => local.clone(),
                    None => stream.local_addr().map(Addr::from)?,
                };
                Ok(Accepted { stream: OwnedStream::Unix(stream.into()), peer: peer.into(), local })
            }
        }
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
    #[cfg(unix)]
    let no_family = error.raw_os_error() == Some(libc::EAFNOSUPPORT);
    #[cfg(not(unix))]
    let no_family = false;
    no_family || error.kind() == ErrorKind::AddrNotAvailable
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
