//! The first phase of a turn: everything that callbacks wanted of the driver is done, and the
//! replies leave.

use crate::CloseReason;
use crate::conn::slot::{Flags, Slot, Stage};
use crate::state::Life;
use crate::turn::Loop;
use crate::turn::due::Due;
use crate::turn::order::Order;
use mainspring_io::{Driver, Key, OwnedStream, SendState};

/// How a socket comes out of the first part of its flush.
enum Sent {
    /// It goes on as before.
    Settled,
    /// A connection that has to be looked at.
    Unsettled,
    /// Not a connection.
    NotStream,
}

impl<D: Driver> Loop<D> {
    /// Carries out orders, then visits every socket that something was changed on.
    pub(crate) fn flush(&mut self) {
        if self.core.state.due.any(Due::BEFORE_SENDS) {
            self.prepare();
        }
        // What becomes dirty meanwhile is for the next flush.
        let count = self.core.state.outgoing.sockets.len();
        let mut all_settled = true;
        for nth in 0..count {
            let key = self.core.state.outgoing.sockets[nth];
            match self.core.state.send(key, &mut self.driver) {
                Sent::Settled => {}
                Sent::Unsettled => {
                    all_settled = false;
                    self.flush_conn(key);
                }
                Sent::NotStream => self.flush_datagrams(key),
            }
        }
        if self.core.state.outgoing.sockets.len() == count {
            self.core.state.outgoing.sockets.clear();
        } else {
            self.core.state.outgoing.sockets.drain(..count);
        }
        if all_settled {
            self.driver.let_sent_wait();
        }
    }

    /// Does what has to be done before anything is sent.
    #[inline(never)]
    fn prepare(&mut self) {
        self.core.state.guard_sends();
        while let Some(order) = self.core.state.orders.pop_front() {
            self.carry_out(order);
        }
        self.core.state.due.clear(Due::BEFORE_SENDS);
    }

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Adopt { key, stream } => self.adopt(key, stream),
            Order::Dial { key } => self.dial_next(key),
            Order::DialDatagram { key, to, options } => self.dial_datagram(key, &to, &options),
            Order::SetOptions { key, options } => {
                if let Err(error) = self.driver.set_options(key, &options) {
                    crate::panic::log(|| tracing::debug!(?key, %error, "socket option refused"));
                }
            }
            Order::Multicast { key, group, join } => {
                if let Err(error) = self.driver.multicast(key, group, join) {
                    crate::panic::log(
                        || tracing::warn!(?key, %group, join, %error, "multicast membership refused"),
                    );
                }
            }
            Order::CloseSocket { key } => self.close_socket(key),
        }
    }

    fn adopt(&mut self, key: Key, stream: OwnedStream) {
        let Some(conn) = self.core.state.conn(key) else { return };
        if conn.stage == Stage::Aborting || (conn.stage == Stage::Closing && conn.outbox.is_empty())
        {
            // Refused, and nothing to say: the poller need not hear of it.
            drop(stream);
            return self.core.state.end_later(key);
        }
        match self.driver.adopt(key, stream) {
            Ok(()) => {
                conn.flags.set(Flags::ADOPTED);
                self.core.state.mark_dirty(key);
            }
            Err(error) => {
                crate::panic::log(
                    || tracing::warn!(?key, %error, "the poller cannot take a connection"),
                );
                conn.escalate(Stage::Ending, CloseReason::Failed((&error).into()));
                self.core.state.end_later(key);
            }
        }
    }

    /// What there is to do for a connection besides sending.
    fn flush_conn(&mut self, key: Key) {
        let Some(conn) = self.core.state.conn(key) else { return };
        if matches!(conn.stage, Stage::Dialing | Stage::Ending) {
            return;
        }
        if !conn.flags.has(Flags::UP) && conn.stage > Stage::Open {
            // Closed before it was up: there is nobody to send to.
            conn.stage = Stage::Aborting;
        }
        if conn.stage == Stage::Aborting {
            return self.abort(key);
        }
        self.core.state.settle(key);
        self.steer_input(key);
        self.finish(key);
        self.core.state.keep_guard(key);
    }

    fn abort(&mut self, key: Key) {
        let Some(conn) = self.core.state.conn(key) else { return };
        conn.stage = Stage::Ending;
        if conn.flags.has(Flags::ADOPTED) {
            self.driver.abort(key);
        } else {
            self.core.state.end_later(key);
        }
    }

    fn steer_input(&mut self, key: Key) {
        let Some(conn) = self.core.state.conn(key) else { return };
        if !conn.wants_input() || conn.is_at_eof() {
            if conn.flags.take(Flags::RECEIVING) {
                self.driver.recv_stop(key);
            }
        } else if !conn.is_to_look_again() && conn.flags.raise(Flags::RECEIVING) {
            self.driver.recv_start(key);
        }
    }

    /// Ends the connection if its time has come.
    fn finish(&mut self, key: Key) {
        let state = &mut self.core.state;
        if state.life == Life::Draining {
            state.close_if_done(key);
        }
        let Some(Slot::Conn(conn)) = state.slots.get_mut(key) else { return };
        if conn.stage == Stage::Open && !conn.flags.has(Flags::FINISH) {
            return;
        }
        if !conn.flags.has(Flags::WAITING) && conn.owes_to_layers() {
            // The layers have to see that the stream ends.
            return state.mark_dirty(key);
        }
        if conn.stage == Stage::Open && conn.is_agreeing() {
            // What is to be sent before the end waits for the layers to open.
            return;
        }
        let Some(Slot::Conn(conn)) = state.slots.get_mut(key) else { return };
        let everything_sent = conn.has_sent_everything();
        let eof = conn.is_at_eof();
        // Closing a socket on which the peer is still sending resets the connection, and the reset
        // can overtake the last reply. Only what the peer may be waiting for is worth the patience.
        // A peer that has ended its stream in a layer has yet to end it in those below.
        let may_read = conn.reason.is_some_and(CloseReason::lets_the_peer_read)
            || conn.flags.has(Flags::ENDED_ABOVE);
        let lingers = may_read && conn.passed.bytes_out > 0 && !eof;
        match conn.stage {
            Stage::Detaching if everything_sent => {
                conn.stage = Stage::Ending;
                self.driver.release(key);
            }
            Stage::Closing if everything_sent && lingers => {
                self.linger(key);
            }
            Stage::Closing if everything_sent => self.close(key),
            Stage::Lingering if eof => self.close(key),
            Stage::Open if everything_sent && conn.flags.has(Flags::FINISH) => self.end_output(key),
            _ => {}
        }
    }

    /// Ends this side's stream and waits for the peer's end.
    fn linger(&mut self, key: Key) {
        let until = self.core.state.tick_after(self.core.state.limits.linger);
        let Some(conn) = self.core.state.conn(key) else { return };
        (conn.stage, conn.active) = (Stage::Lingering, until);
        if conn.flags.raise(Flags::FINISHED) {
            self.driver.shutdown(key);
        }
        self.core.state.keep_guard(key);
    }

    /// Ends this side's stream, and the connection if the peer's has ended too.
    fn end_output(&mut self, key: Key) {
        let Some(conn) = self.core.state.conn(key) else { return };
        if conn.flags.raise(Flags::FINISHED) {
            self.driver.shutdown(key);
        }
        if conn.flags.has(Flags::EOF) && !conn.flags.has(Flags::EOF_OWED) {
            conn.escalate(Stage::Closing, CloseReason::Peer);
            if conn.is_at_eof() {
                self.close(key);
            } else {
                self.linger(key);
            }
        }
    }

    fn close(&mut self, key: Key) {
        if let Some(conn) = self.core.state.conn(key) {
            conn.stage = Stage::Ending;
            self.driver.close(key);
        }
    }

    /// Closes a listener or a datagram socket, after a try to send what is queued on it.
    fn close_socket(&mut self, key: Key) {
        if let Some(Slot::Datagram(socket)) = self.core.state.slots.get(key)
            && !socket.flags.has(Flags::ADOPTED)
        {
            // It is still being opened: the driver does not know it and will not report its end.
            return self.core.state.remove_datagram(key);
        }
        self.flush_datagrams(key);
        self.driver.close(key);
    }

    fn flush_datagrams(&mut self, key: Key) {
        let state = &mut self.core.state;
        let Some(Slot::Datagram(socket)) = state.slots.get_mut(key) else { return };
        socket.flags.clear(Flags::DIRTY);
        if !socket.flags.has(Flags::ADOPTED) {
            return;
        }
        if socket.flags.raise(Flags::RECEIVING) {
            self.driver.recv_start(key);
        }
        if socket.flags.has(Flags::WAITING) || socket.outbox.is_empty() {
            return;
        }
        let before = socket.outbox.len();
        if self.driver.send_datagrams(key, &mut socket.outbox) == SendState::Waiting {
            socket.flags.set(Flags::WAITING);
        }
        state.counters.datagrams_out.add((before - socket.outbox.len()) as u64);
    }
}

impl crate::state::LoopState {
    /// Gives the driver what is queued on a connection, if it has one to send on.
    fn send(&mut self, key: Key, driver: &mut impl Driver) -> Sent {
        let mut conn = match self.slots.get_mut(key) {
            Some(Slot::Conn(conn)) => conn,
            _ => return Sent::NotStream,
        };
        const UNREADY: Flags = Flags::LAYERED.and(Flags::QUEUED);
        if conn.flags.among(UNREADY) != Flags::default() {
            self.make_ready(key);
            conn = match self.slots.get_mut(key) {
                Some(Slot::Conn(conn)) => conn,
                _ => return Sent::NotStream,
            };
        }
        conn.flags.clear(Flags::DIRTY);
        if !conn.may_send() {
            return Sent::Unsettled;
        }
        let before = conn.outbox.len();
        let mut unsent = before;
        conn.note_choking(before, self.limits.output_high);
        if conn.flags.has(Flags::FINISHED) {
            self.counters.dropped_closed_bytes.add(conn.outbox.discard() as u64);
            unsent = conn.outbox.len();
        } else if before > 0 && !conn.flags.has(Flags::WAITING) {
            match driver.send(key, &mut conn.outbox) {
                SendState::Waiting => {
                    conn.flags.set(Flags::WAITING);
                    if conn.outbox.queued() == 0 {
                        // The driver has taken the bytes and left their memory's like.
                        self.spare.give_from(&mut conn.outbox);
                    }
                    unsent = conn.outbox.len();
                }
                SendState::Done => {
                    self.spare.give_from(&mut conn.outbox);
                    unsent = 0;
                }
            }
            let sent = (before - unsent) as u64;
            conn.passed.bytes_out += sent;
            self.counters.bytes_out.add(sent);
            self.counters.sends.add(1);
            // The time for a write counts from here, also if the kernel takes nothing at first.
            conn.active = self.tick;
        }
        conn.land(self.index);
        conn.recount(unsent, &mut self.buffered);
        if unsent <= self.limits.output_low
            && self.life == Life::Running
            && conn.is_in_course()
            && !conn.owes_completions()
        {
            if !conn.is_guarded(self.write_timeout_ms) {
                self.under_way.push(key);
                self.due.set(Due::GUARDS);
            }
            return Sent::Settled;
        }
        Sent::Unsettled
    }

    /// Hands over what broadcasters have waiting, and then has the layers wrap all there is.
    #[inline(never)]
    fn make_ready(&mut self, key: Key) {
        let Some(conn) = self.conn(key) else { return };
        if conn.flags.has(Flags::QUEUED) && conn.may_send() {
            self.feed(key);
        }
        let output_high = self.limits.output_high;
        let Some(conn) = self.conn(key) else { return };
        if conn.flags.has(Flags::LAYERED) {
            conn.note_choking(conn.unsent(), output_high);
            self.wrap(key);
        }
    }

    /// Guards the sends that a whole poll has not seen the end of. Of those that a completion driver
    /// takes, most are over by then, and cost no timer.
    fn guard_sends(&mut self) {
        while let Some(key) = self.under_way.pop() {
            self.keep_guard(key);
        }
    }

    /// Draws the consequences of what has left and what has not.
    fn settle(&mut self, key: Key) {
        self.complete_sends(key);
        self.recount(key);
        self.feed_on(key);
        self.wrap_on(key);
        self.check_marks(key);
    }

    /// Reports the sends whose last byte has left.
    fn complete_sends(&mut self, key: Key) {
        loop {
            let Some(conn) = self.conn(key) else { return };
            let sent = conn.sent_position();
            let Some(extra) = &mut conn.extra else { return };
            match extra.completions.front() {
                Some((position, _)) if *position <= sent => {}
                _ => return,
            }
            let (_, done) = extra.completions.pop_front().expect("looked at above");
            self.complete(done, crate::SendOutcome::Sent);
        }
    }

    /// Acts on the water marks, whether or not anything could be sent.
    fn check_marks(&mut self, key: Key) {
        let (low, high) = (self.limits.output_low, self.limits.output_high);
        let crowded = self.buffered > self.memory_max;
        let output_max = self.limits.output_max;
        let Some(conn) = self.conn(key) else { return };
        let unsent = conn.unsent();
        if unsent > output_max || (crowded && unsent > low) {
            return self.escalate(key, Stage::Aborting, CloseReason::SlowConsumer);
        }
        conn.note_choking(unsent, high);
        if unsent <= low && conn.flags.take(Flags::CHOKED) {
            self.owe(key, Flags::REDELIVER);
            self.owe(key, Flags::DRAINED);
        }
    }

    /// While the server drains, a connection without unsent output, unconsumed input or work
    /// elsewhere is done.
    fn close_if_done(&mut self, key: Key) {
        let Some(conn) = self.conn(key) else { return };
        if (conn.is_open() || conn.is_unheard())
            && conn.unsent() == 0
            && !conn.flags.has(Flags::QUEUED)
            && conn.unread() == 0
            && !conn.flags.has(Flags::BUSY)
        {
            conn.escalate(Stage::Closing, CloseReason::Shutdown);
        }
    }
}
