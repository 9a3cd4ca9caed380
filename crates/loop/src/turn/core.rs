//! The loop without its driver: handlers and state, and the calls from one into the other.

use crate::conn::detached::Detached;
use crate::conn::ends::Ends;
use crate::conn::slot::{ConnSlot, Flags, NO_LISTENER, STATELESS, Slot, Stage};
use crate::handler::host::{Event, Host};
use crate::panic;
use crate::server::shared::Control;
use crate::state::{Install, LoopState};
use crate::turn::due::Due;
use crate::turn::layers::NOT_DETACHED;
use crate::turn::order::Order;
use crate::{Action, CloseReason, Conn, Cx};
use mainspring_io::{Accepted, Key, OwnedStream};

/// Handlers and state, which the driver sees as its sink.
pub(crate) struct Core {
    pub(crate) hosts: Vec<Box<dyn Host>>,
    pub(crate) state: LoopState,
}

impl Core {
    /// Calls into one handler. A panic is caught, counted and logged, and answered with `None`.
    #[inline(always)]
    pub(crate) fn call<T>(
        &mut self,
        host: u32,
        about: &dyn std::fmt::Debug,
        callback: impl FnOnce(&mut dyn Host, &mut LoopState) -> T,
    ) -> Option<T> {
        let (hosts, state) = (&mut self.hosts, &mut self.state);
        let result = panic::caught(|| callback(&mut *hosts[host as usize], state));
        if !self.state.installs.is_empty() {
            self.install_states();
        }
        match result {
            Ok(answer) => Some(answer),
            Err(panic) => {
                panic.count(&self.state.counters, about);
                None
            }
        }
    }

    /// Tells a connection's handler what happened, if the connection is open, and does what it
    /// answers.
    pub(crate) fn event(&mut self, key: Key, event: Event) {
        let Some(conn) = self.state.conn(key).filter(|conn| conn.is_open()) else { return };
        let (host, place) = (conn.host, conn.state);
        let id = self.state.id_of(key);
        let answer =
            self.call(host, &id, |host, state| host.event(place, &mut Conn { state, key }, event));
        self.react(key, answer);
    }

    /// Does what a callback has answered; `None` if it has panicked.
    pub(crate) fn react(&mut self, key: Key, answer: Option<Action>) {
        match answer {
            Some(action) => self.act(key, action),
            None => self.state.escalate(key, Stage::Aborting, CloseReason::Panicked),
        }
    }

    fn act(&mut self, key: Key, action: Action) {
        match action {
            Action::Continue => {}
            Action::Yield => self.yield_input(key),
            Action::Pause => {
                if let Some(conn) = self.state.conn(key) {
                    conn.flags.set(Flags::PAUSED);
                    self.state.mark_dirty(key);
                }
            }
            Action::Detach
                if self.state.conn(key).is_some_and(|conn| conn.flags.has(Flags::LAYERED)) =>
            {
                self.layer_failed(key, &NOT_DETACHED);
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

    /// Keeps a connection's input for the next turn.
    #[cold]
    pub(crate) fn yield_input(&mut self, key: Key) {
        let Some(conn) = self.state.conn(key) else { return };
        if conn.flags.raise(Flags::YIELDED) {
            self.state.yielded.push(key);
            self.state.due.set(Due::YIELDED);
            self.state.mark_dirty(key);
        }
    }

    /// Lets the connections go on that have yielded in the turn before.
    pub(crate) fn take_up_yielded(&mut self) {
        while let Some(key) = self.state.yielded_before.pop() {
            if let Some(conn) = self.state.conn(key) {
                conn.flags.clear(Flags::YIELDED);
                self.state.owe(key, Flags::REDELIVER);
                self.state.mark_dirty(key);
            }
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
            let unsent = conn.unsent() > 0;
            // What the delivery in progress leaves unconsumed is not in the carry yet.
            self.state.owe(key, Flags::REDELIVER);
            if unsent {
                self.state.outgoing.note_host(host);
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
        let Some(layers) = self.layers_of(listener) else { return };
        let host = self.state.listeners[usize::from(listener)].host;
        let layered = !layers.is_empty();
        let stage = if layered { Stage::Handshaking } else { Stage::Open };
        let mut conn = ConnSlot::new(host, listener, Ends::new(peer, local), stage);
        conn.flags.set(Flags::UP);
        conn.active = self.state.tick();
        conn.since = conn.active;
        conn.idle_ms = self.state.limits.idle_timeout.map_or(0, crate::conn::idle_ms);
        if layered {
            let deadline = self.state.tick_after(self.state.limits.handshake_timeout);
            conn.put_on(layers, deadline);
        }
        let key = self.state.slots.insert(Slot::Conn(conn));
        self.state.count_in();
        self.state.order(Order::Adopt { key, stream });
        self.state.mark_dirty(key);
        if layered {
            return self.rise(key, &mut []);
        }
        self.let_in(key);
    }

    /// Asks the handler of an accepted connection.
    pub(crate) fn let_in(&mut self, key: Key) {
        let Some(host) = self.state.conn(key).map(|conn| conn.host) else { return };
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
        let detached = Detached::new(stream, unread, id, conn.ends.peer());
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
    /// Counts a connection that has got its slot.
    pub(crate) fn count_in(&mut self) {
        self.conns_open += 1;
        let open = self.conns_open as u64;
        if open > self.counters.connections_peak.get() {
            self.counters.connections_peak.set(open);
        }
    }

    /// Takes a removed connection out of the sums, timers and queues.
    fn forget_conn(&mut self, conn: &mut ConnSlot) {
        self.conns_open -= 1;
        self.shared.release_connection(self.index);
        let opened = conn.layered().is_none_or(|layers| layers.opened);
        if conn.state != STATELESS && conn.flags.has(Flags::UP) && opened {
            self.counters.closed.add(1);
        }
        if conn.flags.has(Flags::UP) && !opened {
            let refused =
                matches!(conn.reason, Some(CloseReason::Layer(fault)) if fault.is_refusal());
            let counter =
                if refused { &self.counters.refused } else { &self.counters.handshakes_failed };
            counter.add(1);
        }
        self.buffered -= conn.counted as usize;
        let unsent = conn.unsent() as u64;
        match conn.reason {
            Some(CloseReason::SlowConsumer) => self.counters.dropped_slow_bytes.add(unsent),
            _ => self.counters.dropped_closed_bytes.add(unsent),
        }
        self.counters.dropped_input_bytes.add(conn.unread() as u64);
        conn.outbox.discard();
        self.spare.give(std::mem::take(&mut conn.carry));
        self.spare.give_from(&mut conn.outbox);
        if let Some(guard) = conn.guard.take() {
            self.timers.cancel(guard);
        }
        self.timers.cancel_all(&mut conn.timers);
        self.end_lanes(conn);
        if let Some(mut extra) = conn.extra.take() {
            if let Some(layers) = extra.layers.take() {
                let dropped = panic::caught(|| drop(layers));
                panic::count(dropped, &self.counters, &"drop of the layers");
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
