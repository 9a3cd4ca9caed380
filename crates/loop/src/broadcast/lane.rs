//! What one connection has of one broadcaster: messages that wait outside of its outbox, and where
//! those end that are in it.

use crate::TimerId;
use crate::broadcast::SlowPolicy;
use crate::broadcast::channel::Channel;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;

/// The lanes of one connection: one for each broadcaster that has sent to it.
#[derive(Debug)]
pub(crate) struct Lanes {
    lanes: Vec<Lane>,
    /// Whose turn it is to hand a message over.
    next: usize,
    /// The timer for the first message that becomes late, and its tick; `u64::MAX` if there is
    /// none.
    pub(crate) alarm: Option<TimerId>,
    pub(crate) alarm_at: u64,
}

/// ```text
///        waiting (can be dropped)                 outbox (will be sent)
///   +-----+-----+-- .. --+-----+    hand over   +-----+-- .. --+-----+
///   | new |     |        | old | -------------> |     |        |     | ---> kernel
///   +-----+-----+-- .. --+-----+                +-----+-- .. --+-----+
///                                               ^end  ^end           ^end
/// ```
#[derive(Debug)]
pub(crate) struct Lane {
    channel: Arc<Channel>,
    /// Oldest first. With one deadline for all, the front is the first to become late.
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    /// Positions in the connection's output at which handed messages end, never falling.
    ends: VecDeque<u64>,
}

#[derive(Debug)]
struct Waiting {
    bytes: Bytes,
    /// The tick from which on it is too late; `u64::MAX` is never.
    late_at: u64,
}

/// What becomes of a message that could not be handed over at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Waits,
    Dropped,
    /// And the connection goes with it.
    Disconnect,
}

impl Default for Lanes {
    fn default() -> Self {
        Self { lanes: Vec::new(), next: 0, alarm: None, alarm_at: u64::MAX }
    }
}

impl Lanes {
    /// So many lanes are kept for broadcasters that may be gone; beyond, idle ones make way.
    const KEPT: usize = 4;

    /// The lane of a broadcaster, made at its first message.
    pub(crate) fn of(&mut self, channel: &Arc<Channel>) -> &mut Lane {
        let known = self.lanes.iter().position(|lane| Arc::ptr_eq(&lane.channel, channel));
        let index = known.unwrap_or_else(|| {
            if self.lanes.len() >= Self::KEPT {
                self.lanes.retain(|lane| !lane.is_idle());
            }
            self.lanes.push(Lane::new(channel.clone()));
            self.lanes.len() - 1
        });
        &mut self.lanes[index]
    }

    /// Takes out the next message to hand over, of one lane after the other, while the connection
    /// has `unsent` bytes of output. Returns its lane too, for [`note_handed`](Self::note_handed).
    pub(crate) fn take_next(
        &mut self,
        unsent: usize,
        output_max: usize,
        home: u16,
    ) -> Option<(usize, Bytes)> {
        for step in 0..self.lanes.len() {
            let index = (self.next + step) % self.lanes.len();
            if let Some(bytes) = self.lanes[index].take_first(unsent, output_max, home) {
                self.next = index + 1;
                return Some((index, bytes));
            }
        }
        None
    }

    /// A message of a lane stands in the outbox and ends at `end`.
    pub(crate) fn note_handed(&mut self, lane: usize, end: u64, home: u16) {
        self.lanes[lane].note_handed(end, home);
    }

    /// The connection has sent its output up to `sent`.
    pub(crate) fn land(&mut self, sent: u64, home: u16) {
        self.lanes.iter_mut().for_each(|lane| lane.land(sent, home));
    }

    /// Drops what is too late at tick `now`.
    pub(crate) fn drop_late(&mut self, now: u64, home: u16) {
        self.lanes.iter_mut().for_each(|lane| lane.drop_late(now, home));
    }

    /// When the first message becomes late; `u64::MAX` if none does.
    pub(crate) fn late_at(&self) -> u64 {
        let fronts = self.lanes.iter().filter_map(|lane| lane.waiting.front());
        fronts.map(|first| first.late_at).min().unwrap_or(u64::MAX)
    }

    pub(crate) fn waiting_bytes(&self) -> usize {
        self.lanes.iter().map(|lane| lane.waiting_bytes).sum()
    }

    pub(crate) fn has_waiting(&self) -> bool {
        self.lanes.iter().any(|lane| !lane.waiting.is_empty())
    }

    /// The connection has ended. What it has sent has landed before.
    pub(crate) fn end(self, as_slow_consumer: bool, home: u16) {
        for lane in self.lanes {
            let account = lane.channel.account(home);
            let (waiting, handed) = (lane.waiting.len() as u64, lane.ends.len() as u64);
            account.waiting.take(waiting);
            account.handed.take(handed);
            let reason = if as_slow_consumer { &account.disconnected } else { &account.closed };
            reason.add(waiting + handed);
        }
    }
}

impl Lane {
    fn new(channel: Arc<Channel>) -> Self {
        Self { channel, waiting: VecDeque::new(), waiting_bytes: 0, ends: VecDeque::new() }
    }

    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.ends.is_empty()
    }

    /// Whether a message of `len` bytes goes into the outbox at once: nothing waits in front of it,
    /// and there is room.
    pub(crate) fn is_clear(&self, len: usize, unsent: usize, output_max: usize) -> bool {
        self.waiting.is_empty() && self.has_room(len, unsent, output_max)
    }

    fn has_room(&self, len: usize, unsent: usize, output_max: usize) -> bool {
        unsent == 0 || (unsent < self.channel.limits.outbox_bytes && unsent + len <= output_max)
    }

    fn take_first(&mut self, unsent: usize, output_max: usize, home: u16) -> Option<Bytes> {
        let len = self.waiting.front()?.bytes.len();
        if !self.has_room(len, unsent, output_max) {
            return None;
        }
        self.channel.account(home).waiting.take(1);
        self.pop()
    }

    /// A message stands in the outbox and ends at `end`.
    pub(crate) fn note_handed(&mut self, end: u64, home: u16) {
        debug_assert!(self.ends.back().is_none_or(|last| *last <= end));
        self.ends.push_back(end);
        self.channel.account(home).handed.add(1);
    }

    /// The connection has sent its output up to `sent`.
    fn land(&mut self, sent: u64, home: u16) {
        let landed = self.ends.iter().take_while(|end| **end <= sent).count();
        if landed > 0 {
            self.ends.drain(..landed);
            let account = self.channel.account(home);
            account.handed.take(landed as u64);
            account.delivered.add(landed as u64);
        }
    }

    /// Puts a message behind those that wait, or does what the policy says. `memory` is how many
    /// bytes more the loop may keep.
    pub(crate) fn queue(
        &mut self,
        bytes: Bytes,
        late_at: u64,
        memory: usize,
        home: u16,
    ) -> Verdict {
        let limits = &self.channel.limits;
        let (policy, len) = (limits.policy, bytes.len());
        let ever_fits = len <= limits.queue_bytes && limits.queue_messages > 0;
        let before = self.waiting_bytes;
        while !self.fits(len) || self.waiting_bytes + len > before.saturating_add(memory) {
            let oldest = match policy {
                SlowPolicy::DropOldest if ever_fits => self.pop(),
                _ => None,
            };
            let account = self.channel.account(home);
            if oldest.is_some() {
                account.waiting.take(1);
                account.oldest.add(1);
            } else if policy == SlowPolicy::Disconnect {
                account.disconnected.add(1);
                return Verdict::Disconnect;
            } else {
                account.newest.add(1);
                return Verdict::Dropped;
            }
        }
        self.waiting_bytes += len;
        self.waiting.push_back(Waiting { bytes, late_at });
        self.channel.account(home).waiting.add(1);
        Verdict::Waits
    }

    fn fits(&self, len: usize) -> bool {
        let limits = &self.channel.limits;
        self.waiting.len() < limits.queue_messages && self.waiting_bytes + len <= limits.queue_bytes
    }

    fn drop_late(&mut self, now: u64, home: u16) {
        while self.waiting.front().is_some_and(|first| first.late_at <= now) {
            self.pop();
            let account = self.channel.account(home);
            account.waiting.take(1);
            account.late.add(1);
        }
    }

    fn pop(&mut self) -> Option<Bytes> {
        let Waiting { bytes, .. } = self.waiting.pop_front()?;
        self.waiting_bytes -= bytes.len();
        if self.waiting.is_empty() && self.waiting.capacity() > 64 {
            // A peer that reads again does not keep what it once needed.
            self.waiting = VecDeque::new();
        }
        Some(bytes)
    }
}

#[cfg(test)]
mod tests;
