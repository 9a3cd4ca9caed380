//! Addresses of a world: which are free, and which socket answers to which.
//!
//! Every inet address of a world is its own: there is one network and no routing, as on loopback.

use super::ports::EPHEMERAL_PORTS;
use super::{EPHEMERAL_PORT_FIRST, Net};
use mainspring_io::{Addr, ListenOptions, UnixAddr};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Whether other sockets may bind the same port.
pub(super) fn shares_port(options: &ListenOptions) -> bool {
    options.reuseport == Some(true)
}

/// Whether a socket bound to `at` answers to `to`. An unspecified IPv6 address takes IPv4 too,
/// whatever `ipv6only` says: no test has needed the difference yet.
pub(super) fn covers(at: &Addr, to: &Addr) -> bool {
    match (at, to) {
        (Addr::Inet(at), Addr::Inet(to)) => at.port() == to.port() && covers_ip(at.ip(), to.ip()),
        (at, to) => at == to,
    }
}

impl Net {
    /// The address that a listener gets for `at`.
    pub(super) fn bindable_stream(&mut self, at: &Addr, shared: bool) -> io::Result<Addr> {
        let at = with_port(at, |port| {
            self.wanted_or_free(port, Self::stream_port_taken).ok_or(io::ErrorKind::AddrInUse)
        })?;
        let mut others = self.listeners.values();
        refuse_if(others.any(|other| overlaps(&other.at, &at) && !(shared && other.shared_port)))?;
        Ok(at)
    }

    /// The address that a datagram socket gets for `at`.
    pub(super) fn bindable_datagram(&mut self, at: &Addr, shared: bool) -> io::Result<Addr> {
        if !matches!(at, Addr::Inet(_)) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let at = with_port(at, |port| {
            self.wanted_or_free(port, Self::datagram_port_taken).ok_or(io::ErrorKind::AddrInUse)
        })?;
        let mut others = self.sockets.values();
        refuse_if(
            others.any(|other| overlaps(&other.local, &at) && !(shared && other.shared_port)),
        )?;
        Ok(at)
    }

    /// The address that a connecting socket gets. A port serves once for each local address.
    ///
    /// connect(2), EADDRNOTAVAIL: "all port numbers in the ephemeral port range are currently in
    /// use".
    pub(super) fn local_address_towards(&mut self, to: &Addr) -> io::Result<Addr> {
        let Addr::Inet(to) = to else { return Ok(Addr::Unix(UnixAddr::Unnamed)) };
        let ip = if to.ip().is_unspecified() { loopback(to.ip()) } else { to.ip() };
        let taken = |net: &Self, port| net.listens_on(port) || net.ports.has(ip, port);
        let port = self.free_port(taken).ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Addr::Inet(SocketAddr::new(ip, port)))
    }

    /// What fails before any handshake: a unix address is asked for in the file system.
    pub(super) fn check_destination(&self, to: &Addr) -> io::Result<()> {
        match to {
            Addr::Unix(UnixAddr::Unnamed) => Err(io::ErrorKind::InvalidInput.into()),
            Addr::Inet(to) if to.port() == 0 => Err(io::ErrorKind::AddrNotAvailable.into()),
            _ => Ok(()),
        }
    }

    fn wanted_or_free(&mut self, wanted: u16, taken: impl Fn(&Self, u16) -> bool) -> Option<u16> {
        if wanted == 0 { self.free_port(taken) } else { Some(wanted) }
    }

    fn free_port(&mut self, taken: impl Fn(&Self, u16) -> bool) -> Option<u16> {
        for _ in 0..EPHEMERAL_PORTS {
            let port = self.port_next;
            self.port_next = port.checked_add(1).unwrap_or(EPHEMERAL_PORT_FIRST);
            if !taken(self, port) {
                return Some(port);
            }
        }
        None
    }

    fn stream_port_taken(&self, port: u16) -> bool {
        self.listens_on(port) || self.ports.has_port(port)
    }

    fn listens_on(&self, port: u16) -> bool {
        self.listeners.values().any(|listener| port_of(&listener.at) == Some(port))
    }

    fn datagram_port_taken(&self, port: u16) -> bool {
        self.sockets.values().any(|socket| port_of(&socket.local) == Some(port))
    }
}

/// The unspecified address as a peer would reach it.
pub(super) fn loopback(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}

pub(super) fn port_of(at: &Addr) -> Option<u16> {
    match at {
        Addr::Inet(at) => Some(at.port()),
        Addr::Unix(_) => None,
    }
}

fn covers_ip(at: IpAddr, to: IpAddr) -> bool {
    match at {
        IpAddr::V6(at) if at.is_unspecified() => true,
        IpAddr::V4(at) if at.is_unspecified() => to.is_ipv4(),
        at => at == to,
    }
}

fn overlaps(one: &Addr, other: &Addr) -> bool {
    covers(one, other) || covers(other, one)
}

fn with_port(
    at: &Addr,
    choose: impl FnOnce(u16) -> Result<u16, io::ErrorKind>,
) -> io::Result<Addr> {
    match at {
        Addr::Inet(at) => Ok(Addr::Inet(SocketAddr::new(at.ip(), choose(at.port())?))),
        Addr::Unix(UnixAddr::Unnamed) => Err(io::ErrorKind::InvalidInput.into()),
        Addr::Unix(_) => Ok(at.clone()),
    }
}

fn refuse_if(taken: bool) -> io::Result<()> {
    if taken { Err(io::ErrorKind::AddrInUse.into()) } else { Ok(()) }
}
