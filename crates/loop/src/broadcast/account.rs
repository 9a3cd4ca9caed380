//! What has become of the messages of a broadcaster, as it is told.

/// What a [`Broadcaster`](crate::Broadcaster) has sent and what has become of it. The unit is one
/// message to one target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BroadcastStats {
    /// Messages sent, each counted once for every target.
    pub sent: u64,
    /// Messages whose last byte was handed to the kernel.
    pub delivered: u64,
    /// Messages on their way now: to a loop, waiting for a slow connection, or in its outbox.
    pub queued: u64,
    /// Of those that are queued, how many wait outside of an outbox.
    pub waiting: u64,
    /// Messages given up, by reason.
    pub dropped: BroadcastDrops,
}

/// Messages that a [`Broadcaster`](crate::Broadcaster) gave up, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BroadcastDrops {
    /// There was no room, and [`SlowPolicy::DropNewest`](crate::SlowPolicy::DropNewest) gave it up
    /// at once; under any policy but `Disconnect`, one that is longer than
    /// [`queue_bytes`](crate::BroadcastLimits::queue_bytes).
    pub newest: u64,
    /// It had waited longest when [`SlowPolicy::DropOldest`](crate::SlowPolicy::DropOldest) made
    /// room.
    pub oldest: u64,
    /// It had waited for longer than the [`deadline`](crate::BroadcastLimits::deadline).
    pub late: u64,
    /// Its connection ended before it was known to be sent: of what a driver had under way then,
    /// the peer may have got some.
    pub closed: u64,
    /// Likewise, when its connection was closed as a slow consumer, by
    /// [`SlowPolicy::Disconnect`](crate::SlowPolicy::Disconnect) or by a limit of the server.
    pub disconnected: u64,
    /// There was no such connection, or its output had ended, when the message reached its loop.
    pub unknown: u64,
    /// The inbox of the loop was full, or the loop ended before it had taken the message.
    pub refused: u64,
}

impl BroadcastStats {
    /// Whether every message is accounted for: `sent = delivered + queued + dropped`. It holds
    /// whenever nothing is under way between threads.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        self.sent == self.delivered + self.queued + self.dropped.total()
    }
}

impl BroadcastDrops {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        let Self { newest, oldest, late, closed, disconnected, unknown, refused } = self;
        newest + oldest + late + closed + disconnected + unknown + refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_is_balanced_only_if_nothing_is_missing() {
        let dropped = BroadcastDrops { newest: 1, oldest: 2, late: 3, ..BroadcastDrops::default() };
        let dropped =
            BroadcastDrops { closed: 4, disconnected: 5, unknown: 6, refused: 7, ..dropped };
        assert_eq!(dropped.total(), 28);
        let stats = BroadcastStats { sent: 40, delivered: 10, queued: 2, waiting: 1, dropped };
        assert!(stats.is_balanced());
        assert!(!BroadcastStats { sent: 41, ..stats }.is_balanced());
    }
}
