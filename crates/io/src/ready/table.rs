//! What the driver knows of each key.

use super::datagram::DatagramSocket;
use super::listener::Listener;
use super::stream::StreamSocket;
use crate::Key;
use crate::bits::bit_set;
use mio::Token;
use std::io;

/// The sockets, in slots numbered by the loop's keys.
#[derive(Debug, Default)]
pub(super) struct Table {
    slots: Vec<Slot>,
}

/// One place of the table, kept small: there is one per connection.
#[derive(Debug)]
pub(super) struct Slot {
    generation: u32,
    pub(super) state: State,
    pub(super) socket: Socket,
}

/// What stands in a slot. Listeners and datagram sockets are few and boxed.
#[derive(Debug)]
pub(super) enum Socket {
    Vacant,
    Stream(StreamSocket),
    Listener(Box<Listener>),
    Datagram(Box<DatagramSocket>),
}

bit_set! {
    /// What the driver remembers of a socket, as bits.
    State
}

impl State {
    /// The loop wants to receive.
    pub(super) const RECEIVING: Self = Self(1);
    /// The kernel announced something to read that has not been read to its end.
    pub(super) const READABLE: Self = Self(1 << 1);
    /// The peer has finished or gone: what is there must be read until the end shows.
    pub(super) const HANGUP: Self = Self(1 << 2);
    /// The kernel holds an error for the socket.
    pub(super) const ERROR: Self = Self(1 << 3);
    /// `eof` was delivered.
    pub(super) const ENDED: Self = Self(1 << 4);
    /// A `sent` is owed.
    pub(super) const WAITING: Self = Self(1 << 5);
    /// The `sent` that is owed is due.
    pub(super) const WRITABLE: Self = Self(1 << 6);
    /// The handshake that `connect` started has not ended.
    pub(super) const CONNECTING: Self = Self(1 << 7);
    /// The key stands in the queue.
    pub(super) const QUEUED: Self = Self(1 << 8);
    /// A listener that could not accept and waits before it tries again.
    pub(super) const RESTING: Self = Self(1 << 9);
}

impl State {
    /// What an event says, if the socket is to hear all of it.
    pub(super) fn told(readable: bool, read_closed: bool, writable: bool, error: bool) -> Self {
        let mut told = Self::default();
        if writable || error {
            told.set(Self::WRITABLE);
        }
        if readable || read_closed || error {
            told.set(Self::READABLE);
        }
        if read_closed || error {
            told.set(Self::HANGUP);
        }
        if error {
            told.set(Self::ERROR);
        }
        told
    }

    /// Takes in what an event has [told](Self::told): after the end there is nothing to read, and
    /// room to write is of use only to who waits for it.
    #[inline(always)]
    pub(super) fn take_in(&mut self, mut told: Self) {
        if self.has(Self::ENDED) {
            told.clear(Self::READABLE.and(Self::HANGUP));
        }
        if !self.has(Self::WAITING) {
            told.clear(Self::WRITABLE);
        }
        self.set(told);
    }
}

impl Table {
    /// Refuses a key whose slot is taken: two sockets must not share a token.
    pub(super) fn check_vacant(&self, key: Key) -> io::Result<()> {
        match self.slots.get(key.index()) {
            Some(slot) if !matches!(slot.socket, Socket::Vacant) => {
                Err(io::Error::new(io::ErrorKind::AlreadyExists, "the slot of this key is taken"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn insert(&mut self, key: Key, socket: Socket, state: State) {
        let index = key.index();
        if index >= self.slots.len() {
            self.slots.resize_with(index + 1, Slot::vacant);
        }
        self.slots[index] = Slot { generation: key.generation(), state, socket };
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(key.index())?;
        let known = slot.generation == key.generation() && !matches!(slot.socket, Socket::Vacant);
        known.then_some(slot)
    }

    /// The socket that an event is for, and its key.
    ///
    /// Where a token has 32 bits it holds no generation. An event that comes late for an earlier
    /// tenant is then a spurious one for the present tenant, which does no harm.
    #[inline(always)]
    pub(super) fn of_token(&mut self, token: Token) -> Option<(Key, &mut Slot)> {
        let key = Key::from_bits(token.0 as u64);
        let slot = self.slots.get_mut(key.index())?;
        if usize::BITS >= 64 && slot.generation != key.generation() {
            return None;
        }
        let key = Key::new(key.index() as u32, slot.generation);
        (!matches!(slot.socket, Socket::Vacant)).then_some((key, slot))
    }

    /// Takes the socket of `key` out.
    pub(super) fn remove(&mut self, key: Key) -> Option<(Socket, State)> {
        let slot = self.get_mut(key)?;
        Some((std::mem::replace(&mut slot.socket, Socket::Vacant), slot.state))
    }
}

impl Slot {
    fn vacant() -> Self {
        Self { generation: 0, state: State::default(), socket: Socket::Vacant }
    }

    /// Whether it has something to do.
    pub(super) fn is_due(&self) -> bool {
        self.state.has(State::RECEIVING.and(State::READABLE))
            || self.state.any(State::ERROR.and(State::WRITABLE).and(State::CONNECTING))
            || matches!(self.socket, Socket::Listener(_)) && !self.state.has(State::RESTING)
    }
}

/// The token under which the poller carries `key`.
pub(super) fn token_of(key: Key) -> Token {
    Token(key.to_bits() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(not(debug_assertions))]
    fn a_slot_is_small() {
        assert!(size_of::<Slot>() <= 32, "{}", size_of::<Slot>());
    }

    #[test]
    fn bits_do_not_overlap() {
        let all = [
            State::RECEIVING,
            State::READABLE,
            State::HANGUP,
            State::ERROR,
            State::ENDED,
            State::WAITING,
            State::WRITABLE,
            State::CONNECTING,
            State::QUEUED,
            State::RESTING,
        ];
        let mut union = State::default();
        for bits in all {
            assert!(!union.any(bits), "{bits:?}");
            union.set(bits);
            assert!(union.has(bits));
        }
    }
}
