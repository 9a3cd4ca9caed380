//! What the driver knows of each key.

use super::token::{Kind, Token};
use crate::Key;
use crate::bits::bit_set;
use crate::ready::datagram::DatagramSocket;
use crate::ready::listener::Listener;
use std::io;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

/// The sockets, in slots numbered by the loop's keys.
#[derive(Debug, Default)]
pub(super) struct Table {
    slots: Vec<Slot>,
    /// The tenancy of the latest socket: all sockets of a driver have different ones.
    tenancy: u32,
}

/// One place of the table, kept small: there is one per connection.
#[derive(Debug)]
pub(super) struct Slot {
    generation: u32,
    pub(super) tenancy: u32,
    pub(super) state: State,
    /// The number of the send under way, if [`State::SENDING`].
    pub(super) send: u32,
    pub(super) socket: Socket,
}

/// What stands in a slot. Listeners and datagram sockets are few and boxed.
#[derive(Debug)]
pub(super) enum Socket {
    Vacant,
    Tcp(TcpStream),
    Unix(UnixStream),
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
    /// The kernel receives, or accepts, for this socket.
    pub(super) const ARMED: Self = Self(1 << 1);
    /// The cancellation of that is on its way.
    pub(super) const CANCELLING: Self = Self(1 << 2);
    /// `eof` was delivered.
    pub(super) const ENDED: Self = Self(1 << 3);
    /// The kernel sends for this socket.
    pub(super) const SENDING: Self = Self(1 << 4);
    /// A `sent` is owed that no send under way will bring.
    pub(super) const WAITING: Self = Self(1 << 5);
    /// The handshake that `connect` started has not ended.
    pub(super) const CONNECTING: Self = Self(1 << 6);
    /// The kernel watches the socket for errors.
    pub(super) const WATCHED: Self = Self(1 << 7);
    /// The socket is given up as soon as the kernel is done with it.
    pub(super) const RELEASING: Self = Self(1 << 8);
    /// A send has failed; the end follows.
    pub(super) const BROKEN: Self = Self(1 << 9);
    /// The kernel tells when there is room for datagrams.
    pub(super) const POLLED: Self = Self(1 << 10);

    /// Whether the kernel does nothing for the socket, and is not about to.
    pub(super) const fn is_at_rest(self) -> bool {
        let of_streams = Self::ARMED.and(Self::WATCHED).and(Self::SENDING).and(Self::CONNECTING);
        !self.any(of_streams.and(Self::POLLED))
    }
}

impl Table {
    /// Refuses a key whose slot is taken, or has no place in a token.
    pub(super) fn check_vacant(&self, key: Key) -> io::Result<()> {
        if key.index() >= Token::INDEX_END as usize {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no token for this slot"));
        }
        match self.slots.get(key.index()) {
            Some(slot) if !matches!(slot.socket, Socket::Vacant) => {
                Err(io::Error::new(io::ErrorKind::AlreadyExists, "the slot of this key is taken"))
            }
            _ => Ok(()),
        }
    }

    /// Puts a socket into the vacant slot of `key`.
    pub(super) fn insert(&mut self, key: Key, socket: Socket, state: State) -> &mut Slot {
        let index = key.index();
        if index >= self.slots.len() {
            self.slots.resize_with(index + 1, Slot::vacant);
        }
        self.tenancy = self.tenancy.wrapping_add(1);
        let slot = &mut self.slots[index];
        let (generation, tenancy) = (key.generation(), self.tenancy);
        *slot = Slot { generation, tenancy, state, send: 0, socket };
        slot
    }

    /// The socket that the loop means. One that is being given up is the loop's no more.
    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Slot> {
        self.of_key(key).filter(|slot| !slot.state.has(State::RELEASING))
    }

    /// The socket of `key`, also one that is being given up.
    pub(super) fn of_key(&mut self, key: Key) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(key.index())?;
        let present = slot.generation == key.generation() && !matches!(slot.socket, Socket::Vacant);
        present.then_some(slot)
    }

    /// The socket that a completion is for, and its key; `None` if that has ended.
    pub(super) fn of_token(&mut self, token: Token) -> Option<(Key, &mut Slot)> {
        let slot = self.slots.get_mut(token.index as usize)?;
        let present = slot.tenancy == token.tenancy && !matches!(slot.socket, Socket::Vacant);
        present.then(|| (Key::new(token.index, slot.generation), slot))
    }

    /// Takes out what stands in a slot that is not vacant.
    pub(super) fn remove(&mut self, key: Key) -> Option<Slot> {
        let slot = self.of_key(key)?;
        Some(std::mem::replace(slot, Slot::vacant()))
    }
}

impl Slot {
    fn vacant() -> Self {
        Self { generation: 0, tenancy: 0, state: State::default(), send: 0, socket: Socket::Vacant }
    }

    /// The token of an operation of this slot.
    pub(super) fn token(&self, key: Key, kind: Kind) -> Token {
        Token { kind, index: key.index() as u32, tenancy: self.tenancy }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_small() {
        assert!(size_of::<Slot>() <= 32, "{}", size_of::<Slot>());
    }

    #[test]
    fn a_latecomer_finds_nobody() {
        let mut table = Table::default();
        let key = Key::new(3, 9);
        let socket = || Socket::Unix(UnixStream::pair().unwrap().0);
        let first = table.insert(key, socket(), State::default()).token(key, Kind::Receive);
        assert_eq!(table.of_token(first).unwrap().0, key);
        assert!(table.check_vacant(key).is_err());
        table.remove(key).unwrap();
        assert!(table.of_token(first).is_none() && table.remove(key).is_none());
        // Even the same key again is another tenant.
        let second = table.insert(key, socket(), State::default()).token(key, Kind::Receive);
        assert!(table.of_token(first).is_none());
        assert!(table.of_token(second).is_some());
    }
}
