//! The handler of a world: one type for all kinds, so that connections may go from one to the
//! other.
//!
//! This file holds every callback to the laws of the [ledger](super::ledger); what a kind does
//! stands in [`conduct`](super::conduct) and [`relay`](super::relay).

use super::detached::DetachedEcho;
use super::ledger::Book;
use super::plan::{Kind, Plan};
use fastrand::Rng;
use mainspring_io::{Addr, Address};
use mainspring_loop::{
    Action, CloseReason, Conn, ConnId, Cx, Datagram, Detached, Handler, HostId, Input, Opened,
    Tick, TimerId,
};
use mainspring_wire::LengthPrefix;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A handler of one loop.
pub(super) struct Service {
    pub(super) kind: Kind,
    pub(super) plan: Arc<Plan>,
    pub(super) book: Book,
    pub(super) rng: Rng,
    pub(super) loop_index: usize,
    /// The echo handler of this loop, to hand connections to.
    pub(super) echo: Option<HostId<Service>>,
    /// The echo listener, to dial.
    pub(super) echo_at: Option<Address>,
    /// Of a proxy: the dialled connection of each accepted one.
    pub(super) links: BTreeMap<ConnId, ConnId>,
    pub(super) detached: DetachedSockets,
    tick_due: Option<Instant>,
    drained: bool,
}

/// Connections that have left their loops; the script goes on with them.
#[derive(Clone, Default)]
pub(super) struct DetachedSockets(Arc<Mutex<Vec<DetachedEcho>>>);

impl DetachedSockets {
    pub(super) fn open(&self) -> MutexGuard<'_, Vec<DetachedEcho>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The state of a connection.
pub(super) struct Tracked {
    pub(super) token: usize,
    pub(super) kind: Kind,
    pub(super) seen: usize,
    pub(super) codec: LengthPrefix,
    /// Of a proxy: the accepted connection that a dialled one serves.
    pub(super) client: Option<ConnId>,
    /// Of a worker: where its answers come from.
    pub(super) way: u8,
    /// Of a link: which, and the bytes that it has said. Those that came back are `seen`.
    pub(super) link: Option<usize>,
    pub(super) said: usize,
    pub(super) turned_away: bool,
    /// Of a pool: what was left of the last portion, and the fresh bytes of a turn.
    pub(super) left: usize,
    pub(super) portions: (u64, usize),
}

impl Tracked {
    pub(super) fn new(token: usize, kind: Kind) -> Self {
        let codec = LengthPrefix::varint();
        let way = token as u8 % 3;
        let (link, said, turned_away, left, portions) = (None, 0, false, 0, (0, 0));
        Self {
            token,
            kind,
            seen: 0,
            codec,
            client: None,
            way,
            link,
            said,
            turned_away,
            left,
            portions,
        }
    }

    /// Of a link that is dialled: the record comes with the connection.
    pub(super) fn of_link(number: usize) -> Self {
        Self { link: Some(number), ..Self::new(usize::MAX, Kind::Link) }
    }
}

impl Service {
    pub(super) fn new(
        kind: Kind,
        plan: &Arc<Plan>,
        book: &Book,
        loop_index: usize,
        detached: &DetachedSockets,
    ) -> Self {
        let seed = plan.seed ^ ((loop_index as u64) << 32) ^ ((kind as u64) << 40);
        Self {
            kind,
            plan: plan.clone(),
            book: book.clone(),
            rng: Rng::with_seed(seed),
            loop_index,
            echo: None,
            echo_at: None,
            links: BTreeMap::new(),
            detached: detached.clone(),
            tick_due: None,
            drained: false,
        }
    }

    /// Appends to the connection of the callback.
    pub(super) fn say(&self, conn: &mut Conn<'_>, bytes: &[u8]) {
        let before = conn.out_bytes();
        conn.out().extend_from_slice(bytes);
        let mut book = self.book.open();
        book.offer(conn.id(), bytes.len());
        let (after, most) = (conn.out_bytes(), self.plan.limits.output_max);
        book.check(before <= most || after == before, || {
            format!("{} has {before} unsent bytes, over {most}, and took more", conn.id())
        });
    }

    /// Appends to another connection of the loop, and tells whether that is choked now.
    pub(super) fn say_to(&self, cx: &mut Cx<'_>, to: ConnId, bytes: &[u8]) -> Option<bool> {
        let mut conn = cx.conn(to)?;
        self.say(&mut conn, bytes);
        Some(conn.is_choked())
    }

    pub(super) fn say_shared(&self, conn: &mut Conn<'_>, bytes: &[u8]) {
        let before = conn.cx().stats().dropped_sends;
        conn.send_shared(bytes::Bytes::copy_from_slice(bytes));
        let lost = conn.cx().stats().dropped_sends - before;
        let mut book = self.book.open();
        if lost == 0 {
            book.offer(conn.id(), bytes.len());
        }
        book.shared_lost += lost;
        let tight = book.plan.tight;
        book.check(lost == 0 || tight, || "shared bytes were refused".to_owned());
    }

    pub(super) fn resume(&self, cx: &mut Cx<'_>, id: ConnId) {
        if let Some(record) = self.book.open().record_of(id) {
            record.paused = false;
        }
        cx.resume(id);
    }

    pub(super) fn arm(&self, state: &Tracked, conn: &mut Conn<'_>, after: Duration) -> TimerId {
        let due = conn.cx().now() + after;
        let id = conn.set_timer(after);
        self.book.open().arm(state.token, id, due);
        id
    }

    /// A panic that the plan wants; it goes past the hook, which would spend a backtrace on it.
    pub(super) fn panic(&self) -> ! {
        self.book.open().panics += 1;
        std::panic::resume_unwind(Box::new("a planned panic"));
    }

    pub(super) fn enter(&self, state: &Tracked, conn: &mut Conn<'_>, what: &'static str) {
        let now = conn.cx().now();
        let bytes_in = conn.stats().plain_in;
        self.book.open().enter(state.token, conn.id(), what, now, bytes_in);
    }

    /// What every callback about a connection ends with.
    pub(super) fn leave(&self, state: &Tracked, conn: &mut Conn<'_>, action: Action) -> Action {
        let mut book = self.book.open();
        let most = self.plan.limits.output_max.saturating_add(self.plan.one_delivery());
        let unsent = conn.out_bytes();
        book.check(unsent <= most, || format!("{} has {unsent} unsent bytes", conn.id()));
        let record = &mut book.conns[state.token];
        let stats = conn.stats();
        (record.bytes_in, record.wire_in) = (stats.plain_in, stats.bytes_in);
        record.held |= matches!(action, Action::Pause | Action::Yield)
            || record.paused
            || conn.is_choked()
            || self.plan.is_pooled(record.origin);
        match action {
            Action::Pause => record.paused = true,
            Action::Shutdown => book.told_to_end = true,
            _ => {}
        }
        action
    }

    fn join_room(&self, id: ConnId) {
        match self.kind {
            Kind::Room => self.book.open().room.push(id),
            Kind::Feed => self.book.open().hall.push(id),
            _ => {}
        }
    }
}

impl Handler for Service {
    type State = Tracked;

    fn on_open(&mut self, conn: &mut Conn<'_>) -> Opened<Tracked> {
        let peer = (conn.listener().expect("it was accepted"), conn.peer());
        let (id, now) = (conn.id(), conn.cx().now());
        let token = self.book.open().add(id, self.kind, Some(peer), Some(now));
        let state = Tracked::new(token, self.kind);
        let opened = self.opened(state, conn);
        let has_state = !matches!(opened, Opened::Refuse);
        let mut book = self.book.open();
        book.conns[token].has_state = has_state;
        match &opened {
            Opened::Refuse => {
                book.refused += 1;
                book.stateless(token);
            }
            Opened::AcceptThen(_, Action::Pause) => book.conns[token].paused = true,
            _ => {}
        }
        drop(book);
        if has_state {
            self.join_room(id);
        }
        opened
    }

    fn on_connected(&mut self, state: &mut Tracked, conn: &mut Conn<'_>) -> Action {
        self.enter(state, conn, "on_connected");
        if state.kind == Kind::Link {
            self.say_on_link(state, conn);
        }
        self.leave(state, conn, Action::Continue)
    }

    fn on_data(
        &mut self,
        state: &mut Tracked,
        conn: &mut Conn<'_>,
        input: &mut Input<'_>,
    ) -> Action {
        self.enter(state, conn, "on_data");
        let action = self.data(state, conn, input);
        self.leave(state, conn, action)
    }

    fn on_wake(&mut self, state: &mut Tracked, conn: &mut Conn<'_>) -> Action {
        self.enter(state, conn, "on_wake");
        self.leave(state, conn, Action::Continue)
    }

    fn on_eof(&mut self, state: &mut Tracked, conn: &mut Conn<'_>) -> Action {
        self.enter(state, conn, "on_eof");
        let action = self.end_of_stream(state, conn);
        self.leave(state, conn, action)
    }

    fn on_timer(&mut self, state: &mut Tracked, conn: &mut Conn<'_>, id: TimerId) -> Action {
        self.enter(state, conn, "on_timer");
        let now = conn.cx().now();
        self.book.open().timer(state.token, id, now);
        match state.kind {
            Kind::Pausing | Kind::Framed => {
                let id = conn.id();
                self.resume(&mut conn.cx(), id);
            }
            Kind::Link => self.say_on_link(state, conn),
            _ => {}
        }
        self.leave(state, conn, Action::Continue)
    }

    fn on_drained(&mut self, state: &mut Tracked, conn: &mut Conn<'_>) -> Action {
        self.enter(state, conn, "on_drained");
        self.book.open().drained(state.token, conn.out_bytes());
        if state.kind == Kind::Proxy {
            self.link_drained(state, conn);
        }
        self.leave(state, conn, Action::Continue)
    }

    fn on_layered(&mut self, state: &mut Tracked, conn: &mut Conn<'_>) -> Action {
        self.enter(state, conn, "on_layered");
        self.book.open().layered += 1;
        self.leave(state, conn, Action::Continue)
    }

    fn on_close(&mut self, state: Tracked, id: ConnId, cx: &mut Cx<'_>, reason: CloseReason) {
        self.book.open().end(state.token, id, Some(reason), Some(cx.now()));
        if state.kind == Kind::Proxy {
            self.unlink(&state, id, cx, reason);
        }
    }

    fn on_detach(&mut self, state: Tracked, socket: Detached, _cx: &mut Cx<'_>) {
        let id = socket.id();
        self.book.open().end(state.token, id, None, None);
        self.detached.open().push(DetachedEcho::new(state.token, socket));
    }

    fn on_datagram(&mut self, socket: &mut Datagram<'_>, _: &Addr, bytes: &mut [u8]) -> Action {
        let mut book = self.book.open();
        book.callbacks += 1;
        if socket.reply(bytes).is_ok() {
            book.datagram_replies += 1;
        } else {
            let tight = self.plan.tight;
            book.check(tight, || "a datagram was refused without a limit".to_owned());
        }
        Action::Continue
    }

    fn on_tick(&mut self, cx: &mut Cx<'_>) -> Tick {
        let now = cx.now();
        let mut book = self.book.open();
        book.ticks += 1;
        let early = self.tick_due.filter(|due| now < *due);
        book.check(early.is_none(), || {
            format!("a tick is early by {:?}", early.map(|at| at - now))
        });
        drop(book);
        if !self.plan.ticks {
            return Tick::Stop;
        }
        self.disturb(cx);
        let least = Duration::from_millis(self.rng.u64(1..=200));
        self.tick_due = Some(now + least);
        match self.rng.u8(..3) {
            0 => Tick::Adaptive { busy: least, idle: least + Duration::from_millis(50) },
            _ => Tick::After(least),
        }
    }

    fn on_turn_end(&mut self, _: &mut Cx<'_>) {
        self.book.open().callbacks += 1;
    }

    fn on_drain(&mut self, _: &mut Cx<'_>) {
        let mut book = self.book.open();
        let told = book.told_to_drain;
        let twice = std::mem::replace(&mut self.drained, true);
        book.check(told && !twice, || format!("on_drain: told {told}, twice {twice}"));
    }
}
