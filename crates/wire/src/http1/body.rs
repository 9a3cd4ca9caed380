use std::ops::Range;

use memchr::memchr;

use super::fields::{is_token, is_value};
use super::{Body, Error};
use crate::codec::{Decode, Step};

/// Streams one body: gives what has come of it, and says where it ends.
///
/// Pieces are as large as the input allows; nothing is gathered. The size lines, line ends and
/// trailers of a chunked body count into `used` of the piece behind them; trailers are checked and
/// dropped. A size line is at most 1 KiB long, the trailers together at most 8 KiB.
///
/// Behind the last piece it only gives the last piece again, empty and with `used` 0.
#[derive(Debug)]
pub struct BodyDecoder {
    state: State,
    /// Bytes of body that may still be announced.
    allowed: u64,
    /// The next byte to be read: size lines before it have been, but not consumed.
    at: usize,
    /// The line that starts at `at` does not end before this; meaningless while it is before `at`.
    scanned: usize,
    /// What the trailers may still take.
    trailer_bytes: usize,
    error: Option<Error>,
}

/// A part of a body.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// The bytes; empty at most where `last` is set.
    pub bytes: &'a mut [u8],
    /// Whether the body ends with them.
    pub last: bool,
}

const CHUNK_LINE_BYTES_MAX: usize = 1024;
const TRAILER_BYTES_MAX: usize = 8 * 1024;
/// 64 bits in hexadecimal.
const SIZE_DIGITS_MAX: usize = 16;

impl BodyDecoder {
    /// For a body that is framed as `body`, of at most `max` bytes, chunk framing not counted.
    ///
    /// A length over `max` is the error of the first [`decode`](Decode::decode).
    pub fn new(body: Body, max: u64) -> Self {
        let (state, error) = match body {
            Body::None | Body::Length(0) => (State::Done, None),
            Body::Length(length) if length > max => (State::Done, Some(Error::BodyTooLong)),
            Body::Length(length) => (State::Length(length), None),
            Body::Chunked => (State::Size, None),
        };
        BodyDecoder {
            state,
            allowed: max,
            at: 0,
            scanned: 0,
            trailer_bytes: TRAILER_BYTES_MAX,
            error,
        }
    }

    /// Whether the last piece has been given, or none is to come.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done) && self.error.is_none()
    }

    /// Where the next piece is in `input`, and whether it is the last.
    fn parse(&mut self, input: &[u8]) -> Result<Option<(Range<usize>, bool)>, Error> {
        loop {
            let have = input.len() - self.at;
            match self.state {
                State::Done => return Ok(Some((self.at..self.at, true))),
                State::Length(_) | State::Data(_) if have == 0 => return Ok(None),
                State::Length(missing) => {
                    let (taken, left) = take(missing, have);
                    self.state = if left == 0 { State::Done } else { State::Length(left) };
                    return Ok(Some((self.at..self.at + taken, left == 0)));
                }
                State::Data(missing) => {
                    let (taken, left) = take(missing, have);
                    self.state = if left == 0 { State::DataEnd } else { State::Data(left) };
                    return Ok(Some((self.at..self.at + taken, false)));
                }
                State::DataEnd => match input[self.at..] {
                    [b'\r', b'\n', ..] => {
                        self.at += 2;
                        self.state = State::Size;
                    }
                    [] | [b'\r'] => return Ok(None),
                    _ => return Err(Error::ChunkEnd),
                },
                State::Size => {
                    let Some(line) = self.line(input, CHUNK_LINE_BYTES_MAX)? else {
                        return Ok(None);
                    };
                    self.state = self.size(&input[line])?;
                }
                State::Trailers => {
                    let Some(line) = self.line(input, self.trailer_bytes)? else {
                        return Ok(None);
                    };
                    self.trailer_bytes -= line.len() + 2;
                    if line.is_empty() {
                        self.state = State::Done;
                    } else if !is_field(&input[line]) {
                        return Err(Error::TrailerLine);
                    }
                }
            }
        }
    }

    /// The line at `at`, which ends with CR LF and has at most `max` bytes with them. Moves behind
    /// it.
    fn line(&mut self, input: &[u8], max: usize) -> Result<Option<Range<usize>>, Error> {
        let (start, window) = (self.at, input.len().min(self.at + max));
        let from = self.scanned.clamp(start, window);
        let Some(offset) = memchr(b'\n', &input[from..window]) else {
            self.scanned = window;
            return match self.state {
                _ if window - start < max => Ok(None),
                State::Trailers => Err(Error::TrailersTooLong),
                _ => Err(Error::ChunkLineTooLong),
            };
        };
        let newline = from + offset;
        if newline == start || input[newline - 1] != b'\r' {
            return Err(Error::BareLf);
        }
        self.at = newline + 1;
        Ok(Some(start..newline - 1))
    }

    /// Reads a chunk's size line: hexadecimal digits, then extensions, which are dropped.
    fn size(&mut self, line: &[u8]) -> Result<State, Error> {
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let (digits, extensions) = line.split_at(digits);
        let sound = match extensions.trim_ascii_start() {
            [] => extensions.is_empty(),
            [first, ..] => *first == b';' && extensions.iter().all(|&byte| is_value(byte)),
        };
        if digits.is_empty() || digits.len() > SIZE_DIGITS_MAX || !sound {
            return Err(Error::ChunkSize);
        }
        let size = digits.iter().fold(0, |size, &digit| size << 4 | hex(digit));
        self.allowed = self.allowed.checked_sub(size).ok_or(Error::BodyTooLong)?;
        Ok(if size == 0 { State::Trailers } else { State::Data(size) })
    }
}

impl Decode for BodyDecoder {
    type Frame<'a> = Piece<'a>;
    type Error = Error;

    fn decode<'a>(&'a mut self, input: &'a mut [u8]) -> Result<Step<Piece<'a>>, Error> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let Some((range, last)) =
            self.parse(input).inspect_err(|&error| self.error = Some(error))?
        else {
            return Ok(Step::need(1));
        };
        (self.at, self.scanned) = (0, 0);
        let used = range.end;
        Ok(Step::Frame { frame: Piece { bytes: &mut input[range], last }, used })
    }
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// So many bytes of a body with a length are missing.
    Length(u64),
    /// A chunk's size line is next.
    Size,
    /// So many bytes of a chunk are missing.
    Data(u64),
    /// The line end behind a chunk is next.
    DataEnd,
    /// Header lines, or the empty line that ends the body.
    Trailers,
    Done,
}

/// How much of `missing` is there, and how much is left.
fn take(missing: u64, have: usize) -> (usize, u64) {
    let taken = usize::try_from(missing).unwrap_or(usize::MAX).min(have);
    (taken, missing - taken as u64)
}

fn is_field(line: &[u8]) -> bool {
    let name = line.iter().take_while(|&&byte| is_token(byte)).count();
    name > 0 && line.get(name) == Some(&b':') && line.iter().all(|&byte| is_value(byte))
}

fn hex(digit: u8) -> u64 {
    u64::from(match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body, how much of `input` it took, and whether it ended.
    fn read(body: Body, max: u64, input: &[u8]) -> Result<(Vec<u8>, usize, bool), Error> {
        let mut decoder = BodyDecoder::new(body, max);
        let (mut input, mut start, mut bytes) = (input.to_vec(), 0, Vec::new());
        loop {
            match decoder.decode(&mut input[start..])? {
                Step::Frame { frame, used } => {
                    bytes.extend_from_slice(frame.bytes);
                    start += used;
                    if frame.last {
                        assert!(decoder.is_done());
                        return Ok((bytes, start, true));
                    }
                }
                Step::Need(_) => return Ok((bytes, start, false)),
            }
        }
    }

    fn chunked(input: &[u8]) -> Result<(Vec<u8>, usize, bool), Error> {
        read(Body::Chunked, 100, input)
    }

    #[test]
    fn lengths() {
        assert_eq!(read(Body::None, 0, b"GET"), Ok((vec![], 0, true)));
        assert_eq!(read(Body::Length(0), 0, b"GET"), Ok((vec![], 0, true)));
        assert_eq!(read(Body::Length(3), 3, b"abcGET"), Ok((b"abc".to_vec(), 3, true)));
        assert_eq!(read(Body::Length(3), 3, b"ab"), Ok((b"ab".to_vec(), 2, false)));
        assert_eq!(read(Body::Length(4), 3, b""), Err(Error::BodyTooLong));
        assert_eq!(read(Body::Length(u64::MAX), u64::MAX, b"a"), Ok((b"a".to_vec(), 1, false)));
    }

    #[test]
    fn chunks_with_extensions_and_trailers() {
        let input = b"4\r\nWiki\r\n6;a=\"b\";c\r\npedia \r\n0E \t;x\r\nin \r\n\r\nchunks.\r\n\
                      000\r\nExpires: never\r\nX:\r\n\r\n";
        let whole = [&input[..], b"GET"].concat();
        let text = b"Wikipedia in \r\n\r\nchunks.".to_vec();
        assert_eq!(chunked(&whole), Ok((text, input.len(), true)));
        assert_eq!(chunked(b"0\r\n\r\n"), Ok((vec![], 5, true)));
        assert_eq!(chunked(b"0\r\n\r"), Ok((vec![], 0, false)));
    }

    #[test]
    fn doubtful_chunks_are_refused() {
        for line in
            ["", "g", "0x4", "-1", "+4", " 4", "4 ", "4 4", "4;\0", "4\rx", "12345678901234567"]
        {
            let input = format!("{line}\r\nabcd\r\n");
            assert_eq!(chunked(input.as_bytes()), Err(Error::ChunkSize), "{line:?}");
        }
        assert_eq!(chunked(b"4\nabcd"), Err(Error::BareLf));
        assert_eq!(chunked(b"4\r\nabcde\r\n"), Err(Error::ChunkEnd));
        assert_eq!(chunked(b"4\r\nabcd\n"), Err(Error::ChunkEnd));
        assert_eq!(chunked(b"4\r\nabcd\r\r"), Err(Error::ChunkEnd));
        for line in ["a", " a: b", "a : b", ": b", "a: \0"] {
            let input = format!("0\r\n{line}\r\n\r\n");
            assert_eq!(chunked(input.as_bytes()), Err(Error::TrailerLine), "{line:?}");
        }
    }

    #[test]
    fn limits() {
        assert_eq!(chunked(b"65\r\n"), Err(Error::BodyTooLong));
        assert_eq!(chunked(b"ffffffffffffffff\r\n"), Err(Error::BodyTooLong));
        let twice = b"63\r\n".iter().copied().chain([b'a'; 99]).chain(*b"\r\n2\r\n");
        assert_eq!(chunked(&twice.collect::<Vec<_>>()), Err(Error::BodyTooLong));
        assert_eq!(chunked(&[b'0'; CHUNK_LINE_BYTES_MAX]), Err(Error::ChunkLineTooLong));
        let trailers = [&b"0\r\n"[..], &b"a: b\r\n".repeat(TRAILER_BYTES_MAX / 6 + 1)].concat();
        assert_eq!(chunked(&trailers), Err(Error::TrailersTooLong));
        assert_eq!(Error::TrailersTooLong.status(), 431);
    }

    #[test]
    fn an_error_stays() {
        let mut decoder = BodyDecoder::new(Body::Chunked, 100);
        for input in [&b"x\r\n"[..], b"4\r\n"] {
            assert_eq!(decoder.decode(&mut input.to_vec()), Err(Error::ChunkSize));
        }
        assert!(!decoder.is_done());
    }
}
