//! Protocols whose reply is known byte for byte: echo, and RESP commands on keys that are set.

use crate::engine::{Protocol, Taken};

/// Sends one of `requests`, wants `reply`.
#[derive(Debug)]
pub(crate) struct Fixed {
    requests: Requests,
    reply: Vec<u8>,
}

#[derive(Debug)]
enum Requests {
    Same(Vec<u8>),
    /// All of one length, one after another; which one is next is random.
    OneOf {
        all: Vec<u8>,
        length: usize,
        random: fastrand::Rng,
    },
}

impl Fixed {
    /// `size` bytes that come back as they are.
    pub(crate) fn echo(size: usize, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let message: Vec<u8> = (0..size).map(|_| random.alphanumeric() as u8).collect();
        Self { requests: Requests::Same(message.clone()), reply: message }
    }

    /// A frame of `size` bytes that comes back as it is: its length as a varint, then the bytes.
    pub(crate) fn framed(size: usize, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut frame, mut length) = (Vec::new(), size);
        while length > 0x7f {
            frame.push(0x80 | (length & 0x7f) as u8);
            length >>= 7;
        }
        frame.push(length as u8);
        frame.extend((0..size).map(|_| random.alphanumeric() as u8));
        Self { requests: Requests::Same(frame.clone()), reply: frame }
    }

    pub(crate) fn same(request: Vec<u8>, reply: Vec<u8>) -> Self {
        Self { requests: Requests::Same(request), reply }
    }

    /// Requests of `length` bytes each, chosen at random.
    pub(crate) fn one_of(all: Vec<u8>, length: usize, reply: Vec<u8>, seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        Self { requests: Requests::OneOf { all, length, random }, reply }
    }
}

impl Protocol for Fixed {
    fn request(&mut self, out: &mut Vec<u8>) {
        match &mut self.requests {
            Requests::Same(bytes) => out.extend_from_slice(bytes),
            Requests::OneOf { all, length, random } => {
                let at = random.usize(..all.len() / *length) * *length;
                out.extend_from_slice(&all[at..at + *length]);
            }
        }
    }

    /// `progress` is how much of the reply has come; so nothing is ever carried over.
    fn replies(&mut self, progress: &mut usize, input: &[u8]) -> Result<Taken, String> {
        let mut rest = input;
        let mut replies = 0;
        while !rest.is_empty() {
            let wanted = &self.reply[*progress..];
            let length = wanted.len().min(rest.len());
            if rest[..length] != wanted[..length] {
                return Err(format!("wanted `{}`, found `{}`", excerpt(wanted), excerpt(rest)));
            }
            rest = &rest[length..];
            *progress += length;
            if *progress == self.reply.len() {
                *progress = 0;
                replies += 1;
            }
        }
        Ok(Taken { used: input.len(), replies })
    }
}

/// The beginning of bytes from a peer, fit for a terminal.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    const SHOWN_MAX: usize = 60;
    let dots = if bytes.len() > SHOWN_MAX { ".." } else { "" };
    format!("{}{dots}", bytes[..bytes.len().min(SHOWN_MAX)].escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_counted_across_any_cut() {
        let mut protocol = Fixed::same(b"ab".to_vec(), b"+PONG\r\n".to_vec());
        let stream = b"+PONG\r\n+PONG\r\n+PONG\r\n";
        for cut in 0..stream.len() {
            let mut progress = 0;
            let first = protocol.replies(&mut progress, &stream[..cut]).unwrap();
            let second = protocol.replies(&mut progress, &stream[cut..]).unwrap();
            assert_eq!(first.replies + second.replies, 3, "cut at {cut}");
            assert_eq!((first.used, progress), (cut, 0));
        }
    }

    #[test]
    fn a_wrong_byte_is_told_with_what_was_wanted() {
        let mut protocol = Fixed::same(b"ab".to_vec(), b"+PONG\r\n".to_vec());
        let error = protocol.replies(&mut 0, b"+PONG\r\n-ERR no\r\n").unwrap_err();
        assert_eq!(error, r"wanted `+PONG\r\n`, found `-ERR no\r\n`");
    }

    #[test]
    fn a_frame_has_its_length_in_front() {
        for (size, prefix) in [(0, &[0][..]), (127, &[127]), (1024, &[0x80, 8])] {
            let mut out = Vec::new();
            Fixed::framed(size, 1).request(&mut out);
            assert!(out.starts_with(prefix) && out.len() == prefix.len() + size, "{size}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_message() {
        let message = |seed| {
            let mut out = Vec::new();
            Fixed::echo(64, seed).request(&mut out);
            out
        };
        assert_eq!(message(7), message(7));
        assert_ne!(message(7), message(8));
        assert_eq!(message(7).len(), 64);
    }
}
