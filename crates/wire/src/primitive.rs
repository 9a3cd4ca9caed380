//! Single values: booleans, integers and floats of both byte orders, varints, byte arrays, strings.
//!
//! What messages are made of, for those whose format is their own. Numbers are two's complement and
//! IEEE 754, `_be` with the most significant byte first, as most formats have it, `_le` with the
//! least significant one first; varints are those of [`varint`]. A byte array or a string is a
//! 32-bit varint with its length in bytes, and its bytes; strings are UTF-8.
//!
//! | | from and to memory | from and to a stream, blocking |
//! |---|---|---|
//! | read | [`decode`] with a [`Cursor`] | [`ReadPrimitive`](crate::blocking::ReadPrimitive) |
//! | write | [`AppendPrimitive`] on `Vec<u8>` | [`WritePrimitive`](crate::blocking::WritePrimitive) |
//!
//! # Example
//!
//! A message of three values. Reading answers with the values, with how many more bytes it needs,
//! or with an error; it never reads half a message, and never allocates.
//!
//! ```
//! use mainspring_wire::primitive::{AppendPrimitive, Cursor, Error, Stop, decode};
//! use mainspring_wire::Step;
//!
//! #[derive(Debug, PartialEq)]
//! struct Login<'a> {
//!     version: u16,
//!     name: &'a str,
//!     admin: bool,
//! }
//!
//! fn login<'a>(input: &mut Cursor<'a>) -> Result<Login<'a>, Stop> {
//!     Ok(Login { version: input.u16_be()?, name: input.string(16)?, admin: input.bool()? })
//! }
//!
//! let mut sent = Vec::new();
//! sent.append_u16_be(7);
//! sent.append_string("ada")?;
//! sent.append_bool(true);
//! assert_eq!(sent, b"\x00\x07\x03ada\x01");
//!
//! let ada = Login { version: 7, name: "ada", admin: true };
//! assert_eq!(decode(&sent, login)?, Step::Frame { frame: ada, used: 7 });
//! // The rest of the name is missing: two bytes at least.
//! assert_eq!(decode(&sent[..4], login)?, Step::need(2));
//! // A length over the limit is an error before any of the string has come.
//! let error = decode(b"\x00\x07\xff\xff\xff\xff\x0f", login).unwrap_err();
//! assert_eq!(error, Error::TooLong { bytes: 0xffff_ffff, max: 16 });
//! # Ok::<(), Error>(())
//! ```
//!
//! [`varint`]: crate::varint

use std::fmt;

use crate::varint;

mod append;
mod cursor;

pub use append::AppendPrimitive;
pub use cursor::{Cursor, Stop, decode};

/// Why bytes are not the value that was asked for, or why a value has no bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A varint, or the length of a byte array or string, is over its width.
    Varint(varint::Error),
    /// A byte array or a string is longer than allowed. A length that its sender took for negative
    /// is one of over 2^31 bytes.
    TooLong {
        /// Its bytes.
        bytes: u64,
        /// The most bytes allowed.
        max: u64,
    },
    /// A string is not UTF-8.
    Utf8 {
        /// So many bytes of it are, from its start.
        valid: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Varint(error) => error.fmt(f),
            Error::TooLong { bytes, max } => {
                write!(f, "byte array or string of {bytes} bytes, at most {max} are allowed")
            }
            Error::Utf8 { valid } => write!(f, "string is not UTF-8 behind its byte {valid}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Varint(error) => Some(error),
            Error::TooLong { .. } | Error::Utf8 { .. } => None,
        }
    }
}

/// The length in front of a byte array or string, under its limit.
pub(crate) fn checked_length(length: u32, max: usize) -> Result<usize, Error> {
    match usize::try_from(length) {
        Ok(bytes) if bytes <= max => Ok(bytes),
        _ => Err(Error::TooLong { bytes: u64::from(length), max: max as u64 }),
    }
}

/// The length to be written in front of a byte array or string of `bytes` bytes.
pub(crate) fn announced_length(bytes: usize) -> Result<u32, Error> {
    let error = Error::TooLong { bytes: bytes as u64, max: u64::from(u32::MAX) };
    u32::try_from(bytes).map_err(|_| error)
}

/// The bytes of a string as one.
pub(crate) fn utf8(bytes: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(bytes).map_err(|error| Error::Utf8 { valid: error.valid_up_to() })
}
