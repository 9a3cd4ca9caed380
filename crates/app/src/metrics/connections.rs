//! Figures of single connections.

use super::rates::per_second;
use super::seconds_between;
use foldhash::fast::RandomState;
use mainspring_loop::{ConnId, ConnInfo, ConnStats};
use std::collections::HashMap;
use std::time::Instant;

/// A connection's figures: its totals are in `info.stats`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnMetrics {
    /// What it is, and what has passed through it.
    pub info: ConnInfo,
    /// Bytes received per second since the last sample.
    pub received_bytes_per_second: f64,
    /// Bytes sent per second since the last sample.
    pub sent_bytes_per_second: f64,
    /// The highest rate of receiving so far.
    pub received_bytes_per_second_peak: f64,
    /// The highest rate of sending so far.
    pub sent_bytes_per_second_peak: f64,
}

/// What is remembered of the connections of one loop from one sample to the next.
#[derive(Default)]
pub(super) struct Connections {
    at: Option<Instant>,
    seen: HashMap<ConnId, Seen, RandomState>,
}

#[derive(Clone, Copy, Default)]
struct Seen {
    stats: ConnStats,
    received_peak: f64,
    sent_peak: f64,
}

impl Connections {
    /// The figures of `infos` at `now`. Whoever is not among them is forgotten.
    pub(super) fn sample(
        &mut self,
        now: Instant,
        infos: impl IntoIterator<Item = ConnInfo>,
    ) -> Vec<ConnMetrics> {
        let since = self.at.replace(now);
        let before = std::mem::take(&mut self.seen);
        let figures = |info: ConnInfo| {
            let mut seen = before.get(&info.id).copied().unwrap_or_default();
            // A first sample has no time to compare with.
            let [received, sent] = since.map_or([0.0; 2], |since| {
                let seconds = seconds_between(since, now);
                let (earlier, later) = (seen.stats, info.stats);
                [(earlier.bytes_in, later.bytes_in), (earlier.bytes_out, later.bytes_out)]
                    .map(|(earlier, later)| per_second(earlier, later, seconds))
            });
            seen.stats = info.stats;
            seen.received_peak = seen.received_peak.max(received);
            seen.sent_peak = seen.sent_peak.max(sent);
            self.seen.insert(info.id, seen);
            ConnMetrics {
                info,
                received_bytes_per_second: received,
                sent_bytes_per_second: sent,
                received_bytes_per_second_peak: seen.received_peak,
                sent_bytes_per_second_peak: seen.sent_peak,
            }
        };
        infos.into_iter().map(figures).collect()
    }
}
