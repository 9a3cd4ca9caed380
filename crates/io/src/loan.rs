//! Received bytes on their way on: lent to a sink, and kept by it without a copy.
//!
//! ```text
//!    driver               sink                                       driver
//!   +--------+   Loan   +-------------+   Kept    +--------+  send  +--------+
//!   | Region | -------> | reads them, | --------> | Outbox | -----> | Region |
//!   | filled |          | passes some |  a part   |        |        | free   |
//!   +--------+          +-------------+  of it    +--------+        +--------+
//! ```
//!
//! A region of which a part is kept is not filled again; so a driver has a bounded number of them, and
//! lends with leave to keep only while others are left.

use crate::region::Region;
use std::fmt;
use std::sync::Arc;

/// Received bytes, lent for a call.
///
/// The callee may change them in place, and may [keep](Self::keep) the memory of their end, if the
/// driver can do without.
#[derive(Debug)]
pub struct Loan<'a> {
    bytes: &'a mut [u8],
    region: Option<&'a Arc<Region>>,
}

impl<'a> Loan<'a> {
    /// Bytes that cannot be kept.
    #[must_use]
    #[inline]
    pub fn over(bytes: &'a mut [u8]) -> Self {
        Self { bytes, region: None }
    }

    /// Bytes that lie in `region` and can be kept.
    ///
    /// # Safety
    ///
    /// When a part of the bytes is kept, nobody reads or writes that part until the region [is
    /// free](Region::is_free) again.
    pub(crate) unsafe fn within(bytes: &'a mut [u8], region: &'a Arc<Region>) -> Self {
        debug_assert!(region.offset_of(bytes).is_some());
        Self { bytes, region: Some(region) }
    }

    /// The bytes, without those that were kept.
    #[must_use]
    #[inline]
    pub fn bytes(&mut self) -> &mut [u8] {
        self.bytes
    }

    /// How many bytes there are.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are none.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether [`keep`](Self::keep) gives what it is asked for.
    #[must_use]
    #[inline]
    pub fn can_be_kept(&self) -> bool {
        self.region.is_some()
    }

    /// Takes the bytes from `from` on out of the loan, and their memory out of the driver's hands.
    /// `None` if they can only be copied.
    ///
    /// # Panics
    ///
    /// If there are fewer than `from` bytes.
    #[must_use]
    pub fn keep(&mut self, from: usize) -> Option<Kept> {
        let region = self.region?;
        let (rest, kept) = std::mem::take(&mut self.bytes).split_at_mut(from);
        self.bytes = rest;
        let start = region.offset_of(kept)?;
        Some(Kept { region: Arc::clone(region), start, len: kept.len() as u32 })
    }

    /// Takes back what was kept and is not wanted after all. The loan is of these bytes alone then.
    ///
    /// # Errors
    ///
    /// The bytes, if they do not lie in the memory that is lent.
    pub fn take_back(&mut self, kept: Kept) -> Result<(), Kept> {
        let Some(region) = self.region.filter(|region| Arc::ptr_eq(region, &kept.region)) else {
            return Err(kept);
        };
        // SAFETY: the bytes were initialized when they were lent, and `kept`, which ends here, was the
        // only way to them: no two of its kind overlap. Whoever made the loan leaves the region alone
        // while the loan lasts.
        self.bytes = unsafe { region.part_mut(kept.start as usize, kept.len as usize) };
        Ok(())
    }
}

/// Received bytes that were kept where they lie. Their memory goes back to its driver when this is
/// dropped.
pub struct Kept {
    region: Arc<Region>,
    start: u32,
    len: u32,
}

impl Kept {
    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the bytes were taken out of a loan, which was the only way to them, and whoever made
        // the loan leaves them alone while the region has an owner here.
        unsafe { self.region.part(self.start, self.len) }
    }

    /// Gives the first `count` bytes up.
    ///
    /// # Panics
    ///
    /// If there are fewer.
    pub fn advance(&mut self, count: usize) {
        assert!(count <= self.len as usize, "{count} of {} bytes", self.len);
        self.start += count as u32;
        self.len -= count as u32;
    }

    /// Cuts off the first `count` bytes.
    pub(crate) fn split_to(&mut self, count: usize) -> Self {
        let front = Self { region: Arc::clone(&self.region), start: self.start, len: count as u32 };
        self.advance(count);
        front
    }

    /// Takes `next` in, if its bytes lie right behind these.
    pub(crate) fn join(&mut self, next: Self) -> Result<(), Self> {
        let follows = next.start == self.start + self.len;
        if !follows || !Arc::ptr_eq(&self.region, &next.region) {
            return Err(next);
        }
        self.len += next.len;
        Ok(())
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} kept bytes", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::region::ReadBuffers;

    #[test]
    fn what_is_kept_outlives_the_buffers_and_leaves_the_rest_to_be_read() {
        let mut buffers = ReadBuffers::new(64, 4);
        buffers.front()[..6].copy_from_slice(b"abcdef");
        let mut loan = buffers.loan(6);
        loan.bytes()[2] = b'C';
        let mut kept = loan.keep(2).unwrap();
        assert_eq!((loan.bytes(), kept.bytes()), (&mut *b"ab".to_vec(), &b"Cdef"[..]));
        buffers.front().fill(0);
        drop(buffers);
        let front = kept.split_to(1);
        kept.advance(1);
        assert_eq!((front.bytes(), kept.bytes()), (&b"C"[..], &b"ef"[..]));
    }

    #[test]
    fn what_is_given_back_is_lent_again_without_what_was_given_up() {
        let (mut buffers, mut others) = (ReadBuffers::new(64, 4), ReadBuffers::new(64, 4));
        buffers.front()[..6].copy_from_slice(b"abcdef");
        let mut loan = buffers.loan(6);
        let mut kept = loan.keep(0).unwrap();
        kept.advance(2);
        let kept = others.loan(6).take_back(kept).unwrap_err();
        loan.take_back(kept).unwrap();
        loan.bytes()[0] = b'C';
        assert!(loan.can_be_kept());
        assert_eq!(loan.bytes(), b"Cdef");
        let front = buffers.front().as_ptr();
        assert_eq!(buffers.loan(1).bytes().as_ptr(), front, "nobody has a part of it any more");
    }

    #[test]
    fn neighbours_join() {
        let mut buffers = ReadBuffers::new(64, 4);
        buffers.front()[..6].copy_from_slice(b"abcdef");
        let mut rest = buffers.loan(6).keep(0).unwrap();
        let (mut first, second) = (rest.split_to(2), rest.split_to(2));
        assert!(first.join(rest).is_err_and(|rest| rest.bytes() == b"ef"));
        let mut second = second;
        second.advance(0);
        first.join(second).unwrap();
        assert_eq!(first.bytes(), b"abcd");
    }

    #[test]
    fn bytes_of_nobody_are_only_lent() {
        let mut bytes = *b"abc";
        let mut loan = Loan::over(&mut bytes);
        assert!(!loan.can_be_kept() && loan.keep(1).is_none());
        assert_eq!((loan.len(), loan.bytes()), (3, &mut *b"abc".to_vec()));
    }
}
