//! Addresses to listen on, and the line that says where.

use std::fmt;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::str::FromStr;

use rustix::net::sockopt;

/// Connections that may wait to be accepted: std asks for fewer than a generator of idle ones makes
/// at once.
const BACKLOG: i32 = 4096;
/// Bytes of datagrams that may wait, as the kernel counts: several hundred for one of 64 bytes. With
/// what it gives by itself, some 270 small ones find room.
const DATAGRAMS_SIZE: usize = 4 << 20;

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    Udp(SocketAddr),
    Unix(PathBuf),
}

/// A stream listener of either kind.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Binds and says so.
    pub(crate) fn bind(name: &str, address: &Address) -> io::Result<Self> {
        match address {
            Address::Tcp(_) => Ok(Self::Tcp(bind_tcp(name, address)?)),
            Address::Unix(path) => {
                let listener = UnixListener::bind(path)?;
                rustix::net::listen(&listener, BACKLOG)?;
                announce(name, address)?;
                Ok(Self::Unix(listener))
            }
            Address::Udp(_) => Err(refused(address, "tcp, unix")),
        }
    }

    pub(crate) fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Self::Tcp(listener) => listener.set_nonblocking(true),
            Self::Unix(listener) => listener.set_nonblocking(true),
        }
    }
}

/// For servers that know only TCP.
pub(crate) fn bind_tcp(name: &str, address: &Address) -> io::Result<TcpListener> {
    let Address::Tcp(socket) = address else { return Err(refused(address, "tcp")) };
    let listener = TcpListener::bind(socket)?;
    rustix::net::listen(&listener, BACKLOG)?;
    announce(name, &Address::Tcp(listener.local_addr()?))?;
    Ok(listener)
}

/// For servers that know only UDP.
pub(crate) fn bind_udp(name: &str, address: &Address) -> io::Result<UdpSocket> {
    let Address::Udp(socket) = address else { return Err(refused(address, "udp")) };
    let socket = UdpSocket::bind(socket)?;
    // The kernel takes it for its maximum if that is less.
    sockopt::set_socket_recv_buffer_size(&socket, DATAGRAMS_SIZE)?;
    announce(name, &Address::Udp(socket.local_addr()?))?;
    Ok(socket)
}

/// Says that clients may come.
pub(crate) fn announce(name: &str, address: &Address) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{name}: ready on {address}")?;
    out.flush()
}

pub(crate) fn refused(address: &Address, allowed: &str) -> io::Error {
    io::Error::other(format!("this server cannot listen on {address}; allowed: {allowed}"))
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix(path.strip_prefix("//").unwrap_or(path).into()));
        }
        let (scheme, rest) = text.split_once("://").unwrap_or(("tcp", text));
        let socket = |rest: &str| {
            rest.parse().map_err(|error| format!("`{rest}` is not an IP address and port: {error}"))
        };
        match scheme {
            "tcp" => Ok(Self::Tcp(socket(rest)?)),
            "udp" => Ok(Self::Udp(socket(rest)?)),
            _ => Err(format!("unknown scheme `{scheme}`; allowed: tcp, udp, unix")),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Udp(address) => write!(f, "udp://{address}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written_alike() {
        for text in ["tcp://127.0.0.1:0", "udp://[::1]:9", "unix:///run/x.sock"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        let error = "sctp://127.0.0.1:0".parse::<Address>().unwrap_err();
        assert!(error.contains("allowed: tcp, udp, unix"), "{error}");
    }

    #[test]
    fn a_server_refuses_an_address_of_another_kind() {
        let error = bind_tcp("x", &Address::Unix("y".into())).unwrap_err();
        assert!(error.to_string().contains("allowed: tcp"), "{error}");
    }
}
