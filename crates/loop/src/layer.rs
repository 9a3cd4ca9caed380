//! Layers: transforms between the socket and what a handler sees.
//!
//! ```text
//!   driver -> layer -> layer -> Input -> handler
//!   driver <- layer <- layer <- out() <-
//! ```
//!
//! A layer sees two streams of bytes and no socket: TLS, compression, a cipher, and also a header
//! that goes before the rest (PROXY protocol) or a guard that looks at the peer's address once.
//! Layers stack; those of a listener or a dialled connection are put on before its handler sees it,
//! others in the middle ([`Conn::add_layer`](crate::Conn::add_layer)).

pub(crate) mod slot;
pub(crate) mod stack;
pub(crate) mod unwired;

pub use unwired::Unwired;

use crate::Input;
use crate::conn::ends::Ends;
use mainspring_io::Addr;
use std::any::Any;
use std::fmt;
use std::time::Instant;

/// A transform between the socket and what a handler sees.
///
/// The calls of one layer never overlap. One that panics closes its connection, as a callback does.
pub trait Layer: 'static {
    /// The layers below are open. What is to be said before anything is received goes to
    /// [`LayerIo::wire`]. The first call. Open by default.
    ///
    /// # Errors
    ///
    /// Why the connection cannot go on; see [`LayerFault`].
    fn start(&mut self, io: &mut LayerIo<'_>) -> Result<LayerState, &'static LayerFault> {
        let _ = io;
        Ok(LayerState::Open)
    }

    /// Bytes came from below. What they carry is appended to [`LayerIo::plain`], until there is no
    /// [`room`](LayerIo::room); answers for the peer to [`LayerIo::wire`].
    ///
    /// What is left unconsumed comes again in front of more. Where a call has left no room, another
    /// follows without new input. A layer that has been open does not go back to the handshake.
    ///
    /// # Errors
    ///
    /// Why the connection cannot go on. What was appended to the wire is sent all the same, and what
    /// was appended to the plain bytes is delivered.
    fn receive(
        &mut self,
        input: &mut Input<'_>,
        io: &mut LayerIo<'_>,
    ) -> Result<LayerState, &'static LayerFault>;

    /// Wraps all of `plain` and appends it to `wire`, so that the peer can unwrap it without waiting
    /// for more. Called once per turn with everything the handler has appended, and only while the
    /// layer is open.
    ///
    /// # Errors
    ///
    /// Why the connection cannot go on; it is reset.
    fn send(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), &'static LayerFault>;

    /// The stream from below has ended, and everything received was offered.
    ///
    /// # Errors
    ///
    /// If it must not end here: something is missing.
    fn eof(&mut self) -> Result<(), &'static LayerFault> {
        Ok(())
    }

    /// This side's stream ends: the place for last words. Once, and the last of this side.
    fn finish(&mut self, wire: &mut Vec<u8>) {
        let _ = wire;
    }

    /// What the layer knows about the connection, found by its type with
    /// [`Conn::layer_info`](crate::Conn::layer_info), also after the layer is done.
    fn info(&self) -> Option<&dyn Any> {
        None
    }
}

/// A closure is a layer that has its say when those below are open, and takes no part from then on:
/// a guard, or a header that goes before the rest. `|io: &mut LayerIo<'_>| { ..; Ok(()) }`. What it
/// owns lives as long as the connection.
impl<F> Layer for F
where
    F: FnMut(&mut LayerIo<'_>) -> Result<(), &'static LayerFault> + 'static,
{
    fn start(&mut self, io: &mut LayerIo<'_>) -> Result<LayerState, &'static LayerFault> {
        self(io)?;
        Ok(LayerState::Done)
    }

    fn receive(
        &mut self,
        _: &mut Input<'_>,
        _: &mut LayerIo<'_>,
    ) -> Result<LayerState, &'static LayerFault> {
        Ok(LayerState::Done)
    }

    fn send(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), &'static LayerFault> {
        wire.extend_from_slice(plain);
        Ok(())
    }
}

/// Where a layer stands after a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerState {
    /// Agreeing with the peer. Output waits.
    Handshake,
    /// Bytes pass both ways.
    Open,
    /// As open, but the peer has ended its stream by the layer's own means: nothing that may still
    /// come counts.
    Ended,
    /// The layer takes no part any more: bytes pass it by. It is dropped with the connection.
    Done,
}

/// What a layer works on besides its input.
pub struct LayerIo<'a> {
    /// Where received bytes go on, towards the handler.
    pub plain: &'a mut Vec<u8>,
    /// Where bytes for the peer go.
    pub wire: &'a mut Vec<u8>,
    pub(crate) ends: &'a mut Ends,
    pub(crate) now: Instant,
    /// What waited in `plain` before the call.
    pub(crate) floor: usize,
}

impl LayerIo<'_> {
    /// Plain bytes that one call appends at most, save where one record of the layer's is longer.
    pub const PLAIN_MAX: usize = 64 << 10;

    /// How many more plain bytes the layer should append in this call. What one byte of input can
    /// carry is without bound where it was compressed; memory is not.
    #[must_use]
    pub fn room(&self) -> usize {
        (self.floor + Self::PLAIN_MAX).saturating_sub(self.plain.len())
    }

    /// The other end of the connection.
    #[must_use]
    pub fn peer(&self) -> Addr {
        self.ends.peer()
    }

    /// This end of the connection.
    #[must_use]
    pub fn local(&self) -> Addr {
        self.ends.local()
    }

    /// Says where the connection really comes from and goes to, as a proxy in between tells. From
    /// now on [`Conn::peer`](crate::Conn::peer), [`Conn::local`](crate::Conn::local) and the layers
    /// above see these.
    pub fn set_ends(&mut self, peer: Addr, local: Addr) {
        *self.ends = Ends::new(peer, local);
    }

    /// The time at which the turn began.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }
}

impl fmt::Debug for LayerIo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LayerIo")
            .field("plain", &self.plain.len())
            .field("wire", &self.wire.len())
            .finish_non_exhaustive()
    }
}

/// Why a layer could not go on: [`CloseReason::Layer`](crate::CloseReason::Layer).
///
/// Faults are constants of the layer's crate, so that a reason fits in every connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LayerFault {
    layer: &'static str,
    reason: &'static str,
    refusal: bool,
}

impl LayerFault {
    /// A fault of the layer named `layer`; `reason` goes on where "`layer`: " stops.
    #[must_use]
    pub const fn new(layer: &'static str, reason: &'static str) -> Self {
        Self { layer, reason, refusal: false }
    }

    /// As [`new`](LayerFault::new), for a layer that turns a connection away though nothing is
    /// wrong with what it has sent. Counted as refused.
    #[must_use]
    pub const fn refusal(layer: &'static str, reason: &'static str) -> Self {
        Self { layer, reason, refusal: true }
    }

    /// The layer.
    #[must_use]
    pub const fn layer(&self) -> &'static str {
        self.layer
    }

    /// What was wrong.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        self.reason
    }

    /// Whether the connection was turned away rather than wrong.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        self.refusal
    }
}

impl fmt::Display for LayerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.layer, self.reason)
    }
}

impl std::error::Error for LayerFault {}

/// The layers of one connection, from the socket upwards.
///
/// # Examples
///
/// ```
/// use mainspring_loop::{Input, Layer, LayerFault, LayerIo, LayerState, Layers};
///
/// /// Flips the bits of one key in every byte: no secret, but a layer.
/// struct Xor(u8);
///
/// impl Layer for Xor {
///     fn receive(
///         &mut self,
///         input: &mut Input<'_>,
///         io: &mut LayerIo<'_>,
///     ) -> Result<LayerState, &'static LayerFault> {
///         io.plain.extend(input.take().iter().map(|byte| byte ^ self.0));
///         Ok(LayerState::Open)
///     }
///
///     fn send(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), &'static LayerFault> {
///         wire.extend(plain.iter().map(|byte| byte ^ self.0));
///         Ok(())
///     }
/// }
///
/// let layers = Layers::new().above(Xor(0x5a)).above(Xor(0xa5));
/// assert_eq!(layers.len(), 2);
/// ```
#[derive(Default)]
pub struct Layers(pub(crate) Vec<Box<dyn Layer>>);

impl Layers {
    /// No layer: bytes pass as they are.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Puts a layer above the present ones, further away from the socket.
    #[must_use]
    pub fn above(mut self, layer: impl Layer) -> Self {
        self.0.push(Box::new(layer));
        self
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Layers({})", self.len())
    }
}
