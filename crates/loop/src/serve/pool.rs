//! Connections that share a worker in small, fair portions.

use crate::{
    Action, CloseReason, Conn, ConnId, Cx, Datagram, Detached, Handler, Input, Opened, ServerInfo,
    Tick, TimerId,
};
use mainspring_io::Addr;
use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

/// How a worker of a [`Pool`] shares itself out.
///
/// Fields may be added: write `PoolLimits { read_chunk: .., ..PoolLimits::default() }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolLimits {
    /// Connections of one worker. One more is refused, counted as such. Default: no limit but the
    /// server's.
    pub connections_max: usize,
    /// The most fresh bytes that one call of the handler sees. Default 4 KiB.
    pub read_chunk: usize,
    /// The most fresh bytes of one connection that the handler sees in one turn; the rest waits for
    /// the next turn, and so does the peer. Default 16 KiB.
    pub fair_quantum: usize,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self { connections_max: usize::MAX, read_chunk: 4 << 10, fair_quantum: 16 << 10 }
    }
}

/// Serves many connections on few workers so that none of them starves the others: a [`Handler`]
/// around a handler.
///
/// A loop is a worker: give the server as many loops as there shall be workers, and a `Pool` to each
/// ([`Balance::LeastConnections`](crate::Balance::LeastConnections) fills them evenly). The handler
/// inside sees a connection's bytes in portions of [`PoolLimits::read_chunk`], and no more than
/// [`PoolLimits::fair_quantum`] of them before every other connection of the worker has had its turn.
/// A connection waits for at most the sum of the other ones' quanta, however much they send.
///
/// Portions do not tear what belongs together: what the handler leaves unconsumed comes again in
/// front of the next portion, and [`Input::need`] holds.
///
/// # Examples
///
/// ```
/// use mainspring_loop::{Action, Balance, Conn, Input, Loops, Pool, PoolLimits, Server};
///
/// let workers = Server::builder().loops(Loops::Count(2)).balance(Balance::LeastConnections);
/// let server = workers.start(|shard| {
///     let limits = PoolLimits { connections_max: 8, read_chunk: 1024, ..PoolLimits::default() };
///     let echo = |conn: &mut Conn<'_>, input: &mut Input<'_>| {
///         conn.out().extend_from_slice(input.take());
///         Action::Continue
///     };
///     let host = shard.host(Pool::new(limits, echo));
///     shard.listen(host, "tcp://127.0.0.1:0").map(drop)
/// })?;
/// server.handle().stop();
/// server.join()?;
/// # Ok::<(), mainspring_loop::Error>(())
/// ```
pub struct Pool<H> {
    handler: H,
    limits: PoolLimits,
    open: Rc<Cell<usize>>,
}

/// What a [`Pool`] keeps for a connection, the handler's own state among it.
pub struct PoolState<S> {
    state: S,
    /// Bytes at the front of the input that the handler has seen and left.
    seen: usize,
    /// How many there shall be before it is called again.
    wanted: usize,
    /// Fresh bytes in the turn of that number.
    taken: usize,
    turn: u64,
    _seat: Option<Seat>,
}

/// A connection of a worker.
struct Seat(Rc<Cell<usize>>);

impl Seat {
    fn take(open: &Rc<Cell<usize>>) -> Self {
        open.set(open.get() + 1);
        Self(open.clone())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl<H: Handler> Pool<H> {
    /// Portions for `handler`. A chunk or quantum of 0 counts as 1 byte.
    pub fn new(limits: PoolLimits, handler: H) -> Self {
        let PoolLimits { connections_max, read_chunk, fair_quantum } = limits;
        let limits = PoolLimits {
            connections_max,
            read_chunk: read_chunk.max(1),
            fair_quantum: fair_quantum.max(1),
        };
        Self { handler, limits, open: Rc::default() }
    }

    /// Calls the handler with the next portion. `None`: there may be another one.
    fn portion(
        &mut self,
        at: &mut PoolState<H::State>,
        conn: &mut Conn<'_>,
        input: &mut Input<'_>,
    ) -> Option<Action> {
        let unseen = input.len().saturating_sub(at.seen);
        let left = self.limits.fair_quantum.saturating_sub(at.taken);
        let fresh = unseen.min(left).min(self.limits.read_chunk);
        if fresh == 0 && unseen > 0 {
            return Some(Action::Yield);
        }
        at.seen += fresh;
        at.taken += fresh;
        let is_all = fresh == unseen;
        // Called without anything fresh, the handler has to know that this is all for now.
        if at.seen < at.wanted && fresh > 0 {
            if !is_all {
                return None;
            }
            return Some(at.wait_for_more(input));
        }
        let mut portion = Input::over(&mut input.bytes()[..at.seen]);
        let action = self.handler.on_data(&mut at.state, conn, &mut portion);
        let (kept, wanted) = (portion.len(), portion.wanted());
        input.consume(at.seen - kept);
        (at.seen, at.wanted) = (kept, wanted);
        if action != Action::Continue || conn.is_choked() || conn.is_rest_taken() {
            return Some(action);
        }
        is_all.then(|| at.wait_for_more(input))
    }
}

impl<S> PoolState<S> {
    /// The state of a connection that is dialled, or handed to a [`Pool`]; it takes no place among
    /// its [`connections_max`](PoolLimits::connections_max).
    pub fn new(state: S) -> Self {
        Self { state, seen: 0, wanted: 0, taken: 0, turn: 0, _seat: None }
    }

    fn wait_for_more(&self, input: &mut Input<'_>) -> Action {
        if let Some(more) = std::num::NonZeroUsize::new(self.wanted.saturating_sub(self.seen)) {
            input.need(more);
        }
        Action::Continue
    }
}

impl<H: Handler> Handler for Pool<H> {
    type State = PoolState<H::State>;

    fn on_start(&mut self, cx: &mut Cx<'_>, server: &ServerInfo) -> Action {
        self.handler.on_start(cx, server)
    }

    fn on_open(&mut self, conn: &mut Conn<'_>) -> Opened<Self::State> {
        if self.open.get() >= self.limits.connections_max {
            return Opened::Refuse;
        }
        let (state, action) = match self.handler.on_open(conn) {
            Opened::Accept(state) => (state, Action::Continue),
            Opened::AcceptThen(state, action) => (state, action),
            Opened::Refuse => return Opened::Refuse,
        };
        let seat = Some(Seat::take(&self.open));
        Opened::AcceptThen(PoolState { _seat: seat, ..PoolState::new(state) }, action)
    }

    fn on_connected(&mut self, at: &mut Self::State, conn: &mut Conn<'_>) -> Action {
        self.handler.on_connected(&mut at.state, conn)
    }

    fn on_data(
        &mut self,
        at: &mut Self::State,
        conn: &mut Conn<'_>,
        input: &mut Input<'_>,
    ) -> Action {
        let turn = conn.cx().turn();
        if at.turn != turn {
            (at.turn, at.taken) = (turn, 0);
        }
        loop {
            if let Some(action) = self.portion(at, conn, input) {
                return action;
            }
        }
    }

    fn on_wake(&mut self, at: &mut Self::State, conn: &mut Conn<'_>) -> Action {
        self.handler.on_wake(&mut at.state, conn)
    }

    fn on_eof(&mut self, at: &mut Self::State, conn: &mut Conn<'_>) -> Action {
        self.handler.on_eof(&mut at.state, conn)
    }

    fn on_timer(&mut self, at: &mut Self::State, conn: &mut Conn<'_>, id: TimerId) -> Action {
        self.handler.on_timer(&mut at.state, conn, id)
    }

    fn on_drained(&mut self, at: &mut Self::State, conn: &mut Conn<'_>) -> Action {
        self.handler.on_drained(&mut at.state, conn)
    }

    fn on_layered(&mut self, at: &mut Self::State, conn: &mut Conn<'_>) -> Action {
        self.handler.on_layered(&mut at.state, conn)
    }

    fn on_close(&mut self, at: Self::State, id: ConnId, cx: &mut Cx<'_>, reason: CloseReason) {
        self.handler.on_close(at.state, id, cx, reason);
    }

    fn on_detach(&mut self, at: Self::State, socket: Detached, cx: &mut Cx<'_>) {
        self.handler.on_detach(at.state, socket, cx);
    }

    fn on_datagram(&mut self, socket: &mut Datagram<'_>, from: &Addr, bytes: &mut [u8]) -> Action {
        self.handler.on_datagram(socket, from, bytes)
    }

    fn on_tick(&mut self, cx: &mut Cx<'_>) -> Tick {
        self.handler.on_tick(cx)
    }

    fn on_alarm(&mut self, cx: &mut Cx<'_>, id: TimerId) {
        self.handler.on_alarm(cx, id);
    }

    fn on_notify(&mut self, cx: &mut Cx<'_>) {
        self.handler.on_notify(cx);
    }

    fn on_signal(&mut self, cx: &mut Cx<'_>, number: i32) {
        self.handler.on_signal(cx, number);
    }

    fn on_turn_end(&mut self, cx: &mut Cx<'_>) {
        self.handler.on_turn_end(cx);
    }

    fn on_drain(&mut self, cx: &mut Cx<'_>) {
        self.handler.on_drain(cx);
    }
}

impl<H: fmt::Debug> fmt::Debug for Pool<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { handler, limits, open } = self;
        let mut shown = f.debug_struct("Pool");
        shown.field("handler", handler).field("limits", limits).field("open", &open.get()).finish()
    }
}

impl<S: fmt::Debug> fmt::Debug for PoolState<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolState").field("state", &self.state).finish_non_exhaustive()
    }
}
