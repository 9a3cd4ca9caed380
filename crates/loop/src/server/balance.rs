//! Which loop serves a connection.

use crate::turn::core::Core;
use mainspring_io::Addr;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::str::FromStr;

/// How connections are shared out among the loops of a server. A connection stays on its loop for
/// life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Balance {
    /// Each loop has its own listening socket on the same port, and the kernel picks one by a hash
    /// of the two addresses. No loop is woken for another's connection. Unix sockets, which have no
    /// such sharing, and systems without it are served as by `RoundRobin`.
    #[default]
    Kernel,
    /// Loop 0 accepts and picks a loop by the server's random sequence.
    Random,
    /// Loop 0 accepts and hands out in turn.
    RoundRobin,
    /// Loop 0 accepts and picks a loop with the fewest connections; of equals, the first.
    LeastConnections,
    /// Loop 0 accepts and picks by a hash of the peer's address without its port, so that a client
    /// comes to the same loop each time.
    SourceHash,
}

impl Balance {
    const NAMES: [(&str, Self); 5] = [
        ("kernel", Self::Kernel),
        ("random", Self::Random),
        ("round-robin", Self::RoundRobin),
        ("least-connections", Self::LeastConnections),
        ("source-hash", Self::SourceHash),
    ];
}

impl FromStr for Balance {
    type Err = String;

    /// Names as on the command line: `kernel`, `random`, `round-robin`, `least-connections`,
    /// `source-hash`.
    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::NAMES.iter().find(|(known, _)| *known == name);
        found.map(|(_, balance)| *balance).ok_or_else(|| {
            let allowed: Vec<&str> = Self::NAMES.iter().map(|(known, _)| *known).collect();
            format!("unknown balance '{name}': allowed are {}", allowed.join(", "))
        })
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::NAMES.iter().find(|(_, balance)| balance == self);
        f.write_str(name.expect("every balance has a name").0)
    }
}

impl Core {
    /// The loop for a connection that `listener` of this loop has accepted from `peer`.
    pub(crate) fn choose_loop(&mut self, listener: u16, peer: &Addr) -> u16 {
        let shared = &self.state.shared;
        let loops = shared.loops.len() as u64;
        if loops == 1 || !self.state.listeners[usize::from(listener)].shared_out {
            return self.state.index;
        }
        let choice = match shared.balance {
            Balance::Kernel | Balance::RoundRobin => {
                self.state.dealt += 1;
                (self.state.dealt - 1) % loops
            }
            Balance::Random => self.state.rng.u64(..loops),
            Balance::LeastConnections => {
                let least = shared.loops.iter().enumerate().min_by_key(|(_, home)| home.load());
                least.map_or(0, |(index, _)| index as u64)
            }
            Balance::SourceHash => source_hash(peer) % loops,
        };
        choice as u16
    }
}

/// The same for every run and every process: the keys of `DefaultHasher::new` are fixed.
fn source_hash(peer: &Addr) -> u64 {
    let mut hasher = DefaultHasher::new();
    match peer {
        Addr::Inet(addr) => addr.ip().hash(&mut hasher),
        other => other.hash(&mut hasher),
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_unknown_ones_name_the_allowed() {
        for (name, balance) in Balance::NAMES {
            assert_eq!(name.parse(), Ok(balance));
            assert_eq!(balance.to_string(), name);
        }
        let error = "fair".parse::<Balance>().unwrap_err();
        assert!(error.contains("'fair'") && error.contains("least-connections"), "{error}");
    }

    #[test]
    fn the_source_hash_ignores_the_port() {
        let addr = |text: &str| Addr::Inet(text.parse().unwrap());
        assert_eq!(source_hash(&addr("10.0.0.1:80")), source_hash(&addr("10.0.0.1:81")));
        assert_ne!(source_hash(&addr("10.0.0.1:80")), source_hash(&addr("10.0.0.2:80")));
    }
}
