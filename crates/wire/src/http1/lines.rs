//! The lines of a head: a request line, and header fields.
//!
//! Both are read in one pass from the front of whatever has come. What has not come in full and
//! what is wrong look the same here; [`fault`] tells the two apart.

use std::ops::Range;

use memchr::memchr;

use super::Error;
use super::fields::is_token;

/// `GET / HTTP/1.1`, as offsets from the start of the line.
pub(super) struct RequestLine {
    pub(super) method: Range<usize>,
    pub(super) target: Range<usize>,
    pub(super) minor: u8,
    /// Its length with its end.
    pub(super) used: usize,
}

/// `Host: a`, as offsets from the start of the line.
pub(super) struct FieldLine {
    pub(super) name: Range<usize>,
    /// Without the spaces around it.
    pub(super) value: Range<usize>,
    /// Its length with its end.
    pub(super) used: usize,
}

impl RequestLine {
    /// The line at the front of `text`, if it is whole and sound: a token, a target and a version
    /// with one space between them (RFC 9112, 3), and CR LF.
    #[inline]
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let method = token_len(text);
        let start = method + 1;
        let rest = text.get(start..)?;
        if method == 0 || text[method] != b' ' {
            return None;
        }
        let target = span::<b'!'>(rest);
        let behind: &[u8; 11] = rest.get(target..)?.first_chunk()?;
        let minor = if behind == b" HTTP/1.1\r\n" {
            1
        } else if behind == b" HTTP/1.0\r\n" {
            0
        } else {
            return None;
        };
        let characters = &rest[..target];
        let sound = characters.is_ascii() || std::str::from_utf8(characters).is_ok();
        if target == 0 || !sound {
            return None;
        }
        let end = start + target;
        Some(Self { method: 0..method, target: start..end, minor, used: end + behind.len() })
    }
}

impl FieldLine {
    /// The line at the front of `text`, if it is whole and sound: a token, a colon directly behind
    /// it, a value (RFC 9112, 5), and CR LF.
    #[inline]
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let name = token_len(text);
        if name == 0 || text.get(name) != Some(&b':') {
            return None;
        }
        let mut start = name + 1;
        while matches!(text.get(start), Some(b' ' | b'\t')) {
            start += 1;
        }
        let mut end = start;
        let used = loop {
            end += span::<b' '>(&text[end..]);
            match text[end..] {
                [b'\r', b'\n', ..] => break end + 2,
                [b'\t', ..] => end += 1,
                _ => return None,
            }
        };
        if end > start {
            // Not beyond the first byte, which is no space.
            while matches!(text[end - 1], b' ' | b'\t') {
                end -= 1;
            }
        }
        Some(Self { name: 0..name, value: start..end, used })
    }
}

/// Why no line could be read from `text`, in which a request line or a field begins; `Ok` if its
/// end has not come. It depends on the line alone, not on how much has come behind it.
#[cold]
pub(super) fn fault(text: &[u8], is_request: bool) -> Result<(), Error> {
    let Some(newline) = memchr(b'\n', text) else { return Ok(()) };
    let [line @ .., b'\r'] = &text[..newline] else { return Err(Error::BareLf) };
    Err(match line {
        [b' ' | b'\t', ..] if !is_request => Error::FoldedLine,
        _ if !is_request => Error::FieldLine,
        _ if names_another_version(line) => Error::VersionUnsupported,
        _ => Error::RequestLine,
    })
}

/// Whether a request line would be sound if its last word, `HTTP/2.0`, were a version that is known.
fn names_another_version(line: &[u8]) -> bool {
    let [front @ .., b'H', b'T', b'T', b'P', b'/', major, b'.', minor] = line else { return false };
    let known = [front, b"HTTP/1.1\r\n"].concat();
    major.is_ascii_digit() && minor.is_ascii_digit() && RequestLine::read(&known).is_some()
}

/// How many bytes at the front of `text` are of a token.
#[inline]
fn token_len(text: &[u8]) -> usize {
    let mut at = 0;
    // Four at a time, for one check of the bounds.
    while let Some(four) = text[at..].first_chunk::<4>() {
        match four.map(is_token) {
            [true, true, true, true] => at += 4,
            [true, true, true, false] => return at + 3,
            [true, true, false, _] => return at + 2,
            [true, false, ..] => return at + 1,
            [false, ..] => return at,
        }
    }
    at + text[at..].iter().take_while(|&&byte| is_token(byte)).count()
}

/// How many bytes at the front of `text` are `LEAST` or above, and not DEL.
#[inline]
fn span<const LEAST: u8>(text: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    let mut at = 0;
    // Eight at a time: `word - ONES * n` borrows into the high bit of each byte below n, and of no
    // byte before the first of them. Those of 0x80 and above, whose high bit was set, are not meant.
    while let Some(bytes) = text[at..].first_chunk() {
        let word = u64::from_le_bytes(*bytes);
        let del = word ^ (ONES * 0x7f);
        let below = word.wrapping_sub(ONES * u64::from(LEAST)) & !word;
        let found = (below | (del.wrapping_sub(ONES) & !del)) & HIGHS;
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let rest = text[at..].iter().position(|&byte| byte < LEAST || byte == 0x7f);
    rest.map_or(text.len(), |offset| at + offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_end_at_the_first_byte_that_is_not_meant() {
        for length in 0..20 {
            for place in 0..=length {
                for byte in 0..=255 {
                    let mut text = vec![b'a'; length];
                    if place < length {
                        text[place] = byte;
                    }
                    let meant = |least: u8| {
                        text.iter().take_while(|&&byte| byte >= least && byte != 0x7f).count()
                    };
                    assert_eq!(span::<b' '>(&text), meant(b' '), "{text:?}");
                    assert_eq!(span::<b'!'>(&text), meant(b'!'), "{text:?}");
                }
            }
        }
    }
}
