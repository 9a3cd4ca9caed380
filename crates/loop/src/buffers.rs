//! Spare vectors: the memory that connections share because most of them are idle.

use mainspring_io::Outbox;

/// Empty vectors kept for the next connection that has something to say or to carry.
///
/// An idle connection holds no buffer; a busy one takes one from here and gives it back, so that a
/// warm loop does not allocate. The pool is bounded in number and in bytes, and a vector that grew
/// beyond [`CAPACITY_MAX`](Self::CAPACITY_MAX) is freed rather than kept.
#[derive(Default)]
pub(crate) struct Buffers {
    spares: Vec<Vec<u8>>,
    bytes: usize,
}

impl Buffers {
    const COUNT_MAX: usize = 256;
    const BYTES_MAX: usize = 4 << 20;
    /// A reply to one full read buffer of pipelined commands fits several times over.
    pub(crate) const CAPACITY_MAX: usize = 1 << 20;
    /// What a new vector starts with: one small reply must not cost a chain of regrowths.
    const CAPACITY_NEW: usize = 1024;

    pub(crate) fn take(&mut self) -> Vec<u8> {
        match self.spares.pop() {
            Some(spare) => {
                self.bytes -= spare.capacity();
                spare
            }
            None => Vec::with_capacity(Self::CAPACITY_NEW),
        }
    }

    /// Takes back what an outbox has grown in, if it is empty.
    pub(crate) fn give_from(&mut self, outbox: &mut Outbox) {
        if let Some(spare) = outbox.take_spare() {
            self.give(spare);
        }
    }

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
