//! Memory that is received into, shared with those who keep parts of it.

use crate::Loan;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

/// Memory of a driver, as long as anybody has a part of it.
pub(crate) struct Region {
    start: NonNull<u8>,
    len: u32,
    owner: Owner,
}

/// Whose memory a region is.
enum Owner {
    /// The region's own, from a box.
    Region,
    /// A part of something larger, which lives as long.
    #[cfg(target_os = "linux")]
    Shared { _memory: Arc<dyn Send + Sync> },
}

// SAFETY: a region is an address and a length. Its memory is read and written only by way of its
// unsafe functions, whose callers answer for the exclusion of writers.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// `len` zeros.
    fn zeroed(len: usize) -> Arc<Self> {
        let len = u32::try_from(len).expect("a read buffer of less than 4 GiB");
        let memory = vec![0; len as usize].into_boxed_slice();
        let start = NonNull::new(Box::into_raw(memory).cast()).expect("a box is somewhere");
        Arc::new(Self { start, len, owner: Owner::Region })
    }

    /// The `len` bytes at `start` within `memory`.
    ///
    /// # Safety
    ///
    /// They exist as long as `memory` does.
    #[cfg(target_os = "linux")]
    pub(crate) unsafe fn within(
        memory: Arc<dyn Send + Sync>,
        start: NonNull<u8>,
        len: u32,
    ) -> Arc<Self> {
        Arc::new(Self { start, len, owner: Owner::Shared { _memory: memory } })
    }

    /// Whether no part of it is kept by anybody.
    pub(crate) fn is_free(self: &Arc<Self>) -> bool {
        let free = Arc::strong_count(self) == 1;
        // What they did before they let go of it has happened before what comes now.
        fence(Ordering::Acquire);
        free
    }

    /// Where `bytes` begin in the region, if they lie in it.
    pub(crate) fn offset_of(&self, bytes: &[u8]) -> Option<u32> {
        let offset = (bytes.as_ptr() as usize).checked_sub(self.start.as_ptr() as usize)?;
        (offset + bytes.len() <= self.len as usize).then_some(offset as u32)
    }

    /// A part of the region, to be read.
    ///
    /// # Safety
    ///
    /// It was initialized, and nobody writes it meanwhile.
    pub(crate) unsafe fn part(&self, start: u32, len: u32) -> &[u8] {
        assert!(start as usize + len as usize <= self.len as usize);
        // SAFETY: the part lies in the region, which `self` keeps alive; the caller keeps writers out.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().add(start as usize), len as usize) }
    }

    /// A part of the region, to be written.
    ///
    /// # Safety
    ///
    /// It was initialized, and nobody else reads or writes it meanwhile.
    #[expect(
        clippy::mut_from_ref,
        reason = "the caller keeps others out, in place of the compiler"
    )]
    pub(crate) unsafe fn part_mut(&self, start: usize, len: usize) -> &mut [u8] {
        assert!(start + len <= self.len as usize);
        // SAFETY: as in `part`, and the caller keeps readers out too.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().add(start), len) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        match self.owner {
            Owner::Region => {
                let bytes = NonNull::slice_from_raw_parts(self.start, self.len as usize);
                // SAFETY: the memory came out of a box of this length, and nobody has a part of it
                // any more: each holds the region.
                drop(unsafe { Box::from_raw(bytes.as_ptr()) });
            }
            #[cfg(target_os = "linux")]
            Owner::Shared { .. } => {}
        }
    }
}

impl std::fmt::Debug for Region {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a region of {} bytes", self.len)
    }
}

/// One buffer to receive into, and others that take its place when a part of it is kept.
///
/// For drivers that receive themselves, one delivery after the other.
#[derive(Debug)]
pub struct ReadBuffers {
    /// At least one. The one in front is free; others may have parts that are kept.
    regions: Vec<Arc<Region>>,
    front: usize,
    /// Where the front begins: every receive asks.
    start: NonNull<u8>,
    /// Which takes the place of the front if a part of that is kept.
    next: usize,
    /// The front was lent with leave to keep it.
    lent: bool,
    size: usize,
    most: usize,
}

// SAFETY: the pointer is into a region that this value holds.
unsafe impl Send for ReadBuffers {}
// SAFETY: as above; shared, nothing is read or written through it.
unsafe impl Sync for ReadBuffers {}

impl ReadBuffers {
    /// Buffers of `size` bytes, one at first and at most `most`.
    #[must_use]
    pub fn new(size: usize, most: usize) -> Self {
        let region = Region::zeroed(size);
        let start = region.start;
        Self { regions: vec![region], front: 0, start, next: 0, lent: false, size, most }
    }

    /// The buffer to receive into. Nothing in it is kept by anybody.
    #[must_use]
    #[inline]
    pub fn front(&mut self) -> &mut [u8] {
        if self.lent {
            self.take_back();
        }
        // SAFETY: `start` is where the region in front begins, which has `size` bytes, all initialized
        // when it was made. The region is free: it was when it came to the front, and if a part was
        // kept since then, another one has taken its place. The borrow of `self` keeps this the only
        // way to it.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.size) }
    }

    /// The first `len` bytes of the front, with leave to keep them if there is another buffer.
    #[must_use]
    pub fn loan(&mut self, len: usize) -> Loan<'_> {
        if self.lent {
            self.take_back();
        }
        self.lent = self.find_next();
        let region = &self.regions[self.front];
        // SAFETY: as in `front`.
        let bytes = unsafe { region.part_mut(0, len) };
        if !self.lent {
            return Loan::over(bytes);
        }
        // SAFETY: if a part is kept, the region leaves the front, and is chosen again only when it is
        // free.
        unsafe { Loan::within(bytes, region) }
    }

    #[inline(never)]
    fn take_back(&mut self) {
        self.lent = false;
        if !self.regions[self.front].is_free() {
            self.front = self.next;
            self.start = self.regions[self.front].start;
        }
    }

    /// Looks for a free buffer besides the front, from the first on: those that were used last are in
    /// the processor's cache.
    fn find_next(&mut self) -> bool {
        let mut others = (0..self.regions.len()).filter(|at| *at != self.front);
        if let Some(free) = others.find(|at| self.regions[*at].is_free()) {
            self.next = free;
            return true;
        }
        if self.regions.len() == self.most {
            return false;
        }
        self.next = self.regions.len();
        self.regions.push(Region::zeroed(self.size));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_that_is_kept_is_not_received_into_and_comes_back() {
        let mut buffers = ReadBuffers::new(16, 3);
        let mut kept = Vec::new();
        for round in 0..3u8 {
            buffers.front().fill(round);
            kept.extend(buffers.loan(16).keep(usize::from(round)));
        }
        // The third one is the last: there is none to take its place.
        assert_eq!(kept.len(), 2);
        buffers.front().fill(9);
        assert_eq!((kept[0].bytes(), kept[1].bytes()), (&[0; 16][..], &[1; 15][..]));
        assert_eq!(buffers.regions.len(), 3);
        drop(kept);
        for _ in 0..100 {
            assert!(buffers.loan(16).keep(0).is_some());
        }
        assert_eq!(buffers.regions.len(), 3);
    }

    #[test]
    fn a_loan_that_is_not_kept_leaves_the_front_where_it_was() {
        let mut buffers = ReadBuffers::new(16, 4);
        let at = buffers.front().as_ptr();
        for _ in 0..5 {
            assert_eq!(buffers.loan(3).len(), 3);
            assert_eq!(buffers.front().as_ptr(), at);
        }
    }
}
