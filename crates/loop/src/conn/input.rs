//! Received bytes that a handler has not consumed yet.

use mainspring_io::{Kept, Loan};
use std::num::NonZeroUsize;

/// The unconsumed input of a connection: what earlier deliveries left, followed by fresh bytes,
/// contiguous.
///
/// The bytes are lent for the call and may be changed in place. What is not consumed is kept by the
/// loop and comes first in the next delivery; a handler that consumes everything costs no copy.
///
/// # Examples
///
/// ```
/// use mainspring_loop::Input;
///
/// let mut bytes = *b"PING\r\nPI";
/// let mut input = Input::over(&mut bytes);
/// let line = input.bytes().iter().position(|byte| *byte == b'\n').unwrap() + 1;
/// input.consume(line);
/// assert_eq!(input.bytes(), b"PI");
/// ```
#[derive(Debug)]
pub struct Input<'a> {
    bytes: Loan<'a>,
    consumed: usize,
    need: usize,
}

impl<'a> Input<'a> {
    /// An input over bytes at hand, for tests of handlers and codecs.
    #[must_use]
    pub fn over(bytes: &'a mut [u8]) -> Self {
        Self::lent(Loan::over(bytes))
    }

    pub(crate) fn lent(bytes: Loan<'a>) -> Self {
        Self { bytes, consumed: 0, need: 0 }
    }

    /// The unconsumed bytes.
    #[must_use]
    pub fn bytes(&mut self) -> &mut [u8] {
        &mut self.bytes.bytes()[self.consumed..]
    }

    /// How many bytes are unconsumed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.consumed
    }

    /// Whether everything has been consumed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Marks the first `count` unconsumed bytes as dealt with.
    ///
    /// # Panics
    ///
    /// If there are fewer.
    pub fn consume(&mut self, count: usize) {
        assert!(count <= self.len(), "consumed {count} of {} bytes", self.len());
        self.consumed += count;
    }

    /// Consumes everything and returns it.
    #[inline]
    pub fn take(&mut self) -> &mut [u8] {
        let from = std::mem::replace(&mut self.consumed, self.bytes.len());
        &mut self.bytes.bytes()[from..]
    }

    /// Asks not to be called again before at least `count` bytes beyond the unconsumed ones have
    /// arrived, or 4 GiB wait, or the stream has ended. Holds until the next delivery.
    pub fn need(&mut self, count: NonZeroUsize) {
        self.need = count.get();
    }

    /// The length of unconsumed input at which the next delivery is worth while: 0 unless
    /// [`need`](Input::need) has been called. For handlers that call other handlers.
    #[must_use]
    pub fn wanted(&self) -> usize {
        if self.need == 0 { 0 } else { self.len().saturating_add(self.need) }
    }

    /// Whether nothing is left, and nothing is asked for but what every delivery has: a byte.
    #[inline]
    pub(crate) fn is_done(&self) -> bool {
        self.is_empty() && self.need <= 1
    }

    /// Whether [`keep`](Self::keep) gives what it is asked for.
    #[inline]
    pub(crate) fn can_be_kept(&self) -> bool {
        self.bytes.can_be_kept()
    }

    /// Consumes everything, and takes it over where it lies: for handlers that pass bytes on later
    /// in the turn ([`Conn::forward_kept`](crate::Conn::forward_kept)).
    ///
    /// `None`, and nothing is consumed, if the bytes have to be copied: short deliveries, what was
    /// carried over from an earlier one, what comes out of a layer; and long ones while as much
    /// memory as the driver can do without is kept already. So whoever keeps memory for long takes
    /// it from others that would forward theirs, but stops nobody from receiving.
    #[must_use]
    pub fn keep(&mut self) -> Option<Kept> {
        self.bytes.keep(self.consumed)
    }

    /// Gives back what was [kept](Input::keep) of it: these bytes are the unconsumed ones again.
    ///
    /// # Errors
    ///
    /// The bytes, if there are others that are unconsumed, or if they are of another delivery.
    pub fn give_back(&mut self, kept: Kept) -> Result<(), Kept> {
        if !self.is_empty() {
            return Err(kept);
        }
        self.bytes.take_back(kept)?;
        self.consumed = 0;
        Ok(())
    }

    pub(crate) fn consumed(&self) -> usize {
        self.consumed
    }
}
