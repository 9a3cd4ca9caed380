//! The identity of a connection, valid anywhere.

use mainspring_io::Key;
use std::fmt;

/// Names one connection (or datagram socket) of one server for ever: its loop, its slot there, and
/// the generation of the slot. An id outlives its connection harmlessly; it never names another
/// one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId {
    pub(crate) key: Key,
    pub(crate) home: u16,
}

impl ConnId {
    /// The loop that serves the connection, counted from 0.
    #[must_use]
    pub fn loop_index(self) -> usize {
        self.home.into()
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:?}", self.home, self.key)
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnId({self})")
    }
}
