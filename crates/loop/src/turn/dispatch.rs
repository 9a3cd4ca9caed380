//! What the driver delivers, taken to the connection it is for.

use crate::conn::ends::Ends;
use crate::conn::slot::{Flags, Slot, Stage};
use crate::handler::host::Event;
use crate::remote::post::Post;
use crate::state::Life;
use crate::turn::core::Core;
use crate::turn::delivery::Delivery;
use crate::turn::due::Due;
use crate::turn::order::Order;
use crate::{Action, CloseReason, Cx, Datagram};
use mainspring_io::{Accepted, Addr, Flow, Key, Loan, OwnedStream, Sink};
use std::io;
use std::time::Instant;

impl Sink for Core {
    fn begin(&mut self, now: Instant) {
        self.state.set_now(now);
        self.state.counters.wakeups.add(1);
        self.state.traffic = false;
    }

    fn accepted(&mut self, listener: Key, accepted: Accepted) {
        self.state.traffic = true;
        let Some(Slot::Listener(slot)) = self.state.slots.get(listener) else { return };
        let listener = slot.listener;
        if self.state.life != Life::Running || !self.state.shared.reserve_connection() {
            self.state.counters.refused.add(1);
            return;
        }
        let target = self.choose_loop(listener, &accepted.peer);
        self.state.shared.assign_connection(target);
        if target == self.state.index {
            return self.open(listener, accepted);
        }
        let post = Post::Adopt { listener, accepted: Box::new(accepted) };
        let inbox = &self.state.shared.loops[usize::from(target)].inbox;
        if let Err(Post::Adopt { accepted, .. }) = inbox.push(post, 0) {
            // The other loop is swamped or gone: serve the connection here rather than lose it.
            self.state.shared.reassign_connection(target, self.state.index);
            self.open(listener, *accepted);
        }
    }

    fn accept_failed(&mut self, listener: Key, error: io::Error) {
        self.state.counters.accept_errors.add(1);
        crate::panic::log(|| tracing::warn!(?listener, %error, "cannot accept; trying again"));
    }

    fn connected(&mut self, key: Key, local: Addr) {
        self.state.traffic = true;
        let Some(conn) = self.state.conn(key) else { return self.stale() };
        if conn.stage != Stage::Dialing {
            return;
        }
        conn.ends = Ends::new(conn.ends.peer(), local);
        conn.flags.set(Flags::UP);
        if conn.flags.has(Flags::LAYERED) {
            conn.stage = Stage::Handshaking;
            self.state.keep_guard(key);
            self.state.mark_dirty(key);
            return self.rise(key, &mut []);
        }
        self.dialled(key);
    }

    fn data(&mut self, key: Key, bytes: &mut [u8]) -> Flow {
        self.received(key, Loan::over(bytes))
    }

    fn loan(&mut self, key: Key, bytes: Loan<'_>) -> Flow {
        self.received(key, bytes)
    }

    fn datagram(&mut self, key: Key, from: &Addr, bytes: &mut [u8]) -> Flow {
        self.state.traffic = true;
        let Some(socket) = self.state.datagram(key) else {
            self.stale();
            return Flow::Pause;
        };
        let host = socket.host;
        self.state.counters.datagrams_in.add(1);
        let id = self.state.id_of(key);
        let action = self.call(host, &id, |host, state| {
            host.datagram(&mut Datagram { state, key, from: Some(from) }, from, bytes)
        });
        match action {
            Some(Action::Shutdown) => {
                self.state.shared.control(crate::server::shared::Control::Stop)
            }
            Some(Action::Close | Action::Abort) => {
                self.state.order(Order::CloseSocket { key });
                return Flow::Pause;
            }
            _ => {}
        }
        Flow::Continue
    }

    fn datagram_dropped(&mut self, key: Key, count: usize, error: io::Error) {
        self.state.counters.dropped_datagrams_refused.add(count as u64);
        crate::panic::log(|| tracing::debug!(?key, count, %error, "datagrams dropped"));
    }

    fn eof(&mut self, key: Key) {
        self.state.traffic = true;
        let Some(conn) = self.state.conn(key) else { return self.stale() };
        conn.flags.clear(Flags::ENDED_ABOVE);
        self.input_ended(key);
    }

    fn sent(&mut self, key: Key, bytes: usize) {
        self.state.traffic = true;
        let state = &mut self.state;
        match state.slots.get_mut(key) {
            Some(Slot::Conn(conn)) => {
                conn.flags.clear(Flags::WAITING);
                conn.active = state.tick;
                conn.note_choking(conn.unsent(), state.limits.output_high);
                if bytes > 0 {
                    conn.outbox.landed(bytes);
                    conn.passed.bytes_out += bytes as u64;
                    state.counters.bytes_out.add(bytes as u64);
                    conn.land(state.index);
                }
                let unsent = conn.unsent();
                conn.recount(unsent, &mut state.buffered);
                let idle = unsent == 0 && state.life == Life::Running;
                if idle && conn.is_settled(state.write_timeout_ms) {
                    return;
                }
            }
            Some(Slot::Datagram(socket)) => socket.flags.clear(Flags::WAITING),
            _ => return self.stale(),
        }
        self.state.mark_dirty(key);
    }

    fn failed(&mut self, key: Key, error: io::Error) {
        self.state.traffic = true;
        let Some(conn) = self.state.conn(key) else {
            return crate::panic::log(|| tracing::debug!(?key, %error, "socket failed"));
        };
        let another = conn.extra.as_ref().is_some_and(|extra| !extra.candidates.is_empty());
        if conn.stage == Stage::Dialing && another {
            return;
        }
        conn.escalate(Stage::Ending, CloseReason::Failed((&error).into()));
    }

    fn closed(&mut self, key: Key) {
        self.state.traffic = true;
        match self.state.slots.get_mut(key) {
            Some(Slot::Conn(conn)) if conn.stage == Stage::Dialing => {
                conn.flags.clear(Flags::ADOPTED);
                self.state.order(Order::Dial { key });
            }
            Some(Slot::Conn(_)) => self.ended(key),
            Some(Slot::Datagram(_)) => self.state.remove_datagram(key),
            Some(Slot::Listener(_)) => drop(self.state.slots.remove(key)),
            None => self.stale(),
        }
    }

    fn released(&mut self, key: Key, stream: OwnedStream) {
        self.detached(key, stream);
    }

    fn signal(&mut self, number: i32) {
        self.state.traffic = true;
        for nth in 0..self.state.signals.len() {
            let (caught, host) = self.state.signals[nth];
            if caught == number {
                self.call(host, &"on_signal", |hosted, state| {
                    hosted.signal(&mut Cx { state, host }, number);
                });
            }
        }
    }
}

impl Core {
    /// The peer will send nothing more, by the socket's word or a layer's.
    pub(crate) fn input_ended(&mut self, key: Key) {
        let Some(conn) = self.state.conn(key) else { return };
        if conn.flags.raise(Flags::EOF) {
            conn.wanted = 0;
            self.state.owe(key, Flags::EOF_OWED);
        }
        self.state.mark_dirty(key);
    }

    #[inline(always)]
    fn received(&mut self, key: Key, mut bytes: Loan<'_>) -> Flow {
        let state = &mut self.state;
        state.traffic = true;
        let conn = match state.slots.get_mut(key) {
            Some(Slot::Conn(conn)) if conn.takes_data() => conn,
            _ => return self.data_too_late(key, bytes.bytes()),
        };
        if !conn.flags.has(Flags::WAITING) {
            // What the peer says is no progress of a write that waits for it to read.
            conn.active = state.tick;
        }
        conn.passed.bytes_in += bytes.len() as u64;
        state.counters.bytes_in.add(bytes.len() as u64);
        if conn.flags.has(Flags::LAYERED) {
            return self.data_through_layers(key, bytes.bytes());
        }
        if conn.is_held() {
            // What the driver had taken before it heard of the stop (D3).
            return self.hold(key, bytes.bytes());
        }
        state.counters.deliveries.add(1);
        let delivery = Delivery::begin(key, conn);
        if conn.takes_as_it_is(bytes.bytes()) {
            self.deliver(delivery, bytes)
        } else {
            self.deliver_joined(delivery, bytes.bytes());
            self.flow(key)
        }
    }

    fn stale(&mut self) {
        self.state.counters.stale_events.add(1);
    }

    /// What becomes of bytes for a connection that is not open any more.
    #[cold]
    fn data_too_late(&mut self, key: Key, bytes: &[u8]) -> Flow {
        let Some(conn) = self.state.conn(key) else {
            self.stale();
            return Flow::Pause;
        };
        if conn.stage == Stage::Detaching {
            conn.carry.extend_from_slice(bytes);
            return Flow::Pause;
        }
        self.state.counters.dropped_input_bytes.add(bytes.len() as u64);
        Flow::Continue
    }

    /// What the driver should do next for a connection that it has just delivered to.
    #[inline(never)]
    pub(crate) fn flow(&mut self, key: Key) -> Flow {
        let output_high = self.state.limits.output_high;
        let Some(conn) = self.state.conn(key) else { return Flow::Pause };
        conn.note_choking(conn.unsent(), output_high);
        if conn.wants_input() {
            if !conn.flags.has(Flags::RECEIVING) {
                // Bytes that came late (D3) were the look for which receiving had to wait.
                self.state.mark_dirty(key);
            }
            return Flow::Continue;
        }
        // The driver stops by this answer and needs no order.
        conn.flags.clear(Flags::RECEIVING);
        self.state.mark_dirty(key);
        Flow::Pause
    }

    /// Delivers what a connection has once more.
    fn redeliver(&mut self, key: Key) {
        let Some(conn) = self.state.conn(key).filter(|conn| conn.is_open()) else { return };
        let delivery = Delivery::begin(key, conn);
        self.deliver_joined(delivery, &[]);
        self.steer_later(key);
    }

    /// What an answer to the driver does during a delivery, for one that it does not hear: `flush`
    /// tells it.
    pub(crate) fn steer_later(&mut self, key: Key) {
        let output_high = self.state.limits.output_high;
        let Some(conn) = self.state.conn(key) else { return };
        conn.note_choking(conn.unsent(), output_high);
        if conn.wants_input() != conn.flags.has(Flags::RECEIVING) {
            self.state.mark_dirty(key);
        }
    }

    #[cold]
    fn hold(&mut self, key: Key, bytes: &[u8]) -> Flow {
        let Some(conn) = self.state.conn(key) else { return Flow::Pause };
        conn.carry.extend_from_slice(bytes);
        self.state.owe(key, Flags::REDELIVER);
        self.state.recount(key);
        self.flow(key)
    }

    /// Gives every connection the callbacks it is owed by the loop itself.
    #[inline]
    pub(crate) fn pending(&mut self) {
        if self.state.home.take_woken_handlers() {
            self.notify();
        }
        if self.state.due.take(Due::CALLBACKS) {
            self.call_pending();
        }
    }

    /// Calls the handlers whose wakers were used. First, because they wake connections.
    #[inline(never)]
    fn notify(&mut self) {
        for nth in 0..self.state.wakers.len() {
            let (host, waker) = &self.state.wakers[nth];
            let host = *host;
            if waker.take() {
                self.state.traffic = true;
                self.call(host, &"on_notify", |hosted, state| {
                    hosted.notify(&mut Cx { state, host });
                });
            }
        }
    }

    #[inline(never)]
    fn call_pending(&mut self) {
        let mut gone = std::mem::take(&mut self.state.gone);
        gone.drain(..).for_each(|key| self.ended(key));
        self.state.gone = gone;
        for _ in 0..self.state.pending.len() {
            let key = self.state.pending.pop_front().expect("counted");
            if let Some(conn) = self.state.conn(key) {
                conn.flags.clear(Flags::PENDING);
                self.pending_of(key);
            }
        }
    }

    fn pending_of(&mut self, key: Key) {
        // Output that has risen again since will fall again, and be told then.
        let choked = self.state.conn(key).is_some_and(|conn| conn.flags.has(Flags::CHOKED));
        if self.take_owed(key, Flags::DRAINED) && !choked {
            self.event(key, Event::Drained);
        }
        if self.take_owed(key, Flags::WOKEN) {
            self.event(key, Event::Wake);
        }
        let Some(conn) = self.state.conn(key) else { return };
        if conn.is_held() {
            // What is owed of the input waits for `resume` or for the output to drain.
            return;
        }
        if conn.flags.take(Flags::REDELIVER) {
            let layered = conn.flags.has(Flags::LAYERED);
            if !conn.carry.is_empty() && !conn.flags.has(Flags::NEW_LAYER) {
                self.redeliver(key);
            }
            if layered {
                self.rise_again(key);
            }
        }
        self.pending_eof(key);
    }

    /// The end of the stream comes after the last byte, which may still be held back.
    fn pending_eof(&mut self, key: Key) {
        let Some(conn) = self.state.conn(key) else { return };
        if conn.is_held() || conn.flags.has(Flags::REDELIVER) || !conn.flags.has(Flags::EOF_OWED) {
            return;
        }
        if !conn.carry.is_empty() {
            // A handler that had asked for more has to know that this is all.
            self.redeliver(key);
            if self.state.conn(key).is_none_or(|conn| conn.is_held()) {
                return;
            }
        }
        self.take_owed(key, Flags::EOF_OWED);
        if !self.layers_allow_eof(key) {
            return;
        }
        self.event(key, Event::Eof);
        self.state.mark_dirty(key);
    }

    fn take_owed(&mut self, key: Key, flag: Flags) -> bool {
        self.state.conn(key).is_some_and(|conn| conn.flags.take(flag))
    }

    /// Looks at the inbox: controls and answers of the offload pool, then a bounded number of posts.
    pub(crate) fn inbox(&mut self) {
        let told = self.state.home.inbox.begin_look();
        if told || self.state.due.any(Due::POSTS) {
            self.empty_inbox();
        }
    }

    #[inline(never)]
    fn empty_inbox(&mut self) {
        if !self.state.home.finished.is_empty() {
            self.take_finished();
        }
        self.state.due.clear(Due::POSTS);
        if !self.take_posts() {
            self.state.due.set(Due::POSTS);
        }
        while !self.state.controls.is_empty() {
            let control = self.state.controls.remove(0);
            self.control(control);
        }
    }

    #[inline(never)]
    fn take_finished(&mut self) {
        // Only what is there now: work that offloads more work must not keep the turn from ending.
        for _ in 0..self.state.home.finished.len() {
            let Ok(work) = self.state.home.finished.pop() else { break };
            self.state.traffic = true;
            self.run(work);
        }
    }

    /// Takes a bounded number of posts. Whether it took all there were.
    fn take_posts(&mut self) -> bool {
        for _ in 0..self.state.limits.posts_per_turn {
            let inbox = &self.state.home.inbox;
            let Some(post) = inbox.pop() else { return true };
            inbox.release(post.bytes());
            self.state.traffic = true;
            self.take(post);
        }
        false
    }

    fn take(&mut self, post: Post) {
        match post {
            Post::Run(work) => self.run(work),
            Post::Send { key, bytes, done } => self.state.send_shared(key, bytes, done),
            Post::Broadcast { keys, bytes } => {
                keys.iter().for_each(|key| self.state.send_shared(*key, bytes.clone(), None));
            }
            Post::Cast { channel, keys, bytes } => self.state.cast(&channel, &keys, &bytes),
            Post::Wake(key) => self.state.owe(key, Flags::WOKEN),
            Post::Close(key) => self.state.escalate(key, Stage::Closing, CloseReason::Local),
            Post::Abort(key) => self.state.escalate(key, Stage::Aborting, CloseReason::Aborted),
            Post::Resume(key) => self.state.resume(key),
            Post::Adopt { listener, accepted } if self.state.life == Life::Running => {
                self.open(listener, *accepted);
            }
            Post::Adopt { .. } => {
                self.state.shared.release_connection(self.state.index);
                self.state.counters.refused.add(1);
            }
        }
    }

    fn run(&mut self, work: crate::remote::post::Work) {
        let (hosts, state) = (&mut self.hosts, &mut self.state);
        let result = crate::panic::caught(|| work(hosts, state));
        crate::panic::count(result, &self.state.counters, &"posted work");
        if !self.state.installs.is_empty() {
            self.install_states();
        }
    }
}
