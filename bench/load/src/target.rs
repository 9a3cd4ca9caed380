//! Where the load goes: `tcp://HOST:PORT`, `tls://HOST:PORT`, `udp://HOST:PORT` or `unix:///path` (also
//! `unix:path`).

use std::fmt;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use rustix::net::sockopt;

use crate::Error;

/// The address of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A TCP server.
    Tcp(SocketAddr),
    /// A TLS server with the certificate of this workspace.
    Tls(SocketAddr),
    /// A datagram server.
    Udp(SocketAddr),
    /// A stream server at a path.
    Unix(PathBuf),
}

impl Target {
    /// A connected socket that does not block. TCP_NODELAY is on: a load generator that waits for
    /// acknowledgements measures Nagle's algorithm.
    pub(crate) fn dial(&self) -> Result<OwnedFd, Error> {
        let failed = || Error::io(format!("cannot connect to {self}"));
        Ok(match self {
            Self::Tcp(address) | Self::Tls(address) => {
                let stream = TcpStream::connect(address).map_err(failed())?;
                stream.set_nodelay(true).map_err(failed())?;
                reset_at_close(&stream).map_err(failed())?;
                stream.set_nonblocking(true).map_err(failed())?;
                stream.into()
            }
            Self::Unix(path) => {
                let stream = UnixStream::connect(path).map_err(failed())?;
                stream.set_nonblocking(true).map_err(failed())?;
                stream.into()
            }
            Self::Udp(address) => {
                let any: SocketAddr = if address.is_ipv4() {
                    ([0, 0, 0, 0], 0).into()
                } else {
                    ([0_u16; 8], 0).into()
                };
                let socket = UdpSocket::bind(any).map_err(failed())?;
                socket.connect(address).map_err(failed())?;
                socket.set_nonblocking(true).map_err(failed())?;
                socket.into()
            }
        })
    }
}

/// Lets no port wait in TIME_WAIT: the next run wants many.
pub(crate) fn reset_at_close(socket: impl AsFd) -> std::io::Result<()> {
    Ok(sockopt::set_socket_linger(socket, Some(Duration::ZERO))?)
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix(path.strip_prefix("//").unwrap_or(path).into()));
        }
        let (scheme, rest) = text.split_once("://").unwrap_or(("tcp", text));
        let make: fn(SocketAddr) -> Self = match scheme {
            "tcp" => Self::Tcp,
            "tls" => Self::Tls,
            "udp" => Self::Udp,
            _ => return Err(format!("unknown scheme `{scheme}`; allowed: tcp, tls, udp, unix")),
        };
        let mut addresses = rest
            .to_socket_addrs()
            .map_err(|error| format!("`{rest}` is not HOST:PORT: {error}"))?;
        addresses.next().map(make).ok_or_else(|| format!("`{rest}` has no address"))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Tls(address) => write!(f, "tls://{address}"),
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
        for text in
            ["tcp://127.0.0.1:80", "tls://127.0.0.1:443", "udp://[::1]:9", "unix:///run/x.sock"]
        {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        assert_eq!("127.0.0.1:80".parse::<Target>().unwrap().to_string(), "tcp://127.0.0.1:80");
        assert_eq!("unix:a".parse::<Target>().unwrap(), Target::Unix("a".into()));
    }

    #[test]
    fn an_unknown_scheme_is_named_with_what_is_allowed() {
        let error = "quic://127.0.0.1:1".parse::<Target>().unwrap_err();
        assert_eq!(error, "unknown scheme `quic`; allowed: tcp, tls, udp, unix");
        assert!("tcp://127.0.0.1".parse::<Target>().is_err());
    }
}
