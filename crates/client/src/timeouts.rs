//! How long a client waits for what.

use std::time::Duration;

/// How long a client waits for what. Fields may be added: write
/// `Timeouts { read: .., ..Timeouts::default() }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For the connection to be up, all addresses of a name together. Looking the name up is the
    /// system's affair and is bounded by its resolver alone. Default 10 s.
    pub connect: Duration,
    /// For the TLS handshake, after the connection is up. Default 10 s.
    pub handshake: Duration,
    /// For each read. `None`: for ever. Default 30 s.
    pub read: Option<Duration>,
    /// For each write. `None`: for ever. Default 30 s.
    pub write: Option<Duration>,
}

impl Timeouts {
    /// The same time for everything.
    #[must_use]
    pub fn all(time: Duration) -> Self {
        Self { connect: time, handshake: time, read: Some(time), write: Some(time) }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        let patient = Some(Duration::from_secs(30));
        let soon = Duration::from_secs(10);
        Self { connect: soon, handshake: soon, read: patient, write: patient }
    }
}
