//! What a user writes: the events of a server.

pub(crate) mod host;
pub(crate) mod waker;

use crate::{CloseReason, Conn, ConnId, Cx, Datagram, Detached, Input, TimerId};
use mainspring_io::Addr;
use std::time::Duration;

/// The callbacks of a server, one value per loop.
///
/// Events of one connection never overlap, so neither the handler nor the per-connection
/// [`State`](Handler::State) needs a lock. The order for one connection is
///
/// ```text
/// on_open | on_connected, then (on_data | on_wake | on_timer | on_drained)* [on_eof], then on_close | on_detach
/// ```
///
/// Every `State` that was made gets exactly one `on_close` or `on_detach`, last. A handler
/// steers its own connection by the [`Action`] it returns, other connections of the loop through
/// [`Cx`], other loops through [`Remote`](crate::Remote).
///
/// A callback that panics closes its connection ([`CloseReason::Panicked`]), is counted and logged
/// with a backtrace; the loop and the other connections go on. The handler value itself lives on,
/// so keep it consistent where you call code that may panic.
pub trait Handler: 'static {
    /// What the handler knows about one connection.
    type State: 'static;

    /// The server is about to run: every address is bound and no event has been delivered.
    /// `Action::Shutdown` ends it in good order; other actions mean nothing here.
    fn on_start(&mut self, cx: &mut Cx<'_>, server: &ServerInfo) -> Action {
        let _ = (cx, server);
        Action::Continue
    }

    /// A connection was accepted, and its layers, if it has any, are open. What is appended to
    /// [`Conn::out`] is sent before anything is read, also when it is refused.
    fn on_open(&mut self, conn: &mut Conn<'_>) -> Opened<Self::State>;

    /// A connection that this handler dialled is up, and its layers, if it has any, are open; its
    /// state is the one given to [`Cx::connect`].
    fn on_connected(&mut self, state: &mut Self::State, conn: &mut Conn<'_>) -> Action {
        let _ = (state, conn);
        Action::Continue
    }

    /// Bytes arrived. What is left unconsumed comes again in front of the next bytes.
    fn on_data(
        &mut self,
        state: &mut Self::State,
        conn: &mut Conn<'_>,
        input: &mut Input<'_>,
    ) -> Action;

    /// Somebody woke the connection. Wakes between two turns are one call.
    fn on_wake(&mut self, state: &mut Self::State, conn: &mut Conn<'_>) -> Action {
        let _ = (state, conn);
        Action::Continue
    }

    /// The peer will send nothing more; it may still read. Closes by default.
    fn on_eof(&mut self, state: &mut Self::State, conn: &mut Conn<'_>) -> Action {
        let _ = (state, conn);
        Action::Close
    }

    /// A timer of the connection fired.
    fn on_timer(&mut self, state: &mut Self::State, conn: &mut Conn<'_>, id: TimerId) -> Action {
        let _ = (state, conn, id);
        Action::Continue
    }

    /// Unsent output had been over its high mark and has come down to its low mark.
    fn on_drained(&mut self, state: &mut Self::State, conn: &mut Conn<'_>) -> Action {
        let _ = (state, conn);
        Action::Continue
    }

    /// A layer that was put on with [`Conn::add_layer`] has agreed with the peer and is open.
    fn on_layered(&mut self, state: &mut Self::State, conn: &mut Conn<'_>) -> Action {
        let _ = (state, conn);
        Action::Continue
    }

    /// The connection is gone, or never came up. Exactly once for each state, and last.
    fn on_close(&mut self, state: Self::State, id: ConnId, cx: &mut Cx<'_>, reason: CloseReason) {
        let _ = (state, id, cx, reason);
    }

    /// The answer to [`Action::Detach`], after everything queued has been sent.
    fn on_detach(&mut self, state: Self::State, socket: Detached, cx: &mut Cx<'_>) {
        let _ = (state, socket, cx);
    }

    /// A datagram arrived, empty ones included. Only `Continue`, `Close` (the socket) and
    /// `Shutdown` mean something.
    fn on_datagram(&mut self, socket: &mut Datagram<'_>, from: &Addr, bytes: &mut [u8]) -> Action {
        let _ = (socket, from, bytes);
        Action::Continue
    }

    /// Called on loop 0 right after the start and then as the answer says; see
    /// [`Shard::tick_on_every_loop`](crate::Shard::tick_on_every_loop). A tick that panics is the
    /// handler's last.
    fn on_tick(&mut self, cx: &mut Cx<'_>) -> Tick {
        let _ = cx;
        Tick::Stop
    }

    /// A timer of [`Cx::set_timer`] fired: one of the handler's, of no connection.
    fn on_alarm(&mut self, cx: &mut Cx<'_>, id: TimerId) {
        let _ = (cx, id);
    }

    /// The [`Cx::waker`] of the handler was used. Wakes between two calls are one call.
    fn on_notify(&mut self, cx: &mut Cx<'_>) {
        let _ = cx;
    }

    /// A signal that [`Shard::catch_signal`](crate::Shard::catch_signal) catches for this handler
    /// has reached the process, by its number. Those of its kind that came before the call are the
    /// same one.
    fn on_signal(&mut self, cx: &mut Cx<'_>, number: i32) {
        let _ = (cx, number);
    }

    /// The turn is over and the handler's replies are about to leave: the place for one write-ahead
    /// or one `fsync` for all of them. Called only when a connection of this handler has something
    /// to send, and in the order in which the loop hosts its handlers: one that writes to another's
    /// connections in this call is to be hosted before it.
    fn on_turn_end(&mut self, cx: &mut Cx<'_>) {
        let _ = cx;
    }

    /// A graceful stop has begun: no connection will be accepted any more. See [`Conn::set_busy`].
    fn on_drain(&mut self, cx: &mut Cx<'_>) {
        let _ = cx;
    }
}

/// A closure is a handler without state: `|conn, input| { ...; Action::Continue }`.
impl<F> Handler for F
where
    F: FnMut(&mut Conn<'_>, &mut Input<'_>) -> Action + 'static,
{
    type State = ();

    fn on_open(&mut self, _conn: &mut Conn<'_>) -> Opened<()> {
        Opened::Accept(())
    }

    fn on_data(&mut self, (): &mut (), conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
        self(conn, input)
    }
}

/// What a callback asks of the loop.
///
/// All but `Abort` act after what is queued has been sent. Actions only escalate, in the order in
/// which they stand here: a later `Continue` does not take a `Close` back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Go on.
    Continue,
    /// Deliver the input that is left unconsumed again in the next turn, when the other connections
    /// have had theirs, and read nothing more from this one until then: how a handler shares the
    /// loop that has much to do for one connection.
    Yield,
    /// Deliver no more input until [`Cx::resume`].
    Pause,
    /// Take the connection out of the loop and hand it to `on_detach`. One with layers that still
    /// take part cannot be: it is closed.
    Detach,
    /// Close the connection in good order.
    Close,
    /// Drop what is queued and reset the connection.
    Abort,
    /// Stop the whole server: every connection is closed after its output has been sent.
    Shutdown,
}

/// The answer to an accepted connection.
#[derive(Debug)]
pub enum Opened<S> {
    /// Serve it with this state.
    Accept(S),
    /// Serve it with this state, and do what the action says.
    AcceptThen(S, Action),
    /// Close it after sending what was appended to its output. No `on_close` follows: there is no
    /// state.
    Refuse,
}

/// When to tick again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tick {
    /// This long after the present tick, counted from when its turn began. Zero is once per turn
    /// without sleep.
    After(Duration),
    /// After `idle`, or as soon as there was traffic, but never within `busy` of the present tick.
    Adaptive {
        /// The shortest time between two ticks.
        busy: Duration,
        /// The longest time between two ticks.
        idle: Duration,
    },
    /// Never again.
    Stop,
}

/// What a server is, told once at its start.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerInfo {
    /// The bound addresses in the order in which they were listened on; [`Conn::listener`] is an
    /// index into them.
    pub addrs: Vec<Addr>,
    /// How many loops serve them.
    pub loops: usize,
    /// Which of them this handler runs on.
    pub loop_index: usize,
}
