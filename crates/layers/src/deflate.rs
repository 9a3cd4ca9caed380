//! Compression by deflate (RFC 1951), bare or in the frame of zlib (RFC 1950).

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use mainspring_loop::{Input, Layer, LayerFault, LayerIo, LayerState};
use std::any::Any;
use std::fmt;

/// What was received is not deflate.
pub const CORRUPT: LayerFault = LayerFault::new("deflate", "the bytes are not a deflate stream");

/// The peer's stream ended without its last block.
pub const CUT: LayerFault = LayerFault::new("deflate", "the stream ended without its last block");

/// What was received is longer than [`Deflate::plain_max`] when it is unpacked.
pub const TOO_LONG: LayerFault = LayerFault::new("deflate", "it unpacks to more than its maximum");

/// What was received grows by more than [`Deflate::ratio_max`] when it is unpacked.
pub const EXPANDS: LayerFault = LayerFault::new("deflate", "it expands by more than its maximum");

/// Plain bytes that no ratio is asked for: a greeting of zeros is not an attack.
const UNASKED: u64 = 64 << 10;

/// What one step of packing or unpacking may add. More room than the marker of a flush takes.
const STEP_MIN: usize = 1 << 10;
/// Room for what is packed, beside a share of what there is to pack.
const PACKED_MIN: usize = 128;

/// Compresses both directions of a connection, each as one stream.
///
/// * Everything that is appended in one turn is packed together and ends in a sync flush, so that
///   the peer can unpack it without waiting for more. That costs five bytes a turn.
/// * This side's end is the last block, with the checksum where there is a frame; the peer's last
///   block is the end of its stream. What comes behind it is dropped and counted.
/// * However much a few bytes unpack to, at most
///   [`LayerIo::PLAIN_MAX`] are unpacked ahead of the handler.
///
/// A connection that has neither sent nor received costs little; sending takes some 270 KiB with a
/// window of 15 bits, and receiving some 40 KiB. A smaller window takes less. The streams have no
/// key and no secret, but compression tells by its length what is repeated: what an attacker can
/// choose should not be packed together with what it must not know.
///
/// # Examples
///
/// ```
/// use mainspring_layers::Deflate;
/// use mainspring_loop::Layers;
///
/// let layers = Layers::new().above(Deflate::raw().level(9).window_bits(12).ratio_max(200));
/// # assert_eq!(layers.len(), 1);
/// ```
pub struct Deflate {
    framed: bool,
    level: u32,
    window_bits: u8,
    plain_max: u64,
    ratio_max: u64,
    wants_end: bool,
    /// Made by the first byte of either direction.
    pack: Option<Compress>,
    unpack: Option<Decompress>,
    about: DeflateInfo,
}

/// What a [`Deflate`] has done so far, by [`Conn::layer_info`](mainspring_loop::Conn::layer_info).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeflateInfo {
    /// Packed bytes received.
    pub wire_in: u64,
    /// What they unpacked to.
    pub plain_in: u64,
    /// Bytes packed for the peer.
    pub plain_out: u64,
    /// What they packed to.
    pub wire_out: u64,
    /// Whether the peer's last block has come.
    pub ended: bool,
}

impl Deflate {
    /// Bare deflate, as in WebSocket and in archives.
    #[must_use]
    pub fn raw() -> Self {
        Self {
            framed: false,
            level: 6,
            window_bits: 15,
            plain_max: u64::MAX,
            ratio_max: u64::MAX,
            wants_end: true,
            pack: None,
            unpack: None,
            about: DeflateInfo::default(),
        }
    }

    /// Deflate with the head and the checksum of zlib, as in HTTP and ssh.
    #[must_use]
    pub fn zlib() -> Self {
        Self { framed: true, ..Self::raw() }
    }

    /// How hard to pack: 0 not at all, 1 fast, 9 small; 6 by default. Above 9 is 9.
    #[must_use]
    pub fn level(mut self, level: u32) -> Self {
        self.level = level.min(9);
        self
    }

    /// How far back in either stream a repetition may point, as a power of two: 9 to 15, which is
    /// the default; others become the nearest. A peer that packs with a larger window than this
    /// side unpacks with sends what is [`CORRUPT`].
    #[must_use]
    pub fn window_bits(mut self, bits: u8) -> Self {
        self.window_bits = bits.clamp(9, 15);
        self
    }

    /// How many bytes all that the peer sends may unpack to: else [`TOO_LONG`]. Without limit by
    /// default: what is unpacked goes to the handler piece by piece.
    #[must_use]
    pub fn plain_max(mut self, bytes: u64) -> Self {
        self.plain_max = bytes;
        self
    }

    /// How many bytes one received byte may unpack to on the average, once more than 64 KiB have
    /// come of them: else [`EXPANDS`]. Without limit by default; deflate itself reaches 1,032.
    #[must_use]
    pub fn ratio_max(mut self, ratio: u32) -> Self {
        self.ratio_max = ratio.into();
        self
    }

    /// Takes the end of the connection for the end of the peer's stream: there are peers that flush
    /// and close. By default that is [`CUT`], unless the peer has sent nothing at all.
    #[must_use]
    pub fn without_end(mut self) -> Self {
        self.wants_end = false;
        self
    }

    /// Unpacks one step, of at most `room` bytes. Whether there may be more.
    fn step(
        &mut self,
        input: &mut Input<'_>,
        plain: &mut Vec<u8>,
        room: usize,
    ) -> Result<bool, &'static LayerFault> {
        let (framed, bits) = (self.framed, self.window_bits);
        let unpack =
            self.unpack.get_or_insert_with(|| Decompress::new_with_window_bits(framed, bits));
        let from = plain.len();
        let most = room.min((input.len() * 4).max(STEP_MIN));
        plain.resize(from + most, 0);
        let (used, made) = (unpack.total_in(), unpack.total_out());
        let status = unpack.decompress(input.bytes(), &mut plain[from..], FlushDecompress::None);
        let (used, made) = (unpack.total_in() - used, (unpack.total_out() - made) as usize);
        plain.truncate(from + made);
        input.consume(used as usize);
        self.about.wire_in += used;
        self.about.plain_in += made as u64;
        self.about.ended = matches!(status, Ok(Status::StreamEnd));
        self.check(from, plain)?;
        match status {
            Ok(Status::StreamEnd) => Ok(false),
            Ok(_) => Ok(made == most || used > 0 && !input.is_empty()),
            Err(_) => Err(&CORRUPT),
        }
    }

    /// Holds the limits; what is beyond does not go on.
    fn check(&self, from: usize, plain: &mut Vec<u8>) -> Result<(), &'static LayerFault> {
        let DeflateInfo { plain_in, wire_in, .. } = self.about;
        if plain_in > self.plain_max {
            let beyond = usize::try_from(plain_in - self.plain_max).unwrap_or(usize::MAX);
            plain.truncate(plain.len().saturating_sub(beyond).max(from));
            return Err(&TOO_LONG);
        }
        if plain_in > UNASKED && plain_in > wire_in.saturating_mul(self.ratio_max) {
            return Err(&EXPANDS);
        }
        Ok(())
    }

    /// Packs `plain` and then does what `flush` says.
    fn pack(&mut self, mut plain: &[u8], wire: &mut Vec<u8>, flush: FlushCompress) {
        let (framed, bits, level) = (self.framed, self.window_bits, self.level);
        let pack = self.pack.get_or_insert_with(|| {
            Compress::new_with_window_bits(Compression::new(level), framed, bits)
        });
        let before = wire.len();
        self.about.plain_out += plain.len() as u64;
        loop {
            // Where room is left over, all that was asked for has been done. A short message must fit
            // into a vector that the loop has at hand.
            wire.reserve(PACKED_MIN + plain.len() / 4);
            let used = pack.total_in();
            let status = pack.compress_vec(plain, wire, flush);
            plain = &plain[(pack.total_in() - used) as usize..];
            let done = plain.is_empty() && wire.len() < wire.capacity();
            if done || !matches!(status, Ok(Status::Ok)) {
                break;
            }
        }
        self.about.wire_out += (wire.len() - before) as u64;
    }
}

impl Layer for Deflate {
    fn receive(
        &mut self,
        input: &mut Input<'_>,
        io: &mut LayerIo<'_>,
    ) -> Result<LayerState, &'static LayerFault> {
        loop {
            let room = io.room();
            if room == 0 || !self.step(input, io.plain, room)? {
                break;
            }
        }
        Ok(if self.about.ended { LayerState::Ended } else { LayerState::Open })
    }

    fn send(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), &'static LayerFault> {
        self.pack(plain, wire, FlushCompress::Sync);
        Ok(())
    }

    fn eof(&mut self) -> Result<(), &'static LayerFault> {
        let silent = self.about.wire_in == 0;
        if self.about.ended || silent || !self.wants_end { Ok(()) } else { Err(&CUT) }
    }

    fn finish(&mut self, wire: &mut Vec<u8>) {
        self.pack(&[], wire, FlushCompress::Finish);
    }

    fn info(&self) -> Option<&dyn Any> {
        Some(&self.about)
    }
}

impl fmt::Debug for Deflate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflate")
            .field("framed", &self.framed)
            .field("level", &self.level)
            .field("window_bits", &self.window_bits)
            .field("about", &self.about)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
