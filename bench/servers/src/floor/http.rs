//! A fixed reply for each empty line: heads are not parsed, bodies are not known.

use super::answer::{Answer, Reply};
use crate::{BUFFER_SIZE, HTTP_REPLY};

/// The end of a head.
const END: &[u8] = b"\r\n\r\n";

/// Replies one after another, as many as a full buffer can ask for.
pub(super) struct Http {
    replies: &'static [u8],
}

impl Http {
    pub(super) fn new() -> Self {
        Self { replies: HTTP_REPLY.repeat(BUFFER_SIZE / END.len() + 1).leak() }
    }
}

impl Answer for Http {
    /// How many bytes of the end have been seen at the end of what came.
    type State = usize;

    fn answer(&mut self, seen: &mut usize, input: &[u8], _out: &mut Vec<u8>) -> Reply {
        let count = heads(seen, input);
        Reply::Constant(&self.replies[..count * HTTP_REPLY.len()])
    }
}

/// Counts the heads that end in `input`.
pub(crate) fn heads(seen: &mut usize, input: &[u8]) -> usize {
    let mut count = 0;
    let mut rest = input;
    // An end that was cut in two.
    while *seen > 0 && !rest.is_empty() {
        if rest[0] == END[*seen] {
            rest = &rest[1..];
            *seen += 1;
            if *seen == END.len() {
                *seen = 0;
                count = 1;
            }
        } else {
            *seen = 0;
        }
    }
    if *seen > 0 {
        return count;
    }
    let mut after = 0;
    for at in memchr::memmem::find_iter(rest, END) {
        count += 1;
        after = at + END.len();
    }
    *seen = (1..END.len()).rev().find(|n| rest[after..].ends_with(&END[..*n])).unwrap_or(0);
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_counted_across_any_two_cuts() {
        let stream = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for first in 0..=stream.len() {
            for second in first..=stream.len() {
                let mut seen = 0;
                let count = heads(&mut seen, &stream[..first])
                    + heads(&mut seen, &stream[first..second])
                    + heads(&mut seen, &stream[second..]);
                assert_eq!((count, seen), (2, 0), "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn a_broken_end_is_no_end() {
        let mut seen = 0;
        assert_eq!(heads(&mut seen, b"a\r\n\r"), 0);
        assert_eq!(seen, 3);
        assert_eq!(heads(&mut seen, b"\r\n"), 0);
        assert_eq!(seen, 2, "the line feed after the second return begins an end");
        assert_eq!(heads(&mut seen, b"\r\n"), 1);
    }
}
