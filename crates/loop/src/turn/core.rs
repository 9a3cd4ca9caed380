//! The loop without its driver: handlers and state, and the calls from one into the other.

use crate::buffers::Buffers;
use crate::conn::detached::Detached;
use crate::conn::slot::{ConnSlot, Flags, NO_LISTENER, STATELESS, Slot, Stage};
use crate::handler::host::{Event, Host};
use crate::panic;
use crate::server::shared::Control;
use crate::state::{Install, Life, LoopState};
use crate::{Action, CloseReason, Conn, Cx, Input};
use mainspring_io::{Accepted, Key, OwnedStream};

/// Handlers and state, which the driver sees as its sink.
pub(crate) struct Core {
    pub(crate) hosts: Vec<Box<dyn Host>>,
    pub(crate) state: LoopState,
}

impl Core {
    /// Calls into one handler. A panic is caught, counted and logged, and answered with `None`.
    pub(crate) fn call<T>(
        &mut self,
        host: u32,
        about: &dyn std::fmt::Debug,
        callback: impl FnOnce(&mut dyn Host, &mut LoopState) -> T,
    ) -> Option<T> {
        let (hosts, state) = (&mut self.hosts, &mut self.state);
        let result = panic::caught(|| callback(&mut *hosts[host as usize], state));
        if let Err(panic) = &result {
            self.state.counters.panics.add(1);
            panic.log(about);
        }
        self.install_states();
        result.ok()
    }

    /// Tells a connection's handler what happened, if the connection is open, and does what it
    /// answers.
    pub(crate) fn event(&mut self, key: Key, event: Event<'_, '_>) {
        let Some(conn) = self.state.conn(key).filter(|conn| conn.is_open()) else { return };
        let (host, place) = (conn.host, conn.state);
        let id = self.state.id_of(key);
        let action =
            self.call(host, &id, |host, state| host.event(place, &mut Conn { state, key }, event));
        match action {
            Some(action) => self.act(key, action),
            None => self.state.escalate(key, Stage::Aborting, CloseReason::Panicked),
        }
    }

    fn act(&mut self, key: Key, action: Action) {
        match action {
            Action::Continue => {}
            Action::Pause => {
                if let Some(conn) = self.state.conn(key) {
                    conn.flags.set(Flags::PAUSED);
                    self.state.mark_dirty(key);
                }
            }
            Action::Detach => self.state.escalate(key, Stage::Detaching, CloseReason::Local),
            Action::Close => {
                let eof = self.state.conn(key).is_some_and(|conn| conn.flags.has(Flags::EOF));
                let reason = if eof { CloseReason::Peer } else { CloseReason::Local };
                self.state.escalate(key, Stage::Closing, reason);
            }
            Action::Abort => self.state.escalate(key, Stage::Aborting, CloseReason::Aborted),
            Action::Shutdown => self.state.shared.control(Control::Stop),
        }
    }

    /// Gives connections the states that callbacks have made for them.
    pub(crate) fn install_states(&mut self) {
        while let Some(Install { key, host, state }) = self.state.installs.pop_front() {
            let Some(conn) = self.state.conn(key) else { continue };
            let (old_host, old_state) = (conn.host, conn.state);
            if old_state != STATELESS {
                self.forget(old_host, old_state);
            }
            let place = self.hosts[host as usize].install(state);
            let conn = self.state.conn(key).expect("looked up above");
            (conn.host, conn.state, conn.wanted) = (host, place, 0);
            let unsent = !conn.outbox.is_empty();
            // What the delivery in progress leaves unconsumed is not in the carry yet.
            self.state.owe(key, Flags::REDELIVER);
            if unsent {
                self.state.hosts[host as usize].has_output = true;
            }
        }
    }

    /// Drops a state, which may run user code.
    fn forget(&mut self, host: u32, place: u32) {
        let dropped = panic::caught(|| self.hosts[host as usize].forget(place));
        panic::count(dropped, &self.state.counters, &"drop of a state");
    }

    /// A connection for one of this loop's handlers: asks it, and orders the driver to take it in.
    pub(crate) fn open(&mut self, listener: u16, accepted: Accepted) {
        let Accepted { stream, peer, local } = accepted;
        let host = self.state.listeners[usize::from(listener)].host;
        let mut conn = ConnSlot::new(host, listener, peer, local, Stage::Open);
        conn.flags.set(Flags::UP);
        conn.active = self.state.tick();
        conn.idle_ms = self.state.limits.idle_timeout.map_or(0, crate::conn::idle_ms);
        let key = self.state.slots.insert(Slot::Conn(conn));
        self.state.conns_open += 1;
        self.state.orders.push_back(crate::turn::order::Order::Adopt { key, stream });
        let id = self.state.id_of(key);
        let opened = self.call(host, &id, |host, state| host.open(&mut Conn { state, key }));
        match opened {
            Some((STATELESS, _)) => {
                self.state.counters.refused.add(1);
                self.state.escalate(key, Stage::Closing, CloseReason::Local);
            }
            Some((place, action)) => {
                self.state.counters.accepted.add(1);
                let conn = self.state.conn(key).expect("just made");
                if conn.state == STATELESS {
                    conn.state = place;
                } else {
                    // Handed off while it was opened: it has its state from there.
                    self.forget(host, place);
                }
                self.act(key, action);
            }
            None => self.state.escalate(key, Stage::Aborting, CloseReason::Panicked),
        }
        self.state.mark_dirty(key);
    }

    /// Delivers what a connection has, with `fresh` behind it.
    pub(crate) fn deliver(&mut self, key: Key, fresh: &mut [u8]) {
        let Some(conn) = self.state.conn(key) else { return };
        conn.flags.clear(Flags::REDELIVER);
        let tenant = (conn.host, conn.state);
        if conn.carry.is_empty() && conn.wanted <= fresh.len() {
            // The usual case: the handler sees the driver's own buffer.
            let mut input = Input::over(fresh);
            self.event(key, Event::Data(&mut input));
            let (consumed, wanted) = (input.consumed(), input.wanted());
            let kept = self.copy_of(&fresh[consumed..]);
            self.put_back(key, tenant, kept, wanted);
            return;
        }
        let mut carry = std::mem::take(&mut conn.carry);
        let wanted = conn.wanted;
        if carry.capacity() == 0 {
            carry = self.state.spare.take();
        }
        carry.extend_from_slice(fresh);
        let mut after = (0, wanted);
        if carry.len() >= wanted {
            let mut input = Input::over(&mut carry);
            self.event(key, Event::Data(&mut input));
            after = (input.consumed(), input.wanted());
        }
        carry.drain(..after.0);
        self.put_back(key, tenant, carry, after.1);
    }

    fn copy_of(&mut self, rest: &[u8]) -> Vec<u8> {
        if rest.is_empty() {
            return Vec::new();
        }
        let mut copy = self.state.spare.take();
        copy.extend_from_slice(rest);
        copy
    }

    /// Keeps what a handler has left for its next delivery, or for the handler it has handed the
    /// connection to.
    fn put_back(&mut self, key: Key, tenant: (u32, u32), mut carry: Vec<u8>, wanted: usize) {
        let (input_max, output_high) = (self.state.limits.input_max, self.state.limits.output_high);
        let Some(conn) = self.state.conn(key) else { return };
        // What the giver had asked for says nothing about the taker.
        conn.wanted = if tenant == (conn.host, conn.state) { wanted } else { 0 };
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
            let choked = conn.outbox.len() > output_high || conn.flags.has(Flags::CHOKED);
            if len > input_max && conn.is_open() && !choked {
                self.state.escalate(key, Stage::Closing, CloseReason::InputTooLong);
            }
        }
        self.state.recount(key);
        if self.state.life == Life::Draining {
            // With its input consumed the connection may be done.
            self.state.mark_dirty(key);
        }
    }

    /// The last of a connection: the driver has reported its end.
    pub(crate) fn ended(&mut self, key: Key) {
        let Some(Slot::Conn(mut conn)) = self.state.slots.remove(key) else { return };
        self.state.forget_conn(&mut conn);
        if conn.state == STATELESS {
            return;
        }
        let reason = conn.reason.unwrap_or(CloseReason::Local);
        let id = self.state.id_of(key);
        let host = conn.host;
        self.call(host, &id, |hosted, state| {
            hosted.close(conn.state, id, &mut Cx { state, host }, reason);
        });
    }

    /// The other last of a connection: it is the handler's now.
    pub(crate) fn detached(&mut self, key: Key, stream: OwnedStream) {
        let Some(Slot::Conn(mut conn)) = self.state.slots.remove(key) else { return };
        let unread = std::mem::take(&mut conn.carry);
        self.state.forget_conn(&mut conn);
        let (id, host, place) = (self.state.id_of(key), conn.host, conn.state);
        let detached = Detached::new(stream, unread, id, conn.peer.clone());
        self.call(host, &id, |hosted, state| match detached {
            Ok(socket) => hosted.detach(place, socket, &mut Cx { state, host }),
            Err(error) => {
                let reason = CloseReason::Failed((&error).into());
                hosted.close(place, id, &mut Cx { state, host }, reason);
            }
        });
    }
}

impl LoopState {
    /// Takes a removed connection out of the sums, timers and queues.
    fn forget_conn(&mut self, conn: &mut ConnSlot) {
        self.conns_open -= 1;
        self.shared.release_connection(self.index);
        let up = conn.flags.has(Flags::UP);
        if conn.state != STATELESS && up {
            self.counters.closed.add(1);
        }
        self.buffered -= conn.counted;
        let unsent = conn.outbox.len() as u64;
        match conn.reason {
            Some(CloseReason::SlowConsumer) => self.counters.dropped_slow_bytes.add(unsent),
            _ => self.counters.dropped_closed_bytes.add(unsent),
        }
        self.counters.dropped_input_bytes.add(conn.carry.len() as u64);
        conn.outbox.discard();
        self.spare.give(std::mem::take(&mut conn.carry));
        if let Some(spare) = conn.outbox.take_spare() {
            self.spare.give(spare);
        }
        if let Some(guard) = conn.guard.take() {
            self.timers.cancel(guard);
        }
        if let Some(extra) = conn.extra.take() {
            for timer in &extra.timers {
                self.timers.cancel(*timer);
            }
            for (_, done) in extra.completions {
                self.complete(done, crate::SendOutcome::Closed);
            }
        }
        debug_assert!(
            conn.listener == NO_LISTENER || usize::from(conn.listener) < self.listeners.len()
        );
    }
}
