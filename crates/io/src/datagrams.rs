//! Datagrams on their way out of one socket.

use crate::Addr;

/// The datagrams that a socket has still to send, in order, payloads in one buffer.
///
/// They leave in as few system calls as the kernel allows. The memory is kept for the socket's
/// life: a process has few datagram sockets, and each is busy or closed.
#[derive(Debug, Default)]
pub struct DatagramOutbox {
    payloads: Vec<u8>,
    heads: Vec<Head>,
    sent: usize,
    sent_bytes: usize,
}

#[derive(Debug)]
struct Head {
    to: Option<Addr>,
    len: usize,
}

impl DatagramOutbox {
    /// An empty outbox.
    #[must_use]
    pub const fn new() -> Self {
        Self { payloads: Vec::new(), heads: Vec::new(), sent: 0, sent_bytes: 0 }
    }

    /// Queues one datagram, empty ones included. `to` is `None` on a connected socket.
    pub fn push(&mut self, to: Option<Addr>, payload: &[u8]) {
        self.payloads.extend_from_slice(payload);
        self.heads.push(Head { to, len: payload.len() });
    }

    /// How many datagrams are queued.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heads.len() - self.sent
    }

    /// Whether none is queued.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The payload bytes queued.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.payloads.len() - self.sent_bytes
    }

    /// The queued datagrams from the front.
    pub fn iter(&self) -> impl Iterator<Item = (Option<&Addr>, &[u8])> {
        let mut rest = &self.payloads[self.sent_bytes..];
        self.heads[self.sent..].iter().map(move |head| {
            let (payload, behind) = rest.split_at(head.len);
            rest = behind;
            (head.to.as_ref(), payload)
        })
    }

    /// Drops the first `count` datagrams: they have left, or the driver gave them up.
    ///
    /// # Panics
    ///
    /// If fewer are queued.
    pub fn advance(&mut self, count: usize) {
        let gone = &self.heads[self.sent..self.sent + count];
        self.sent_bytes += gone.iter().map(|head| head.len).sum::<usize>();
        self.sent += count;
        if self.is_empty() {
            self.payloads.clear();
            self.heads.clear();
            (self.sent, self.sent_bytes) = (0, 0);
        } else if self.sent_bytes > self.payloads.len() / 2 {
            self.payloads.drain(..self.sent_bytes);
            self.heads.drain(..self.sent);
            (self.sent, self.sent_bytes) = (0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_boundaries_empty_datagrams_included() {
        let mut outbox = DatagramOutbox::new();
        for payload in [&b"one"[..], b"", b"three", b"4"] {
            outbox.push(None, payload);
        }
        assert_eq!((outbox.len(), outbox.bytes()), (4, 9));
        outbox.advance(1);
        let rest: Vec<&[u8]> = outbox.iter().map(|(_, payload)| payload).collect();
        assert_eq!(rest, [&b""[..], b"three", b"4"]);
        outbox.advance(2);
        assert_eq!((outbox.len(), outbox.bytes()), (1, 1));
        outbox.advance(1);
        assert!(outbox.is_empty() && outbox.payloads.is_empty());
    }
}
