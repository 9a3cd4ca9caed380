//! How fast totals grow.

use mainspring_loop::LoopStats;

/// Figures per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Rates {
    /// Bytes received from connections.
    pub received_bytes: f64,
    /// Bytes that connections have sent.
    pub sent_bytes: f64,
    /// Datagrams received.
    pub received_datagrams: f64,
    /// Datagrams sent.
    pub sent_datagrams: f64,
    /// Connections accepted.
    pub accepted: f64,
    /// Connections that ended.
    pub closed: f64,
}

impl Rates {
    /// From one sample to the next.
    pub(super) fn between(earlier: &LoopStats, later: &LoopStats, seconds: f64) -> Self {
        let rate = |total: fn(&LoopStats) -> u64| per_second(total(earlier), total(later), seconds);
        Self {
            received_bytes: rate(|stats| stats.bytes_in),
            sent_bytes: rate(|stats| stats.bytes_out),
            received_datagrams: rate(|stats| stats.datagrams_in),
            sent_datagrams: rate(|stats| stats.datagrams_out),
            accepted: rate(|stats| stats.accepted),
            closed: rate(|stats| stats.closed),
        }
    }

    /// The higher of each.
    pub(super) fn max(&self, other: &Self) -> Self {
        Self {
            received_bytes: self.received_bytes.max(other.received_bytes),
            sent_bytes: self.sent_bytes.max(other.sent_bytes),
            received_datagrams: self.received_datagrams.max(other.received_datagrams),
            sent_datagrams: self.sent_datagrams.max(other.sent_datagrams),
            accepted: self.accepted.max(other.accepted),
            closed: self.closed.max(other.closed),
        }
    }
}

pub(super) fn per_second(earlier: u64, later: u64, seconds: f64) -> f64 {
    later.saturating_sub(earlier) as f64 / seconds
}
