//! Bytes on their way out of one connection.

use crate::Kept;
use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::io::IoSlice;

/// The bytes that a connection has still to send, in order.
///
/// ```text
///    in flight        ahead (rare)                       tail
///  +-----------+   +--------+--------+--------+   +------------------+
///  | driver's  |   | owned  | shared | owned  |   | Vec<u8>, where   |
///  | already   |   | rest   | Bytes  |        |   | handlers append  |
///  +-----------+   +--------+--------+--------+   +------------------+
/// ```
///
/// Handlers append to the tail. `ahead` exists only after a short write or when bytes shared with
/// other connections were queued, so that the usual reply is one contiguous vector and one `send`.
/// An empty outbox holds no memory beyond itself once its tail and its list of chunks have been
/// taken back ([`take_spare`](Outbox::take_spare), [`take_chunks`](Outbox::take_chunks)).
#[derive(Debug, Default)]
pub struct Outbox {
    tail: Vec<u8>,
    ahead: Option<Box<Ahead>>,
    in_flight: usize,
}

/// A run of bytes that leaves in one piece.
#[derive(Debug)]
pub enum Chunk {
    /// Bytes of this connection alone; the first `sent` of them have left.
    Owned {
        /// The bytes.
        bytes: Vec<u8>,
        /// How many of them have left.
        sent: usize,
    },
    /// Bytes shared with other connections, not copied.
    Shared(Bytes),
    /// Bytes that a driver has received, on their way on where they lie.
    Kept(Kept),
}

/// The empty list of chunks of one outbox, on its way to another.
#[derive(Debug)]
pub struct SpareChunks(Box<Ahead>);

#[derive(Debug, Default)]
struct Ahead {
    chunks: VecDeque<Chunk>,
    len: usize,
}

impl Outbox {
    /// How many chunks one vectored write carries at most.
    pub const SLICES: usize = 64;

    /// An empty outbox.
    #[must_use]
    pub const fn new() -> Self {
        Self { tail: Vec::new(), ahead: None, in_flight: 0 }
    }

    /// The vector that handlers append to. It holds only bytes no driver has seen yet.
    pub fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.tail
    }

    /// Queues `bytes` behind everything queued so far, without copying them.
    pub fn push_shared(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        let ahead = self.ahead.get_or_insert_default();
        if !self.tail.is_empty() {
            ahead.push(Chunk::Owned { bytes: std::mem::take(&mut self.tail), sent: 0 });
        }
        ahead.push(Chunk::Shared(bytes));
    }

    /// Queues received bytes behind everything queued so far, where they lie. They are to leave soon:
    /// meanwhile their driver has a buffer less.
    pub fn push_kept(&mut self, kept: Kept) {
        if kept.bytes().is_empty() {
            return;
        }
        let ahead = self.ahead.get_or_insert_default();
        if !self.tail.is_empty() {
            ahead.push(Chunk::Owned { bytes: std::mem::take(&mut self.tail), sent: 0 });
        }
        ahead.push_kept(kept);
    }

    /// Copies what is still queued of received bytes, so that their driver gets the memory back.
    pub fn let_go(&mut self) {
        if let Some(ahead) = &mut self.ahead {
            ahead.chunks.iter_mut().for_each(Chunk::let_go);
        }
    }

    /// Bytes accepted from handlers and not yet known to have left, those in flight included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queued() + self.in_flight
    }

    /// Whether nothing is queued and nothing is in flight.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that a driver has still to take.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.tail.len() + self.ahead.as_ref().map_or(0, |ahead| ahead.len)
    }

    /// Bytes that belong to a driver until it reports them sent.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// For drivers that complete later: `count` bytes taken out by [`pop`](Outbox::pop) now belong
    /// to the driver.
    pub fn put_in_flight(&mut self, count: usize) {
        self.in_flight += count;
    }

    /// For the loop: `count` bytes in flight have left.
    ///
    /// # Panics
    ///
    /// If fewer bytes were in flight: a driver that counts wrongly would make the water marks lie.
    pub fn landed(&mut self, count: usize) {
        self.in_flight = self.in_flight.checked_sub(count).expect("more bytes sent than in flight");
    }

    /// The queued bytes if they are contiguous, which they are unless a write fell short, or shared or
    /// kept bytes are queued beside others.
    #[must_use]
    pub fn contiguous(&self) -> Option<&[u8]> {
        match &self.ahead {
            None => Some(&self.tail),
            Some(ahead) => ahead.contiguous(&self.tail),
        }
    }

    fn has_only_a_tail(&self) -> bool {
        self.ahead.as_ref().is_none_or(|ahead| ahead.chunks.is_empty())
    }

    /// Fills `slices` with the queued bytes from the front and returns how many were filled.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let ahead = self.ahead.iter().flat_map(|ahead| ahead.chunks.iter().map(Chunk::remaining));
        let parts = ahead.chain(std::iter::once(&self.tail[..])).filter(|part| !part.is_empty());
        let mut filled = 0;
        for (slot, part) in slices.iter_mut().zip(parts) {
            *slot = IoSlice::new(part);
            filled += 1;
        }
        filled
    }

    /// Drops the first `count` queued bytes: they have left.
    ///
    /// # Panics
    ///
    /// If fewer bytes are queued.
    #[inline]
    pub fn advance(&mut self, count: usize) {
        if count == self.tail.len() && self.has_only_a_tail() {
            // The usual reply has left at once.
            return self.tail.clear();
        }
        self.advance_in_parts(count);
    }

    #[inline(never)]
    fn advance_in_parts(&mut self, mut count: usize) {
        assert!(count <= self.queued(), "a driver sent more than was queued");
        if let Some(ahead) = &mut self.ahead {
            count = ahead.advance(count);
        }
        if count == self.tail.len() {
            self.tail.clear();
        } else if count > 0 {
            // The rest must not stand behind sent bytes in the vector that handlers see.
            let bytes = std::mem::take(&mut self.tail);
            self.ahead.get_or_insert_default().push(Chunk::Owned { bytes, sent: count });
        }
    }

    /// Takes out the first run of bytes, for a driver that needs to own what the kernel reads.
    pub fn pop(&mut self) -> Option<Chunk> {
        if let Some(chunk) = self.ahead.as_mut().and_then(|ahead| ahead.pop()) {
            return Some(chunk);
        }
        if self.tail.is_empty() {
            return None;
        }
        Some(Chunk::Owned { bytes: std::mem::take(&mut self.tail), sent: 0 })
    }

    /// As [`pop`](Outbox::pop), but takes at most `limit` bytes: a longer run is cut without copying
    /// it, and its rest stays at the front.
    pub fn pop_up_to(&mut self, limit: usize) -> Option<Chunk> {
        let chunk = self.pop()?;
        if chunk.remaining().len() <= limit {
            return Some(chunk);
        }
        let (front, rest) = chunk.split_at(limit);
        self.ahead.get_or_insert_default().push_front(rest);
        Some(front)
    }

    /// Whether the tail holds memory, used or not.
    #[must_use]
    pub fn has_buffer(&self) -> bool {
        self.tail.capacity() > 0
    }

    /// Gives the empty tail a vector to grow in.
    pub fn give_spare(&mut self, spare: Vec<u8>) {
        debug_assert!(spare.is_empty() && self.tail.is_empty());
        self.tail = spare;
    }

    /// Takes the empty tail's memory back, so that an idle connection holds none.
    pub fn take_spare(&mut self) -> Option<Vec<u8>> {
        (self.tail.is_empty() && self.tail.capacity() > 0).then(|| std::mem::take(&mut self.tail))
    }

    /// Whether the outbox has a list of chunks, used or not.
    #[must_use]
    pub fn has_chunks(&self) -> bool {
        self.ahead.is_some()
    }

    /// Gives an outbox without one a list in which shared bytes can queue.
    pub fn give_chunks(&mut self, spare: SpareChunks) {
        debug_assert!(self.ahead.is_none());
        self.ahead = Some(spare.0);
    }

    /// Takes the list of chunks back, if it is empty.
    pub fn take_chunks(&mut self) -> Option<SpareChunks> {
        self.ahead.take_if(|ahead| ahead.chunks.is_empty()).map(SpareChunks)
    }

    /// Drops everything queued and returns how many bytes that were.
    pub fn discard(&mut self) -> usize {
        let dropped = self.queued();
        self.tail.clear();
        self.ahead = None;
        dropped
    }
}

impl SpareChunks {
    /// For how many chunks it has room.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.0.chunks.capacity()
    }
}

impl Chunk {
    /// The bytes that have not left yet.
    #[must_use]
    pub fn remaining(&self) -> &[u8] {
        match self {
            Self::Owned { bytes, sent } => &bytes[*sent..],
            Self::Shared(bytes) => bytes,
            Self::Kept(kept) => kept.bytes(),
        }
    }

    /// Gives the first `count` remaining bytes up: they have left.
    ///
    /// # Panics
    ///
    /// If fewer bytes remain.
    pub fn advance(&mut self, count: usize) {
        assert!(count <= self.remaining().len(), "a driver sent more than was queued");
        match self {
            Self::Owned { sent, .. } => *sent += count,
            Self::Shared(bytes) => bytes.advance(count),
            Self::Kept(kept) => kept.advance(count),
        }
    }

    /// Cuts a chunk in two without copying it.
    fn split_at(self, count: usize) -> (Self, Self) {
        let mut bytes = match self {
            Self::Owned { bytes, sent } => {
                let mut bytes = Bytes::from(bytes);
                bytes.advance(sent);
                bytes
            }
            Self::Shared(bytes) => bytes,
            Self::Kept(mut kept) => {
                let front = kept.split_to(count);
                return (Self::Kept(front), Self::Kept(kept));
            }
        };
        let front = bytes.split_to(count);
        (Self::Shared(front), Self::Shared(bytes))
    }

    /// Copies what was kept, so that its driver gets the memory back.
    pub(crate) fn let_go(&mut self) {
        if let Self::Kept(kept) = self {
            *self = Self::Owned { bytes: kept.bytes().to_vec(), sent: 0 };
        }
    }
}

impl Ahead {
    /// The one run that there is, `tail` included.
    fn contiguous<'a>(&'a self, tail: &'a [u8]) -> Option<&'a [u8]> {
        match (self.chunks.len(), tail.is_empty()) {
            (0, _) => Some(tail),
            (1, true) => self.chunks.front().map(Chunk::remaining),
            _ => None,
        }
    }

    fn push(&mut self, chunk: Chunk) {
        let len = chunk.remaining().len();
        if len > 0 {
            self.len += len;
            self.chunks.push_back(chunk);
        }
    }

    fn push_kept(&mut self, kept: Kept) {
        let len = kept.bytes().len();
        let kept = match self.chunks.back_mut() {
            Some(Chunk::Kept(before)) => before.join(kept).err(),
            _ => Some(kept),
        };
        self.len += len;
        if let Some(kept) = kept {
            self.chunks.push_back(Chunk::Kept(kept));
        }
    }

    fn push_front(&mut self, chunk: Chunk) {
        self.len += chunk.remaining().len();
        self.chunks.push_front(chunk);
    }

    fn pop(&mut self) -> Option<Chunk> {
        let chunk = self.chunks.pop_front()?;
        self.len -= chunk.remaining().len();
        Some(chunk)
    }

    /// Drops up to `count` bytes from the front and returns how many it could not drop.
    fn advance(&mut self, mut count: usize) -> usize {
        if count >= self.len {
            // Nearly always everything has left.
            while self.chunks.pop_front().is_some() {}
            return count - std::mem::take(&mut self.len);
        }
        while count > 0
            && let Some(front) = self.chunks.front_mut()
        {
            let step = front.remaining().len().min(count);
            front.advance(step);
            self.len -= step;
            count -= step;
            if front.remaining().is_empty() {
                self.chunks.pop_front();
            }
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ReadBuffers;

    fn gather(outbox: &Outbox) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); Outbox::SLICES];
        let filled = outbox.slices(&mut slices);
        slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn keeps_the_order_of_owned_and_shared_bytes() {
        let mut outbox = Outbox::new();
        outbox.tail().extend_from_slice(b"one ");
        outbox.push_shared(Bytes::from_static(b"two "));
        outbox.push_shared(Bytes::new());
        outbox.tail().extend_from_slice(b"three");
        assert_eq!(outbox.len(), 13);
        assert_eq!(gather(&outbox), b"one two three");
        outbox.advance(6);
        assert_eq!(gather(&outbox), b"o three");
        outbox.advance(7);
        assert!(outbox.is_empty());
        assert!(outbox.contiguous().is_some_and(<[u8]>::is_empty));
    }

    #[test]
    fn a_short_write_leaves_only_unsent_bytes_where_handlers_append() {
        let mut outbox = Outbox::new();
        outbox.tail().extend_from_slice(b"abcdef");
        outbox.advance(2);
        assert!(outbox.tail().is_empty());
        outbox.tail().extend_from_slice(b"gh");
        assert_eq!(gather(&outbox), b"cdefgh");
        assert_eq!(outbox.contiguous(), None);
    }

    #[test]
    fn an_empty_list_of_chunks_serves_another_outbox() {
        let mut first = Outbox::new();
        first.push_shared(Bytes::from_static(b"one"));
        assert!(first.take_chunks().is_none());
        first.advance(3);
        assert_eq!(first.contiguous(), Some(&b""[..]));
        let spare = first.take_chunks().expect("it is empty now");
        assert!(!first.has_chunks() && spare.capacity() > 0);
        let mut second = Outbox::new();
        second.give_chunks(spare);
        second.tail().extend_from_slice(b"t");
        assert_eq!(second.contiguous(), Some(&b"t"[..]));
        second.push_shared(Bytes::from_static(b"wo"));
        assert_eq!(gather(&second), b"two");
        assert!(matches!(second.pop(), Some(Chunk::Owned { .. })));
        assert!(matches!(second.pop(), Some(Chunk::Shared(_))));
        assert!(second.pop().is_none() && second.take_chunks().is_some());
    }

    #[test]
    fn a_long_run_is_taken_in_parts() {
        let bytes: Vec<u8> = (0..=255).collect();
        let mut outbox = Outbox::new();
        outbox.tail().extend_from_slice(&bytes);
        outbox.advance(6);
        outbox.push_shared(Bytes::from(bytes.clone()));
        outbox.tail().extend_from_slice(b"end");
        let mut taken = Vec::new();
        for limit in [100, 150, 1, 300, 300] {
            let before = outbox.queued();
            let chunk = outbox.pop_up_to(limit).unwrap();
            let len = chunk.remaining().len();
            assert!((1..=limit).contains(&len) && outbox.queued() == before - len);
            taken.extend_from_slice(chunk.remaining());
        }
        assert_eq!(taken, [&bytes[6..], &bytes, b"end"].concat());
        assert!(outbox.is_empty() && outbox.pop_up_to(1).is_none());
    }

    #[test]
    fn kept_bytes_stand_in_the_order_and_can_be_let_go() {
        let mut buffers = ReadBuffers::new(64, 4);
        let mut outbox = Outbox::new();
        let mut queue = |outbox: &mut Outbox, bytes: &[u8]| {
            buffers.front()[..bytes.len()].copy_from_slice(bytes);
            outbox.push_kept(buffers.loan(bytes.len()).keep(0).unwrap());
        };
        queue(&mut outbox, b"abc");
        assert_eq!(outbox.contiguous(), Some(&b"abc"[..]));
        outbox.tail().extend_from_slice(b"de");
        queue(&mut outbox, b"fghi");
        assert_eq!((outbox.len(), outbox.contiguous()), (9, None));
        outbox.advance(1);
        assert_eq!(gather(&outbox), b"bcdefghi");
        assert_eq!(outbox.pop_up_to(1).unwrap().remaining(), b"b");
        outbox.let_go();
        drop(buffers);
        assert_eq!(gather(&outbox), b"cdefghi");
        outbox.advance(7);
        assert!(outbox.is_empty() && outbox.take_chunks().is_some());
    }

    #[test]
    fn any_sequence_keeps_bytes_and_length() {
        for seed in 0..500 {
            let mut next = seed_stream(seed);
            let (mut outbox, mut model) = (Outbox::new(), Vec::new());
            for step in 0..60u8 {
                match next() % 4 {
                    0 => outbox.tail().extend_from_slice(&[step; 7]),
                    1 => outbox.push_shared(Bytes::from(vec![step; 7])),
                    _ => {
                        let count = next() as usize % (model.len() + 1);
                        outbox.advance(count);
                        model.drain(..count);
                        continue;
                    }
                }
                model.extend_from_slice(&[step; 7]);
                assert_eq!(outbox.len(), model.len(), "seed {seed}");
            }
            let mut rest = Vec::new();
            while let Some(chunk) = outbox.pop() {
                rest.extend_from_slice(chunk.remaining());
            }
            assert_eq!(rest, model, "seed {seed}");
        }
    }

    #[test]
    fn bytes_in_flight_count_until_they_land() {
        let mut outbox = Outbox::new();
        outbox.tail().extend_from_slice(b"abc");
        let chunk = outbox.pop().unwrap();
        outbox.put_in_flight(chunk.remaining().len());
        assert_eq!((outbox.len(), outbox.queued()), (3, 0));
        outbox.landed(3);
        assert!(outbox.is_empty());
    }

    fn seed_stream(seed: u64) -> impl FnMut() -> u64 {
        let mut state = seed;
        move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        }
    }
}
