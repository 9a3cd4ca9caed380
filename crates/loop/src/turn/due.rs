//! What waits for the loop besides sockets with something to send.

/// One bit for each of the loop's lists that has something on it: a turn in which there is nothing of
/// the kind asks once, not list by list.
#[derive(Clone, Copy, Default)]
pub(crate) struct Due(u8);

impl Due {
    /// Orders for the driver.
    pub(crate) const ORDERS: Self = Self(1);
    /// Connections whose guard may be too late for the send that is under way.
    pub(crate) const GUARDS: Self = Self(1 << 1);
    /// Connections that have yielded.
    pub(crate) const YIELDED: Self = Self(1 << 2);
    /// Connections that are owed a callback, or have ended without the driver's saying so.
    pub(crate) const CALLBACKS: Self = Self(1 << 3);
    /// Posts that the last turn has left in the inbox.
    pub(crate) const POSTS: Self = Self(1 << 4);
    /// Ticks that traffic brings forward.
    pub(crate) const TICKS: Self = Self(1 << 5);

    /// What the next turn begins with, and does not sleep before.
    pub(crate) const SOON: Self =
        Self(Self::ORDERS.0 | Self::YIELDED.0 | Self::CALLBACKS.0 | Self::POSTS.0);
    /// What a flush does before it sends.
    pub(crate) const BEFORE_SENDS: Self = Self(Self::ORDERS.0 | Self::GUARDS.0);

    pub(crate) fn any(self, of: Self) -> bool {
        self.0 & of.0 != 0
    }

    pub(crate) fn set(&mut self, work: Self) {
        self.0 |= work.0;
    }

    pub(crate) fn clear(&mut self, work: Self) {
        self.0 &= !work.0;
    }

    /// Clears a bit and tells whether it was set.
    pub(crate) fn take(&mut self, work: Self) -> bool {
        let was = self.any(work);
        self.clear(work);
        was
    }
}
