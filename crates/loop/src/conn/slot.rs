//! What the loop keeps for one socket.

use crate::CloseReason;
use crate::broadcast::lane::Lanes;
use crate::conn::completion::Completion;
use crate::conn::ends::Ends;
use crate::layer::slot::Layered;
use crate::timer::TimerId;
use crate::timer::list::TimerList;
use mainspring_io::{Addr, DatagramOutbox, Outbox, SocketOptions};
use std::collections::VecDeque;

/// What a key names.
pub(crate) enum Slot {
    Conn(ConnSlot),
    Datagram(Box<DatagramSlot>),
    Listener(ListenerSlot),
}

/// A connection. It holds no buffer while nothing is unsent and nothing unconsumed.
pub(crate) struct ConnSlot {
    pub(crate) outbox: Outbox,
    /// Unconsumed input, in front of what comes next.
    pub(crate) carry: Vec<u8>,
    /// No delivery before the carry has this length.
    pub(crate) wanted: u32,
    pub(crate) ends: Ends,
    pub(crate) passed: Passed,
    /// Tick of the last byte in either direction; while dialling or lingering, the tick by which
    /// that must be over.
    pub(crate) active: u64,
    /// Tick at which it was accepted, or dialled.
    pub(crate) since: u64,
    /// What the next deadline of an open connection is counted from `active`; ms, 0 is none.
    pub(crate) idle_ms: u32,
    pub(crate) host: u32,
    /// Where the host keeps the handler's state.
    pub(crate) state: u32,
    pub(crate) listener: u16,
    pub(crate) flags: Flags,
    pub(crate) stage: Stage,
    pub(crate) reason: Option<CloseReason>,
    /// The one timer behind dial, idle, write and linger deadlines.
    pub(crate) guard: Option<TimerId>,
    /// The tick for which the guard is armed, `u64::MAX` if it is not.
    pub(crate) guard_at: u64,
    /// Timers of the handler's that have not fired.
    pub(crate) timers: TimerList,
    /// Bytes of this slot in the loop's sum, in which no connection has more than 4 GiB.
    pub(crate) counted: u32,
    pub(crate) extra: Option<Box<Extra>>,
}

/// What few connections have.
#[derive(Default)]
pub(crate) struct Extra {
    /// Sends to report when `passed.bytes_out` has reached the number.
    pub(crate) completions: VecDeque<(u64, Completion)>,
    /// What broadcasters have sent to it.
    pub(crate) lanes: Lanes,
    /// Addresses still to be tried, last first.
    pub(crate) candidates: Vec<Addr>,
    pub(crate) dial_options: SocketOptions,
    pub(crate) layers: Option<Box<Layered>>,
}

/// Bytes that have gone through the socket.
#[derive(Clone, Copy, Default)]
pub(crate) struct Passed {
    pub(crate) bytes_in: u64,
    /// Handed to the kernel for good.
    pub(crate) bytes_out: u64,
}

/// How far a connection has come. It only goes down this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// A dialled connection that is not up.
    Dialing,
    /// Up, while its layers agree with the peer. An accepted one has no handler yet.
    Handshaking,
    /// In use.
    Open,
    /// To be given away when the output has been sent.
    Detaching,
    /// To be closed when the output has been sent.
    Closing,
    /// The end of stream has been sent; waiting for the peer's.
    Lingering,
    /// To be dropped as it is: broken, or to be reset.
    Aborting,
    /// The driver has the order to end it and will report the end.
    Ending,
}

/// The host has made no state for the connection.
pub(crate) const STATELESS: u32 = u32::MAX;

/// The connection was dialled.
pub(crate) const NO_LISTENER: u16 = u16::MAX;

pub(crate) struct DatagramSlot {
    pub(crate) outbox: DatagramOutbox,
    pub(crate) local: Addr,
    pub(crate) peer: Option<Addr>,
    pub(crate) host: u32,
    pub(crate) listener: u16,
    pub(crate) flags: Flags,
}

pub(crate) struct ListenerSlot {
    pub(crate) listener: u16,
}

/// A set of one-bit facts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags(u32);

impl Flags {
    /// In the list of sockets that `flush` visits.
    pub(crate) const DIRTY: Self = Self(1);
    /// In the list of connections that are owed a callback.
    pub(crate) const PENDING: Self = Self(1 << 1);
    /// Owed an `on_wake`.
    pub(crate) const WOKEN: Self = Self(1 << 2);
    /// Owed an `on_drained`.
    pub(crate) const DRAINED: Self = Self(1 << 3);
    /// Owed another look at its carry.
    pub(crate) const REDELIVER: Self = Self(1 << 4);
    /// Owed an `on_eof` after its carry.
    pub(crate) const EOF_OWED: Self = Self(1 << 5);
    /// The driver will say when the send may go on.
    pub(crate) const WAITING: Self = Self(1 << 6);
    /// The handler wants no input.
    pub(crate) const PAUSED: Self = Self(1 << 7);
    /// The output is over its high mark and has not come down to the low one.
    pub(crate) const CHOKED: Self = Self(1 << 8);
    /// The driver has the standing order to receive.
    pub(crate) const RECEIVING: Self = Self(1 << 9);
    /// The peer has ended its stream.
    pub(crate) const EOF: Self = Self(1 << 10);
    /// Not to be closed by a drain before its deadline.
    pub(crate) const BUSY: Self = Self(1 << 11);
    /// The socket is with the driver.
    pub(crate) const ADOPTED: Self = Self(1 << 12);
    /// The connection has been up.
    pub(crate) const UP: Self = Self(1 << 13);
    /// Read from however much output waits: that output is another connection's input.
    pub(crate) const RELAY: Self = Self(1 << 14);
    /// This side's stream is to end when the output has been sent.
    pub(crate) const FINISH: Self = Self(1 << 15);
    /// This side's stream has ended.
    pub(crate) const FINISHED: Self = Self(1 << 16);
    /// Bytes pass through layers.
    pub(crate) const LAYERED: Self = Self(1 << 17);
    /// A layer was put on that has not got what the handler has left for it.
    pub(crate) const NEW_LAYER: Self = Self(1 << 18);
    /// The peer's stream has ended by the word of a layer, and the socket's has not.
    pub(crate) const ENDED_ABOVE: Self = Self(1 << 19);
    /// The handler goes on with its input in the next turn.
    pub(crate) const YIELDED: Self = Self(1 << 20);
    /// Messages of a broadcaster wait for room in the outbox.
    pub(crate) const QUEUED: Self = Self(1 << 21);

    pub(crate) fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }

    /// All flags of both.
    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those of `watched` that are set.
    pub(crate) fn among(self, watched: Self) -> Self {
        Self(self.0 & watched.0)
    }

    pub(crate) fn set(&mut self, flag: Self) {
        self.0 |= flag.0;
    }

    pub(crate) fn clear(&mut self, flag: Self) {
        self.0 &= !flag.0;
    }

    /// Clears the flag and tells whether it was set.
    pub(crate) fn take(&mut self, flag: Self) -> bool {
        let was = self.has(flag);
        self.clear(flag);
        was
    }

    /// Sets the flag and tells whether it was clear.
    pub(crate) fn raise(&mut self, flag: Self) -> bool {
        let was = self.has(flag);
        self.set(flag);
        !was
    }
}

impl ConnSlot {
    pub(crate) fn new(host: u32, listener: u16, ends: Ends, stage: Stage) -> Self {
        Self {
            outbox: Outbox::new(),
            carry: Vec::new(),
            wanted: 0,
            ends,
            passed: Passed::default(),
            active: 0,
            since: 0,
            idle_ms: 0,
            host,
            state: STATELESS,
            listener,
            flags: Flags::default(),
            stage,
            reason: None,
            guard: None,
            guard_at: u64::MAX,
            timers: TimerList::default(),
            counted: 0,
            extra: None,
        }
    }

    /// Moves on to `stage` for `reason`, unless the connection has come further already.
    pub(crate) fn escalate(&mut self, stage: Stage, reason: CloseReason) {
        if stage > self.stage {
            self.stage = stage;
            if stage >= Stage::Closing {
                self.reason.get_or_insert(reason);
            }
        }
    }

    /// The output has grown beyond all limits.
    #[cold]
    pub(crate) fn abort_slow(&mut self) {
        self.escalate(Stage::Aborting, CloseReason::SlowConsumer);
    }

    /// Notes that the output, `unsent` bytes, is over its high mark. To be asked before the output
    /// shrinks: a handler that has seen it over the mark waits for `on_drained`, however fast it
    /// leaves.
    pub(crate) fn note_choking(&mut self, unsent: usize, high: usize) {
        if unsent > high {
            self.flags.set(Flags::CHOKED);
        }
    }

    /// Whether callbacks are still due to the handler.
    pub(crate) fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    /// Whether what it receives is of use: to its handler, or to layers that are not open yet.
    pub(crate) fn takes_data(&self) -> bool {
        matches!(self.stage, Stage::Open | Stage::Handshaking)
    }

    /// Whether it was accepted and no handler has heard of it.
    pub(crate) fn is_unheard(&self) -> bool {
        self.stage == Stage::Handshaking && self.listener != NO_LISTENER
    }

    /// Whether output can leave: it is up, and not to be dropped.
    pub(crate) fn may_send(&self) -> bool {
        self.flags.has(Flags::UP) && self.stage < Stage::Aborting
    }

    /// Whether what is appended now goes to the driver in the next flush, as it is.
    pub(crate) fn sends_with_this_turn(&self) -> bool {
        const WATCHED: Flags = Flags::ADOPTED.and(Flags::WAITING).and(Flags::LAYERED);
        self.may_send() && self.flags.among(WATCHED) == Flags::ADOPTED
    }

    /// Whether the handler, or its unsent output, keeps input back.
    pub(crate) fn is_held(&self) -> bool {
        let choked =
            self.flags.has(Flags::CHOKED) && !self.flags.has(Flags::RELAY) && !self.is_agreeing();
        choked || self.flags.among(Flags::PAUSED.and(Flags::YIELDED)) != Flags::default()
    }

    /// Whether it is open and its input flows, as it comes: the driver receives, as it should, and
    /// neither end of either stream is near.
    pub(crate) fn is_in_course(&self) -> bool {
        const WATCHED: Flags = Flags::RECEIVING
            .and(Flags::PAUSED)
            .and(Flags::YIELDED)
            .and(Flags::CHOKED)
            .and(Flags::EOF)
            .and(Flags::FINISH)
            .and(Flags::QUEUED)
            .and(Flags::LAYERED);
        self.is_open() && self.flags.among(WATCHED) == Flags::RECEIVING
    }

    /// Whether the driver may go on delivering, with nothing to be noted: the output is below its
    /// high mark, and was.
    pub(crate) fn takes_more(&self, output_high: usize) -> bool {
        const HELD: Flags = Flags::PAUSED.and(Flags::YIELDED).and(Flags::CHOKED);
        self.is_open()
            && self.flags.among(HELD) == Flags::default()
            && self.outbox.len() <= output_high
    }

    /// Whether fresh bytes can be delivered where they lie.
    pub(crate) fn takes_as_it_is(&self, fresh: &[u8]) -> bool {
        self.carry.is_empty() && self.wanted as usize <= fresh.len()
    }

    /// Whether nothing can come from the socket any more.
    pub(crate) fn is_at_eof(&self) -> bool {
        self.flags.among(Flags::EOF.and(Flags::ENDED_ABOVE)) == Flags::EOF
    }

    /// Whether the driver should deliver: input is wanted, or is to be thrown away until the peer
    /// ends.
    pub(crate) fn wants_input(&self) -> bool {
        match self.stage {
            Stage::Open | Stage::Handshaking => !self.flags.has(Flags::EOF) && !self.is_held(),
            Stage::Closing | Stage::Lingering => true,
            _ => false,
        }
    }

    /// Whether its handler is about to see once more what it had left. Until it has, nothing is
    /// received: a handler that stops where it is choked would be left with more each time.
    pub(crate) fn is_to_look_again(&self) -> bool {
        const WATCHED: Flags = Flags::PENDING.and(Flags::REDELIVER).and(Flags::NEW_LAYER);
        const OWED: Flags = Flags::PENDING.and(Flags::REDELIVER);
        self.is_open() && self.flags.among(WATCHED) == OWED && !self.carry.is_empty()
    }

    /// The tick by which something must have happened, if any.
    pub(crate) fn deadline(&self, write_timeout_ms: Option<u64>) -> Option<u64> {
        match self.stage {
            Stage::Dialing | Stage::Lingering => Some(self.active),
            Stage::Aborting | Stage::Ending => None,
            Stage::Handshaking => self.handshake_deadline(),
            Stage::Open if self.flags.has(Flags::LAYERED) => {
                let handshake = self.handshake_deadline();
                self.traffic_deadline(write_timeout_ms).into_iter().chain(handshake).min()
            }
            Stage::Open | Stage::Detaching | Stage::Closing => {
                self.traffic_deadline(write_timeout_ms)
            }
        }
    }

    fn traffic_deadline(&self, write_timeout_ms: Option<u64>) -> Option<u64> {
        if self.flags.has(Flags::WAITING) {
            write_timeout_ms.map(|timeout_ms| self.active.saturating_add(timeout_ms))
        } else if self.stage == Stage::Open && self.idle_ms > 0 {
            Some(self.active + u64::from(self.idle_ms))
        } else {
            None
        }
    }

    /// Whether nothing follows from what has been sent, or not: it is in use as before, nobody
    /// waits to hear of what has left, and its guard is on time.
    pub(crate) fn is_settled(&self, write_timeout_ms: Option<u64>) -> bool {
        self.is_in_course() && !self.owes_completions() && self.is_guarded(write_timeout_ms)
    }

    /// Whether the guard of a connection that is [in course](Self::is_in_course) fires by its
    /// deadline, if there is one.
    pub(crate) fn is_guarded(&self, write_timeout_ms: Option<u64>) -> bool {
        self.traffic_deadline(write_timeout_ms).is_none_or(|deadline| self.guard_at <= deadline)
    }

    /// Whether all output is with the kernel, and the layers have nothing to add.
    pub(crate) fn has_sent_everything(&self) -> bool {
        const LEFT: Flags = Flags::WAITING.and(Flags::QUEUED);
        self.outbox.is_empty() && self.flags.among(LEFT) == Flags::default()
    }

    /// Brings the loop's sum of buffered bytes up to date with this connection, which has `unsent`
    /// bytes of output.
    pub(crate) fn recount(&mut self, unsent: usize, buffered: &mut usize) {
        let count = u32::try_from(unsent + self.unread()).unwrap_or(u32::MAX);
        let before = std::mem::replace(&mut self.counted, count);
        *buffered = *buffered + count as usize - before as usize;
    }

    pub(crate) fn owes_completions(&self) -> bool {
        self.extra.as_ref().is_some_and(|extra| !extra.completions.is_empty())
    }

    pub(crate) fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hundred thousand idle connections are to fit into a few tens of megabytes.
    #[test]
    fn a_slot_stays_small() {
        assert!(size_of::<Slot>() <= 184, "{} bytes", size_of::<Slot>());
    }
}
