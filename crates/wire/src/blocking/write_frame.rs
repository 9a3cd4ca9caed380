use std::io::{self, ErrorKind, Write};

use crate::codec::Encode;
use crate::framing::{LengthPrefix, Separator};

/// Writes frames, each with one `write_all`, so that a small one is one packet.
///
/// ```
/// use mainspring_wire::LengthPrefix;
/// use mainspring_wire::blocking::WriteFrame;
///
/// let mut stream = Vec::new();
/// stream.write_separated(b"hello", "\r\n")?;
/// stream.write_length_prefixed(b"world", LengthPrefix::u32_le())?;
/// assert_eq!(stream, b"hello\r\n\x05\0\0\0world");
///
/// let error = stream.write_separated(b"two\nlines", "\n").unwrap_err();
/// assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait WriteFrame: Write {
    /// Writes `payload` and `separator` behind it.
    ///
    /// # Errors
    ///
    /// As [the module](crate::blocking) says, with [`framing::Error`](crate::framing::Error) for a
    /// payload that contains the separator.
    ///
    /// # Panics
    ///
    /// When `separator` is empty.
    fn write_separated(&mut self, payload: &[u8], separator: impl AsRef<[u8]>) -> io::Result<()> {
        self.write_frame(&mut Separator::new(separator).max(usize::MAX), payload)
    }

    /// Writes `payload` with its length in front; width, byte order and maximum are those of
    /// `lengths`.
    ///
    /// # Errors
    ///
    /// As [the module](crate::blocking) says, with [`framing::Error`](crate::framing::Error) for a
    /// payload that is over the maximum.
    fn write_length_prefixed(
        &mut self,
        payload: &[u8],
        mut lengths: LengthPrefix,
    ) -> io::Result<()> {
        self.write_frame(&mut lengths, payload)
    }

    /// Writes a frame of any encoder of plain bytes.
    ///
    /// # Errors
    ///
    /// As [the module](crate::blocking) says, with the errors of the encoder; nothing is written
    /// then.
    fn write_frame<C>(&mut self, codec: &mut C, payload: &[u8]) -> io::Result<()>
    where
        C: Encode<[u8]>,
        C::Error: std::error::Error + Send + Sync + 'static,
    {
        let mut frame = Vec::new();
        codec
            .encode(payload, &mut frame)
            .map_err(|error| io::Error::new(ErrorKind::InvalidInput, error))?;
        self.write_all(&frame)
    }
}

impl<W: Write + ?Sized> WriteFrame for W {}
