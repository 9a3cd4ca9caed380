use std::sync::Arc;

use memchr::{memchr, memmem};

use super::{Error, FRAME_BYTES_MAX};
use crate::codec::{Decode, Encode, Skipped, Step};

/// Frames that end with a separator of one or more bytes.
///
/// The frame is the bytes before the separator, unless [`including`](Self::including) asks for
/// both. A frame longer than [`max`](Self::max) bytes (64 KiB unless set), separator not counted,
/// is an error as soon as that many bytes have come without one.
///
/// As an encoder it appends the payload and the separator.
#[derive(Debug, Clone)]
pub struct Separator {
    /// Shared by copies: it has tables of some hundred bytes.
    finder: Arc<memmem::Finder<'static>>,
    max: usize,
    including: bool,
    /// No separator starts before this offset of the input.
    scanned: usize,
    error: Option<Error>,
}

impl Separator {
    /// Frames that end with `separator`.
    ///
    /// # Panics
    ///
    /// When `separator` is empty.
    pub fn new(separator: impl AsRef<[u8]>) -> Self {
        let separator = separator.as_ref();
        assert!(!separator.is_empty(), "a separator has at least one byte");
        Separator {
            finder: Arc::new(memmem::Finder::new(separator).into_owned()),
            max: FRAME_BYTES_MAX,
            including: false,
            scanned: 0,
            error: None,
        }
    }

    /// Sets the most bytes that a frame may have, its separator not counted.
    pub fn max(mut self, bytes: usize) -> Self {
        self.max = bytes;
        self
    }

    /// Decoded frames end with their separator.
    pub fn including(mut self) -> Self {
        self.including = true;
        self
    }

    /// The offset of the first separator of `bytes`.
    fn find(&self, bytes: &[u8]) -> Option<usize> {
        match self.finder.needle() {
            [byte] => memchr(*byte, bytes),
            _ => self.finder.find(bytes),
        }
    }
}

impl Decode for Separator {
    type Frame<'a> = &'a mut [u8];
    type Error = Error;

    fn decode<'a>(&'a mut self, input: &'a mut [u8]) -> Result<Step<&'a mut [u8]>, Error> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let width = self.finder.needle().len();
        // A separator that starts after `max` bytes is too late; one that starts there ends here.
        let window = input.len().min(self.max.saturating_add(width));
        let from = self.scanned.min(window);
        if let Some(offset) = self.find(&input[from..window]) {
            let end = from + offset;
            self.scanned = 0;
            let kept = if self.including { end + width } else { end };
            return Ok(Step::Frame { frame: &mut input[..kept], used: end + width });
        }
        if window == self.max.saturating_add(width) {
            let error = Error::TooLong { bytes: self.max as u64 + 1, max: self.max as u64 };
            self.error = Some(error);
            return Err(error);
        }
        // The last bytes may be the start of a separator.
        self.scanned = (window + 1).saturating_sub(width);
        Ok(Step::need(1))
    }

    fn too_long(error: &Error) -> Option<u64> {
        error.too_long()
    }

    fn skip(&mut self, input: &[u8]) -> Option<Skipped> {
        self.error?.too_long()?;
        let width = self.finder.needle().len();
        let Some(end) = self.find(input) else {
            // The last bytes may be the start of its separator.
            return Some(Skipped::Part((input.len() + 1).saturating_sub(width)));
        };
        (self.error, self.scanned) = (None, 0);
        Some(Skipped::Whole(end + width))
    }
}

impl Encode<[u8]> for Separator {
    type Error = Error;

    fn encode(&mut self, item: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        if item.len() > self.max {
            return Err(Error::TooLong { bytes: item.len() as u64, max: self.max as u64 });
        }
        let start = out.len();
        out.extend_from_slice(item);
        out.extend_from_slice(self.finder.needle());
        // Searched with the separator in place: "ba" followed by "aa" would be cut after "b".
        if self.find(&out[start..]) != Some(item.len()) {
            out.truncate(start);
            return Err(Error::ContainsSeparator);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(decoder: &mut Separator, bytes: &[u8]) -> (Vec<Vec<u8>>, Result<usize, Error>) {
        let (mut input, mut start, mut frames) = (bytes.to_vec(), 0, Vec::new());
        loop {
            match decoder.decode(&mut input[start..]) {
                Ok(Step::Frame { frame, used }) => {
                    frames.push(frame.to_vec());
                    start += used;
                }
                Ok(Step::Need(_)) => return (frames, Ok(bytes.len() - start)),
                Err(error) => return (frames, Err(error)),
            }
        }
    }

    #[test]
    fn cuts_at_each_separator() {
        let (seen, left) = frames(&mut Separator::new(b"\n"), b"a\n\nbc\r\nd");
        assert_eq!(seen, [&b"a"[..], b"", b"bc\r"]);
        assert_eq!(left, Ok(1));
        let (seen, left) = frames(&mut Separator::new("\r\n").including(), b"a\r\n\n\r\r\nb\r");
        assert_eq!(seen, [&b"a\r\n"[..], b"\n\r\r\n"]);
        assert_eq!(left, Ok(2));
    }

    #[test]
    fn finds_a_separator_that_arrives_in_pieces() {
        let mut decoder = Separator::new(b"--x");
        let mut input = b"ab---x".to_vec();
        for end in 0..6 {
            assert_eq!(decoder.decode(&mut input[..end]), Ok(Step::need(1)));
        }
        let whole = decoder.decode(&mut input);
        assert_eq!(whole, Ok(Step::Frame { frame: &mut b"ab-".to_vec()[..], used: 6 }));
    }

    #[test]
    fn the_limit_counts_the_payload_and_the_error_stays() {
        let (seen, _) = frames(&mut Separator::new("\r\n").max(3), b"abc\r\nabc\r\n");
        assert_eq!(seen.len(), 2);
        let mut decoder = Separator::new("\r\n").max(3);
        let error = Error::TooLong { bytes: 4, max: 3 };
        assert_eq!(decoder.decode(&mut b"abcd".to_vec()), Ok(Step::need(1)));
        assert_eq!(decoder.decode(&mut b"abcd\r".to_vec()), Err(error));
        assert_eq!(decoder.decode(&mut b"a\r\n".to_vec()), Err(error));
        assert_eq!(frames(&mut Separator::new("\n").max(3), b"abcd\n").1, Err(error));
    }

    #[test]
    fn exactly_the_line_that_is_too_long_is_left_out() {
        for piece in 1..30 {
            let mut lines = Separator::new("--x").max(3);
            let sent = b"abc--x12---4--56--x--xde---x-";
            let (frames, left) = crate::fuzz::frames_and_skipped(&mut lines, sent, piece);
            assert_eq!(frames, [&b"abc"[..], b"", b"de-"], "{piece}");
            assert_eq!(left, b"12---4--56--x".len(), "{piece}");
        }
        assert_eq!(Separator::new("\n").skip(b"abc\n"), None, "nothing was too long");
    }

    #[test]
    fn an_unlimited_decoder_does_not_overflow() {
        let (seen, left) = frames(&mut Separator::new("\r\n").max(usize::MAX), b"a\r\nb");
        assert_eq!((seen.len(), left), (1, Ok(1)));
    }

    #[test]
    fn encodes_only_what_decodes_to_the_same() {
        let mut encoder = Separator::new(b"aa").max(4);
        let mut out = b"x".to_vec();
        assert_eq!(encoder.encode(b"bb", &mut out), Ok(()));
        assert_eq!(out, b"xbbaa");
        for payload in [&b"baa"[..], b"ba", b"a"] {
            assert_eq!(encoder.encode(payload, &mut out), Err(Error::ContainsSeparator));
        }
        let too_long = Error::TooLong { bytes: 5, max: 4 };
        assert_eq!(encoder.encode(b"12345", &mut out), Err(too_long));
        assert_eq!(out, b"xbbaa");
    }

    #[test]
    #[should_panic(expected = "at least one byte")]
    fn an_empty_separator_is_refused() {
        let _ = Separator::new(b"");
    }
}
