//! What a peer does wrong with frames.

use std::fmt;

/// What went wrong on one connection of a [`Framed`](crate::Framed).
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameFault<'a, E> {
    /// A frame is over the codec's maximum. The connection closes.
    TooLong(&'a E),
    /// The codec refuses the bytes. The connection closes.
    Invalid(&'a E),
    /// A frame over the codec's maximum has been left out; the connection goes on.
    Discarded {
        /// Its bytes, prefix or separator included.
        bytes: u64,
    },
    /// The stream has ended inside of a frame.
    Truncated {
        /// How many bytes of it came.
        bytes: u64,
    },
    /// Nothing came for the read timeout. The connection closes.
    ReadTimeout,
    /// A frame was not whole within the frame timeout. The connection closes.
    FrameTimeout,
    /// The handler panicked; the log has the backtrace. The connection is gone.
    Panicked,
}

impl<E: fmt::Display> fmt::Display for FrameFault<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(error) | Self::Invalid(error) => error.fmt(f),
            Self::Discarded { bytes } => write!(f, "left out a frame of {bytes} bytes"),
            Self::Truncated { bytes } => write!(f, "ended after {bytes} bytes of a frame"),
            Self::ReadTimeout => f.write_str("nothing came in time"),
            Self::FrameTimeout => f.write_str("a frame was not whole in time"),
            Self::Panicked => f.write_str("the handler panicked"),
        }
    }
}
