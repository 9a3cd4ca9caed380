//! What a completion says about the operation that it ends: its user data.

/// Names one operation in the kernel: what it is, for which place, in which of its uses.
///
/// A key's end may be told before the last completion of its operations has arrived. The tenancy
/// tells such a latecomer from one of the slot's present tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// The slot of the table; for [`Kind::Send`] the place in the store of sends.
    pub(super) index: u32,
    pub(super) tenancy: u32,
}

/// The operations of this driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Waits for a wake from another thread.
    Wake,
    /// Accepts at a listener.
    Accept,
    /// Receives from a stream.
    Receive,
    /// Receives datagrams.
    ReceiveDatagrams,
    /// Sends to a stream.
    Send,
    /// Connects a stream.
    Connect,
    /// Waits for a stream that does not receive to break.
    Watch,
    /// Waits for room for datagrams.
    Writable,
    /// Cancels another one. It completes only if it finds none.
    Cancel,
    /// Does nothing: all sends that were submitted before it have been tried.
    Mark,
}

impl Token {
    /// Slots from here on have no token.
    pub(super) const INDEX_END: u32 = 1 << 28;

    const KINDS: [Kind; 10] = [
        Kind::Wake,
        Kind::Accept,
        Kind::Receive,
        Kind::ReceiveDatagrams,
        Kind::Send,
        Kind::Connect,
        Kind::Watch,
        Kind::Writable,
        Kind::Cancel,
        Kind::Mark,
    ];

    /// An operation that belongs to the driver itself.
    pub(super) const fn of_driver(kind: Kind) -> Self {
        Self { kind, index: 0, tenancy: 0 }
    }

    pub(super) const fn to_bits(self) -> u64 {
        (self.tenancy as u64) << 32 | (self.index as u64) << 4 | self.kind as u64
    }

    /// The inverse of [`to_bits`](Self::to_bits).
    pub(super) fn from_bits(bits: u64) -> Option<Self> {
        let kind = *Self::KINDS.get((bits & 0xF) as usize)?;
        Some(Self { kind, index: bits as u32 >> 4, tenancy: (bits >> 32) as u32 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_round_trip() {
        for (number, kind) in Token::KINDS.into_iter().enumerate() {
            assert_eq!(kind as usize, number, "{kind:?} stands in its place");
            for (index, tenancy) in [(0, 0), (7, u32::MAX), (Token::INDEX_END - 1, 1)] {
                let token = Token { kind, index, tenancy };
                assert_eq!(Token::from_bits(token.to_bits()), Some(token));
            }
        }
        assert_eq!(Token::from_bits(0xF), None);
    }
}
