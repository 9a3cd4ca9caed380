//! Received bytes in memory that a task has.

use crate::spares;
use mainspring_io::Kept;
use std::marker::PhantomData;
use std::rc::Rc;

/// Received bytes that have not been read; without any it has no memory. A pointer, because futures
/// move it from one place to the next. Its memory goes back to the spares of its thread.
#[derive(Default)]
pub(crate) struct Window {
    memory: Option<Box<Memory>>,
    /// Not for other threads: they would keep spares and have no use for them.
    here: PhantomData<Rc<()>>,
}

/// Where received bytes lie: in the vector, or where they were received.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) bytes: Vec<u8>,
    kept: Option<Kept>,
    /// Bytes that have been read, of the one or the other.
    taken: usize,
}

impl Memory {
    fn rest(&self) -> &[u8] {
        let whole = self.kept.as_ref().map_or(&self.bytes[..], Kept::bytes);
        &whole[self.taken..]
    }

    #[inline(always)]
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.kept = None;
        self.taken = 0;
    }
}

impl Window {
    /// A copy.
    #[inline(always)]
    pub(crate) fn copied(bytes: &[u8]) -> Self {
        let mut memory = spares::take();
        memory.bytes.extend_from_slice(bytes);
        Self::over(memory)
    }

    #[cold]
    pub(crate) fn kept(bytes: Kept) -> Self {
        let mut memory = spares::take();
        memory.kept = Some(bytes);
        Self::over(memory)
    }

    fn over(memory: Box<Memory>) -> Self {
        Self { memory: Some(memory), here: PhantomData }
    }

    pub(crate) fn rest(&self) -> &[u8] {
        self.memory.as_ref().map_or(&[], |memory| memory.rest())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.memory.is_none()
    }

    /// Marks the first `count` bytes of the rest as read.
    pub(crate) fn take(&mut self, count: usize) {
        let left = self.rest().len().checked_sub(count).expect("consumed more than was shown");
        if left == 0 {
            *self = Self::default();
        } else if let Some(memory) = &mut self.memory {
            memory.taken += count;
        }
    }

    /// Puts `more` behind the rest. What was kept is copied for that.
    pub(crate) fn append(&mut self, more: &[u8]) {
        match &mut self.memory {
            Some(memory) if memory.kept.is_none() => memory.bytes.extend_from_slice(more),
            Some(memory) => {
                let mut joined = Self::copied(memory.rest());
                joined.append(more);
                *self = joined;
            }
            None if more.is_empty() => {}
            None => *self = Self::copied(more),
        }
    }

    /// Whether the rest lies where it was received.
    pub(crate) fn is_kept(&self) -> bool {
        self.memory.as_ref().is_some_and(|memory| memory.kept.is_some())
    }

    /// The rest, if it lies where it was received.
    pub(crate) fn into_kept(mut self) -> Result<Kept, Self> {
        let kept = self.memory.as_mut().and_then(|memory| {
            let mut kept = memory.kept.take()?;
            kept.advance(memory.taken);
            Some(kept)
        });
        kept.ok_or(self)
    }

    /// The memory, if its vector is all that there is, of unread bytes alone.
    #[inline(always)]
    pub(crate) fn into_plain(mut self) -> Result<Box<Memory>, Self> {
        match self.memory.take() {
            Some(memory) if memory.kept.is_none() && memory.taken == 0 => Ok(memory),
            memory => {
                self.memory = memory;
                Err(self)
            }
        }
    }
}

impl Drop for Window {
    #[inline]
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take() {
            give_back(memory);
        }
    }
}

/// Apart, because windows are mostly dropped empty.
#[inline(never)]
fn give_back(memory: Box<Memory>) {
    spares::give(memory);
}
