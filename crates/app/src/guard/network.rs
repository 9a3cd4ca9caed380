//! Networks of IP addresses, and sets of them.

use crate::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A network in CIDR notation (RFC 4632, RFC 4291), or a single address.
///
/// IPv4-mapped IPv6 addresses (`::ffff:a.b.c.d`) count as the IPv4 addresses that they stand for,
/// here and wherever an address is looked up: `::/0` is all of IPv6 and nothing of IPv4.
///
/// # Examples
///
/// ```
/// use mainspring_app::guard::Network;
///
/// let network: Network = "10.0.0.0/8".parse()?;
/// assert!(network.contains("::ffff:10.1.2.3".parse()?));
/// assert!("10.0.0.1/8".parse::<Network>().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// What is wrong with the text of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NetworkFault {
    /// What stands in front of the slash, or alone, is no IP address.
    Address,
    /// What stands behind the slash is no number from 0 to the bits of the address.
    Prefix {
        /// 32 or 128.
        max: u8,
    },
    /// Bits are set behind the prefix.
    HostBits {
        /// The network that holds the address.
        meant: Network,
    },
}

impl Network {
    /// The network of the first `prefix` bits of an address, whatever its other bits are.
    ///
    /// # Panics
    ///
    /// If the address has fewer bits.
    #[must_use]
    pub fn of(address: IpAddr, prefix: u8) -> Self {
        let network = match address {
            IpAddr::V4(address) => {
                let mask = mask(32, prefix, u32::MAX.into()) as u32;
                Self { address: Ipv4Addr::from_bits(address.to_bits() & mask).into(), prefix }
            }
            IpAddr::V6(address) => {
                let mask = mask(128, prefix, u128::MAX);
                Self { address: Ipv6Addr::from_bits(address.to_bits() & mask).into(), prefix }
            }
        };
        network.canonical()
    }

    /// Whether the address is in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4()
            && Self::of(address, self.prefix).address == self.address
    }

    /// A network of mapped addresses is one of IPv4.
    fn canonical(self) -> Self {
        match self.address.to_canonical() {
            IpAddr::V4(address) if self.address.is_ipv6() && self.prefix >= 96 => {
                Self { address: address.into(), prefix: self.prefix - 96 }
            }
            _ => self,
        }
    }

    /// Its first and its last address, as numbers of their family.
    fn range(&self) -> (u128, u128) {
        match self.address {
            IpAddr::V4(first) => {
                let first = u128::from(first.to_bits());
                (first, first | !mask(32, self.prefix, u32::MAX.into()) & u128::from(u32::MAX))
            }
            IpAddr::V6(first) => {
                let first = first.to_bits();
                (first, first | !mask(128, self.prefix, u128::MAX))
            }
        }
    }
}

/// `prefix` ones and then zeros in a number of `bits` bits, of which `all` are set.
fn mask(bits: u8, prefix: u8, all: u128) -> u128 {
    assert!(prefix <= bits, "a prefix of {prefix} bits in an address of {bits}");
    all.checked_shl(u32::from(bits - prefix)).unwrap_or(0) & all
}

impl FromStr for Network {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let fail = |fault| Error::Network { text: text.to_owned(), fault };
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| fail(NetworkFault::Address))?;
        let max = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => max,
            // `u8::from_str` would take a sign.
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits
                .parse()
                .ok()
                .filter(|prefix| *prefix <= max)
                .ok_or_else(|| fail(NetworkFault::Prefix { max }))?,
            Some(_) => return Err(fail(NetworkFault::Prefix { max })),
        };
        let network = Self::of(address, prefix);
        if network == (Self { address, prefix }).canonical() {
            Ok(network)
        } else {
            Err(fail(NetworkFault::HostBits { meant: network }))
        }
    }
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self { address, prefix: if address.is_ipv4() { 32 } else { 128 } }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl fmt::Display for NetworkFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => f.write_str("an IP address is wanted, as 10.0.0.0/8 or ::1"),
            Self::Prefix { max } => {
                write!(f, "behind the slash a number from 0 to {max} is wanted")
            }
            Self::HostBits { meant } => {
                write!(f, "it has bits behind its prefix; the network is {meant}")
            }
        }
    }
}

/// A set of networks. A look-up takes time in the logarithm of their number.
///
/// Its text is networks with commas or spaces between them.
///
/// # Examples
///
/// ```
/// use mainspring_app::guard::NetworkSet;
///
/// let set: NetworkSet = "127.0.0.1, ::1, 192.168.0.0/16".parse()?;
/// assert!(set.contains("192.168.7.7".parse()?));
/// assert!(!set.contains("8.8.8.8".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkSet {
    /// First and last addresses, in order, neither overlapping nor touching.
    v4: Vec<(u128, u128)>,
    v6: Vec<(u128, u128)>,
}

impl NetworkSet {
    /// Every address.
    #[must_use]
    pub fn everything() -> Self {
        let everything = [IpAddr::from(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()];
        everything.into_iter().map(|address| Network::of(address, 0)).collect()
    }

    /// What is in one of several.
    #[must_use]
    pub fn union(sets: &[Self]) -> Self {
        let all = |ranges: fn(&Self) -> &Vec<(u128, u128)>| {
            merged(sets.iter().flat_map(|set| ranges(set).iter().copied()).collect())
        };
        Self { v4: all(|set| &set.v4), v6: all(|set| &set.v6) }
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// Whether one of its networks holds the address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let (ranges, number) = match address.to_canonical() {
            IpAddr::V4(address) => (&self.v4, u128::from(address.to_bits())),
            IpAddr::V6(address) => (&self.v6, address.to_bits()),
        };
        let behind = ranges.partition_point(|(first, _)| *first <= number);
        behind > 0 && number <= ranges[behind - 1].1
    }
}

impl FromIterator<Network> for NetworkSet {
    fn from_iter<I: IntoIterator<Item = Network>>(networks: I) -> Self {
        let (v4, v6): (Vec<Network>, Vec<Network>) =
            networks.into_iter().partition(|network| network.address.is_ipv4());
        let ranges = |networks: Vec<Network>| merged(networks.iter().map(Network::range).collect());
        Self { v4: ranges(v4), v6: ranges(v6) }
    }
}

/// The same numbers in as few ranges as may be, in order.
fn merged(mut ranges: Vec<(u128, u128)>) -> Vec<(u128, u128)> {
    ranges.sort_unstable();
    ranges.dedup_by(|next, range| {
        let touches = next.0 <= range.1.saturating_add(1);
        if touches {
            range.1 = range.1.max(next.1);
        }
        touches
    });
    ranges
}

impl FromStr for NetworkSet {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let separates = |symbol: char| symbol == ',' || symbol.is_whitespace();
        text.split(separates).filter(|word| !word.is_empty()).map(Network::from_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn networks_hold_their_first_and_last_address_and_not_the_next() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", ["10.0.0.0", "10.255.255.255"], ["9.255.255.255", "11.0.0.0"]),
            ("192.0.2.128/25", ["192.0.2.128", "192.0.2.255"], ["192.0.2.127", "192.0.3.128"]),
            ("192.0.2.7", ["192.0.2.7", "::ffff:192.0.2.7"], ["192.0.2.6", "::192.0.2.7"]),
            ("0.0.0.0/0", ["0.0.0.0", "255.255.255.255"], ["::", "::1"]),
            ("::/0", ["::", "ffff:ffff::1"], ["0.0.0.0", "::ffff:1.2.3.4"]),
            ("2001:db8::/33", ["2001:db8::", "2001:db8:7fff::1"], ["2001:db8:8000::", "::"]),
            ("::1", ["::1", "0:0::1"], ["::2", "0.0.0.1"]),
            ("::ffff:10.0.0.0/104", ["10.9.9.9", "::ffff:10.9.9.9"], ["11.0.0.0", "::a09:909"]),
        ] {
            for address in inside {
                assert!(network(text).contains(ip(address)), "{text} {address}");
                assert!(text.parse::<NetworkSet>().unwrap().contains(ip(address)), "{text}");
            }
            for address in outside {
                assert!(!network(text).contains(ip(address)), "{text} {address}");
                assert!(!text.parse::<NetworkSet>().unwrap().contains(ip(address)), "{text}");
            }
        }
    }

    #[test]
    fn texts_that_name_no_network_are_refused_with_what_is_wrong() {
        let fault = |text: &str| match text.parse::<Network>() {
            Err(Error::Network { fault, .. }) => fault,
            other => panic!("{text}: {other:?}"),
        };
        for text in ["", "/8", "localhost", "10.0.0/8", "1.2.3.4.5", "[::1]", "::1%lo", " ::1"] {
            assert_eq!(fault(text), NetworkFault::Address, "{text}");
        }
        for text in ["10.0.0.0/", "10.0.0.0/33", "10.0.0.0/+8", "10.0.0.0/8/8", "10.0.0.0/256"] {
            assert_eq!(fault(text), NetworkFault::Prefix { max: 32 }, "{text}");
        }
        assert_eq!(fault("::/129"), NetworkFault::Prefix { max: 128 });
        let meant = network("10.0.0.0/8");
        assert_eq!(fault("10.0.0.1/8"), NetworkFault::HostBits { meant });
        assert_eq!(fault("::ffff:10.0.0.1/104"), NetworkFault::HostBits { meant });
        let said = "10.0.0.1/8".parse::<Network>().unwrap_err().to_string();
        assert!(said.contains("'10.0.0.1/8'") && said.contains("10.0.0.0/8"), "{said}");
    }

    #[test]
    fn a_set_holds_what_one_of_its_networks_holds() {
        let seed = 11;
        let mut rng = fastrand::Rng::with_seed(seed);
        for round in 0..300 {
            // Few bits in play, so that networks overlap, touch and repeat.
            let address = |rng: &mut fastrand::Rng| -> IpAddr {
                let low = rng.u8(..);
                match rng.u8(0..3) {
                    0 => Ipv4Addr::from_bits(0x0a00_0000 | u32::from(low)).into(),
                    1 => Ipv4Addr::from_bits(0x0a00_0000 | u32::from(low)).to_ipv6_mapped().into(),
                    _ => Ipv6Addr::from_bits(u128::MAX - 255 + u128::from(low)).into(),
                }
            };
            let networks: Vec<Network> = (0..rng.usize(0..8))
                .map(|_| {
                    let address = address(&mut rng).to_canonical();
                    let bits = if address.is_ipv4() { 32 } else { 128 };
                    Network::of(address, bits - rng.u8(0..6))
                })
                .collect();
            let set: NetworkSet = networks.iter().copied().collect();
            assert_eq!(set.is_empty(), networks.is_empty());
            for _ in 0..64 {
                let address = address(&mut rng);
                let wanted = networks.iter().any(|network| network.contains(address));
                let about = format!("seed {seed} round {round}: {address} in {networks:?}");
                assert_eq!(set.contains(address), wanted, "{about}");
            }
            let texts: Vec<String> = networks.iter().map(Network::to_string).collect();
            assert_eq!(texts.join(", ").parse::<NetworkSet>().unwrap(), set);
            let (some, others) = networks.split_at(networks.len() / 2);
            let parts = [some, others].map(|part| part.iter().copied().collect());
            assert_eq!(NetworkSet::union(&parts), set);
        }
        assert!(NetworkSet::everything().contains(ip("1.2.3.4")));
        assert!(NetworkSet::everything().contains(ip("::")));
    }
}
