//! What the clones of one broadcaster and the loops share: limits, and an account.

use crate::broadcast::{BroadcastDrops, BroadcastLimits, BroadcastStats};
use crate::stats::Counter;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) limits: BroadcastLimits,
    sent: AtomicU64,
    refused: AtomicU64,
    /// Targets on loops that the server does not have.
    unknown: AtomicU64,
    loops: Box<[LoopAccount]>,
}

/// What one loop has done with what was posted to it. Aligned so that loops do not write to the
/// same cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct LoopAccount {
    /// Messages in the inbox. The only figure here with more than one writer.
    posted: AtomicU64,
    pub(crate) delivered: Counter,
    /// Messages that wait outside of an outbox.
    pub(crate) waiting: Counter,
    /// Messages in an outbox.
    pub(crate) handed: Counter,
    pub(crate) newest: Counter,
    pub(crate) oldest: Counter,
    pub(crate) late: Counter,
    pub(crate) closed: Counter,
    pub(crate) disconnected: Counter,
    pub(crate) unknown: Counter,
}

impl Channel {
    pub(crate) fn new(limits: BroadcastLimits, loops: usize) -> Self {
        Self {
            limits,
            sent: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
            loops: (0..loops).map(|_| LoopAccount::default()).collect(),
        }
    }

    pub(crate) fn account(&self, home: u16) -> &LoopAccount {
        &self.loops[usize::from(home)]
    }

    pub(crate) fn note_sent(&self, targets: u64) {
        self.sent.fetch_add(targets, Ordering::Relaxed);
    }

    pub(crate) fn note_unknown(&self, targets: u64) {
        if targets > 0 {
            self.unknown.fetch_add(targets, Ordering::Relaxed);
        }
    }

    /// To be noted before the post is pushed: the loop takes off what it finds.
    pub(crate) fn note_posted(&self, home: u16, targets: u64) {
        self.account(home).posted.fetch_add(targets, Ordering::Relaxed);
    }

    pub(crate) fn note_refused(&self, home: u16, targets: u64) {
        self.account(home).taken(targets);
        self.refused.fetch_add(targets, Ordering::Relaxed);
    }

    pub(crate) fn stats(&self) -> BroadcastStats {
        let mut stats = BroadcastStats {
            sent: self.sent.load(Ordering::Relaxed),
            dropped: BroadcastDrops {
                refused: self.refused.load(Ordering::Relaxed),
                unknown: self.unknown.load(Ordering::Relaxed),
                ..BroadcastDrops::default()
            },
            ..BroadcastStats::default()
        };
        self.loops.iter().for_each(|account| account.add_to(&mut stats));
        stats
    }
}

impl LoopAccount {
    /// So many messages have left the inbox.
    pub(crate) fn taken(&self, targets: u64) {
        self.posted.fetch_sub(targets, Ordering::Relaxed);
    }

    fn add_to(&self, stats: &mut BroadcastStats) {
        stats.delivered += self.delivered.get();
        stats.waiting += self.waiting.get();
        stats.queued +=
            self.posted.load(Ordering::Relaxed) + self.waiting.get() + self.handed.get();
        let dropped = &mut stats.dropped;
        dropped.newest += self.newest.get();
        dropped.oldest += self.oldest.get();
        dropped.late += self.late.get();
        dropped.closed += self.closed.get();
        dropped.disconnected += self.disconnected.get();
        dropped.unknown += self.unknown.get();
    }
}
