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
//! An entry is armed on the level of the highest bit in which its deadline differs from `now`. Hence
//! every entry of a level shares `now`'s bits above that level and lies in a slot after `now`'s, and
//! everything on a level is earlier than anything on the levels above it: the earliest slot is found
//! with two `trailing_zeros`, however long the gap. When `now` enters a slot of an upper level, its
//! entries move down (at most ten such moves in an entry's life).
//!
//! Eleven levels cover every `u64`, so no deadline is too far to have a place of its own.
//!
//! To move an entry waits for it to come from memory, and a slot can hold any number of them: with a
//! million timers over a minute, 70,000 in one of 4 s, which take some 17 ms, and 1,100 in one of 64
//! ms, half a millisecond. Hence a slot is emptied *ahead*, a bounded number of entries a tick, in the
//! last quarter of the slot before it. A level has two halves for that: one for the block of 64 slots
//! that `now` is in, and one for the block that comes next.
//!
//! ```text
//!  level 1    [..............now...] [ first entries of B + 1 ]      halves; `now` is in block B
//!                                              ^ opened ahead
//!  level 2    ...    B   |   B + 1: the rest of it, and what is armed meanwhile   |   B + 2   ...
//! ```
//!
//! What is left of a slot when `now` enters it moves then, behind what has moved before: for each
//! tick, a list holds what was armed before that which the lists above hold, at all times. That keeps
//! the order of arming.
//!
//! Timers of one owner are a list through the same entries ([`list`]), so that they end with it.
//!
//! What it costs: with a million timers, each in another part of memory, cancelling one waits for
//! one entry (its neighbours in both lists are only written), and arming one for none. Slots of blocks,
//! thirteen timers to a cache line, were measured: they halve the cost of moving and of firing, and
//! make arming and cancelling cost 70 % more.

pub(crate) mod list;

use list::Owned;
use std::num::NonZeroU32;

/// Bits of a tick that choose the slot of one level within its half.
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const LEVELS: usize = u64::BITS.div_ceil(SLOT_BITS) as usize;
/// Two for each level, by the parity of the block.
const HALVES: usize = 2 * LEVELS;
/// The head of the list of expired entries; the heads of the slots stand before it.
const DUE: u32 = (HALVES * SLOTS) as u32;
const HEADS: u32 = DUE + 1;
/// The lowest level whose slots are opened ahead.
const OPENED: usize = 1;
/// A slot is opened from this slot on of the level below, in the block before it.
const OPENED_FROM: u64 = 48;
/// So many entries move ahead in one tick: some 30 us, if each has to come from memory, and 260,000
/// entries of a slot of 4 s.
const OPENED_A_TICK: usize = 256;

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
    /// Bit `h` is set when half `h` holds an entry: `occupied[h] != 0`. Level `l` is the halves `2 l`,
    /// of even blocks, and `2 l + 1`.
    halves: u32,
    /// Bit `s` of `occupied[h]` is set when slot `s` of half `h` holds an entry.
    occupied: [u64; HALVES],
    /// What `next_tick` found. It holds until time gets there or a slot changes between empty and not.
    next: Option<Option<u64>>,
    /// Heads of the slots (half by half), head of the due list, then timers and free entries.
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
            halves: 0,
            occupied: [0; HALVES],
            next: None,
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
        self.advance_and_open(now_tick, OPENED_A_TICK);
    }

    fn advance_and_open(&mut self, now_tick: u64, most: usize) {
        let before = self.now;
        let now_tick = now_tick.max(before);
        if self.next.is_some_and(|next| next.is_none_or(|next| now_tick < next)) {
            self.now = now_tick;
            return;
        }
        self.next = None;
        while let Some((level, start)) = self.earliest_slot() {
            if start > now_tick {
                break;
            }
            if level == 0 {
                self.now = start;
                self.splice_to_due(head_of(0, start));
            } else {
                self.enter(start);
            }
        }
        self.now = now_tick;
        if now_tick > before {
            self.open_ahead(most);
        }
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

    /// The next tick at which `advance` has something to do: where the slot that holds the earliest
    /// deadline starts, which is the deadline itself within the lowest level (the 64 ms block of the
    /// wheel's tick), or where a slot is to be opened, or opened further. Never later than the
    /// earliest deadline; `None` when all timers are due already, or there is none.
    ///
    /// To advance to this tick either makes a timer due or brings the answer nearer, at most ten
    /// times for each timer.
    pub(crate) fn next_tick(&mut self) -> Option<u64> {
        match self.next {
            Some(next) => next,
            None => *self.next.insert(self.find_next_tick()),
        }
    }

    fn find_next_tick(&self) -> Option<u64> {
        let (_, start) = self.earliest_slot()?;
        let opened = (OPENED..LEVELS).filter_map(|level| self.opened_at(level));
        Some(opened.fold(start, u64::min))
    }

    /// Timers armed and neither popped nor cancelled; those that are due are among them.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Level and first tick of the slot that holds the earliest deadline; of several slots with that
    /// first tick, the highest.
    fn earliest_slot(&self) -> Option<(usize, u64)> {
        if self.halves == 0 {
            return None;
        }
        let level = self.halves.trailing_zeros() as usize / 2;
        let here = half_of(level, self.now);
        if self.occupied[here] != 0 {
            return Some((level, self.first_of(level, here)));
        }
        // The rest of a slot is not after what was opened ahead of it.
        let levels = (level..LEVELS).rev();
        let firsts = levels.filter_map(|level| Some((level, self.first_start(level)?)));
        firsts.min_by_key(|(_, start)| *start)
    }

    /// The first tick of a level's earliest slot.
    fn first_start(&self, level: usize) -> Option<u64> {
        let here = half_of(level, self.now);
        let half = if self.occupied[here] != 0 { here } else { here ^ 1 };
        (self.occupied[half] != 0).then(|| self.first_of(level, half))
    }

    /// The first tick of the earliest slot in a half that holds an entry: that of the block that `now`
    /// is in, or that of the next one.
    fn first_of(&self, level: usize, half: usize) -> u64 {
        let shift = level as u32 * SLOT_BITS;
        let slot = u64::from(self.occupied[half].trailing_zeros());
        let block = (self.now >> shift) & !(SLOTS as u64 - 1);
        let next = if half == half_of(level, self.now) { 0 } else { SLOTS as u64 };
        (block + next + slot) << shift
    }

    /// When a level's earliest slot is to be opened, or what is left of it.
    fn opened_at(&self, level: usize) -> Option<u64> {
        let ahead = (SLOTS as u64 - OPENED_FROM) << ((level as u32 - 1) * SLOT_BITS);
        let at = self.first_start(level)? - ahead;
        Some(at.max(self.now + 1))
    }

    fn occupy(&mut self, head: u32) {
        let (half, slot) = half_and_slot(head);
        self.halves |= 1 << half;
        self.occupied[half] |= 1 << slot;
        self.next = None;
    }

    fn is_occupied(&self, head: u32) -> bool {
        let (half, slot) = half_and_slot(head);
        self.occupied[half] & (1 << slot) != 0
    }

    /// Sets `now` to a tick at which slots of upper levels start, and moves what is left of them down,
    /// from the highest: in each list it comes to stand behind what was opened ahead.
    #[cold]
    fn enter(&mut self, start: u64) {
        self.now = start;
        let aligned = (start.trailing_zeros() / SLOT_BITS) as usize;
        for level in (1..=aligned.min(LEVELS - 1)).rev() {
            let mut all = usize::MAX;
            self.move_down(level, start, &mut all);
        }
    }

    /// Moves up to `most` entries of the upper slots down that `now` enters next.
    fn open_ahead(&mut self, mut most: usize) {
        let top = (u32::BITS - self.halves.leading_zeros()).div_ceil(2) as usize;
        for level in OPENED..top {
            let shift = level as u32 * SLOT_BITS;
            if (self.now >> (shift - SLOT_BITS)) % SLOTS as u64 >= OPENED_FROM {
                self.move_down(level, ((self.now >> shift) + 1) << shift, &mut most);
            }
        }
    }

    /// Moves up to `most` entries of the slot of a tick to the level below. In list order: that is
    /// what keeps the order of arming within a tick. A timer cannot have been armed straight into
    /// a lower slot for the same tick before, because from outside this slot its deadline leads
    /// here.
    fn move_down(&mut self, level: usize, tick: u64, most: &mut usize) {
        let head = head_of(level, tick);
        if !self.is_occupied(head) {
            return;
        }
        let mut index = self.entry(head).next;
        while index != head && *most > 0 {
            let Entry { next, deadline, .. } = *self.entry(index);
            self.place(level - 1, deadline, index);
            index = next;
            *most -= 1;
        }
        self.entry_mut(head).next = index;
        self.entry_mut(index).prev = head;
        if index == head {
            self.clear_slot(head);
        }
    }

    /// Appends an entry to the slot of its deadline.
    fn place(&mut self, level: usize, deadline: u64, index: u32) {
        let head = head_of(level, deadline);
        self.occupy(head);
        let tail = self.insert_before(head, index);
        let entry = self.entry_mut(index);
        entry.prev = tail;
        entry.next = head;
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
        let (half, slot) = half_and_slot(head);
        self.occupied[half] &= !(1 << slot);
        self.next = None;
        if self.occupied[half] == 0 {
            self.halves &= !(1 << half);
        }
    }

    fn arm_as(&mut self, owned: Owned, deadline_tick: u64, payload: T) -> TimerId {
        let deadline = deadline_tick.max(self.now);
        let Free { index, generation } = self.allocate();
        let head = head_of(level_of(self.now, deadline), deadline);
        self.occupy(head);
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

/// The level of the highest bit in which `deadline` differs from `now`.
fn level_of(now: u64, deadline: u64) -> usize {
    // The lowest level takes all differences within its 64 slots, none included.
    let differing = (now ^ deadline) | (SLOTS as u64 - 1);
    (differing.ilog2() / SLOT_BITS) as usize
}

/// The slot of a level in which a tick lies.
fn head_of(level: usize, tick: u64) -> u32 {
    let slot = (tick >> (level as u32 * SLOT_BITS)) as usize % (2 * SLOTS);
    (level * 2 * SLOTS + slot) as u32
}

/// The half of a level for the block in which a tick lies.
fn half_of(level: usize, tick: u64) -> usize {
    half_and_slot(head_of(level, tick)).0
}

fn half_and_slot(head: u32) -> (usize, usize) {
    (head as usize / SLOTS, head as usize % SLOTS)
}

#[cfg(test)]
mod tests;
