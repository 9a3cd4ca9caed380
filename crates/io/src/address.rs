//! The one address grammar, and where a socket really is.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, ToSocketAddrs};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use crate::ListenOptions;
use crate::options::write_options;

pub use error::{AddressError, AddressFault};
pub use tls::{ClientAuth, TlsOptions};

mod error;
mod parse;
pub(crate) mod tls;

/// Where to listen, or whom to dial: a scheme, a place, and options.
///
/// ```text
/// [scheme://] place [?option=value[&option=value]..] [#listen|#dial]
///
/// scheme   tcp tcp4 tcp6 tls udp udp4 udp6 unix        without one: tcp; in upper or lower case
/// place    host:port   127.0.0.1:80   [::1]:80   :80   no host: any address; port 0: the system chooses
///          (nothing)                                   tcp:// and the like: any address, any port
///          /run/x.sock   x.sock   @name                unix: a path; on Linux also an abstract name
/// ```
///
/// Bytes of a unix path that have a meaning here are written as `%` and two hexadecimal digits:
/// `%`, `?`, `#`, an `@` in front, and what is not UTF-8. The scope of a link-local address is a
/// number, `[fe80::1%2]:80`.
///
/// | option | for | values |
/// |---|---|---|
/// | `reuseport` | tcp, udp | boolean |
/// | `backlog` | tcp, unix | 1 to 65535 |
/// | `ipv6only` | tcp, tcp6, udp, udp6 | boolean |
/// | `nodelay` | tcp | boolean |
/// | `keepalive` | tcp | seconds or a duration; `0` and `off` mean none |
/// | `keepalive_interval`, `keepalive_count` | tcp with `keepalive` | seconds or a duration; 1 to 127 |
/// | `rcvbuf`, `sndbuf` | all | bytes; with `k` or `m`, KiB or MiB |
/// | `linger` | tcp | seconds or a duration, `0` to reset; `off` |
/// | `gso`, `gro` | udp | boolean |
/// | `cert`, `key`, `ca`, `crl` | tls | paths of PEM files, separated by commas |
/// | `client_auth` | tls | `none`, `optional`, `required` |
/// | `alpn`, `server_name` | tls | protocols, separated by commas; a name |
///
/// tcp stands for tcp4, tcp6 and tls too, and udp for udp4 and udp6. A boolean is `true`, `false`, `1`, `0`,
/// `yes`, `no`, `on` or `off` in upper or lower case; a duration is a whole number with `ms`, `s`,
/// `m` or `h`. What each option does, and its default, stands at [`ListenOptions`].
///
/// Anything unknown, repeated or misplaced is an [`AddressError`] that names what is allowed.
/// `Display` writes the address so that it parses to an equal one.
///
/// ```
/// use mainspring_io::{Address, Scheme};
///
/// let address: Address = "localhost:5000?reuseport=yes&keepalive=30s".parse()?;
/// assert_eq!(address.scheme(), Scheme::Tcp);
/// assert_eq!(address.listen_options().reuseport, Some(true));
/// assert_eq!(address.to_string(), "tcp://localhost:5000?reuseport=true&keepalive=30s");
/// # Ok::<(), mainspring_io::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Address {
    scheme: Scheme,
    place: Place,
    options: ListenOptions,
    /// Of a `tls://` address only.
    tls: Option<Box<TlsOptions>>,
    role: Option<Role>,
}

#[derive(Clone, Debug, PartialEq)]
enum Place {
    Any { port: u16 },
    Literal(SocketAddr),
    Name { host: Box<str>, port: u16 },
    Unix(UnixAddr),
}

/// How an address is reached. Other parts of the system add theirs later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scheme {
    /// A byte stream over TCP, on IPv4 or IPv6.
    Tcp,
    /// TCP on IPv4 only.
    Tcp4,
    /// TCP on IPv6 only, unless an IPv6 socket serves IPv4 peers too (`ipv6only`).
    Tcp6,
    /// TLS over TCP. The layer for it comes from `mainspring-tls`, which listens and dials there.
    Tls,
    /// Datagrams over UDP, on IPv4 or IPv6.
    Udp,
    /// UDP on IPv4 only.
    Udp4,
    /// UDP on IPv6 only, unless an IPv6 socket serves IPv4 peers too (`ipv6only`).
    Udp6,
    /// A byte stream over a unix socket.
    Unix,
}

/// What an address is for, where one text may mean either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// `#listen`: wait there for others.
    Listen,
    /// `#dial`: connect to it.
    Dial,
}

/// Where a socket really is. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Addr {
    /// An IP address and a port.
    Inet(SocketAddr),
    /// The name of a unix socket.
    Unix(UnixAddr),
}

const _: () = assert!(size_of::<Addr>() <= 40);

/// The name of a unix socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum UnixAddr {
    /// A path in the file system.
    Path(Arc<Path>),
    /// A name in Linux' abstract namespace, without the zero byte in front.
    Abstract(Arc<[u8]>),
    /// None, as the dialling side of a connection commonly has.
    Unnamed,
}

impl Address {
    /// The TCP socket at an IP address and port. Flow information of IPv6 is dropped.
    #[must_use]
    pub fn tcp(at: SocketAddr) -> Self {
        Self::at(Scheme::Tcp, Place::Literal(without_flow(at)))
    }

    /// The UDP socket at an IP address and port. Flow information of IPv6 is dropped.
    #[must_use]
    pub fn udp(at: SocketAddr) -> Self {
        Self::at(Scheme::Udp, Place::Literal(without_flow(at)))
    }

    /// The unix socket at a path, taken as it is: an `@` in front has no meaning here. A path that
    /// cannot name a socket, such as an empty one, is an error when the socket is opened.
    #[must_use]
    pub fn unix(path: impl AsRef<Path>) -> Self {
        Self::at(Scheme::Unix, Place::Unix(UnixAddr::Path(path.as_ref().into())))
    }

    fn at(scheme: Scheme, place: Place) -> Self {
        Self { scheme, place, options: ListenOptions::default(), tls: None, role: None }
    }

    /// How it is reached.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The options that the text carried. One who dials takes [`ListenOptions::socket`] of them.
    #[must_use]
    pub fn listen_options(&self) -> &ListenOptions {
        &self.options
    }

    /// What a `tls://` address says beyond its socket; `None` for the other schemes.
    #[must_use]
    pub fn tls_options(&self) -> Option<&TlsOptions> {
        self.tls.as_deref()
    }

    /// The address of the socket below: for `tls://` the same place and options with tcp, for the
    /// others the address itself.
    #[must_use]
    pub fn transport(&self) -> Self {
        let scheme = if self.scheme == Scheme::Tls { Scheme::Tcp } else { self.scheme };
        Self { scheme, tls: None, ..self.clone() }
    }

    /// What the address is for, if it says so.
    #[must_use]
    pub fn role(&self) -> Option<Role> {
        self.role
    }

    /// The host as written, without brackets; `None` when it is left out, and for unix sockets.
    #[must_use]
    pub fn host(&self) -> Option<String> {
        match &self.place {
            Place::Literal(at) => Some(at.ip().to_string()),
            Place::Name { host, .. } => Some(host.to_string()),
            Place::Any { .. } | Place::Unix(_) => None,
        }
    }

    /// The port, 0 when the system is to choose; `None` for unix sockets.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match &self.place {
            Place::Any { port } | Place::Name { port, .. } => Some(*port),
            Place::Literal(at) => Some(at.port()),
            Place::Unix(_) => None,
        }
    }

    /// Whether it carries datagrams and not a byte stream.
    #[must_use]
    pub fn is_datagram(&self) -> bool {
        self.scheme.is_datagram()
    }

    /// Whether [`resolve`](Address::resolve) answers at once: there is no name to look up.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        !matches!(self.place, Place::Name { .. })
    }

    /// The addresses it stands for, in the resolver's order and each once; never an empty list.
    ///
    /// A literal address and a unix name stand for themselves. No host stands for the unspecified
    /// address: `0.0.0.0` for `tcp4` and `udp4`, else `[::]`, on which a listener serves IPv4 as
    /// well unless `ipv6only` is on (where the host has no IPv6, it is the driver that falls back
    /// to `0.0.0.0`). A name gives its addresses of the scheme's family.
    ///
    /// A name is looked up by the system, which **blocks**: do it at set-up or on the offload pool,
    /// never on a running loop. [`is_literal`](Address::is_literal) tells.
    ///
    /// # Errors
    ///
    /// What the resolver says, and `NotFound` when the name has no address of the scheme's family.
    pub fn resolve(&self) -> io::Result<Vec<Addr>> {
        let (host, port) = match &self.place {
            Place::Unix(name) => return Ok(vec![Addr::Unix(name.clone())]),
            Place::Literal(at) => return Ok(vec![Addr::Inet(*at)]),
            Place::Any { port } => {
                let ip = self.scheme.unspecified();
                return Ok(vec![Addr::Inet(SocketAddr::new(ip, *port))]);
            }
            Place::Name { host, port } => (&**host, *port),
        };
        let mut found = Vec::new();
        for at in (host, port).to_socket_addrs()? {
            let addr = Addr::Inet(at);
            if self.scheme.takes(at.ip()) && !found.contains(&addr) {
                found.push(addr);
            }
        }
        if found.is_empty() {
            let reason = format!("{host:?} has no address that {} can use", self.scheme);
            return Err(io::Error::new(io::ErrorKind::NotFound, reason));
        }
        Ok(found)
    }
}

impl Scheme {
    const ALL: [Self; 8] = [
        Self::Tcp,
        Self::Tcp4,
        Self::Tcp6,
        Self::Tls,
        Self::Udp,
        Self::Udp4,
        Self::Udp6,
        Self::Unix,
    ];

    /// The name, as in an address.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tcp4 => "tcp4",
            Self::Tcp6 => "tcp6",
            Self::Tls => "tls",
            Self::Udp => "udp",
            Self::Udp4 => "udp4",
            Self::Udp6 => "udp6",
            Self::Unix => "unix",
        }
    }

    /// Whether it carries datagrams and not a byte stream.
    #[must_use]
    pub fn is_datagram(self) -> bool {
        matches!(self, Self::Udp | Self::Udp4 | Self::Udp6)
    }

    fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scheme| scheme.as_str().eq_ignore_ascii_case(name))
    }

    fn takes(self, ip: IpAddr) -> bool {
        match self {
            Self::Tcp | Self::Tls | Self::Udp => true,
            Self::Tcp4 | Self::Udp4 => ip.is_ipv4(),
            Self::Tcp6 | Self::Udp6 => ip.is_ipv6(),
            Self::Unix => false,
        }
    }

    fn unspecified(self) -> IpAddr {
        match self {
            Self::Tcp4 | Self::Udp4 => Ipv4Addr::UNSPECIFIED.into(),
            _ => Ipv6Addr::UNSPECIFIED.into(),
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        parse::parse(text)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme)?;
        match &self.place {
            Place::Any { port } => write!(f, ":{port}")?,
            Place::Literal(at) => write!(f, "{at}")?,
            Place::Name { host, port } => write!(f, "{host}:{port}")?,
            Place::Unix(name) => parse::write_unix(name, f)?,
        }
        write_options(&self.options, self.tls.as_deref(), f)?;
        match self.role {
            Some(Role::Listen) => f.write_str("#listen"),
            Some(Role::Dial) => f.write_str("#dial"),
            None => Ok(()),
        }
    }
}

impl TryFrom<&str> for Address {
    type Error = AddressError;

    fn try_from(text: &str) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl TryFrom<&String> for Address {
    type Error = AddressError;

    fn try_from(text: &String) -> Result<Self, AddressError> {
        text.parse()
    }
}

/// As [`Address::tcp`].
impl From<SocketAddr> for Address {
    fn from(at: SocketAddr) -> Self {
        Self::tcp(at)
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(at) => at.fmt(f),
            Self::Unix(name) => name.fmt(f),
        }
    }
}

/// A path as it is, an abstract name after an `@`, or `(unnamed)`.
impl fmt::Display for UnixAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Abstract(name) => write!(f, "@{}", String::from_utf8_lossy(name)),
            Self::Unnamed => f.write_str("(unnamed)"),
        }
    }
}

impl From<SocketAddr> for Addr {
    fn from(at: SocketAddr) -> Self {
        Self::Inet(at)
    }
}

#[cfg(unix)]
impl From<std::os::unix::net::SocketAddr> for Addr {
    fn from(at: std::os::unix::net::SocketAddr) -> Self {
        if let Some(path) = at.as_pathname() {
            return Self::Unix(UnixAddr::Path(path.into()));
        }
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Some(name) = abstract_name(&at) {
            return Self::Unix(UnixAddr::Abstract(name.into()));
        }
        Self::Unix(UnixAddr::Unnamed)
    }
}

#[cfg(target_os = "linux")]
fn abstract_name(at: &std::os::unix::net::SocketAddr) -> Option<&[u8]> {
    std::os::linux::net::SocketAddrExt::as_abstract_name(at)
}

#[cfg(target_os = "android")]
fn abstract_name(at: &std::os::unix::net::SocketAddr) -> Option<&[u8]> {
    std::os::android::net::SocketAddrExt::as_abstract_name(at)
}

/// Text has no place for flow information.
fn without_flow(at: SocketAddr) -> SocketAddr {
    match at {
        SocketAddr::V6(at) => SocketAddrV6::new(*at.ip(), at.port(), 0, at.scope_id()).into(),
        SocketAddr::V4(_) => at,
    }
}

#[cfg(test)]
mod tests;
