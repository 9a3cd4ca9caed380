//! Bytes that the kernel is sending: memory that is the driver's until it has been told.
//!
//! Neither a connection that goes nor a driver that is dropped frees it before: an entry is emptied
//! by its completion only, or by that of the mark behind it.
//!
//! ```text
//!   submitted:   send 4   send 7   send 2   mark      the kernel tries each in this order, at once
//!   completes:            short             done      7 waits for room then; 4 and 2 have left
//! ```
//!
//! So one completion tells of all sends of a turn, and a loop that sleeps is not woken by them.

use super::operations::{Operation, Pace};
use super::token::{Kind, Token};
use crate::{Chunk, Key, Outbox};
use libc::{iovec, msghdr};
use std::collections::VecDeque;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;

/// How many bytes one operation takes at most. It completes when all of them have left, so that a
/// larger one would hide from the loop for longer that a slow peer makes progress.
const LONGEST_SEND: usize = 256 * 1024;

/// Vectors kept for outboxes to grow in, bounded in number and in bytes, each and all of them.
const SPARES: usize = 256;
const LARGEST_SPARE: usize = 512 * 1024;
const SPARE_BYTES: usize = 4 << 20;

/// The sends under way, by the number that their completions carry.
#[derive(Debug, Default)]
#[expect(clippy::vec_box, reason = "the kernel reads an entry's header: it must not move")]
pub(super) struct Sends {
    entries: Vec<Box<Sending>>,
    free: Vec<u32>,
    spares: Vec<Vec<u8>>,
    spare_bytes: usize,
    /// Those submitted, or about to be, that complete only if something is left of them; oldest
    /// first.
    at_once: VecDeque<Token>,
    /// For each mark on its way through the kernel, how many of them stand before it and behind the
    /// one before.
    marks: VecDeque<usize>,
    /// How many of them no mark stands behind yet.
    unmarked: usize,
}

/// One send. The kernel reads the chunks; the header and the vectors only while it is submitted.
struct Sending {
    /// Whose bytes these are.
    owner: Option<(Key, u32)>,
    chunks: Vec<Chunk>,
    vectors: Vec<iovec>,
    header: msghdr,
    /// All bytes, and how many of them have left.
    bytes: usize,
    sent: usize,
    uses: u32,
    pace: Pace,
}

// SAFETY: the pointers in the header and the vectors point into this entry and its chunks, which
// are Send, and move with it.
unsafe impl Send for Sending {}

/// What a completion says about a send.
#[derive(Debug)]
pub(super) enum Progress {
    /// So many bytes have left, which were all.
    Gone(usize),
    /// A part has left; the rest is to be asked for again.
    Short,
    /// It failed.
    Failed(io::Error),
}

impl Sends {
    /// Takes the front of `outbox`, which has something queued, and leaves it an empty vector to
    /// grow in. Returns the number of the send and how many bytes it holds.
    pub(super) fn take(&mut self, outbox: &mut Outbox, key: Key, tenancy: u32) -> (u32, usize) {
        let number = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Box::default());
            self.entries.len() as u32 - 1
        });
        let entry = &mut self.entries[number as usize];
        entry.owner = Some((key, tenancy));
        entry.uses = entry.uses.wrapping_add(1);
        entry.pace = Pace::AtOnce;
        while entry.chunks.len() < Outbox::SLICES
            && entry.bytes < LONGEST_SEND
            && let Some(chunk) = outbox.pop_up_to(LONGEST_SEND - entry.bytes)
        {
            entry.bytes += chunk.remaining().len();
            entry.chunks.push(chunk);
        }
        if !outbox.has_buffer()
            && outbox.queued() == 0
            && let Some(spare) = self.spares.pop()
        {
            self.spare_bytes -= spare.capacity();
            outbox.give_spare(spare);
        }
        (number, entry.bytes)
    }

    /// The operation that sends what is left of send `number`. The first one of a send goes through
    /// the kernel at once: it is followed by a [`mark`](Self::mark), and over when that completes.
    pub(super) fn operation(&mut self, number: u32, stream: RawFd) -> Operation {
        let token = self.token(number);
        let entry = &mut *self.entries[number as usize];
        let pace = entry.pace;
        if pace == Pace::AtOnce {
            self.at_once.push_back(token);
            self.unmarked += 1;
        }
        if let [chunk] = &entry.chunks[..] {
            let bytes = &chunk.remaining()[entry.sent..];
            // SAFETY: the chunk stays in its entry, untouched, until the completion of this
            // operation, or of the mark behind it, empties it; an entry is given out again only then, and freed only when no
            // operation is left (see `RingDriver`'s drop). Moving a chunk does not move its bytes.
            return unsafe {
                Operation::send(stream, bytes.as_ptr(), bytes.len() as u32, pace, token)
            };
        }
        let mut skip = entry.sent;
        entry.vectors.clear();
        for chunk in &entry.chunks {
            let bytes = chunk.remaining();
            let bytes = &bytes[skip.min(bytes.len())..];
            skip -= chunk.remaining().len() - bytes.len();
            if !bytes.is_empty() {
                let (base, len) = (bytes.as_ptr().cast_mut().cast(), bytes.len());
                entry.vectors.push(iovec { iov_base: base, iov_len: len });
            }
        }
        entry.header.msg_iov = entry.vectors.as_mut_ptr();
        entry.header.msg_iovlen = entry.vectors.len() as _;
        // SAFETY: as above for the chunks. The header stands in a box that does not move, the
        // vectors in memory of their own, and both change only with the next operation of this
        // entry, which is made when this one is over.
        unsafe { Operation::send_message(stream, &raw const entry.header, pace, token) }
    }

    /// The token of send `number`.
    pub(super) fn token(&self, number: u32) -> Token {
        let tenancy = self.entries[number as usize].uses;
        Token { kind: Kind::Send, index: number, tenancy }
    }

    /// Whose completion this is.
    pub(super) fn owner(&self, token: Token) -> Option<(Key, u32)> {
        let entry = self.entries.get(token.index as usize)?;
        debug_assert_eq!(entry.uses, token.tenancy, "a send has one completion");
        entry.owner
    }

    /// Whose send `number` is.
    pub(super) fn owner_of(&self, number: u32) -> Option<(Key, u32)> {
        self.entries[number as usize].owner
    }

    /// The operation to put behind sends that complete only if something is left of them, if there
    /// are such.
    pub(super) fn mark(&mut self) -> Option<Operation> {
        let count = std::mem::take(&mut self.unmarked);
        (count > 0).then(|| {
            self.marks.push_back(count);
            Operation::mark()
        })
    }

    /// How many sends the mark that has completed stands behind.
    pub(super) fn marked(&mut self) -> usize {
        self.marks.pop_front().unwrap_or(0)
    }

    /// The next of the sends before that mark: its number and its length, unless something is left of
    /// it, which its own completion has told already.
    pub(super) fn next_marked(&mut self) -> Option<(u32, usize)> {
        let token = self.at_once.pop_front()?;
        let entry = &self.entries[token.index as usize];
        let is_over = entry.uses == token.tenancy && entry.pace == Pace::AtOnce;
        is_over.then_some((token.index, entry.bytes))
    }

    /// Notes what the completion of send `number` says.
    pub(super) fn note(&mut self, number: u32, outcome: io::Result<usize>) -> Progress {
        let entry = &mut self.entries[number as usize];
        entry.pace = Pace::Patient;
        if !matches!(outcome, Ok(count) if entry.sent + count >= entry.bytes) {
            // What has to wait does not wait in a buffer that could be received into.
            entry.chunks.iter_mut().for_each(Chunk::let_go);
        }
        match outcome {
            Ok(count) => {
                entry.sent += count;
                if entry.sent >= entry.bytes {
                    Progress::Gone(entry.bytes)
                } else {
                    Progress::Short
                }
            }
            Err(error) => Progress::Failed(error),
        }
    }

    /// The kernel is done with send `number`: frees its bytes, or keeps their memory for others.
    pub(super) fn finish(&mut self, number: u32) {
        let entry = &mut self.entries[number as usize];
        for chunk in entry.chunks.drain(..) {
            if let Chunk::Owned { bytes: mut spare, .. } = chunk
                && self.spares.len() < SPARES
                && (1..=LARGEST_SPARE).contains(&spare.capacity())
                && self.spare_bytes + spare.capacity() <= SPARE_BYTES
            {
                self.spare_bytes += spare.capacity();
                spare.clear();
                self.spares.push(spare);
            }
        }
        (entry.owner, entry.bytes, entry.sent, entry.pace) = (None, 0, 0, Pace::Patient);
        self.free.push(number);
    }

    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.at_once.is_empty() && self.marks.is_empty() && self.free.len() == self.entries.len()
    }

    /// Gives the memory up without freeing it, because the kernel may still read it.
    pub(super) fn leak(&mut self) {
        self.entries.retain(|entry| entry.owner.is_some());
        std::mem::forget(std::mem::take(&mut self.entries));
    }
}

impl Default for Sending {
    fn default() -> Self {
        Self {
            owner: None,
            chunks: Vec::new(),
            vectors: Vec::new(),
            // SAFETY: a header of null pointers and zero lengths is a valid one.
            header: unsafe { MaybeUninit::<msghdr>::zeroed().assume_init() },
            bytes: 0,
            sent: 0,
            uses: 0,
            pace: Pace::Patient,
        }
    }
}

impl std::fmt::Debug for Sending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}: {} of {} bytes", self.owner, self.sent, self.bytes)
    }
}
