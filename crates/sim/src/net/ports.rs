//! Which local addresses the endpoints of connections have.

use super::EPHEMERAL_PORT_FIRST;
use mainspring_io::Addr;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Local addresses by port, with how many endpoints have each: a listener's is shared by all that
/// it has accepted.
///
/// A free port is looked for at every connect, also among a million endpoints.
#[derive(Debug, Default)]
pub(super) struct Ports {
    taken: BTreeMap<(u16, IpAddr), usize>,
}

impl Ports {
    /// An endpoint has this local address now.
    pub(super) fn take(&mut self, local: &Addr) {
        if let Addr::Inet(at) = local {
            *self.taken.entry(place(at)).or_default() += 1;
        }
    }

    /// An endpoint that had this local address is gone.
    pub(super) fn give_back(&mut self, local: &Addr) {
        let Addr::Inet(at) = local else { return };
        if let Entry::Occupied(mut count) = self.taken.entry(place(at)) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }

    /// Whether an endpoint has this port, at any address.
    pub(super) fn has_port(&self, port: u16) -> bool {
        // V4 addresses are ordered before those of V6.
        let least = IpAddr::V4(Ipv4Addr::from_bits(0));
        let greatest = IpAddr::V6(Ipv6Addr::from_bits(u128::MAX));
        self.taken.range((port, least)..=(port, greatest)).next().is_some()
    }

    /// Whether an endpoint has this port at this address.
    pub(super) fn has(&self, ip: IpAddr, port: u16) -> bool {
        self.taken.contains_key(&(port, ip))
    }
}

/// How many ports there are to choose from.
pub(super) const EPHEMERAL_PORTS: usize = (u16::MAX - EPHEMERAL_PORT_FIRST) as usize + 1;

fn place(at: &SocketAddr) -> (u16, IpAddr) {
    (at.port(), at.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_taken_until_its_last_endpoint_is_gone() {
        let inet = |text: &str| Addr::Inet(text.parse().unwrap());
        let (one, other) = (inet("127.0.0.1:50000"), inet("[::1]:50000"));
        let mut ports = Ports::default();
        for at in [&one, &one, &other] {
            ports.take(at);
        }
        ports.give_back(&one);
        assert!(ports.has(IpAddr::V4(Ipv4Addr::LOCALHOST), 50_000));
        ports.give_back(&one);
        assert!(!ports.has(IpAddr::V4(Ipv4Addr::LOCALHOST), 50_000));
        assert!(ports.has_port(50_000) && !ports.has_port(50_001));
        ports.give_back(&other);
        assert!(!ports.has_port(50_000));
    }
}
