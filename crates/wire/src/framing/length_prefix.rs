use super::{Error, FRAME_BYTES_MAX};
use crate::codec::{Decode, Encode, Skipped, Step};
use crate::varint;

/// Frames with their length in front.
///
/// The length counts the payload only, not itself. A length over [`max`](Self::max) (64 KiB unless
/// set) is an error at once, before any payload has come; nothing is allocated for what is only
/// announced.
///
/// As an encoder it appends length and payload.
#[derive(Debug, Clone)]
pub struct LengthPrefix {
    prefix: Prefix,
    max: usize,
    error: Option<Error>,
    /// Bytes of payload still to come of a frame that is being left out.
    skipping: Option<u64>,
}

impl LengthPrefix {
    /// One byte.
    pub fn u8() -> Self {
        Self::new(Prefix::Big(1))
    }

    /// Two bytes, the most significant first.
    pub fn u16_be() -> Self {
        Self::new(Prefix::Big(2))
    }

    /// Two bytes, the least significant first.
    pub fn u16_le() -> Self {
        Self::new(Prefix::Little(2))
    }

    /// Four bytes, the most significant first.
    pub fn u32_be() -> Self {
        Self::new(Prefix::Big(4))
    }

    /// Four bytes, the least significant first.
    pub fn u32_le() -> Self {
        Self::new(Prefix::Little(4))
    }

    /// Eight bytes, the most significant first.
    pub fn u64_be() -> Self {
        Self::new(Prefix::Big(8))
    }

    /// Eight bytes, the least significant first.
    pub fn u64_le() -> Self {
        Self::new(Prefix::Little(8))
    }

    /// A 32-bit [varint](crate::varint), 1 to 5 bytes.
    pub fn varint() -> Self {
        Self::new(Prefix::Varint)
    }

    /// A 64-bit [varint](crate::varint), 1 to 10 bytes.
    pub fn varlong() -> Self {
        Self::new(Prefix::Varlong)
    }

    /// Sets the most bytes of payload that a frame may have.
    pub fn max(mut self, bytes: usize) -> Self {
        self.max = bytes;
        self
    }

    fn new(prefix: Prefix) -> Self {
        LengthPrefix { prefix, max: FRAME_BYTES_MAX, error: None, skipping: None }
    }

    /// The length announced at the front of `input`, as a step whose `used` is the prefix.
    fn announced(&self, input: &[u8]) -> Result<Step<usize>, Error> {
        let (length, used) = match self.prefix.read(input)? {
            Step::Frame { frame, used } => (frame, used),
            Step::Need(bytes) => return Ok(Step::Need(bytes)),
        };
        match usize::try_from(length) {
            Ok(length) if length <= self.max => Ok(Step::Frame { frame: length, used }),
            _ => Err(Error::TooLong { bytes: length, max: self.max as u64 }),
        }
    }
}

impl Decode for LengthPrefix {
    type Frame<'a> = &'a mut [u8];
    type Error = Error;

    fn decode<'a>(&'a mut self, input: &'a mut [u8]) -> Result<Step<&'a mut [u8]>, Error> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let announced = self.announced(input).inspect_err(|&error| self.error = Some(error))?;
        let (length, prefix) = match announced {
            Step::Frame { frame, used } => (frame, used),
            Step::Need(bytes) => return Ok(Step::Need(bytes)),
        };
        let payload = &mut input[prefix..];
        if payload.len() < length {
            return Ok(Step::need(length - payload.len()));
        }
        Ok(Step::Frame { frame: &mut payload[..length], used: prefix + length })
    }

    fn too_long(error: &Error) -> Option<u64> {
        error.too_long()
    }

    fn skip(&mut self, input: &[u8]) -> Option<Skipped> {
        self.error?.too_long()?;
        let (prefix, left) = match (self.skipping, self.prefix.read(input)) {
            (Some(left), _) => (0, left),
            (None, Ok(Step::Frame { frame, used })) => (used, frame),
            // Less than there was: the prefix was whole when it was found too long.
            (None, _) => return Some(Skipped::Part(0)),
        };
        let payload = input.len() - prefix;
        if left > payload as u64 {
            self.skipping = Some(left - payload as u64);
            return Some(Skipped::Part(input.len()));
        }
        (self.error, self.skipping) = (None, None);
        Some(Skipped::Whole(prefix + left as usize))
    }
}

impl Encode<[u8]> for LengthPrefix {
    type Error = Error;

    fn encode(&mut self, item: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        let bytes = item.len() as u64;
        let max = self.prefix.max().min(self.max as u64);
        if bytes > max {
            return Err(Error::TooLong { bytes, max });
        }
        self.prefix.write(bytes, out);
        out.extend_from_slice(item);
        Ok(())
    }
}

/// How the length is written; the fixed ones with their width in bytes.
#[derive(Debug, Clone, Copy)]
enum Prefix {
    Big(usize),
    Little(usize),
    Varint,
    Varlong,
}

impl Prefix {
    fn read(self, input: &[u8]) -> Result<Step<u64>, Error> {
        let width = match self {
            Prefix::Varint => {
                return Ok(varint::decode_u32(input).map_err(Error::Prefix)?.map(u64::from));
            }
            Prefix::Varlong => return varint::decode_u64(input).map_err(Error::Prefix),
            Prefix::Big(width) | Prefix::Little(width) => width,
        };
        let Some(bytes) = input.get(..width) else {
            return Ok(Step::need(width - input.len()));
        };
        let mut word = [0; 8];
        let length = if let Prefix::Big(_) = self {
            word[8 - width..].copy_from_slice(bytes);
            u64::from_be_bytes(word)
        } else {
            word[..width].copy_from_slice(bytes);
            u64::from_le_bytes(word)
        };
        Ok(Step::Frame { frame: length, used: width })
    }

    /// `length` is at most [`Prefix::max`].
    fn write(self, length: u64, out: &mut Vec<u8>) {
        match self {
            Prefix::Big(width) => out.extend_from_slice(&length.to_be_bytes()[8 - width..]),
            Prefix::Little(width) => out.extend_from_slice(&length.to_le_bytes()[..width]),
            Prefix::Varint | Prefix::Varlong => {
                varint::encode_u64(length, out);
            }
        }
    }

    /// The largest length that it can carry.
    fn max(self) -> u64 {
        match self {
            Prefix::Big(width) | Prefix::Little(width) => u64::MAX >> (64 - 8 * width),
            Prefix::Varint => u64::from(u32::MAX),
            Prefix::Varlong => u64::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> [(LengthPrefix, &'static [u8]); 9] {
        [
            (LengthPrefix::u8(), b"\x03"),
            (LengthPrefix::u16_be(), b"\0\x03"),
            (LengthPrefix::u16_le(), b"\x03\0"),
            (LengthPrefix::u32_be(), b"\0\0\0\x03"),
            (LengthPrefix::u32_le(), b"\x03\0\0\0"),
            (LengthPrefix::u64_be(), b"\0\0\0\0\0\0\0\x03"),
            (LengthPrefix::u64_le(), b"\x03\0\0\0\0\0\0\0"),
            (LengthPrefix::varint(), b"\x03"),
            (LengthPrefix::varlong(), b"\x03"),
        ]
    }

    #[test]
    fn each_prefix_goes_both_ways_and_asks_for_what_is_missing() {
        for (mut codec, prefix) in all() {
            let mut out = b"x".to_vec();
            codec.encode(b"abc", &mut out).unwrap();
            let mut input = [prefix, b"abc"].concat();
            assert_eq!(out[1..], input, "{codec:?}");
            for end in 0..prefix.len() {
                let step = codec.decode(&mut input[..end]);
                assert_eq!(step, Ok(Step::need(prefix.len() - end)));
            }
            for end in prefix.len()..input.len() {
                let missing = input.len() - end;
                assert_eq!(codec.decode(&mut input[..end]), Ok(Step::need(missing)));
            }
            input.push(b'z');
            let step = codec.decode(&mut input);
            assert_eq!(
                step,
                Ok(Step::Frame { frame: &mut b"abc".to_vec()[..], used: prefix.len() + 3 })
            );
        }
    }

    #[test]
    fn the_limit_holds_before_the_payload_and_the_error_stays() {
        let mut codec = LengthPrefix::u32_be().max(10);
        assert_eq!(codec.decode(&mut [0, 0, 0, 10]), Ok(Step::need(10)));
        let error = Error::TooLong { bytes: 11, max: 10 };
        assert_eq!(codec.decode(&mut [0, 0, 0, 11]), Err(error));
        assert_eq!(codec.decode(&mut [0, 0, 0, 0]), Err(error));
    }

    #[test]
    fn exactly_the_frame_that_is_too_long_is_left_out() {
        for (codec, _) in all() {
            let (mut codec, mut sent) = (codec.max(2), Vec::new());
            for payload in [&b"12"[..], b"3456", b"78"] {
                codec.clone().max(9).encode(payload, &mut sent).unwrap();
            }
            let (frames, left) = crate::fuzz::frames_and_skipped(&mut codec, &sent, 1);
            assert_eq!(frames, [&b"12"[..], b"78"], "{codec:?}");
            // Three prefixes and 8 bytes of payload; of them one prefix and 4 bytes.
            assert_eq!(left, (sent.len() - 8) / 3 + 4, "{codec:?}");
        }
    }

    #[test]
    fn a_frame_of_2_to_the_64_bytes_is_left_out_for_ever() {
        let mut codec = LengthPrefix::u64_be().max(2);
        assert!(codec.decode(&mut [0xff; 8]).is_err());
        assert_eq!(codec.skip(&[0xff; 8]), Some(Skipped::Part(8)));
        for _ in 0..3 {
            assert_eq!(codec.skip(&[0; 100]), Some(Skipped::Part(100)));
            assert!(codec.decode(&mut [0]).is_err());
        }
        assert_eq!(LengthPrefix::u8().skip(&[1, 1]), None, "nothing was too long");
        let mut codec = LengthPrefix::varint();
        assert!(codec.decode(&mut [0x80; 5]).is_err());
        assert_eq!(codec.skip(&[0x80; 5]), None, "where it ends cannot be known");
    }

    #[test]
    fn huge_lengths_neither_overflow_nor_allocate() {
        let mut codec = LengthPrefix::u64_be();
        let error = Error::TooLong { bytes: u64::MAX, max: FRAME_BYTES_MAX as u64 };
        assert_eq!(codec.decode(&mut [0xff; 8]), Err(error));
        let mut codec = LengthPrefix::u64_be().max(usize::MAX);
        assert_eq!(codec.decode(&mut [0xff; 9]), Ok(Step::need(usize::MAX - 1)));
        let mut half = [0; 8];
        half[0] = 0x80;
        assert_eq!(codec.decode(&mut half), Ok(Step::need(1 << 63)));
    }

    #[test]
    fn a_prefix_that_is_no_varint_is_an_error() {
        let mut codec = LengthPrefix::varint();
        let error = Error::Prefix(varint::Error::TooLong { max_bytes: 5 });
        assert_eq!(codec.decode(&mut [0x80; 5]), Err(error));
        assert_eq!(codec.decode(&mut [0]), Err(error));
    }

    #[test]
    fn a_payload_over_width_or_limit_leaves_the_output_alone() {
        let mut out = b"x".to_vec();
        let payload = vec![0; 256];
        let error = Error::TooLong { bytes: 256, max: 255 };
        assert_eq!(LengthPrefix::u8().encode(&payload, &mut out), Err(error));
        let error = Error::TooLong { bytes: 256, max: 9 };
        assert_eq!(LengthPrefix::varint().max(9).encode(&payload, &mut out), Err(error));
        assert_eq!(out, b"x");
        LengthPrefix::u8().encode(&payload[..255], &mut out).unwrap();
        assert_eq!(out.len(), 1 + 1 + 255);
    }
}
