//! The same formats on `std::io::{Read, Write}`, for code that may wait: scripts, tests, one thread
//! per connection.
//!
//! Extension traits without state; what they read and write is what [`primitive`](crate::primitive)
//! and the decoders read and write. They take from the reader exactly the bytes of what they
//! return, and so mix with each other and with code of one's own; on a socket put them over a
//! [`BufReader`](std::io::BufReader) and a [`BufWriter`](std::io::BufWriter), since each value is a
//! read or a write of its own.
//!
//! # Errors
//!
//! Those of the reader or writer as they are, but [`Interrupted`] is tried again. The others are
//! made here, and say what was wrong in [`get_ref`](std::io::Error::get_ref):
//!
//! | kind | holds | when |
//! |---|---|---|
//! | [`UnexpectedEof`] | [`Ended`] | the stream ended before the value or the frame did |
//! | [`InvalidData`] | [`primitive::Error`] or the decoder's error | the bytes are not what was asked for, or over a limit |
//! | [`InvalidInput`] | [`primitive::Error`] or the encoder's error | what the format cannot carry was to be written |
//!
//! After an error the place in the stream is unknown; the only sound answer is to close. That holds
//! for a read timeout, too, unless it came before the first byte.
//!
//! [`primitive::Error`]: crate::primitive::Error
//! [`Interrupted`]: std::io::ErrorKind::Interrupted
//! [`UnexpectedEof`]: std::io::ErrorKind::UnexpectedEof
//! [`InvalidData`]: std::io::ErrorKind::InvalidData
//! [`InvalidInput`]: std::io::ErrorKind::InvalidInput

use std::fmt;
use std::io::{self, ErrorKind, Read};

mod frame;
mod read;
mod write;
mod write_frame;

pub use frame::ReadFrame;
pub use read::ReadPrimitive;
pub use write::WritePrimitive;
pub use write_frame::WriteFrame;

/// The stream ended before the value or the frame did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// The bytes that had come of it.
    pub received: usize,
    /// The least number of bytes that were still to come.
    pub missing: usize,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ended { received, missing } = self;
        write!(f, "the stream ended after {received} bytes, {missing} more were needed")
    }
}

impl std::error::Error for Ended {}

/// What is received for an announced length grows by at most so many bytes at a time.
const PIECE_BYTES: usize = 8 * 1024;

/// Reads `bytes` more bytes to the end of `received`, whose memory grows with what comes and not
/// with what is asked for.
///
/// An end of the stream is an [`Ended`] that counts all of `received`.
fn read_more<R>(reader: &mut R, received: &mut Vec<u8>, bytes: usize) -> io::Result<()>
where
    R: Read + ?Sized,
{
    let mut missing = bytes;
    while missing > 0 {
        let start = received.len();
        received.resize(start + missing.min(PIECE_BYTES), 0);
        let result = read_some(reader, &mut received[start..]);
        let read = result.as_ref().map_or(0, |read| *read);
        received.truncate(start + read);
        missing -= read;
        if result? == 0 {
            return Err(ended(received.len(), missing));
        }
    }
    Ok(())
}

/// Fills `buffer` from its byte `filled` on.
fn fill<R: Read + ?Sized>(reader: &mut R, buffer: &mut [u8], mut filled: usize) -> io::Result<()> {
    while filled < buffer.len() {
        match read_some(reader, &mut buffer[filled..])? {
            0 => return Err(ended(filled, buffer.len() - filled)),
            read => filled += read,
        }
    }
    Ok(())
}

fn read_some<R: Read + ?Sized>(reader: &mut R, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn ended(received: usize, missing: usize) -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, Ended { received, missing })
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}
