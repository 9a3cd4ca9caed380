//! Timers of one loop: a hierarchical wheel of 1 ms ticks.
//!
//! ```text
//!  level   slot width       reaches            one slot = a circular list threaded through the slab
//!    0     1 ms             64 ms
//!    1     64 ms            4 s                  head <-> entry <-> entry <-> entry <-> head
//!    2     4 s              4 min
//!    :      :                :                 heads are the first entries of the same slab, so that
//!   10     2^60 ms          all of u64         unlinking needs to know no list, and splicing is O(1)
//! ```
//!
//! An entry lives on the level of the highest bit in which its deadline differs from `now`. Hence
//! every entry of a level shares `now`'s bits above that level and lies in a slot after `now`'s,
//! and everything on a level is earlier than anything on the levels above it: the earliest slot is
//! found with two `trailing_zeros`, however long the gap. When `now` enters a slot of an upper
//! level, its entries are placed again, each on some lower level (at most ten such moves in an
//! entry's life).
//!
//! Eleven levels cover every `u64`, so no deadline is too far to have a place of its own.
//!
//! Timers of one owner are a list through the same entries ([`list`]), so that they end with it.
//!
//! What it costs: with a million timers, each in another part of memory, cancelling one waits for
//! one entry (its neighbours in both lists are only written), and arming one for none; but placing
//! the timers of a slot again waits for one entry after the other, so that entering a slot of 70,000
//! takes some 15 ms. Slots of blocks, thirteen timers to a cache line, were measured: they halve that
//! stall and the cost of firing, and make arming and cancelling cost 70 % more.

pub(crate) mod list;

use list::Owned;
use std::num::NonZeroU32;

/// Bits of a tick that choose the slot of one level.
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const LEVELS: usize = u64::BITS.div_ceil(SLOT_BITS) as usize;
/// The head of the list of expired entries; the heads of the slots stand before it.
const DUE: u32 = (LEVELS * SLOTS) as u32;
const HEADS: u32 = DUE + 1;

/// Names a timer, from arming it until it fires or is cancelled.
///
/// An id that has outlived its timer is harmless: a slot reused by a later timer has another
/// generation. (After 2^32 timers in one slot the generations repeat.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerId {
    /// The first entries are heads of lists, no timers.
    index: NonZeroU32,
    generation: u32,
}

/// Timers by deadline, each with a payload that says what to do when it fires.
///
/// Timers fire in the order of their deadlines, those of one tick in the order in which they were
/// armed. A deadline that had passed when its timer was armed counts as the wheel's tick at that
/// moment.
///
/// Arming and cancelling are O(1), and neither waits for memory but for the entry that is cancelled.
/// Nothing is allocated once the slab has reached its greatest number of timers, and the slab does
/// not shrink.
pub(crate) struct TimerWheel<T> {
    /// The latest tick given to `advance`; every slot of an earlier tick is empty.
    now: u64,
    /// Bit `l` is set when level `l` holds an entry: `occupied[l] != 0`.
    levels: u16,
    /// Bit `s` of `occupied[l]` is set when slot `s` of level `l` holds an entry.
    occupied: [u64; LEVELS],
    /// Heads of the slots (level by level), head of the due list, then timers and free entries.
    entries: Vec<Entry<T>>,
    /// Free entries and their generations, the one freed last on top. A list through the entries
    /// would save this memory, but make each arming wait for its entry to come from memory, to be
    /// told that generation and the next free entry.
    free: Vec<Free>,
    /// Timers armed and not yet popped or cancelled.
    len: usize,
}

struct Entry<T> {
    deadline: u64,
    prev: u32,
    next: u32,
    generation: u32,
    /// The neighbours in the list of its owner.
    owned: Owned,
    /// `None` for heads and free entries, so that no id can name them.
    payload: Option<T>,
}

#[derive(Clone, Copy)]
struct Free {
    index: u32,
    /// Of the next timer there.
    generation: u32,
}

/// A payload of a kind and a key leaves an entry within 40 bytes.
const _: () = assert!(size_of::<Entry<crate::state::Alarm>>() <= 40);

impl<T: Copy> TimerWheel<T> {
    /// An empty wheel at tick 0.
    pub(crate) fn new() -> Self {
        let head = |index| Entry {
            deadline: 0,
            prev: index,
            next: index,
            generation: 0,
            owned: Owned::NOT,
            payload: None,
        };
        Self {
            now: 0,
            levels: 0,
            occupied: [0; LEVELS],
            entries: (0..HEADS).map(head).collect(),
            free: Vec::new(),
            len: 0,
        }
    }

    /// Arms a timer. A deadline not after the wheel's tick fires at the next `advance`, even one
    /// that does not move time on.
    pub(crate) fn arm(&mut self, deadline_tick: u64, payload: T) -> TimerId {
        self.arm_as(Owned::NOT, deadline_tick, payload)
    }

    /// Cancels a timer that has no owner, also one that is due and not yet popped. `None` when it has
    /// fired or was cancelled.
    pub(crate) fn cancel(&mut self, id: TimerId) -> Option<T> {
        self.payload(id)?;
        self.unlink(id.index.get());
        self.release(id.index.get())
    }

    /// What the timer is for, as long as it is armed or due.
    pub(crate) fn payload(&self, id: TimerId) -> Option<T> {
        let entry = self.entries.get(id.index.get() as usize)?;
        if entry.generation == id.generation { entry.payload } else { None }
    }

    /// Moves time on and appends what has expired to the due list. A tick before the wheel's counts
    /// as the wheel's: time does not run backwards.
    ///
    /// The cost follows the slots in use between the old tick and the new, not the length of the
    /// gap.
    pub(crate) fn advance(&mut self, now_tick: u64) {
        while let Some((level, slot, start)) = self.earliest_slot() {
            if start > now_tick.max(self.now) {
                break;
            }
            self.now = start;
            let head = head_of(level, slot);
            if level == 0 {
                self.splice_to_due(head);
            } else {
                self.cascade(head);
            }
        }
        self.now = self.now.max(now_tick);
    }

    /// The timer that is due first. It stays so until it is cancelled: to take it is to fire it. The
    /// caller bounds its batch; what it leaves stays due.
    pub(crate) fn first_due(&self) -> Option<(TimerId, T)> {
        // The head has no payload, and stands alone when nothing is due.
        let index = self.entry(DUE).next;
        self.entry(index).payload.map(|payload| (self.id_of(index), payload))
    }

    /// Whether `first_due` would give a timer.
    pub(crate) fn has_due(&self) -> bool {
        self.entry(DUE).next != DUE
    }

    /// The next tick at which `advance` may make a timer due: exact within the lowest level (the 64
    /// ms block of the wheel's tick), else the start of the slot that holds the earliest deadline.
    /// Never later than the earliest deadline; `None` when all timers are due already, or there is
    /// none.
    ///
    /// To advance to this tick either makes a timer due or brings the answer nearer, at most ten
    /// times.
    pub(crate) fn next_tick(&self) -> Option<u64> {
        self.earliest_slot().map(|(_, _, start)| start)
    }

    /// Timers armed and neither popped nor cancelled; those that are due are among them.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Level, slot and first tick of the slot that holds the earliest deadline.
    fn earliest_slot(&self) -> Option<(usize, usize, u64)> {
        if self.levels == 0 {
            return None;
        }
        let level = self.levels.trailing_zeros();
        let slot = self.occupied[level as usize].trailing_zeros();
        let shift = level * SLOT_BITS;
        let above = (self.now >> shift) & !(SLOTS as u64 - 1);
        Some((level as usize, slot as usize, (above | u64::from(slot)) << shift))
    }

    /// Appends an entry to the slot of its deadline, which is not before `now`.
    fn place(&mut self, index: u32, deadline: u64) {
        let (level, slot) = slot_of(self.now, deadline);
        self.occupy(level, slot);
        self.append(head_of(level, slot), index);
    }

    fn occupy(&mut self, level: usize, slot: usize) {
        self.levels |= 1 << level;
        self.occupied[level] |= 1 << slot;
    }

    /// Places the entries of an upper slot again, now that `now` has entered it. In list order:
    /// that is what keeps the order of arming within a tick. A timer cannot have been armed
    /// straight into a lower slot for the same tick before, because from outside this slot its
    /// deadline leads here.
    fn cascade(&mut self, head: u32) {
        let mut index = self.entry(head).next;
        self.close_ring(head);
        self.clear_slot(head);
        while index != head {
            let Entry { next, deadline, .. } = *self.entry(index);
            self.place(index, deadline);
            index = next;
        }
    }

    /// Moves a slot's whole list to the end of the due list.
    fn splice_to_due(&mut self, head: u32) {
        let Entry { next: first, prev: last, .. } = *self.entry(head);
        let tail = self.entry(DUE).prev;
        self.entry_mut(tail).next = first;
        self.entry_mut(first).prev = tail;
        self.entry_mut(last).next = DUE;
        self.entry_mut(DUE).prev = last;
        self.close_ring(head);
        self.clear_slot(head);
    }

    fn append(&mut self, head: u32, index: u32) {
        let tail = self.insert_before(head, index);
        let entry = self.entry_mut(index);
        entry.prev = tail;
        entry.next = head;
    }

    /// Has the end of a list point to an entry, and returns what stood there.
    fn insert_before(&mut self, head: u32, index: u32) -> u32 {
        let tail = std::mem::replace(&mut self.entry_mut(head).prev, index);
        self.entry_mut(tail).next = index;
        tail
    }

    fn unlink(&mut self, index: u32) {
        let Entry { prev, next, .. } = *self.entry(index);
        self.entry_mut(prev).next = next;
        self.entry_mut(next).prev = prev;
        // Both neighbours are the same only when both are the head: the list is empty now.
        if prev == next && prev != DUE {
            self.clear_slot(prev);
        }
    }

    fn close_ring(&mut self, head: u32) {
        let entry = self.entry_mut(head);
        entry.prev = head;
        entry.next = head;
    }

    fn clear_slot(&mut self, head: u32) {
        let (level, slot) = (head as usize / SLOTS, head as usize % SLOTS);
        self.occupied[level] &= !(1 << slot);
        if self.occupied[level] == 0 {
            self.levels &= !(1 << level);
        }
    }

    fn arm_as(&mut self, owned: Owned, deadline_tick: u64, payload: T) -> TimerId {
        let deadline = deadline_tick.max(self.now);
        let Free { index, generation } = self.allocate();
        let (level, slot) = slot_of(self.now, deadline);
        self.occupy(level, slot);
        let head = head_of(level, slot);
        let prev = self.insert_before(head, index);
        // Nothing of the entry is read: its memory may take its time.
        let entry = Entry { deadline, prev, next: head, generation, owned, payload: Some(payload) };
        *self.entry_mut(index) = entry;
        self.len += 1;
        TimerId { index: NonZeroU32::new(index).expect("entry 0 is a head"), generation }
    }

    /// Takes a free entry, the one freed last: it is the likeliest to be in the cache.
    fn allocate(&mut self) -> Free {
        self.free.pop().unwrap_or_else(|| self.grow())
    }

    /// Makes one more entry, and room among the free ones for every entry there is: to free one
    /// allocates nothing.
    #[cold]
    fn grow(&mut self) -> Free {
        let index = u32::try_from(self.entries.len()).expect("fewer than 2^32 timers a loop");
        let (owned, payload) = (Owned::NOT, None);
        let entry = Entry { deadline: 0, prev: index, next: index, generation: 0, owned, payload };
        self.entries.push(entry);
        if self.free.capacity() < self.entries.capacity() {
            self.free.reserve_exact(self.entries.capacity());
        }
        Free { index, generation: 0 }
    }

    /// Frees an unlinked entry and makes its ids stale.
    fn release(&mut self, index: u32) -> Option<T> {
        let entry = self.entry_mut(index);
        entry.generation = entry.generation.wrapping_add(1);
        let (generation, payload) = (entry.generation, entry.payload.take());
        self.free.push(Free { index, generation });
        self.len -= 1;
        payload
    }

    fn id_of(&self, index: u32) -> TimerId {
        let generation = self.entry(index).generation;
        TimerId { index: NonZeroU32::new(index).expect("entry 0 is a head"), generation }
    }

    fn entry(&self, index: u32) -> &Entry<T> {
        &self.entries[index as usize]
    }

    fn entry_mut(&mut self, index: u32) -> &mut Entry<T> {
        &mut self.entries[index as usize]
    }
}

fn head_of(level: usize, slot: usize) -> u32 {
    (level * SLOTS + slot) as u32
}

/// The level of the highest bit in which `deadline` differs from `now`, and its slot there.
fn slot_of(now: u64, deadline: u64) -> (usize, usize) {
    // The lowest level takes all differences within its 64 slots, none included.
    let differing = (now ^ deadline) | (SLOTS as u64 - 1);
    let level = differing.ilog2() / SLOT_BITS;
    let slot = (deadline >> (level * SLOT_BITS)) as usize & (SLOTS - 1);
    (level as usize, slot)
}

#[cfg(test)]
mod tests;
