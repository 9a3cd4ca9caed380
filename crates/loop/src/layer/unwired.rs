//! Layers without a connection: bytes in, bytes out.

use crate::buffers::Buffers;
use crate::conn::ends::Ends;
use crate::layer::stack::{Rise, Stack};
use crate::{Layer, LayerFault, Layers};
use mainspring_io::Addr;
use std::any::Any;
use std::fmt;
use std::time::Instant;

/// Layers with no connection below and no handler above: for tests of layers, and for bytes that
/// come another way. What a connection does with its layers is done by the same code.
///
/// # Examples
///
/// ```
/// use mainspring_io::Addr;
/// use mainspring_loop::{Input, Layer, LayerFault, LayerIo, LayerState, Layers};
/// use std::time::Instant;
///
/// struct Not;
///
/// impl Layer for Not {
///     fn receive(
///         &mut self,
///         input: &mut Input<'_>,
///         io: &mut LayerIo<'_>,
///     ) -> Result<LayerState, &'static LayerFault> {
///         io.plain.extend(input.take().iter().map(|byte| !byte));
///         Ok(LayerState::Open)
///     }
///
///     fn send(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), &'static LayerFault> {
///         wire.extend(plain.iter().map(|byte| !byte));
///         Ok(())
///     }
/// }
///
/// let anywhere = Addr::Inet("127.0.0.1:1".parse()?);
/// # #[allow(clippy::disallowed_methods)]
/// let mut layers = Layers::new().above(Not).unwired(anywhere.clone(), anywhere, Instant::now());
/// layers.receive(&mut [!b'h', !b'i'])?;
/// assert_eq!(layers.plain(), b"hi");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Unwired {
    stack: Stack,
    ends: Ends,
    now: Instant,
    spare: Buffers,
    plain: Vec<u8>,
    wire: Vec<u8>,
    waiting: Vec<u8>,
    dropped: u64,
}

impl Layers {
    /// These layers with no connection, between a `peer` and a `local` address, at the time `now`.
    #[must_use]
    pub fn unwired(self, peer: Addr, local: Addr, now: Instant) -> Unwired {
        Unwired {
            stack: Stack::new(self.0),
            ends: Ends::new(peer, local),
            now,
            spare: Buffers::default(),
            plain: Vec::new(),
            wire: Vec::new(),
            waiting: Vec::new(),
            dropped: 0,
        }
    }
}

impl Unwired {
    /// Takes bytes from below as far as they go. The first call starts the layers; `bytes` may be
    /// empty.
    ///
    /// # Errors
    ///
    /// What a layer has against them.
    pub fn receive(&mut self, bytes: &mut [u8]) -> Result<(), &'static LayerFault> {
        let mut moved = self.rise(bytes)?;
        while moved {
            moved = self.rise(&mut [])?;
        }
        Ok(())
    }

    /// Takes bytes from below as far as one call of each layer brings them, and tells whether
    /// anything moved: a connection delivers between two of these.
    ///
    /// # Errors
    ///
    /// What a layer has against them.
    pub fn rise(&mut self, bytes: &mut [u8]) -> Result<bool, &'static LayerFault> {
        let Self { stack, ends, now, spare, plain, wire, .. } = self;
        let mut io = Rise { plain, wire, ends, spare, now: *now, risen: 0, dropped: 0 };
        let moved = stack.rise(bytes, &mut io);
        self.dropped += io.dropped;
        if moved.is_ok() && self.stack.is_open() && !self.waiting.is_empty() {
            let waiting = std::mem::take(&mut self.waiting);
            self.stack.send(&waiting, &mut self.wire, &mut self.spare)?;
        }
        moved
    }

    /// Sends bytes through the layers, or when they are open.
    ///
    /// # Errors
    ///
    /// What a layer has against it.
    pub fn send(&mut self, plain: &[u8]) -> Result<(), &'static LayerFault> {
        if self.stack.is_open() {
            return self.stack.send(plain, &mut self.wire, &mut self.spare);
        }
        self.waiting.extend_from_slice(plain);
        Ok(())
    }

    /// Ends this side's stream.
    ///
    /// # Errors
    ///
    /// What a layer has against it.
    pub fn finish(&mut self) -> Result<(), &'static LayerFault> {
        self.stack.finish(&mut self.wire, &mut self.spare)
    }

    /// The stream from below has ended.
    ///
    /// # Errors
    ///
    /// If it must not end here.
    pub fn eof(&mut self) -> Result<(), &'static LayerFault> {
        self.stack.eof()
    }

    /// Puts a layer on top, which gets what is in [`plain`](Self::plain).
    pub fn add_layer(&mut self, layer: impl Layer) {
        self.stack.push(Box::new(layer), std::mem::take(&mut self.waiting));
        self.stack.hand_to_new(std::mem::take(&mut self.plain));
    }

    /// What has come out on top and was not taken from here.
    #[must_use]
    pub fn plain(&mut self) -> &mut Vec<u8> {
        &mut self.plain
    }

    /// What is to be sent below and was not taken from here.
    #[must_use]
    pub fn wire(&mut self) -> &mut Vec<u8> {
        &mut self.wire
    }

    /// Whether all layers are open, or done.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.stack.is_open()
    }

    /// Whether a layer has taken the peer's stream to its end.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.stack.has_ended()
    }

    /// Received bytes that layers have not consumed.
    #[must_use]
    pub fn held(&self) -> usize {
        self.stack.held()
    }

    /// Bytes that came after the end of a layer's stream.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// What a layer tells, as [`Conn::layer_info`](crate::Conn::layer_info).
    #[must_use]
    pub fn layer_info<T: Any>(&self) -> Option<&T> {
        self.stack.info()
    }
}

impl fmt::Debug for Unwired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unwired")
            .field("plain", &self.plain.len())
            .field("wire", &self.wire.len())
            .finish_non_exhaustive()
    }
}
