//! LEB128 integers: the "varint" (32 bits, at most 5 bytes) and "varlong" (64 bits, at most 10
//! bytes) of Protocol Buffers and of the [Minecraft protocol].
//!
//! Seven bits a byte, the low ones first; the top bit says that another byte follows. Negative
//! numbers are the two's complement of their width, as in the Minecraft protocol: `-1_i32` takes
//! five bytes, `-1_i64` ten.
//!
//! Encoders write the shortest form. Decoders also accept padded forms (`80 00` is 0) as long as
//! they stay within the 5 or 10 bytes, because senders exist that reserve a fixed width for a
//! length and fill it in later; what does not fit the width is an error.
//!
//! [Minecraft protocol]:
//! https://minecraft.wiki/w/Java_Edition_protocol/Data_types#VarInt_and_VarLong

use std::fmt;

use crate::codec::Step;

/// The most bytes that a 32-bit number takes.
pub const U32_BYTES_MAX: usize = 5;
/// The most bytes that a 64-bit number takes.
pub const U64_BYTES_MAX: usize = 10;

/// Reads a 32-bit number from the front of `bytes`.
///
/// # Errors
///
/// [`Error`] when the number is over 5 bytes or over 32 bits.
pub fn decode_u32(bytes: &[u8]) -> Result<Step<u32>, Error> {
    // `decode` bounds the value to 32 bits.
    Ok(decode(bytes, u32::BITS)?.map(|value| value as u32))
}

/// Reads a 64-bit number from the front of `bytes`.
///
/// # Errors
///
/// [`Error`] when the number is over 10 bytes or over 64 bits.
pub fn decode_u64(bytes: &[u8]) -> Result<Step<u64>, Error> {
    decode(bytes, u64::BITS)
}

/// Reads a 32-bit number in two's complement from the front of `bytes`.
///
/// # Errors
///
/// As [`decode_u32`].
pub fn decode_i32(bytes: &[u8]) -> Result<Step<i32>, Error> {
    Ok(decode_u32(bytes)?.map(u32::cast_signed))
}

/// Reads a 64-bit number in two's complement from the front of `bytes`.
///
/// # Errors
///
/// As [`decode_u64`].
pub fn decode_i64(bytes: &[u8]) -> Result<Step<i64>, Error> {
    Ok(decode_u64(bytes)?.map(u64::cast_signed))
}

/// Appends the shortest form of `value`, and returns its length: 1 to 5 bytes.
pub fn encode_u32(value: u32, out: &mut Vec<u8>) -> usize {
    encode_u64(u64::from(value), out)
}

/// Appends the shortest form of `value`, and returns its length: 1 to 10 bytes.
pub fn encode_u64(value: u64, out: &mut Vec<u8>) -> usize {
    let (bytes, length) = array_u64(value);
    let start = out.len();
    // All of it: a copy of constant length is two moves, any other is a call.
    out.extend_from_slice(&bytes);
    out.truncate(start + length);
    length
}

/// The shortest form of `value` in the first bytes of an array, and its length.
pub(crate) fn array_u64(mut value: u64) -> ([u8; U64_BYTES_MAX], usize) {
    let (mut bytes, mut last) = ([0; U64_BYTES_MAX], 0);
    while value >= 0x80 {
        bytes[last] = value as u8 | 0x80;
        value >>= 7;
        last += 1;
    }
    bytes[last] = value as u8;
    (bytes, last + 1)
}

/// Appends `value` in 32-bit two's complement, and returns its length: 1 to 5 bytes.
pub fn encode_i32(value: i32, out: &mut Vec<u8>) -> usize {
    encode_u32(value.cast_unsigned(), out)
}

/// Appends `value` in 64-bit two's complement, and returns its length: 1 to 10 bytes.
pub fn encode_i64(value: i64, out: &mut Vec<u8>) -> usize {
    encode_u64(value.cast_unsigned(), out)
}

/// Why bytes are not a varint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The last byte that the width allows says that another one follows.
    TooLong {
        /// The most bytes allowed.
        max_bytes: usize,
    },
    /// The last byte that the width allows carries bits beyond it.
    Overflow {
        /// The width of the number.
        bits: u32,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::TooLong { max_bytes } => write!(f, "varint is longer than {max_bytes} bytes"),
            Error::Overflow { bits } => write!(f, "varint does not fit {bits} bits"),
        }
    }
}

impl std::error::Error for Error {}

fn decode(bytes: &[u8], bits: u32) -> Result<Step<u64>, Error> {
    let max_bytes = bits.div_ceil(7) as usize;
    let mut value = 0;
    for (index, &byte) in bytes.iter().take(max_bytes).enumerate() {
        let shift = 7 * index as u32;
        let group = u64::from(byte & 0x7f);
        if shift + 7 > bits && group >> (bits - shift) != 0 {
            return Err(Error::Overflow { bits });
        }
        value |= group << shift;
        if byte & 0x80 == 0 {
            return Ok(Step::Frame { frame: value, used: index + 1 });
        }
    }
    if bytes.len() >= max_bytes { Err(Error::TooLong { max_bytes }) } else { Ok(Step::need(1)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The sample table of the Minecraft protocol documentation.
    const VARINTS: &[(i32, &[u8])] = &[
        (0, &[0x00]),
        (1, &[0x01]),
        (2, &[0x02]),
        (127, &[0x7f]),
        (128, &[0x80, 0x01]),
        (255, &[0xff, 0x01]),
        (25565, &[0xdd, 0xc7, 0x01]),
        (2_097_151, &[0xff, 0xff, 0x7f]),
        (i32::MAX, &[0xff, 0xff, 0xff, 0xff, 0x07]),
        (-1, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        (i32::MIN, &[0x80, 0x80, 0x80, 0x80, 0x08]),
    ];
    const VARLONGS: &[(i64, &[u8])] = &[
        (0, &[0x00]),
        (255, &[0xff, 0x01]),
        (i32::MAX as i64, &[0xff, 0xff, 0xff, 0xff, 0x07]),
        (i64::MAX, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
        (-1, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
        (-2_147_483_648, &[0x80, 0x80, 0x80, 0x80, 0xf8, 0xff, 0xff, 0xff, 0xff, 0x01]),
        (i64::MIN, &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]),
    ];

    #[test]
    fn the_published_samples_hold_both_ways() {
        for &(value, bytes) in VARINTS {
            let mut out = vec![9];
            assert_eq!(encode_i32(value, &mut out), bytes.len());
            assert_eq!(out[1..], *bytes, "{value}");
            let whole = Step::Frame { frame: value, used: bytes.len() };
            assert_eq!(decode_i32(&[bytes, &[0xff]].concat()), Ok(whole));
        }
        for &(value, bytes) in VARLONGS {
            let mut out = Vec::new();
            assert_eq!(encode_i64(value, &mut out), bytes.len());
            assert_eq!(out, bytes, "{value}");
            assert_eq!(decode_i64(bytes), Ok(Step::Frame { frame: value, used: bytes.len() }));
        }
    }

    #[test]
    fn every_proper_prefix_needs_another_byte() {
        for &(_, bytes) in VARLONGS {
            for end in 0..bytes.len() {
                assert_eq!(decode_u64(&bytes[..end]), Ok(Step::need(1)));
            }
        }
    }

    #[test]
    fn padding_is_accepted_up_to_the_width() {
        assert_eq!(decode_u32(&[0x80, 0x00]), Ok(Step::Frame { frame: 0, used: 2 }));
        assert_eq!(
            decode_u32(&[0x81, 0x80, 0x80, 0x80, 0x00]),
            Ok(Step::Frame { frame: 1, used: 5 })
        );
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        assert_eq!(decode_u32(&[0x80; 5]), Err(Error::TooLong { max_bytes: 5 }));
        assert_eq!(decode_u64(&[0x80; 10]), Err(Error::TooLong { max_bytes: 10 }));
        assert_eq!(decode_u32(&[0xff, 0xff, 0xff, 0xff, 0x10]), Err(Error::Overflow { bits: 32 }));
        let mut long = [0xff; 10];
        long[9] = 0x02;
        assert_eq!(decode_u64(&long), Err(Error::Overflow { bits: 64 }));
    }
}
