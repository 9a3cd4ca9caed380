//! A delivery: received bytes on their way to the handler, and what it leaves of them.

use crate::buffers::Buffers;
use crate::conn::slot::{ConnSlot, Flags, Stage};
use crate::state::Life;
use crate::turn::core::Core;
use crate::{Action, CloseReason, Conn, Input};
use mainspring_io::{Flow, Key, Loan};

/// Whom bytes are delivered to. The connection may have another handler when they have been.
#[derive(Clone, Copy)]
pub(crate) struct Delivery {
    key: Key,
    host: u32,
    place: u32,
}

impl Delivery {
    /// To the present handler of a connection, which then has had its look at the carry.
    pub(crate) fn begin(key: Key, conn: &mut ConnSlot) -> Self {
        conn.flags.clear(Flags::REDELIVER);
        Self { key, host: conn.host, place: conn.state }
    }

    fn is_to_handler_of(self, conn: &ConnSlot) -> bool {
        (self.host, self.place) == (conn.host, conn.state)
    }
}

impl Core {
    /// The usual delivery: nothing is carried, and the handler sees the driver's own buffer.
    #[inline(always)]
    pub(crate) fn deliver(&mut self, to: Delivery, bytes: Loan<'_>) -> Flow {
        let mut input = Input::lent(bytes);
        self.hand_over(to, &mut input);
        let output_high = self.state.limits.output_high;
        if input.is_done()
            && let Some(conn) = self.state.conn(to.key)
            && conn.takes_more(output_high)
        {
            conn.wanted = 0;
            return Flow::Continue;
        }
        let wanted = input.wanted();
        self.keep(to, input.bytes(), wanted)
    }

    /// Keeps a copy of what a handler has left of the driver's buffer.
    #[inline(never)]
    fn keep(&mut self, from: Delivery, rest: &[u8], wanted: usize) -> Flow {
        let mut kept = Vec::new();
        if !rest.is_empty() {
            kept = self.state.spare.take();
            kept.extend_from_slice(rest);
        }
        self.put_back(from, kept, wanted);
        self.flow(from.key)
    }

    /// Delivers what a connection carries, with `fresh` behind it, if that is as much as its
    /// handler has asked for.
    #[inline(never)]
    pub(crate) fn deliver_joined(&mut self, to: Delivery, fresh: &[u8]) {
        let Some(conn) = self.state.conn(to.key) else { return };
        let (mut carry, wanted) = (std::mem::take(&mut conn.carry), conn.wanted as usize);
        if carry.capacity() == 0 {
            carry = self.state.spare.take();
        }
        carry.extend_from_slice(fresh);
        let mut after = (0, wanted);
        if carry.len() >= wanted {
            let mut input = Input::over(&mut carry);
            self.hand_over(to, &mut input);
            after = (input.consumed(), input.wanted());
        }
        carry.drain(..after.0);
        self.put_back(to, carry, after.1);
    }

    #[inline(always)]
    fn hand_over(&mut self, to: Delivery, input: &mut Input<'_>) {
        let Delivery { key, host, place } = to;
        let id = self.state.id_of(key);
        let answer =
            self.call(host, &id, |host, state| host.data(place, &mut Conn { state, key }, input));
        if answer != Some(Action::Continue) {
            self.react(key, answer);
        }
    }

    /// Keeps what a handler has left for its next delivery, or for the handler it has handed the
    /// connection to.
    fn put_back(&mut self, from: Delivery, mut carry: Vec<u8>, wanted: usize) {
        let (input_max, output_high) = (self.state.limits.input_max, self.state.limits.output_high);
        let Some(conn) = self.state.conn(from.key) else { return };
        // What the giver had asked for says nothing about the taker, be it a handler or a layer.
        let taken = !from.is_to_handler_of(conn) || conn.flags.has(Flags::NEW_LAYER);
        let wanted = if taken { 0 } else { wanted };
        conn.wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
        let (len, counted) = (carry.len(), conn.counted);
        if len == 0 {
            if carry.capacity() > 0 {
                self.state.spare.give(carry);
            }
            if counted == 0 {
                return;
            }
        } else {
            if carry.capacity() > Buffers::CAPACITY_MAX && carry.len() < carry.capacity() / 4 {
                // The large frame that it grew for has gone.
                carry.shrink_to_fit();
            }
            conn.carry = carry;
            // A handler that stops because it is choked leaves input with every right.
            let choked = conn.unsent() > output_high || conn.flags.has(Flags::CHOKED);
            if len > input_max && conn.is_open() && !choked {
                self.state.escalate(from.key, Stage::Closing, CloseReason::InputTooLong);
            }
        }
        self.state.recount(from.key);
        if self.state.life == Life::Draining {
            // With its input consumed the connection may be done.
            self.state.mark_dirty(from.key);
        }
    }
}
