//! Everything one loop knows except its driver and its handlers.
//!
//! Callbacks reach this through [`Conn`](crate::Conn), [`Cx`](crate::Cx) and
//! [`Datagram`](crate::Datagram). They change slots and leave marks; the phases of the turn act on
//! the marks.

use crate::Input;
use crate::buffers::Buffers;
use crate::conn::completion::Completion;
use crate::conn::slot::{ConnSlot, DatagramSlot, Flags, Slot, Stage};
use crate::handler::waker::HandlerWaker;
use crate::panic;
use crate::server::shared::{Control, LoopShared, ServerShared};
use crate::slab::Slab;
use crate::stats::LoopCounters;
use crate::timer::TimerWheel;
use crate::turn::due::Due;
use crate::turn::order::Order;
use crate::turn::outgoing::Outgoing;
use crate::{CloseReason, ConnId, Handler, HostId, Layers, Limits, SendOutcome};
use bytes::Bytes;
use mainspring_io::{Kept, Key};
use std::any::{Any, TypeId};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) struct LoopState {
    pub(crate) index: u16,
    now: Instant,
    /// `now` in whole milliseconds since `base`.
    pub(crate) tick: u64,
    /// When `tick` is over.
    tick_end: Instant,
    /// A tick and when it begins: that of the timer that is next, as long as it is.
    next_timer: (u64, Instant),
    /// How long the longest turn has taken.
    longest_turn: Duration,
    /// The instant of tick 0.
    base: Instant,
    /// Which of the lists below have something on them.
    pub(crate) due: Due,
    pub(crate) slots: Slab<Slot>,
    pub(crate) timers: TimerWheel<Alarm>,
    /// What callbacks want of the driver, in order.
    pub(crate) orders: VecDeque<Order>,
    /// What leaves with this turn.
    pub(crate) outgoing: Outgoing,
    /// Connections that are owed a callback.
    pub(crate) pending: VecDeque<Key>,
    /// Connections that have yielded in this turn, and those that did in the turn before.
    pub(crate) yielded: Vec<Key>,
    pub(crate) yielded_before: Vec<Key>,
    /// Connections that have ended without the driver's saying so.
    pub(crate) gone: Vec<Key>,
    /// Connections whose output the driver took in this flush and whose guard may be too late for
    /// it.
    pub(crate) under_way: Vec<Key>,
    pub(crate) spare: Buffers,
    /// Where output goes that is over every limit: dropped, but not lost without being counted.
    overflow: Vec<u8>,
    pub(crate) limits: Arc<Limits>,
    /// `Limits::write_timeout` in ticks.
    pub(crate) write_timeout_ms: Option<u64>,
    /// This loop's share of `Limits::memory_max`.
    pub(crate) memory_max: usize,
    pub(crate) buffered: usize,
    pub(crate) conns_open: usize,
    pub(crate) counters: Arc<LoopCounters>,
    /// What others know of this loop, and ask of it.
    pub(crate) home: Arc<LoopShared>,
    pub(crate) shared: Arc<ServerShared>,
    pub(crate) hosts: Vec<HostInfo>,
    /// Handlers that have made a waker.
    pub(crate) wakers: Vec<(u32, Arc<HandlerWaker>)>,
    /// Which handler wants to hear of which signal.
    pub(crate) signals: Vec<(i32, u32)>,
    pub(crate) listeners: Vec<ListenerInfo>,
    pub(crate) rng: fastrand::Rng,
    /// Connections dealt out to the loops in turn.
    pub(crate) dealt: u64,
    /// What the server was told to do.
    pub(crate) controls: Vec<Control>,
    /// States that callbacks have given to connections, in order: the last one stays.
    pub(crate) installs: VecDeque<Install>,
    pub(crate) life: Life,
    /// Whether anything but time has passed in this turn: what an adaptive tick follows.
    pub(crate) traffic: bool,
}

/// What the loop knows of a handler without knowing its type.
pub(crate) struct HostInfo {
    pub(crate) handler: TypeId,
    pub(crate) ticks_on_every_loop: bool,
    pub(crate) tick: Ticking,
}

/// When a handler ticks next.
#[derive(Clone, Copy)]
pub(crate) enum Ticking {
    Stopped,
    /// A timer is armed.
    Armed,
    /// A timer is armed for the idle end; traffic may bring it forward to the given tick.
    Adaptive {
        timer: crate::TimerId,
        earliest: u64,
    },
}

/// A connection gets this handler and this state when the present callback has returned.
pub(crate) struct Install {
    pub(crate) key: Key,
    pub(crate) host: u32,
    pub(crate) state: Box<dyn Any>,
}

pub(crate) struct ListenerInfo {
    pub(crate) host: u32,
    /// The socket, where this loop has one for it.
    pub(crate) key: Option<Key>,
    /// Accepted sockets are shared out by this loop, not by the kernel.
    pub(crate) shared_out: bool,
    /// Makes the layers of each accepted connection.
    pub(crate) layers: Option<Box<dyn FnMut() -> Layers>>,
}

/// What a timer is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Alarm {
    /// The dial, idle, write or linger deadline of a connection.
    Guard(Key),
    /// A timer of the handler's, in the connection's list of them.
    User(Key),
    /// A timer of a handler's that is of no connection.
    Handler(u32),
    /// A handler's tick.
    Tick(u32),
    /// A message that waits for a connection is too late.
    Late(Key),
    /// The end of the drain time.
    DrainOver,
}

/// How far the loop has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Life {
    Running,
    /// Connections finish what they are at.
    Draining,
    /// Connections close after their output.
    Stopping,
    /// Connections are cut.
    Cutting,
}

impl LoopState {
    pub(crate) fn new(index: u16, now: Instant, shared: Arc<ServerShared>) -> Self {
        let limits = shared.limits.clone();
        let home = shared.loops[usize::from(index)].clone();
        Self {
            index,
            now,
            tick: 0,
            tick_end: now,
            next_timer: (0, now),
            longest_turn: Duration::ZERO,
            base: now,
            due: Due::default(),
            slots: Slab::new(),
            timers: TimerWheel::new(),
            orders: VecDeque::new(),
            outgoing: Outgoing::default(),
            pending: VecDeque::new(),
            yielded: Vec::new(),
            yielded_before: Vec::new(),
            gone: Vec::new(),
            under_way: Vec::new(),
            spare: Buffers::default(),
            overflow: Vec::new(),
            memory_max: limits.memory_max / shared.loops.len(),
            write_timeout_ms: limits.write_timeout.map(whole_ms),
            limits,
            buffered: 0,
            conns_open: 0,
            counters: home.counters.clone(),
            home,
            rng: fastrand::Rng::with_seed(shared.seed.wrapping_add(index.into())),
            shared,
            dealt: 0,
            controls: Vec::new(),
            hosts: Vec::new(),
            wakers: Vec::new(),
            signals: Vec::new(),
            listeners: Vec::new(),
            installs: VecDeque::new(),
            life: Life::Running,
            traffic: false,
        }
    }

    /// The time at which the turn began.
    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// A turn begins. Many turns lie within one tick, which is reckoned once.
    pub(crate) fn set_now(&mut self, now: Instant) {
        self.now = now;
        if now >= self.tick_end {
            self.tick = now.saturating_duration_since(self.base).as_millis() as u64;
            self.tick_end = self.instant_of(self.tick + 1);
        }
    }

    /// The turn that began last has come to its end: is it the longest?
    pub(crate) fn note_turn_end(&mut self, end: Instant) {
        // An addition in place of a subtraction: they are far from the same in cost.
        if end > self.now + self.longest_turn {
            self.longest_turn = end.saturating_duration_since(self.now);
            self.counters.longest_turn_ns.set(self.longest_turn.as_nanos() as u64);
        }
    }

    /// The present tick: whole milliseconds since the loop was made.
    pub(crate) fn tick(&self) -> u64 {
        self.tick
    }

    /// The first tick that is not before `after` from now. A timer is never early.
    pub(crate) fn tick_after(&self, after: Duration) -> u64 {
        let since = self.now.saturating_duration_since(self.base).saturating_add(after);
        u64::try_from(since.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }

    /// When the timer is due that is next.
    pub(crate) fn next_timer(&mut self) -> Option<Instant> {
        let tick = self.timers.next_tick()?;
        if tick != self.next_timer.0 {
            self.next_timer = (tick, self.instant_of(tick));
        }
        Some(self.next_timer.1)
    }

    /// When `tick` begins.
    pub(crate) fn instant_of(&self, tick: u64) -> Instant {
        self.base + Duration::from_millis(tick)
    }

    pub(crate) fn conn(&mut self, key: Key) -> Option<&mut ConnSlot> {
        match self.slots.get_mut(key) {
            Some(Slot::Conn(conn)) => Some(conn),
            _ => None,
        }
    }

    pub(crate) fn datagram(&mut self, key: Key) -> Option<&mut DatagramSlot> {
        match self.slots.get_mut(key) {
            Some(Slot::Datagram(socket)) => Some(socket),
            _ => None,
        }
    }

    /// The key behind `id` if it names an open or dialling connection of this loop.
    pub(crate) fn key_of(&mut self, id: ConnId) -> Option<Key> {
        let stage = (id.home == self.index).then(|| self.conn(id.key))??.stage;
        (stage <= Stage::Open).then_some(id.key)
    }

    pub(crate) fn id_of(&self, key: Key) -> ConnId {
        ConnId { key, home: self.index }
    }

    /// # Panics
    ///
    /// If `host` is of a server in which that handler is another one: its states would not fit.
    pub(crate) fn check_host<H: Handler>(&self, host: HostId<H>) {
        let known = self.hosts.get(host.index as usize).map(|info| info.handler);
        let wanted = std::any::type_name::<H>();
        assert!(known == Some(TypeId::of::<H>()), "{host:?} of this loop is not a {wanted}");
    }

    /// The one waker of a handler.
    pub(crate) fn handler_waker(&mut self, host: u32) -> Arc<HandlerWaker> {
        if let Some((_, waker)) = self.wakers.iter().find(|(of, _)| *of == host) {
            return waker.clone();
        }
        let waker = Arc::new(HandlerWaker::new(self.shared.clone(), self.index));
        self.wakers.push((host, waker.clone()));
        waker
    }

    /// Has the next `flush` tell the driver.
    pub(crate) fn order(&mut self, order: Order) {
        self.orders.push_back(order);
        self.due.set(Due::ORDERS);
    }

    /// Has `flush` look at the connection.
    pub(crate) fn mark_dirty(&mut self, key: Key) {
        let flags = match self.slots.get_mut(key) {
            Some(Slot::Conn(conn)) => &mut conn.flags,
            Some(Slot::Datagram(socket)) => &mut socket.flags,
            _ => return,
        };
        self.outgoing.mark(key, flags);
    }

    /// Owes the connection the callback that `flag` stands for.
    pub(crate) fn owe(&mut self, key: Key, flag: Flags) {
        let Some(conn) = self.conn(key) else { return };
        conn.flags.set(flag);
        if conn.flags.raise(Flags::PENDING) {
            self.pending.push_back(key);
            self.due.set(Due::CALLBACKS);
        }
    }

    /// Ends a connection that the driver does not have. Its handler hears of it with the callbacks
    /// of the next turn: what it writes to others in answer must not leave before `on_turn_end`.
    pub(crate) fn end_later(&mut self, key: Key) {
        if let Some(conn) = self.conn(key) {
            conn.stage = Stage::Ending;
            self.gone.push(key);
            self.due.set(Due::CALLBACKS);
        }
    }

    /// Moves a connection on to `stage`, see [`ConnSlot::escalate`].
    pub(crate) fn escalate(&mut self, key: Key, stage: Stage, reason: CloseReason) {
        if let Some(conn) = self.conn(key) {
            conn.escalate(stage, reason);
            self.mark_dirty(key);
        }
    }

    /// The vector in which the output of `key` grows.
    pub(crate) fn output(&mut self, key: Key) -> &mut Vec<u8> {
        let Some(Slot::Conn(conn)) = self.slots.get_mut(key) else {
            return Self::nowhere(&mut self.overflow, &self.counters);
        };
        self.outgoing.note_output(key, &mut conn.flags, conn.host);
        if conn.unsent() > self.limits.output_max {
            conn.abort_slow();
            return Self::nowhere(&mut self.overflow, &self.counters);
        }
        if conn.flags.has(Flags::LAYERED) {
            let layers = conn.layered_mut().expect("layered connections have layers");
            if layers.plain.capacity() == 0 {
                layers.plain = self.spare.take();
            }
            return &mut layers.plain;
        }
        if !conn.outbox.has_buffer() {
            conn.outbox.give_spare(self.spare.take());
        }
        conn.outbox.tail()
    }

    /// Queues `bytes` by exchange for an empty vector if nothing is in the way of that, and tells how
    /// much is unsent.
    #[inline(always)]
    pub(crate) fn append(&mut self, key: Key, bytes: &mut Vec<u8>) -> usize {
        let Some(Slot::Conn(conn)) = self.slots.get_mut(key) else {
            return self.append_behind(key, bytes);
        };
        let before = conn.outbox.len();
        if conn.flags.has(Flags::LAYERED)
            || before > self.limits.output_max
            || !conn.outbox.tail().is_empty()
        {
            return self.append_behind(key, bytes);
        }
        self.outgoing.note_output(key, &mut conn.flags, conn.host);
        let unsent = before + bytes.len();
        std::mem::swap(conn.outbox.tail(), bytes);
        if bytes.capacity() == 0 {
            *bytes = self.spare.take();
        }
        unsent
    }

    #[inline(never)]
    fn append_behind(&mut self, key: Key, bytes: &mut Vec<u8>) -> usize {
        self.output(key).append(bytes);
        self.conn(key).map_or(0, |conn| conn.unsent())
    }

    /// Queues the input of a delivery on `key`, where it lies if that is possible and leaves with this
    /// turn.
    #[inline]
    pub(crate) fn forward(&mut self, key: Key, input: &mut Input<'_>) {
        if !input.can_be_kept() || !self.forward_whole(key, input) {
            self.output(key).extend_from_slice(input.take());
        }
    }

    #[inline(never)]
    fn forward_whole(&mut self, key: Key, input: &mut Input<'_>) -> bool {
        self.queue_kept(key, || input.keep())
    }

    /// As [`forward`](LoopState::forward), for what was kept before.
    #[inline(never)]
    pub(crate) fn forward_kept(&mut self, key: Key, kept: Kept) {
        let mut kept = Some(kept);
        self.queue_kept(key, || kept.take());
        if let Some(kept) = kept {
            self.output(key).extend_from_slice(kept.bytes());
        }
    }

    /// Queues received memory on `key`, if that may be and there is some.
    #[inline(always)]
    fn queue_kept(&mut self, key: Key, keep: impl FnOnce() -> Option<Kept>) -> bool {
        let conn = match self.slots.get_mut(key) {
            Some(Slot::Conn(conn)) if conn.sends_with_this_turn() => conn,
            _ => return false,
        };
        if conn.outbox.len() > self.limits.output_max {
            return false;
        }
        let Some(kept) = keep() else { return false };
        self.counters.bytes_forwarded.add(kept.bytes().len() as u64);
        self.spare.push_kept(&mut conn.outbox, kept);
        self.outgoing.note_output(key, &mut conn.flags, conn.host);
        true
    }

    /// Counts and forgets what was appended where it could not be kept.
    pub(crate) fn count_overflow(&mut self) {
        if !self.overflow.is_empty() {
            Self::nowhere(&mut self.overflow, &self.counters);
        }
    }

    #[cold]
    fn nowhere<'a>(overflow: &'a mut Vec<u8>, counters: &LoopCounters) -> &'a mut Vec<u8> {
        counters.dropped_slow_bytes.add(overflow.len() as u64);
        overflow.clear();
        overflow.shrink_to(1 << 16);
        overflow
    }

    /// Queues shared bytes on an open connection; `done` learns how that ended.
    pub(crate) fn send_shared(&mut self, key: Key, bytes: Bytes, done: Option<Completion>) {
        let output_max = self.limits.output_max;
        let conn = match self.slots.get_mut(key) {
            Some(Slot::Conn(conn)) if conn.stage <= Stage::Open => conn,
            _ => {
                self.counters.dropped_sends.add(1);
                return self.complete_as_closed(done);
            }
        };
        let unsent = conn.unsent();
        if unsent + bytes.len() > output_max && unsent > 0 {
            self.counters.dropped_slow_bytes.add(bytes.len() as u64);
            self.escalate(key, Stage::Aborting, CloseReason::SlowConsumer);
            return self.complete_as_closed(done);
        }
        conn.append_shared(bytes, &mut self.spare);
        if let Some(done) = done {
            let position = conn.position();
            conn.extra().completions.push_back((position, done));
        }
        self.outgoing.note_output(key, &mut conn.flags, conn.host);
    }

    fn complete_as_closed(&mut self, done: Option<Completion>) {
        if let Some(done) = done {
            self.complete(done, SendOutcome::Closed);
        }
    }

    /// Tells how a send ended.
    pub(crate) fn complete(&mut self, done: Completion, outcome: SendOutcome) {
        panic::count(done.complete(outcome), &self.counters, &"send completion");
    }

    /// Lets input flow again, and has what was left be looked at once more.
    pub(crate) fn resume(&mut self, key: Key) {
        let Some(conn) = self.conn(key) else { return };
        if conn.flags.take(Flags::PAUSED) {
            self.owe(key, Flags::REDELIVER);
            self.mark_dirty(key);
        }
    }

    /// Brings the loop's sum of buffered bytes up to date with one connection.
    pub(crate) fn recount(&mut self, key: Key) {
        let Some(Slot::Conn(conn)) = self.slots.get_mut(key) else { return };
        conn.recount(conn.unsent(), &mut self.buffered);
    }

    /// Sees to it that the guard of a connection fires no later than its deadline.
    ///
    /// A deadline that has moved on leaves the guard where it is: when it fires, it is armed anew.
    /// So a connection that is never late costs one timer a timeout, not one a message.
    pub(crate) fn keep_guard(&mut self, key: Key) {
        let Some(Slot::Conn(conn)) = self.slots.get_mut(key) else { return };
        let Some(deadline) = conn.deadline(self.write_timeout_ms) else { return };
        if deadline < conn.guard_at {
            if let Some(late) = conn.guard.take() {
                self.timers.cancel(late);
            }
            conn.guard = Some(self.timers.arm(deadline, Alarm::Guard(key)));
            conn.guard_at = deadline;
        }
    }
}

fn whole_ms(timeout: Duration) -> u64 {
    u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)
}
