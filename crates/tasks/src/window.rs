//! Received bytes in memory that a task has.

use crate::executor::Spares;
use mainspring_io::Kept;

/// Received bytes, the first `taken` of which have been read.
#[derive(Default)]
pub(crate) struct Window {
    memory: Memory,
    taken: usize,
}

/// Where received bytes lie.
pub(crate) enum Memory {
    /// In a vector of the executor's.
    Copied(Vec<u8>),
    /// Where they were received.
    Kept(Kept),
}

impl Default for Memory {
    fn default() -> Self {
        Self::Copied(Vec::new())
    }
}

impl Window {
    pub(crate) fn copied(bytes: Vec<u8>) -> Self {
        Self { memory: Memory::Copied(bytes), taken: 0 }
    }

    pub(crate) fn kept(bytes: Kept) -> Self {
        Self { memory: Memory::Kept(bytes), taken: 0 }
    }

    fn whole(&self) -> &[u8] {
        match &self.memory {
            Memory::Copied(bytes) => bytes,
            Memory::Kept(bytes) => bytes.bytes(),
        }
    }

    pub(crate) fn rest(&self) -> &[u8] {
        &self.whole()[self.taken..]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.taken == self.whole().len()
    }

    /// Marks the first `count` bytes of the rest as read.
    pub(crate) fn take(&mut self, count: usize) {
        assert!(count <= self.rest().len(), "consumed more than was shown");
        self.taken += count;
    }

    /// Puts `more` behind the rest. What was kept is copied for that.
    pub(crate) fn append(&mut self, more: &[u8], spares: &Spares) {
        if let Memory::Kept(kept) = &self.memory {
            let mut bytes = spares.take();
            bytes.extend_from_slice(&kept.bytes()[self.taken..]);
            *self = Self::copied(bytes);
        }
        if let Memory::Copied(bytes) = &mut self.memory {
            bytes.extend_from_slice(more);
        }
    }

    /// The rest, if it lies where it was received.
    pub(crate) fn into_kept(self) -> Result<Kept, Self> {
        match self.into_memory() {
            (Memory::Kept(bytes), _) if !bytes.bytes().is_empty() => Ok(bytes),
            (memory, taken) => Err(Self { memory, taken }),
        }
    }

    /// Where the rest lies, and how many bytes of it come before it: none in what was kept.
    pub(crate) fn into_memory(mut self) -> (Memory, usize) {
        if let Memory::Kept(bytes) = &mut self.memory {
            bytes.advance(std::mem::take(&mut self.taken));
        }
        (self.memory, self.taken)
    }

    /// Gives up the bytes, and their vector back.
    pub(crate) fn recycle(self, spares: &Spares) {
        if let Memory::Copied(bytes) = self.memory
            && bytes.capacity() > 0
        {
            spares.give(bytes);
        }
    }
}
