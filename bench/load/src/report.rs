//! What a run gives.

use serde::{Deserialize, Serialize};

use crate::Window;

/// The figures of one run, as the one line of JSON that is printed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Protocol and mode, for people.
    pub what: String,
    /// Requests answered within the window; in an open loop: due within it and answered.
    pub requests: u64,
    /// Datagrams that were never answered, or open-loop requests unanswered two seconds after the
    /// end.
    pub lost: u64,
    /// Length of the window.
    pub seconds: f64,
    /// `requests / seconds`.
    pub per_second: f64,
    /// Latency in microseconds that half of the requests do not exceed.
    pub p50_us: f64,
    /// .. 99 of 100 ..
    pub p99_us: f64,
    /// .. 999 of 1000 ..
    pub p999_us: f64,
    /// The longest.
    pub max_us: f64,
    /// What connections that do nothing cost; none if there were none.
    pub idle: Option<Idle>,
    /// What processes and cores did meanwhile.
    pub window: Window,
}

/// Connections beside the busy ones, each of which has sent one request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Idle {
    /// How many.
    pub connections: usize,
    /// Resident memory of the server before them, in bytes.
    pub resident_before: u64,
    /// .. and after each was answered once, before the busy ones began.
    pub resident_after: u64,
    /// How long they took to open, in seconds.
    pub seconds: f64,
}

impl Idle {
    /// Bytes of resident memory that each costs.
    #[must_use]
    pub fn resident_each(&self) -> f64 {
        (self.resident_after as f64 - self.resident_before as f64) / self.connections.max(1) as f64
    }
}
