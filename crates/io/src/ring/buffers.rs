//! The memory that the kernel receives into: buffers handed over through a ring of their own, and
//! taken back when they are full.
//!
//! ```text
//!   one mapping:  | entries of the ring | buffer 0 | buffer 1 | .. |
//!
//!   incremental:  kernel fills  aaabbcccc.......   piece by piece; `filled` follows
//!   otherwise:    each receive uses up a whole buffer, however little it brings
//! ```

use crate::Loan;
use crate::region::Region;
use io_uring::IoUring;
use io_uring::types::BufRingEntry;
use std::io;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

/// `IOU_PBUF_RING_INC` of the kernel's interface.
const INCREMENTAL: u16 = 2;
/// The ring must begin at a page, and buffers on pages of their own are cut up by nobody.
const PAGE: usize = 4096;
/// Over how many receives the usual length of one is taken.
const MEMORY: usize = 16;

/// The buffers of one group.
#[derive(Debug)]
pub(super) struct Buffers {
    memory: Arc<Mapping>,
    /// Each buffer, to be lent.
    regions: Vec<Arc<Region>>,
    /// Full ones of which parts are kept: they go back to the kernel when those are let go.
    held: Vec<u16>,
    /// How many there are: a power of two.
    count: u16,
    size: usize,
    /// Where the buffers begin, behind the entries.
    start: usize,
    /// How many bytes of each buffer the kernel has filled, where it fills them piece by piece.
    filled: Vec<u32>,
    /// How many bytes the kernel can still fill, by the completions that were served.
    room: usize,
    /// How many bytes a receive has brought of late.
    usual_receive: usize,
    /// The next entry to write, modulo 2^16: the kernel takes from there.
    tail: u16,
}

impl Buffers {
    /// Hands `count` buffers of `size` bytes over to the kernel.
    pub(super) fn new(
        ring: &IoUring,
        group: u16,
        count: u16,
        size: usize,
        incremental: bool,
    ) -> io::Result<Self> {
        let count = count.next_power_of_two();
        let start = (usize::from(count) * size_of::<BufRingEntry>()).next_multiple_of(PAGE);
        // The kernel goes round all of incremental buffers soon, and of others touches the front.
        let memory = Arc::new(Mapping::new(start + usize::from(count) * size, incremental)?);
        let regions = (0..usize::from(count))
            .map(|id| {
                // SAFETY: the buffer lies within the mapping.
                let first = unsafe { memory.start.add(start + id * size) };
                // SAFETY: as above, and the mapping lasts as long as the region, which holds it.
                unsafe { Region::within(memory.clone(), first, size as u32) }
            })
            .collect();
        let filled = vec![0; usize::from(count)];
        let mut buffers = Self {
            memory,
            regions,
            held: Vec::new(),
            count,
            size,
            start,
            filled,
            room: 0,
            usual_receive: size,
            tail: 0,
        };
        let flags = if incremental { INCREMENTAL } else { 0 };
        let entries = buffers.memory.start.as_ptr() as u64;
        // SAFETY: the entries begin at a page of the mapping and have room for `count`; the mapping
        // is unmapped only when the ring is gone or has no operations left, which `RingDriver`'s
        // drop sees to.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(entries, count, group, flags)?;
        }
        (0..count).for_each(|id| buffers.give_back(id));
        Ok(buffers)
    }

    /// The `len` bytes that the kernel has put into buffer `id` by the completion at hand. Valid
    /// until the buffer is told [`used`](Self::used).
    pub(super) fn bytes(&mut self, id: u16, len: usize) -> &mut [u8] {
        let filled = self.filled[usize::from(id)] as usize;
        assert!(filled + len <= self.size, "the kernel filled more than a buffer");
        let at = self.start + usize::from(id) * self.size + filled;
        // SAFETY: the range lies in the mapping, by the line above and because `filled` was indexed
        // with `id`. The kernel has told by a completion that it has written these bytes, and
        // writes them again only after the buffer was given back, which borrows `self` mutably.
        // Parts of the buffer that are kept are those of other completions.
        unsafe { std::slice::from_raw_parts_mut(self.memory.start.as_ptr().add(at), len) }
    }

    /// As [`bytes`](Self::bytes), with leave to keep them if the kernel can do without the buffer:
    /// while at least half of them are its own, or about to be.
    pub(super) fn loan(&mut self, id: u16, len: usize) -> Loan<'_> {
        let can_spare = self.held.len() < usize::from(self.count) / 2;
        let filled = self.filled[usize::from(id)] as usize;
        if !can_spare {
            return Loan::over(self.bytes(id, len));
        }
        let region = &self.regions[usize::from(id)];
        // SAFETY: as in `bytes`; the region asserts the range.
        let bytes = unsafe { region.part_mut(filled, len) };
        // SAFETY: the buffer goes back to the kernel only when no part of it is kept.
        unsafe { Loan::within(bytes, region) }
    }

    /// The completion that brought `len` bytes in buffer `id` is done with; `more` says whether the
    /// kernel goes on filling it.
    pub(super) fn used(&mut self, id: u16, len: usize, more: bool) {
        self.usual_receive = (self.usual_receive * (MEMORY - 1) + len) / MEMORY;
        let filled = &mut self.filled[usize::from(id)];
        if more {
            *filled += len as u32;
            self.room -= len;
        } else {
            self.room -= self.size - *filled as usize;
            *filled = 0;
            if self.regions[usize::from(id)].is_free() {
                self.give_back(id);
            } else {
                self.held.push(id);
            }
        }
    }

    /// How many bytes there are buffers for.
    pub(super) fn room(&self) -> usize {
        self.room
    }

    /// How many bytes a receive has brought of late: at least one.
    pub(super) fn usual_receive(&self) -> usize {
        self.usual_receive.max(1)
    }

    /// Gives the kernel those buffers back that were held because parts of them were kept.
    pub(super) fn reclaim(&mut self) {
        let mut at = 0;
        while let Some(&id) = self.held.get(at) {
            if self.regions[usize::from(id)].is_free() {
                self.held.swap_remove(at);
                self.give_back(id);
            } else {
                at += 1;
            }
        }
    }

    fn give_back(&mut self, id: u16) {
        self.room += self.size;
        let at = self.tail & (self.count - 1);
        let buffer = self.start + usize::from(id) * self.size;
        let entries = self.memory.start.cast::<BufRingEntry>();
        // SAFETY: `at` is below `count`, so that the entry lies in the mapping, aligned because the
        // mapping begins at a page. The kernel reads entries only before the tail, and this one
        // stands at it: it was read before the buffer came to us.
        let entry = unsafe { entries.add(usize::from(at)).as_mut() };
        entry.set_addr(self.memory.start.as_ptr() as u64 + buffer as u64);
        entry.set_len(self.size as u32);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the tail is a field of the first entry, which the mapping holds; the kernel only
        // reads it, and every access of ours is atomic.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(entries.as_ptr()).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }

    /// Gives the memory up without freeing it, because the kernel may still write into it.
    pub(super) fn leak(self) {
        self.memory.given_up.store(true, Ordering::Relaxed);
    }
}

/// Anonymous memory of whole pages, zeroed.
#[derive(Debug)]
struct Mapping {
    start: NonNull<u8>,
    len: usize,
    /// It stays mapped when its owners are gone.
    given_up: AtomicBool,
}

// SAFETY: the mapping is plain memory that belongs to its owners alone.
unsafe impl Send for Mapping {}
// SAFETY: a shared mapping is only an address; who reads and writes through that answers for it.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// `len` bytes. Where `all_at_once`, every page exists from the start, so that no receive waits
    /// for one; otherwise only touched pages do.
    fn new(len: usize, all_at_once: bool) -> io::Result<Self> {
        let populate = if all_at_once { libc::MAP_POPULATE } else { 0 };
        // SAFETY: a new anonymous mapping touches no memory that there is.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | populate,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len, given_up: AtomicBool::new(false) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if *self.given_up.get_mut() {
            return;
        }
        // SAFETY: the mapping is this value's own, and no slice of it outlives a borrow of it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}
