//! Which driver a loop runs on.

use std::fmt;
use std::str::FromStr;

/// The drivers of this system, by name. The choice is a value, not a cargo feature, so that an
/// operator can change it without a new build.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DriverKind {
    /// The best that the system offers: [`Ring`](DriverKind::Ring) where the kernel allows it,
    /// [`Ready`](DriverKind::Ready) elsewhere.
    #[default]
    Auto,
    /// Completions through io_uring: Linux 6.1 and later.
    Ring,
    /// Readiness through epoll, kqueue or IOCP, with batched datagrams where the kernel has them.
    Ready,
    /// As `Ready`, with system calls only that every system has.
    Portable,
}

/// A driver name that does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownDriver {
    given: String,
}

impl DriverKind {
    const NAMES: [(&'static str, Self); 4] = [
        ("auto", Self::Auto),
        ("ring", Self::Ring),
        ("ready", Self::Ready),
        ("portable", Self::Portable),
    ];
}

impl FromStr for DriverKind {
    type Err = UnknownDriver;

    fn from_str(name: &str) -> Result<Self, UnknownDriver> {
        let known = Self::NAMES.iter().find(|(known, _)| *known == name);
        known.map(|(_, kind)| *kind).ok_or_else(|| UnknownDriver { given: name.to_owned() })
    }
}

impl fmt::Display for DriverKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Auto => "auto",
            Self::Ring => "ring",
            Self::Ready => "ready",
            Self::Portable => "portable",
        })
    }
}

impl fmt::Display for UnknownDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown driver {:?}; the drivers are auto, ring, ready, portable", self.given)
    }
}

impl std::error::Error for UnknownDriver {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for (name, kind) in DriverKind::NAMES {
            assert_eq!(name.parse(), Ok(kind));
            assert_eq!(kind.to_string(), name);
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = "epoll".parse::<DriverKind>().unwrap_err().to_string();
        assert_eq!(error, "unknown driver \"epoll\"; the drivers are auto, ring, ready, portable");
    }
}
