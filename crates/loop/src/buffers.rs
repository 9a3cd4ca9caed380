//! Spare vectors and lists: the memory that connections share because most of them are idle.

use bytes::Bytes;
use mainspring_io::{Kept, Outbox, SpareChunks};

/// Empty vectors kept for the next connection that has something to say or to carry.
///
/// An idle connection holds no buffer; a busy one takes one from here and gives it back, so that a
/// warm loop does not allocate. The pool is bounded in number and in bytes, and a vector that grew
/// beyond [`CAPACITY_MAX`](Self::CAPACITY_MAX) is freed rather than kept.
#[derive(Default)]
pub(crate) struct Buffers {
    spares: Vec<Vec<u8>>,
    bytes: usize,
    lists: Vec<SpareChunks>,
    /// For how many chunks the lists have room together.
    list_room: usize,
}

impl Buffers {
    const COUNT_MAX: usize = 256;
    const BYTES_MAX: usize = 4 << 20;
    /// A reply to one full read buffer of pipelined commands fits several times over.
    pub(crate) const CAPACITY_MAX: usize = 1 << 20;
    /// What a new vector starts with: one small reply must not cost a chain of regrowths.
    const CAPACITY_NEW: usize = 1024;
    /// Chunks for which the kept lists have room, each and all of them: those of a broadcast to
    /// sixteen thousand connections, in two to three megabytes.
    const LIST_ROOM_MAX: usize = 128;
    const LISTS_ROOM_MAX: usize = 1 << 16;

    #[inline(always)]
    pub(crate) fn take(&mut self) -> Vec<u8> {
        match self.spares.pop() {
            Some(spare) => {
                self.bytes -= spare.capacity();
                spare
            }
            None => Vec::with_capacity(Self::CAPACITY_NEW),
        }
    }

    /// Queues shared bytes in an outbox, which gets a list to queue them in if it has none.
    pub(crate) fn push_shared(&mut self, outbox: &mut Outbox, bytes: Bytes) {
        self.give_list_to(outbox);
        outbox.push_shared(bytes);
    }

    /// As [`push_shared`](Self::push_shared), for received bytes.
    pub(crate) fn push_kept(&mut self, outbox: &mut Outbox, bytes: Kept) {
        self.give_list_to(outbox);
        outbox.push_kept(bytes);
    }

    fn give_list_to(&mut self, outbox: &mut Outbox) {
        if !outbox.has_chunks()
            && let Some(spare) = self.lists.pop()
        {
            self.list_room -= spare.capacity();
            outbox.give_chunks(spare);
        }
    }

    /// Takes back what an outbox has grown in, if it is empty.
    #[inline]
    pub(crate) fn give_from(&mut self, outbox: &mut Outbox) {
        if let Some(spare) = outbox.take_spare() {
            self.give(spare);
        }
        if outbox.has_chunks() {
            self.give_list_from(outbox);
        }
    }

    #[inline(never)]
    fn give_list_from(&mut self, outbox: &mut Outbox) {
        let Some(spare) = outbox.take_chunks() else { return };
        let room = spare.capacity();
        if room <= Self::LIST_ROOM_MAX && self.list_room + room <= Self::LISTS_ROOM_MAX {
            self.list_room += room;
            self.lists.push(spare);
        }
    }

    /// Takes back what a vector has grown in, if it is empty.
    pub(crate) fn give_if_empty(&mut self, vector: &mut Vec<u8>) {
        if vector.is_empty() && vector.capacity() > 0 {
            self.give(std::mem::take(vector));
        }
    }

    #[inline]
    pub(crate) fn give(&mut self, mut spare: Vec<u8>) {
        let capacity = spare.capacity();
        let fits = self.spares.len() < Self::COUNT_MAX && self.bytes + capacity <= Self::BYTES_MAX;
        if capacity > 0 && capacity <= Self::CAPACITY_MAX && fits {
            spare.clear();
            self.bytes += capacity;
            self.spares.push(spare);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_a_bounded_amount() {
        let mut buffers = Buffers::default();
        for _ in 0..1000 {
            buffers.give(Vec::with_capacity(64 << 10));
        }
        assert!(buffers.bytes <= Buffers::BYTES_MAX && buffers.spares.len() <= Buffers::COUNT_MAX);
        buffers.give(Vec::with_capacity(Buffers::CAPACITY_MAX + 1));
        assert!(buffers.spares.iter().all(|spare| spare.capacity() <= Buffers::CAPACITY_MAX));
        let before = buffers.bytes;
        assert!(buffers.take().is_empty());
        assert!(buffers.bytes < before);
    }
}
