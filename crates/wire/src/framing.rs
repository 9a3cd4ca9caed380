//! Frames in a byte stream, by a separator or by a length in front.

use std::fmt;

use crate::varint;

mod length_prefix;
mod separator;

pub use length_prefix::LengthPrefix;
pub use separator::Separator;

/// The default maximum of a frame, in bytes of payload: 64 KiB.
///
/// A peer that never ends its frame can make a connection hold this much; raise it with `max` where
/// frames are larger.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;

/// Why bytes cannot be framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A frame is longer than allowed. From a decoder: as announced by its prefix, or as counted
    /// without meeting a separator (then `bytes` is the least that it can have).
    TooLong {
        /// Bytes of payload.
        bytes: u64,
        /// The most bytes of payload allowed.
        max: u64,
    },
    /// The length in front is not a varint.
    Prefix(varint::Error),
    /// The payload to be encoded contains the separator, or makes one together with the one that
    /// ends it.
    ContainsSeparator,
}

impl Error {
    /// The bytes of [`Error::TooLong`].
    fn too_long(&self) -> Option<u64> {
        match self {
            Error::TooLong { bytes, .. } => Some(*bytes),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::TooLong { bytes, max } => {
                write!(f, "frame of {bytes} bytes, at most {max} are allowed")
            }
            Error::Prefix(error) => write!(f, "frame length: {error}"),
            Error::ContainsSeparator => write!(f, "payload contains the frame separator"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Prefix(error) => Some(error),
            Error::TooLong { .. } | Error::ContainsSeparator => None,
        }
    }
}
