//! A layer with everything a layer can have: a handshake, records, an end of its own, refusals.
//!
//! Both sides say `SEAL`, a client first. Then come records: two bytes of length, a body with every
//! bit flipped. A record of length 0 is the end of the stream. A server answers anything else with
//! `BAD!`.

use mainspring_loop::{Input, Layer, LayerFault, LayerIo, LayerState};
use std::any::Any;

pub(crate) const NOT_SEALED: LayerFault = LayerFault::new("seal", "the peer does not speak it");
pub(crate) const CUT: LayerFault = LayerFault::new("seal", "the stream ended without its mark");

pub(crate) struct Seal {
    server: bool,
    agreed: bool,
    /// Told by `info`.
    pub(crate) about: SealInfo,
}

#[derive(Debug, PartialEq)]
pub(crate) struct SealInfo(pub(crate) &'static str);

impl Seal {
    pub(crate) fn server() -> Self {
        Self { server: true, agreed: false, about: SealInfo("server") }
    }

    pub(crate) fn client() -> Self {
        Self { server: false, agreed: false, about: SealInfo("client") }
    }
}

impl Layer for Seal {
    fn start(&mut self, io: &mut LayerIo<'_>) -> Result<LayerState, &'static LayerFault> {
        if !self.server {
            io.wire.extend_from_slice(b"SEAL");
        }
        Ok(LayerState::Handshake)
    }

    fn receive(
        &mut self,
        input: &mut Input<'_>,
        io: &mut LayerIo<'_>,
    ) -> Result<LayerState, &'static LayerFault> {
        if !self.agreed {
            let hello = input.bytes();
            if !b"SEAL".starts_with(&hello[..hello.len().min(4)]) {
                io.wire.extend_from_slice(b"BAD!");
                return Err(&NOT_SEALED);
            }
            if hello.len() < 4 {
                return Ok(LayerState::Handshake);
            }
            input.consume(4);
            self.agreed = true;
            if self.server {
                io.wire.extend_from_slice(b"SEAL");
            }
        }
        while let Some(record) = record(input.bytes()) {
            if record == 0 {
                return Ok(LayerState::Ended);
            }
            if io.room() == 0 {
                break;
            }
            io.plain.extend(input.bytes()[2..2 + record].iter().map(|byte| !byte));
            input.consume(2 + record);
        }
        Ok(LayerState::Open)
    }

    fn send(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), &'static LayerFault> {
        seal(plain, wire);
        Ok(())
    }

    fn eof(&mut self) -> Result<(), &'static LayerFault> {
        Err(&CUT)
    }

    fn finish(&mut self, wire: &mut Vec<u8>) {
        wire.extend_from_slice(&[0, 0]);
    }

    fn info(&self) -> Option<&dyn Any> {
        Some(&self.about)
    }
}

/// Wraps bytes as a peer would.
pub(crate) fn seal(plain: &[u8], wire: &mut Vec<u8>) {
    for chunk in plain.chunks(10_000) {
        wire.extend_from_slice(&(chunk.len() as u16).to_be_bytes());
        wire.extend(chunk.iter().map(|byte| !byte));
    }
}

/// Takes whole records off the front; whether the end was among them.
pub(crate) fn unseal(wire: &mut Vec<u8>, plain: &mut Vec<u8>) -> bool {
    while let Some(length) = record(wire) {
        plain.extend(wire[2..2 + length].iter().map(|byte| !byte));
        wire.drain(..2 + length);
        if length == 0 {
            return true;
        }
    }
    false
}

/// The length of the first record, if all of it is there.
fn record(wire: &[u8]) -> Option<usize> {
    let length = usize::from(u16::from_be_bytes([*wire.first()?, *wire.get(1)?]));
    (wire.len() >= 2 + length).then_some(length)
}
