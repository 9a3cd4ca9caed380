//! The two addresses of a connection, kept small.

use mainspring_io::Addr;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

/// Where a connection comes from and where it ends here.
///
/// Most connections are between IPv4 addresses, and for those nothing is allocated: two [`Addr`]s
/// would be the larger part of what the loop keeps for an idle connection.
pub(crate) enum Ends {
    V4 { peer: SocketAddrV4, local: SocketAddrV4 },
    Other(Box<(Addr, Addr)>),
}

const _: () = assert!(size_of::<Ends>() <= 16);

impl Ends {
    pub(crate) fn new(peer: Addr, local: Addr) -> Self {
        match (peer, local) {
            (Addr::Inet(SocketAddr::V4(peer)), Addr::Inet(SocketAddr::V4(local))) => {
                Self::V4 { peer, local }
            }
            other => Self::Other(Box::new(other)),
        }
    }

    /// Of a connection that is not up and has tried no address yet.
    pub(crate) fn unspecified() -> Self {
        let nowhere = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
        Self::V4 { peer: nowhere, local: nowhere }
    }

    /// The other end.
    pub(crate) fn peer(&self) -> Addr {
        match self {
            Self::V4 { peer, .. } => Addr::Inet((*peer).into()),
            Self::Other(ends) => ends.0.clone(),
        }
    }

    /// This end.
    pub(crate) fn local(&self) -> Addr {
        match self {
            Self::V4 { local, .. } => Addr::Inet((*local).into()),
            Self::Other(ends) => ends.1.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainspring_io::UnixAddr;

    #[test]
    fn addresses_come_out_as_they_went_in() {
        let inet = |text: &str| Addr::Inet(text.parse().unwrap());
        let addrs = [inet("127.0.0.1:80"), inet("[fe80::1%3]:81"), Addr::Unix(UnixAddr::Unnamed)];
        for peer in &addrs {
            for local in &addrs {
                let ends = Ends::new(peer.clone(), local.clone());
                assert_eq!((&ends.peer(), &ends.local()), (peer, local));
            }
        }
    }
}
