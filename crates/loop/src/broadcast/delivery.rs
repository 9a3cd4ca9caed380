//! What a loop does with the messages of broadcasters.

use crate::CloseReason;
use crate::broadcast::channel::Channel;
use crate::broadcast::lane::{Lanes, Verdict};
use crate::conn::slot::{ConnSlot, Flags, Slot, Stage};
use crate::state::{Alarm, LoopState};
use bytes::Bytes;
use mainspring_io::Key;
use std::sync::Arc;

impl LoopState {
    /// A message has come for connections of this loop.
    pub(crate) fn cast(&mut self, channel: &Arc<Channel>, keys: &[Key], bytes: &Bytes) {
        channel.account(self.index).taken(keys.len() as u64);
        for key in keys {
            if !self.hand(channel, *key, bytes) {
                self.offer_to_slow(channel, *key, bytes);
            }
        }
    }

    /// Queues a message in the outbox if the connection keeps up, and tells whether that settles
    /// it.
    fn hand(&mut self, channel: &Arc<Channel>, key: Key, bytes: &Bytes) -> bool {
        let home = self.index;
        let conn = match self.slots.get_mut(key) {
            Some(Slot::Conn(conn)) if conn.takes_output() => conn,
            _ => {
                channel.account(home).unknown.add(1);
                return true;
            }
        };
        let unsent = conn.unsent();
        let lane = conn.extra().lanes.of(channel);
        if !lane.is_clear(bytes.len(), unsent, self.limits.output_max) {
            return false;
        }
        conn.append_shared(bytes.clone(), &mut self.spare);
        let (unsent, end) = (conn.unsent(), conn.position());
        conn.extra().lanes.of(channel).note_handed(end, home);
        // Many messages may come in one turn: what they fill shows before the next flush.
        conn.recount(unsent, &mut self.buffered);
        self.outgoing.note_output(key, &mut conn.flags, conn.host);
        true
    }

    /// Makes what room there is, and else has the message wait, or does what the policy says.
    #[inline(never)]
    fn offer_to_slow(&mut self, channel: &Arc<Channel>, key: Key, bytes: &Bytes) {
        self.feed(key);
        if self.hand(channel, key, bytes) {
            return;
        }
        let deadline = channel.limits.deadline;
        let late_at = deadline.map_or(u64::MAX, |deadline| self.tick_after(deadline));
        let memory = self.memory_max.saturating_sub(self.buffered);
        let home = self.index;
        let verdict = self.change_lanes(key, |_, lanes| {
            lanes.of(channel).queue(bytes.clone(), late_at, memory, home)
        });
        match verdict {
            Some(Verdict::Waits) => self.arm_late(key),
            Some(Verdict::Disconnect) => {
                self.escalate(key, Stage::Aborting, CloseReason::SlowConsumer);
            }
            Some(Verdict::Dropped) | None => {}
        }
    }

    /// Drops what has waited for too long and hands over what the outbox has room for.
    pub(crate) fn feed(&mut self, key: Key) {
        let (home, now, output_max) = (self.index, self.tick(), self.limits.output_max);
        let mut spare = std::mem::take(&mut self.spare);
        self.change_lanes(key, |conn, lanes| {
            lanes.drop_late(now, home);
            while let Some((lane, bytes)) = lanes.take_next(conn.unsent(), output_max, home) {
                conn.append_shared(bytes, &mut spare);
                lanes.note_handed(lane, conn.position(), home);
            }
        });
        self.spare = spare;
    }

    /// The driver has no send under way: what still waits goes with the next flush.
    pub(crate) fn feed_on(&mut self, key: Key) {
        const HELD: Flags = Flags::QUEUED.and(Flags::WAITING);
        if self.conn(key).is_some_and(|conn| conn.flags.among(HELD) == Flags::QUEUED) {
            self.mark_dirty(key);
        }
    }

    /// The alarm of a connection for what is too late.
    pub(crate) fn late(&mut self, key: Key) {
        let (home, now) = (self.index, self.tick());
        self.change_lanes(key, |_, lanes| {
            (lanes.alarm, lanes.alarm_at) = (None, u64::MAX);
            lanes.drop_late(now, home);
        });
        self.arm_late(key);
        // An end of the stream may have waited for what has just been dropped.
        self.mark_dirty(key);
    }

    /// Sees to it that the alarm goes off no later than the first message is late. One that goes
    /// off for nothing costs less than to take it back for each message.
    fn arm_late(&mut self, key: Key) {
        let Some(Slot::Conn(conn)) = self.slots.get_mut(key) else { return };
        let Some(extra) = &mut conn.extra else { return };
        let late_at = extra.lanes.late_at();
        if late_at < extra.lanes.alarm_at {
            if let Some(later) = extra.lanes.alarm.take() {
                self.timers.cancel(later);
            }
            extra.lanes.alarm = Some(self.timers.arm(late_at, Alarm::Late(key)));
            extra.lanes.alarm_at = late_at;
        }
    }

    /// A connection has ended: what it had not sent is accounted for. Its outbox is gone.
    pub(crate) fn end_lanes(&mut self, conn: &mut ConnSlot) {
        let sent = conn.sent_position();
        let Some(extra) = &mut conn.extra else { return };
        let mut lanes = std::mem::take(&mut extra.lanes);
        lanes.land(sent, self.index);
        self.buffered -= lanes.waiting_bytes();
        if let Some(alarm) = lanes.alarm.take() {
            self.timers.cancel(alarm);
        }
        lanes.end(conn.reason == Some(CloseReason::SlowConsumer), self.index);
    }

    /// Changes what waits for a connection, and keeps the sums and the flag that say so.
    fn change_lanes<T>(
        &mut self,
        key: Key,
        change: impl FnOnce(&mut ConnSlot, &mut Lanes) -> T,
    ) -> Option<T> {
        let Some(Slot::Conn(conn)) = self.slots.get_mut(key) else { return None };
        let mut lanes = std::mem::take(&mut conn.extra.as_mut()?.lanes);
        let before = lanes.waiting_bytes();
        let outcome = change(conn, &mut lanes);
        conn.recount(conn.unsent(), &mut self.buffered);
        self.buffered = self.buffered + lanes.waiting_bytes() - before;
        if lanes.has_waiting() {
            conn.flags.set(Flags::QUEUED);
        } else {
            conn.flags.clear(Flags::QUEUED);
        }
        conn.extra().lanes = lanes;
        Some(outcome)
    }
}

impl ConnSlot {
    /// Whether a message may still join the output.
    fn takes_output(&self) -> bool {
        self.stage <= Stage::Open && !self.flags.has(Flags::FINISH)
    }

    /// Accounts for the messages whose last byte has left.
    pub(crate) fn land(&mut self, home: u16) {
        if self.extra.is_some() {
            let sent = self.sent_position();
            self.extra().lanes.land(sent, home);
        }
    }
}
