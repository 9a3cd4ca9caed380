//! A handler of frames: the codec cuts them, the user's code sees whole ones.

pub(crate) mod conn;
pub(crate) mod fault;
pub(crate) mod handler;
pub(crate) mod meter;
mod pace;

use self::conn::FramedConn;
use self::fault::FrameFault;
use self::handler::{FrameFn, FrameHandler};
use self::meter::FrameMeter;
use self::pace::{Pace, Patience};
use crate::{
    Action, CloseReason, Conn, ConnId, Cx, Detached, Handler, Input, Opened, ServerInfo, Tick,
    TimerId,
};
use mainspring_wire::{Decode, Skipped, Step};
use std::fmt;
use std::time::Duration;

/// Serves connections frame by frame: a [`Handler`] made of a codec and of code that is called with
/// whole frames.
///
/// Frames lie where the driver received them, or in the connection's carried input where one came in
/// pieces; nothing is copied for a frame that came whole, and nothing is allocated per frame. They
/// are lent for the call. A handler that has made so much output that the connection is
/// [choked](Conn::is_choked) is called with the next frame when it has drained.
///
/// What a peer may do wrong, and what follows:
///
/// | it sends | then |
/// |---|---|
/// | a frame over the codec's maximum | [`CloseReason::FrameTooLong`], or [that frame is left out](Self::discard_too_long) |
/// | bytes that the codec refuses | [`CloseReason::FrameInvalid`] |
/// | nothing for the [read timeout](Self::read_timeout) | [`CloseReason::ReadTimeout`] |
/// | a frame more slowly than the [frame timeout](Self::frame_timeout) | [`CloseReason::FrameTimeout`] |
/// | the end of the stream inside of a frame | told as [`FrameFault::Truncated`], then `on_eof` |
///
/// Each is counted ([`FrameMeter`]), told to [`FrameHandler::on_fault`], which may still answer, and
/// to the [hook](Self::on_fault). A frame that needs more room than
/// [`Limits::input_max`](crate::Limits::input_max) when it comes in pieces ends in
/// [`CloseReason::InputTooLong`], so keep that above the codec's maximum and its prefix.
///
/// # Examples
///
/// ```
/// use mainspring_loop::{Action, Framed, Server};
/// use mainspring_wire::LengthPrefix;
///
/// let server = Server::builder().start(|shard| {
///     let codec = LengthPrefix::varint().max(16 * 1024);
///     let echo = shard.host(Framed::new(codec, |conn, frame| match conn.send(frame) {
///         Ok(()) => Action::Continue,
///         Err(_) => Action::Close,
///     }));
///     shard.listen(echo, "tcp://127.0.0.1:0").map(drop)
/// })?;
/// server.handle().stop();
/// server.join()?;
/// # Ok::<(), mainspring_loop::Error>(())
/// ```
pub struct Framed<C: Decode, H> {
    codec: C,
    handler: H,
    patience: Patience,
    discard_max: u64,
    meter: FrameMeter,
    hook: Option<Hook<C::Error>>,
}

type Hook<E> = Box<dyn FnMut(ConnId, &FrameFault<'_, E>)>;

/// What [`Framed`] keeps for a connection, the handler's own state among it.
pub struct FramedState<C: Decode, S> {
    decoder: C,
    encoder: C,
    state: S,
    /// A frame that is being left out.
    discarding: Option<Discarding<C::Error>>,
    /// Bytes of a frame that is not whole, as of the last delivery.
    rest: usize,
    pace: Pace,
}

struct Discarding<E> {
    /// Why it is left out.
    error: E,
    /// Thrown away so far.
    bytes: u64,
}

impl<C, F> Framed<C, FrameFn<F>>
where
    C: Decode + Clone + 'static,
    F: FnMut(&mut FramedConn<'_, C>, C::Frame<'_>) -> Action + 'static,
{
    /// Calls `on_frame` with each frame. Every connection has a copy of `codec`.
    pub fn new(codec: C, on_frame: F) -> Self {
        Self::with(codec, FrameFn(on_frame))
    }
}

impl<C: Decode + Clone + 'static, H: FrameHandler<C>> Framed<C, H> {
    /// Calls a handler with state for each connection. Every connection has a copy of `codec`.
    pub fn with(codec: C, handler: H) -> Self {
        Self {
            codec,
            handler,
            patience: Patience::default(),
            discard_max: 0,
            meter: FrameMeter::default(),
            hook: None,
        }
    }
}

impl<C: Decode, H> Framed<C, H> {
    /// Closes a connection from which no byte comes for so long, counted anew from each read. While
    /// input is [held back](Conn::is_held) no time passes. Default: none; there is
    /// [`Limits::idle_timeout`](crate::Limits::idle_timeout) too, which counts both directions.
    #[must_use]
    pub fn read_timeout(mut self, timeout: Duration) -> Self {
        self.patience.read = Some(timeout);
        self
    }

    /// Closes a connection whose frame is not whole so long after its first byte, however steadily
    /// it comes: against peers that send a byte now and then. A frame that is being left out counts
    /// too. Default: none.
    #[must_use]
    pub fn frame_timeout(mut self, timeout: Duration) -> Self {
        self.patience.frame = Some(timeout);
        self
    }

    /// Leaves out frames over the codec's maximum, exactly those, in place of closing: what follows
    /// them is served. One of which more than `bytes_max` bytes would have to be thrown away closes
    /// the connection after all, as does any that the codec [cannot leave out](Decode::skip).
    #[must_use]
    pub fn discard_too_long(mut self, bytes_max: u64) -> Self {
        self.discard_max = bytes_max;
        self
    }

    /// Calls `hook` with everything that goes wrong, panics of the handler included, after the
    /// handler's own `on_fault`.
    #[must_use]
    pub fn on_fault(
        mut self,
        hook: impl FnMut(ConnId, &FrameFault<'_, C::Error>) + 'static,
    ) -> Self {
        self.hook = Some(Box::new(hook));
        self
    }

    /// What this value counts, to be read from any thread. Take it before the value moves into a
    /// loop.
    #[must_use]
    pub fn meter(&self) -> FrameMeter {
        self.meter.clone()
    }
}

impl<C: Decode + Clone, S> FramedState<C, S> {
    /// The state of a connection that is dialled, or handed to a [`Framed`].
    pub fn new(codec: C, state: S) -> Self {
        let (encoder, decoder) = (codec.clone(), codec);
        Self { decoder, encoder, state, discarding: None, rest: 0, pace: Pace::default() }
    }
}

impl<C: Decode + Clone + 'static, H: FrameHandler<C>> Framed<C, H> {
    /// Calls the handler with one connection.
    fn call(
        &mut self,
        at: &mut FramedState<C, H::State>,
        conn: &mut Conn<'_>,
        callback: impl FnOnce(&mut H, &mut H::State, &mut FramedConn<'_, C>) -> Action,
    ) -> Action {
        let mut framed = FramedConn::new(conn.reborrow(), &mut at.encoder);
        callback(&mut self.handler, &mut at.state, &mut framed)
    }

    /// Takes frames from the input until there is none, or the handler wants none.
    fn take_frames(
        &mut self,
        at: &mut FramedState<C, H::State>,
        conn: &mut Conn<'_>,
        input: &mut Input<'_>,
    ) -> Action {
        let mut frames = 0;
        let action = loop {
            if at.discarding.is_some()
                && let Some(action) = self.discard(at, conn, input)
            {
                break action;
            }
            if input.is_empty() || conn.is_choked() {
                break Action::Continue;
            }
            let mut framed = FramedConn::new(conn.reborrow(), &mut at.encoder);
            let (handler, state) = (&mut self.handler, &mut at.state);
            // Ends the borrow of the input before it is touched again.
            let step = at.decoder.decode(input.bytes()).map(|step| {
                step.map(|frame| {
                    let action = handler.on_frame(state, &mut framed, frame);
                    (action, framed.is_rest_taken())
                })
            });
            match step {
                Ok(Step::Frame { frame: (action, is_rest_taken), used }) => {
                    input.consume(used);
                    frames += 1;
                    if action != Action::Continue || is_rest_taken {
                        break action;
                    }
                }
                Ok(Step::Need(bytes)) => {
                    at.rest = input.len();
                    if self.patience.read.is_none() {
                        // With it, each read has to be seen.
                        input.need(bytes);
                    }
                    break Action::Continue;
                }
                Err(error) => match C::too_long(&error) {
                    Some(bytes) if bytes <= self.discard_max => {
                        at.discarding = Some(Discarding { error, bytes: 0 });
                    }
                    Some(_) => break self.refuse(at, conn, &FrameFault::TooLong(&error)),
                    None => break self.refuse(at, conn, &FrameFault::Invalid(&error)),
                },
            }
        };
        self.meter.add_frames(frames);
        if frames > 0 {
            at.pace.frame_ended();
        }
        action
    }

    /// Throws away what has come of a frame that is too long. `None` when that is all of it.
    #[cold]
    fn discard(
        &mut self,
        at: &mut FramedState<C, H::State>,
        conn: &mut Conn<'_>,
        input: &mut Input<'_>,
    ) -> Option<Action> {
        let Discarding { error, bytes } = at.discarding.take()?;
        let (used, is_whole) = match at.decoder.skip(input.bytes()) {
            Some(Skipped::Part(used)) => (used, false),
            Some(Skipped::Whole(used)) => (used, true),
            None => return Some(self.refuse(at, conn, &FrameFault::TooLong(&error))),
        };
        let bytes = bytes + used as u64;
        if bytes > self.discard_max {
            return Some(self.refuse(at, conn, &FrameFault::TooLong(&error)));
        }
        input.consume(used);
        if !is_whole {
            (at.rest, at.discarding) = (input.len(), Some(Discarding { error, bytes }));
            return Some(Action::Continue);
        }
        at.pace.frame_ended();
        self.meter.add_discarded(bytes);
        self.tell(at, conn, &FrameFault::Discarded { bytes });
        None
    }

    /// Closes for a fault, after it has been told.
    #[cold]
    fn refuse(
        &mut self,
        at: &mut FramedState<C, H::State>,
        conn: &mut Conn<'_>,
        fault: &FrameFault<'_, C::Error>,
    ) -> Action {
        let reason = match fault {
            FrameFault::TooLong(_) => CloseReason::FrameTooLong,
            FrameFault::ReadTimeout => CloseReason::ReadTimeout,
            FrameFault::FrameTimeout => CloseReason::FrameTimeout,
            _ => CloseReason::FrameInvalid,
        };
        self.tell(at, conn, fault);
        conn.close_for(reason);
        Action::Close
    }

    fn tell(
        &mut self,
        at: &mut FramedState<C, H::State>,
        conn: &mut Conn<'_>,
        fault: &FrameFault<'_, C::Error>,
    ) {
        self.meter.add(fault);
        let mut framed = FramedConn::new(conn.reborrow(), &mut at.encoder);
        self.handler.on_fault(&mut at.state, &mut framed, fault);
        self.report(conn.id(), fault);
    }

    fn report(&mut self, id: ConnId, fault: &FrameFault<'_, C::Error>) {
        if let Some(hook) = &mut self.hook {
            hook(id, fault);
        }
    }

    /// Sees to it that the connection's timer fires when its peer would be late.
    fn keep_pace(
        &self,
        at: &mut FramedState<C, H::State>,
        conn: &mut Conn<'_>,
        has_frame_begun: bool,
    ) {
        if self.patience.is_endless() {
            return;
        }
        let (now, bytes_in) = (conn.now(), conn.stats().bytes_in);
        at.pace.note(now, bytes_in, has_frame_begun);
        at.pace.keep_timer(self.patience, conn);
    }
}

impl<C: Decode + Clone + 'static, H: FrameHandler<C>> Handler for Framed<C, H> {
    type State = FramedState<C, H::State>;

    fn on_start(&mut self, cx: &mut Cx<'_>, server: &ServerInfo) -> Action {
        self.handler.on_start(cx, server)
    }

    fn on_open(&mut self, conn: &mut Conn<'_>) -> Opened<Self::State> {
        let mut encoder = self.codec.clone();
        let opened = self.handler.on_open(&mut FramedConn::new(conn.reborrow(), &mut encoder));
        let (state, action) = match opened {
            Opened::Accept(state) => (state, Action::Continue),
            Opened::AcceptThen(state, action) => (state, action),
            Opened::Refuse => return Opened::Refuse,
        };
        let mut at = FramedState::new(self.codec.clone(), state);
        at.encoder = encoder;
        self.keep_pace(&mut at, conn, false);
        Opened::AcceptThen(at, action)
    }

    fn on_connected(&mut self, at: &mut Self::State, conn: &mut Conn<'_>) -> Action {
        self.keep_pace(at, conn, false);
        self.call(at, conn, H::on_connected)
    }

    fn on_data(
        &mut self,
        at: &mut Self::State,
        conn: &mut Conn<'_>,
        input: &mut Input<'_>,
    ) -> Action {
        at.rest = 0;
        let action = self.take_frames(at, conn, input);
        self.keep_pace(at, conn, at.is_inside_a_frame());
        action
    }

    fn on_wake(&mut self, at: &mut Self::State, conn: &mut Conn<'_>) -> Action {
        self.call(at, conn, H::on_wake)
    }

    fn on_eof(&mut self, at: &mut Self::State, conn: &mut Conn<'_>) -> Action {
        at.pace.stop(conn);
        if at.is_inside_a_frame() {
            let bytes = at.rest as u64 + at.discarding.as_ref().map_or(0, |frame| frame.bytes);
            self.tell(at, conn, &FrameFault::Truncated { bytes });
        }
        self.call(at, conn, H::on_eof)
    }

    fn on_timer(&mut self, at: &mut Self::State, conn: &mut Conn<'_>, id: TimerId) -> Action {
        if !at.pace.owns(id) {
            return self.call(at, conn, |handler, state, conn| handler.on_timer(state, conn, id));
        }
        match at.pace.check(self.patience, conn) {
            Some(late) => self.refuse(at, conn, &late.fault()),
            None => Action::Continue,
        }
    }

    fn on_drained(&mut self, at: &mut Self::State, conn: &mut Conn<'_>) -> Action {
        at.pace.released(conn.now());
        self.call(at, conn, H::on_drained)
    }

    fn on_layered(&mut self, at: &mut Self::State, conn: &mut Conn<'_>) -> Action {
        self.call(at, conn, H::on_layered)
    }

    fn on_close(&mut self, at: Self::State, id: ConnId, cx: &mut Cx<'_>, reason: CloseReason) {
        if reason == CloseReason::Panicked {
            self.meter.add::<C::Error>(&FrameFault::Panicked);
            self.report(id, &FrameFault::Panicked);
        }
        self.handler.on_close(at.state, id, cx, reason);
    }

    fn on_detach(&mut self, at: Self::State, socket: Detached, cx: &mut Cx<'_>) {
        self.handler.on_detach(at.state, socket, cx);
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

impl<C: Decode, S> FramedState<C, S> {
    fn is_inside_a_frame(&self) -> bool {
        self.rest > 0 || self.discarding.is_some()
    }
}

impl<C: Decode, H: fmt::Debug> fmt::Debug for Framed<C, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Framed").field("handler", &self.handler).finish_non_exhaustive()
    }
}

impl<C: Decode, S: fmt::Debug> fmt::Debug for FramedState<C, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FramedState").field("state", &self.state).finish_non_exhaustive()
    }
}
