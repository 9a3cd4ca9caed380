use std::io::{self, Read};

use super::{Ended, invalid, read_more};
use crate::codec::{Decode, Step};
use crate::framing::{LengthPrefix, Separator};

/// Reads frames, waiting until they are whole.
///
/// Each returns `None` when the stream ends where a frame would begin; an end inside of one is an
/// error. Nothing behind the frame is read, and memory grows with what has come, not with what a
/// length announces.
///
/// ```
/// use mainspring_wire::LengthPrefix;
/// use mainspring_wire::blocking::ReadFrame;
///
/// let mut reader = &b"hello\r\n\x05\0\0\0world\xff\xff\xff\xff"[..];
/// assert_eq!(reader.read_separated("\r\n", 80)?, Some(b"hello".to_vec()));
/// let lengths = LengthPrefix::u32_le().max(1024);
/// assert_eq!(reader.read_length_prefixed(lengths.clone())?, Some(b"world".to_vec()));
/// let error = reader.read_length_prefixed(lengths.clone()).unwrap_err();
/// assert_eq!(error.to_string(), "frame of 4294967295 bytes, at most 1024 are allowed");
/// assert_eq!(reader.read_length_prefixed(lengths)?, None);
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait ReadFrame: Read {
    /// Reads a frame of at most `max` bytes that ends with `separator`, and returns it without.
    ///
    /// # Errors
    ///
    /// As [the module](crate::blocking) says, with [`framing::Error`](crate::framing::Error) for a
    /// frame that is over `max`.
    ///
    /// # Panics
    ///
    /// When `separator` is empty.
    fn read_separated(
        &mut self,
        separator: impl AsRef<[u8]>,
        max: usize,
    ) -> io::Result<Option<Vec<u8>>> {
        self.read_frame(&mut Separator::new(separator).max(max))
    }

    /// Reads a frame with its length in front, and returns it without; width, byte order and
    /// maximum are those of `lengths`.
    ///
    /// # Errors
    ///
    /// As [the module](crate::blocking) says, with [`framing::Error`](crate::framing::Error) for a
    /// length that is over its maximum; nothing behind the length is read then.
    fn read_length_prefixed(&mut self, mut lengths: LengthPrefix) -> io::Result<Option<Vec<u8>>> {
        self.read_frame(&mut lengths)
    }

    /// Reads a frame of any decoder whose frames are plain bytes, which must begin with this frame.
    ///
    /// # Errors
    ///
    /// As [the module](crate::blocking) says, with the errors of the decoder.
    fn read_frame<C>(&mut self, codec: &mut C) -> io::Result<Option<Vec<u8>>>
    where
        C: for<'a> Decode<Frame<'a> = &'a mut [u8]> + 'static,
        C::Error: std::error::Error + Send + Sync + 'static,
    {
        let mut received = Vec::new();
        loop {
            let missing = match codec.decode(&mut received).map_err(invalid)? {
                Step::Frame { frame, .. } => return Ok(Some(frame.to_vec())),
                // Never more than up to the end of the frame: "with fewer than this many further
                // bytes the answer would be the same".
                Step::Need(bytes) => bytes.get(),
            };
            match read_more(self, &mut received, missing) {
                Err(error) if received.is_empty() && is_end(&error) => return Ok(None),
                result => result?,
            }
        }
    }
}

impl<R: Read + ?Sized> ReadFrame for R {}

/// Whether it is ours: a reader's own `UnexpectedEof` is an error of that reader.
fn is_end(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Ended>())
}
