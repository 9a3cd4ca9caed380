//! Peers that a test plays by hand.

use crate::net::{Owner, Phase};
use crate::world::{Shared, lock};
use mainspring_io::Addr;
use std::io;

/// One end of a connection, in the hands of a script. Dropping it closes it.
///
/// Nothing waits: a call says what is so at the world's present time.
#[derive(Debug)]
pub struct SimPeer {
    net: Shared,
    number: u64,
}

impl SimPeer {
    pub(crate) fn new(net: Shared, number: u64) -> Self {
        Self { net, number }
    }

    /// Sends what fits, and returns how many bytes that were: 0 before the connection is up, while
    /// the driver's side does not read, and after the end.
    pub fn send(&mut self, bytes: &[u8]) -> usize {
        let mut net = lock(&self.net);
        let mut sent = 0;
        while sent < bytes.len()
            && let Ok(count) = net.write(self.number, &bytes[sent..])
        {
            sent += count;
        }
        if sent > 0 && net.dice.strikes(|f| f.half_close, |c| &mut c.half_closes) {
            net.shutdown_write(self.number);
        }
        sent
    }

    /// Takes up to `buffer.len()` of the received bytes, and returns how many.
    pub fn recv(&mut self, buffer: &mut [u8]) -> usize {
        let mut net = lock(&self.net);
        let Some(endpoint) = net.endpoint_mut(self.number) else { return 0 };
        let count = endpoint.collected.len().min(buffer.len());
        buffer[..count].copy_from_slice(&endpoint.collected[..count]);
        endpoint.collected.drain(..count);
        count
    }

    /// Takes all bytes received so far.
    pub fn take_received(&mut self) -> Vec<u8> {
        let mut net = lock(&self.net);
        let endpoint = net.endpoint_mut(self.number);
        endpoint.map(|endpoint| std::mem::take(&mut endpoint.collected)).unwrap_or_default()
    }

    /// Ends this direction; receiving goes on.
    pub fn shutdown_write(&mut self) {
        lock(&self.net).shutdown_write(self.number);
    }

    /// Resets the connection.
    pub fn reset(&mut self) {
        lock(&self.net).abort(self.number);
    }

    /// Closes in good order; unread bytes turn that into a reset, as in a kernel.
    pub fn close(&mut self) {
        lock(&self.net).close(self.number);
    }

    /// Leaves what arrives unread, so that the other side's window fills.
    pub fn stop_reading(&mut self) {
        lock(&self.net).set_reading(self.number, false);
    }

    /// Reads what has arrived and what will.
    pub fn resume_reading(&mut self) {
        lock(&self.net).set_reading(self.number, true);
    }

    /// Whether the handshake is done and the connection neither closed here nor reset.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        let net = lock(&self.net);
        let open = net.endpoint(self.number);
        open.is_some_and(|endpoint| endpoint.phase == Phase::Open && !endpoint.reset)
    }

    /// Whether the handshake failed because nobody listens.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.connect_error() == Some(io::ErrorKind::ConnectionRefused)
    }

    /// Why the handshake failed, if it did.
    #[must_use]
    pub fn connect_error(&self) -> Option<io::ErrorKind> {
        match lock(&self.net).endpoint(self.number)?.phase {
            Phase::ConnectFailed(kind) => Some(kind),
            Phase::Connecting | Phase::Open => None,
        }
    }

    /// Whether the other side's end has arrived and every byte before it was read.
    #[must_use]
    pub fn eof(&self) -> bool {
        let net = lock(&self.net);
        let endpoint = net.endpoint(self.number);
        endpoint.is_some_and(|endpoint| endpoint.fin && endpoint.received.is_empty())
    }

    /// Whether the connection was reset under this peer.
    #[must_use]
    pub fn reset_seen(&self) -> bool {
        lock(&self.net).endpoint(self.number).is_some_and(|endpoint| endpoint.reset)
    }

    /// Whether this peer has ended its direction, or [a fault](crate::Faults::half_close) did.
    #[must_use]
    pub fn write_ended(&self) -> bool {
        lock(&self.net).endpoint(self.number).is_none_or(|endpoint| endpoint.write_shut)
    }

    /// The address of this end, `None` once closed.
    #[must_use]
    pub fn local_addr(&self) -> Option<Addr> {
        lock(&self.net).endpoint(self.number).map(|endpoint| endpoint.local.clone())
    }

    /// The address of the other end, `None` once closed.
    #[must_use]
    pub fn peer_addr(&self) -> Option<Addr> {
        lock(&self.net).endpoint(self.number).map(|endpoint| endpoint.peer.clone())
    }
}

impl Drop for SimPeer {
    fn drop(&mut self) {
        self.close();
    }
}

/// A listening socket in the hands of a script. Dropping it closes it.
#[derive(Debug)]
pub struct SimListener {
    net: Shared,
    number: u64,
    local: Addr,
}

impl SimListener {
    pub(crate) fn new(net: Shared, number: u64, local: Addr) -> Self {
        Self { net, number, local }
    }

    /// The address that it listens at.
    #[must_use]
    pub fn local_addr(&self) -> &Addr {
        &self.local
    }

    /// The oldest connection that waits, if any.
    pub fn accept(&mut self) -> Option<SimPeer> {
        let mut net = lock(&self.net);
        let number = net.accept(self.number)?;
        if let Some(endpoint) = net.endpoint_mut(number) {
            endpoint.owner = Owner::Script;
        }
        net.set_reading(number, true);
        Some(SimPeer::new(self.net.clone(), number))
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        lock(&self.net).close_listener(self.number);
    }
}

/// A datagram socket in the hands of a script. Dropping it closes it.
#[derive(Debug)]
pub struct SimDatagramPeer {
    net: Shared,
    number: u64,
    local: Addr,
}

impl SimDatagramPeer {
    pub(crate) fn new(net: Shared, number: u64, local: Addr) -> Self {
        Self { net, number, local }
    }

    /// The address that it is bound to.
    #[must_use]
    pub fn local_addr(&self) -> &Addr {
        &self.local
    }

    /// Sends one datagram, and returns whether it left; it may still be lost.
    pub fn send_to(&mut self, to: &Addr, payload: &[u8]) -> bool {
        lock(&self.net).send_datagram(self.number, Some(to), payload).is_ok()
    }

    /// The next datagram received and where it came from.
    pub fn receive(&mut self) -> Option<(Addr, Vec<u8>)> {
        lock(&self.net).receive_datagram(self.number)
    }
}

impl Drop for SimDatagramPeer {
    fn drop(&mut self) {
        lock(&self.net).close_datagram(self.number);
    }
}
