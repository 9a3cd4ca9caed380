//! A datagram socket inside a callback.

use crate::conn::slot::{DatagramSlot, NO_LISTENER, Slot};
use crate::state::LoopState;
use crate::turn::order::Order;
use crate::{ConnId, Cx, Full};
use mainspring_io::{Addr, Key};
use std::net::IpAddr;

/// A datagram socket, for the length of one callback.
///
/// What is queued leaves after the turn, many datagrams in one system call where the kernel can.
pub struct Datagram<'a> {
    pub(crate) state: &'a mut LoopState,
    pub(crate) key: Key,
    /// Who sent the datagram that the callback is about.
    pub(crate) from: Option<&'a Addr>,
}

impl Datagram<'_> {
    /// The name of the socket; see [`Cx::datagram`].
    #[must_use]
    pub fn id(&self) -> ConnId {
        self.state.id_of(self.key)
    }

    /// The bound address.
    #[must_use]
    pub fn local(&mut self) -> &Addr {
        &self.slot().local
    }

    /// Which of [`ServerInfo::addrs`](crate::ServerInfo::addrs) it is; `None` for a dialled socket.
    #[must_use]
    pub fn listener(&mut self) -> Option<usize> {
        let listener = self.slot().listener;
        (listener != NO_LISTENER).then_some(listener.into())
    }

    /// The rest of the loop.
    #[must_use]
    pub fn cx(&mut self) -> Cx<'_> {
        let host = self.slot().host;
        Cx { state: self.state, host }
    }

    /// Answers the datagram that the callback is about; outside of one, or on a dialled socket,
    /// sends to the peer.
    ///
    /// # Errors
    ///
    /// [`Full`] if [`Limits::datagrams_max`](crate::Limits::datagrams_max) is reached; the datagram
    /// is dropped and counted.
    pub fn reply(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let to = if self.slot().peer.is_some() { None } else { self.from.cloned() };
        self.queue(to, bytes)
    }

    /// Sends to any address. On a dialled socket the peer gets it, whatever `to` says.
    ///
    /// # Errors
    ///
    /// As for [`reply`](Datagram::reply).
    pub fn send_to(&mut self, to: &Addr, bytes: &[u8]) -> Result<(), Full> {
        let to = self.slot().peer.is_none().then(|| to.clone());
        self.queue(to, bytes)
    }

    /// Joins (`true`) or leaves a multicast group. A refusal is logged.
    pub fn multicast(&mut self, group: IpAddr, join: bool) {
        self.state.order(Order::Multicast { key: self.key, group, join });
    }

    /// Closes the socket after this turn.
    pub fn close(&mut self) {
        self.state.order(Order::CloseSocket { key: self.key });
    }

    fn queue(&mut self, to: Option<Addr>, bytes: &[u8]) -> Result<(), Full> {
        let state = &mut *self.state;
        let limit = state.limits.datagrams_max;
        let Some(Slot::Datagram(slot)) = state.slots.get_mut(self.key) else {
            unreachable!("a socket lives as long as its callback");
        };
        if !slot.outbox.is_empty() && slot.outbox.bytes() + bytes.len() > limit {
            state.counters.dropped_datagrams_full.add(1);
            return Err(Full);
        }
        slot.outbox.push(to, bytes);
        state.outgoing.note_output(self.key, &mut slot.flags, slot.host);
        Ok(())
    }

    fn slot(&mut self) -> &mut DatagramSlot {
        self.state.datagram(self.key).expect("a socket lives as long as its callback")
    }
}
