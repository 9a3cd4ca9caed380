//! Why a client's connection ended.

use std::fmt;
use std::io;

/// Why a client's connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Closed {
    /// This side closed it, or dropped the client.
    Local,
    /// The peer ended its stream, and everything before that has been read.
    Peer,
    /// It broke.
    Failed(io::ErrorKind),
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("closed by this side"),
            Self::Peer => f.write_str("closed by the peer"),
            Self::Failed(kind) => kind.fmt(f),
        }
    }
}
