//! The provided-buffer ring: memory that the kernel receives into and lends to us one buffer at a
//! time (`io_uring_register_buf_ring(3)`).
#![expect(unsafe_code, reason = "the kernel writes into memory that it shares with us")]

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

/// Buffers begin a little later than a multiple of a page, each at another place of it, so that the
/// first bytes of all do not fight for the same lines of the processor's cache.
const STAGGER: usize = 192;

/// The buffers of one ring.
pub(super) struct Buffers {
    entries: NonNull<BufRingEntry>,
    memory: NonNull<u8>,
    count: u16,
    size: usize,
    /// Where the next buffer is put, as the kernel counts: it wraps.
    tail: u16,
}

/// A buffer that the kernel has filled; it is ours until [`Buffers::give_back`].
#[derive(Debug)]
pub(super) struct Received {
    id: u16,
    length: u32,
}

impl Buffers {
    /// Gives `count` buffers (a power of two) of `size` bytes to the kernel, as group 0.
    pub(super) fn register(submitter: &Submitter<'_>, count: u16, size: usize) -> io::Result<Self> {
        let entries = map(usize::from(count) * size_of::<BufRingEntry>())?.cast();
        let memory = map(usize::from(count) * (size + STAGGER))?;
        // SAFETY: the memory holds `count` entries, begins with a page, and is never unmapped.
        unsafe {
            submitter.register_buf_ring_with_flags(entries.as_ptr() as u64, count, 0, 0)?;
        }
        let mut buffers = Self { entries, memory, count, size, tail: 0 };
        for id in 0..count {
            buffers.give_back(Received { id, length: 0 });
        }
        buffers.publish();
        Ok(buffers)
    }

    /// Names the buffer that a completion tells of; each completion does once.
    pub(super) fn taken(&self, id: u16, length: u32) -> Received {
        assert!(id < self.count && length as usize <= self.size, "buffer {id} of {length} bytes");
        Received { id, length }
    }

    pub(super) fn bytes(&self, received: &Received) -> &[u8] {
        // SAFETY: `taken` checked that the bytes lie in the memory, which mmap had filled with zeros.
        // The kernel took the buffer out of the ring before the completion, and does not write to it
        // until it is given back, which consumes the one `Received` that names it.
        unsafe {
            std::slice::from_raw_parts(self.place(received.id).as_ptr(), received.length as usize)
        }
    }

    /// The kernel may have it from the next [`Buffers::publish`] on.
    pub(super) fn give_back(&mut self, received: Received) {
        let place = self.place(received.id).as_ptr() as u64;
        let index = usize::from(self.tail & (self.count - 1));
        // SAFETY: the index is below the count of entries. The kernel reads an entry only between
        // the published head and tail; it holds no more than `count` buffers, so this one is free.
        // Field by field, because the tail of the ring lies in the padding of the first entry.
        unsafe {
            let entry = &mut *self.entries.as_ptr().add(index);
            entry.set_addr(place);
            entry.set_len(self.size as u32);
            entry.set_bid(received.id);
        }
        self.tail = self.tail.wrapping_add(1);
    }

    /// Shows what was given back to the kernel.
    pub(super) fn publish(&self) {
        // SAFETY: the tail is two bytes inside of the first entry, aligned, and shared with the
        // kernel, which only reads it. No reference to the entry is alive.
        unsafe {
            let tail = BufRingEntry::tail(self.entries.as_ptr()).cast_mut();
            AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
        }
    }

    fn place(&self, id: u16) -> NonNull<u8> {
        // SAFETY: ids are below the count, so the place lies in the memory.
        unsafe { self.memory.add(usize::from(id) * (self.size + STAGGER)) }
    }
}

/// Zeroed pages that take no memory until they are touched; they stay until the process ends.
fn map(length: usize) -> io::Result<NonNull<u8>> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a fresh mapping at a place that the kernel chooses touches no memory of ours.
    let place = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, flags, -1, 0) };
    if place == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(place.cast()).ok_or_else(|| io::Error::other("mapped at zero"))
}
