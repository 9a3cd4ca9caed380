//! What a user of frames writes.

use crate::framed::conn::FramedConn;
use crate::framed::fault::FrameFault;
use crate::{Action, CloseReason, ConnId, Cx, Detached, Opened, ServerInfo, Tick, TimerId};
use mainspring_wire::Decode;

/// The callbacks of a [`Framed`](crate::Framed), one value per loop: those of a
/// [`Handler`](crate::Handler), with frames in place of bytes. They mean and default to the same.
pub trait FrameHandler<C: Decode>: 'static {
    /// What the handler knows about one connection.
    type State: 'static;

    /// The server is about to run.
    fn on_start(&mut self, cx: &mut Cx<'_>, server: &ServerInfo) -> Action {
        let _ = (cx, server);
        Action::Continue
    }

    /// A connection was accepted.
    fn on_open(&mut self, conn: &mut FramedConn<'_, C>) -> Opened<Self::State>;

    /// A connection that was dialled, with a [`FramedState`](crate::FramedState), is up.
    fn on_connected(&mut self, state: &mut Self::State, conn: &mut FramedConn<'_, C>) -> Action {
        let _ = (state, conn);
        Action::Continue
    }

    /// A frame arrived; it is lent for the call. An answer other than `Continue` keeps the frames
    /// behind it from being delivered before the connection goes on, if it does.
    fn on_frame(
        &mut self,
        state: &mut Self::State,
        conn: &mut FramedConn<'_, C>,
        frame: C::Frame<'_>,
    ) -> Action;

    /// Something is wrong with the peer's frames. Where the connection closes for it, what is
    /// appended to the output is still sent.
    fn on_fault(
        &mut self,
        state: &mut Self::State,
        conn: &mut FramedConn<'_, C>,
        fault: &FrameFault<'_, C::Error>,
    ) {
        let _ = (state, conn, fault);
    }

    /// Somebody woke the connection.
    fn on_wake(&mut self, state: &mut Self::State, conn: &mut FramedConn<'_, C>) -> Action {
        let _ = (state, conn);
        Action::Continue
    }

    /// The peer will send nothing more. Closes by default.
    fn on_eof(&mut self, state: &mut Self::State, conn: &mut FramedConn<'_, C>) -> Action {
        let _ = (state, conn);
        Action::Close
    }

    /// A timer that the handler has set fired.
    fn on_timer(
        &mut self,
        state: &mut Self::State,
        conn: &mut FramedConn<'_, C>,
        id: TimerId,
    ) -> Action {
        let _ = (state, conn, id);
        Action::Continue
    }

    /// Unsent output had been over its high mark and has come down to its low mark.
    fn on_drained(&mut self, state: &mut Self::State, conn: &mut FramedConn<'_, C>) -> Action {
        let _ = (state, conn);
        Action::Continue
    }

    /// A layer that was put on is open.
    fn on_layered(&mut self, state: &mut Self::State, conn: &mut FramedConn<'_, C>) -> Action {
        let _ = (state, conn);
        Action::Continue
    }

    /// The connection is gone. Exactly once for each state, and last.
    fn on_close(&mut self, state: Self::State, id: ConnId, cx: &mut Cx<'_>, reason: CloseReason) {
        let _ = (state, id, cx, reason);
    }

    /// The answer to [`Action::Detach`].
    fn on_detach(&mut self, state: Self::State, socket: Detached, cx: &mut Cx<'_>) {
        let _ = (state, socket, cx);
    }

    /// See [`Handler::on_tick`](crate::Handler::on_tick).
    fn on_tick(&mut self, cx: &mut Cx<'_>) -> Tick {
        let _ = cx;
        Tick::Stop
    }

    /// A timer of [`Cx::set_timer`] fired: one of the handler's, of no connection.
    fn on_alarm(&mut self, cx: &mut Cx<'_>, id: TimerId) {
        let _ = (cx, id);
    }

    /// The [`Cx::waker`] of the handler was used.
    fn on_notify(&mut self, cx: &mut Cx<'_>) {
        let _ = cx;
    }

    /// A signal that is caught for this handler has reached the process.
    fn on_signal(&mut self, cx: &mut Cx<'_>, number: i32) {
        let _ = (cx, number);
    }

    /// The turn is over and the handler's replies are about to leave.
    fn on_turn_end(&mut self, cx: &mut Cx<'_>) {
        let _ = cx;
    }

    /// A graceful stop has begun.
    fn on_drain(&mut self, cx: &mut Cx<'_>) {
        let _ = cx;
    }
}

/// A closure as a handler of frames, see [`Framed::new`](crate::Framed::new).
#[derive(Debug)]
pub struct FrameFn<F>(pub(super) F);

impl<C, F> FrameHandler<C> for FrameFn<F>
where
    C: Decode + 'static,
    F: FnMut(&mut FramedConn<'_, C>, C::Frame<'_>) -> Action + 'static,
{
    type State = ();

    fn on_open(&mut self, _conn: &mut FramedConn<'_, C>) -> Opened<()> {
        Opened::Accept(())
    }

    fn on_frame(
        &mut self,
        (): &mut (),
        conn: &mut FramedConn<'_, C>,
        frame: C::Frame<'_>,
    ) -> Action {
        (self.0)(conn, frame)
    }
}
