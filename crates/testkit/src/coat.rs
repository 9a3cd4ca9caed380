//! Stacks of layers for tests: a cipher, deflate, and records that have to be agreed upon and end
//! by their own means. Into the records a [`Flaw`] can be planted.

use mainspring_layers::{Deflate, Xor};
use mainspring_loop::{Conn, Input, Layer, LayerFault, LayerIo, LayerState, Layers};

/// Stacks by name, from the socket upwards: `x` is a cipher, `d` deflate, `r` are [`Records`].
pub const COATS: [&str; 5] = ["x", "d", "r", "rd", "xrdr"];

/// A bug that the seam between a layer and its connection could have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The layer is said to be open before the peer has agreed.
    OpensEarly,
    /// The end of this side's stream is not said.
    ForgetsLastWords,
    /// What the layer has not consumed of a read is forgotten.
    LosesRest,
    /// The peer's end by the layer's own means is not noticed.
    MissesEnd,
}

/// The stack of one connection. `strikes` is asked at each occasion for a flaw.
///
/// # Panics
///
/// If a letter stands for no layer.
#[must_use]
pub fn coat(
    name: &str,
    is_server: bool,
    strikes: impl Fn(Flaw) -> bool + Clone + 'static,
) -> Layers {
    name.bytes().fold(Layers::new(), |layers, letter| match letter {
        b'x' => layers.above(Xor::new(*b"key")),
        b'd' => layers.above(Deflate::zlib().level(1).window_bits(10)),
        b'r' => layers.above(Records::new(is_server, strikes.clone())),
        _ => panic!("no layer is called {:?}", char::from(letter)),
    })
}

/// Puts the same on a connection that is open, in its middle.
///
/// # Panics
///
/// As for [`coat`]: if a letter stands for no layer.
pub fn put_on(
    conn: &mut Conn<'_>,
    name: &str,
    is_server: bool,
    strikes: impl Fn(Flaw) -> bool + Clone + 'static,
) {
    for letter in name.bytes() {
        match letter {
            b'x' => conn.add_layer(Xor::new(*b"key")),
            b'd' => conn.add_layer(Deflate::zlib().level(1).window_bits(10)),
            b'r' => conn.add_layer(Records::new(is_server, strikes.clone())),
            _ => panic!("no layer is called {:?}", char::from(letter)),
        }
    }
}

/// The client says `HELLO` and waits for the server's; then come records, with a length of two
/// bytes, 0 for the end.
pub struct Records {
    has_agreed: bool,
    is_server: bool,
    opened_early: bool,
    strikes: Box<dyn Fn(Flaw) -> bool>,
}

impl Records {
    /// One side of it.
    #[must_use]
    pub fn new(is_server: bool, strikes: impl Fn(Flaw) -> bool + 'static) -> Self {
        Self { has_agreed: false, is_server, opened_early: false, strikes: Box::new(strikes) }
    }

    fn agree(
        &mut self,
        input: &mut Input<'_>,
        io: &mut LayerIo<'_>,
    ) -> Result<(), &'static LayerFault> {
        let come = input.len().min(HELLO.len());
        if input.bytes()[..come] != HELLO[..come] {
            return Err(&NO_HELLO);
        }
        if come == HELLO.len() {
            input.consume(come);
            self.has_agreed = true;
            if self.is_server {
                io.wire.extend_from_slice(HELLO);
            }
        }
        Ok(())
    }
}

impl Layer for Records {
    fn start(&mut self, io: &mut LayerIo<'_>) -> Result<LayerState, &'static LayerFault> {
        if !self.is_server {
            io.wire.extend_from_slice(HELLO);
        }
        self.opened_early = (self.strikes)(Flaw::OpensEarly);
        Ok(if self.opened_early { LayerState::Open } else { LayerState::Handshake })
    }

    fn receive(
        &mut self,
        input: &mut Input<'_>,
        io: &mut LayerIo<'_>,
    ) -> Result<LayerState, &'static LayerFault> {
        if !self.has_agreed {
            self.agree(input, io)?;
        }
        while self.has_agreed && input.len() >= 2 && io.room() > 0 {
            let length = usize::from(u16::from_be_bytes([input.bytes()[0], input.bytes()[1]]));
            if length == 0 && !(self.strikes)(Flaw::MissesEnd) {
                return Ok(LayerState::Ended);
            }
            if input.len() < 2 + length {
                break;
            }
            io.plain.extend_from_slice(&input.bytes()[2..2 + length]);
            input.consume(2 + length);
        }
        if !input.is_empty() && (self.strikes)(Flaw::LosesRest) {
            input.take();
        }
        let is_open = self.has_agreed || self.opened_early;
        Ok(if is_open { LayerState::Open } else { LayerState::Handshake })
    }

    fn send(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), &'static LayerFault> {
        for chunk in plain.chunks(RECORD_MAX) {
            wire.extend_from_slice(&(chunk.len() as u16).to_be_bytes());
            wire.extend_from_slice(chunk);
        }
        Ok(())
    }

    fn eof(&mut self) -> Result<(), &'static LayerFault> {
        Err(&NO_END)
    }

    fn finish(&mut self, wire: &mut Vec<u8>) {
        if !(self.strikes)(Flaw::ForgetsLastWords) {
            wire.extend_from_slice(&[0, 0]);
        }
    }
}

const HELLO: &[u8] = b"HELLO";
const RECORD_MAX: usize = 1_000;
const NO_HELLO: LayerFault = LayerFault::new("records", "no hello");
const NO_END: LayerFault = LayerFault::new("records", "no end");
