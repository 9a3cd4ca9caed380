//! The driver: a loop's orders to the world, and what the world delivers.

mod deliver;
mod slot;
mod wake;

use crate::net::{Owner, Refusal, Sleep};
use crate::world::{Shared, lock};
use mainspring_io::{
    Addr, DatagramOutbox, Driver, DriverLimits, Key, ListenOptions, Outbox, OwnedStream,
    ReadBuffers, SendState, Sink, SocketOptions,
};
use slot::{DatagramSocket, Ending, Slot, Socket, StreamSocket};
use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

/// How many read buffers there are at most: few, so that runs meet the case that none is left.
const READ_BUFFERS: usize = 3;

/// A [`Driver`] over a [`World`](crate::World). Its `poll` never blocks.
///
/// # Panics
///
/// Orders that break the contract panic: a slot used again before its end was told, a send,
/// `shutdown` or `release` while a send is `Waiting`, an end that is ended again.
#[derive(Debug)]
pub struct SimDriver {
    net: Shared,
    index: usize,
    limits: DriverLimits,
    slots: BTreeMap<usize, Slot>,
    buffers: ReadBuffers,
}

impl SimDriver {
    pub(crate) fn new(net: Shared, index: usize, limits: DriverLimits) -> Self {
        let buffers = ReadBuffers::new(limits.read_buffer.max(1), READ_BUFFERS);
        Self { net, index, limits, slots: BTreeMap::new(), buffers }
    }

    /// The number of this driver in its world, counted from 0 in the order of making.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// The name given at its making.
    #[must_use]
    pub fn name(&self) -> String {
        lock(&self.net).mailboxes[self.index].name.clone()
    }

    fn owner(&self, key: Key) -> Owner {
        Owner::Driver { driver: self.index, key }
    }

    fn note(&self, what: &'static str, key: Key, bytes: &[u8]) {
        lock(&self.net).note(self.index, what, Some(key), bytes);
    }

    fn notify(&self, key: Key) {
        lock(&self.net).notify(self.owner(key));
    }

    fn check_vacant(&self, key: Key) {
        if let Some(slot) = self.slots.get(&key.index()) {
            panic!("D1: slot {key:?} is used before the end of {:?} was told", slot.key);
        }
    }

    fn insert(&mut self, key: Key, socket: Socket) {
        self.slots.insert(key.index(), Slot { key, ending: None, socket });
        self.notify(key);
    }

    /// The slot, if the order is for its present tenant and that has not ended.
    fn living(&mut self, key: Key) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(&key.index())?;
        (slot.key == key && slot.ending.is_none()).then_some(slot)
    }

    fn living_stream(&mut self, key: Key) -> Option<&mut StreamSocket> {
        match &mut self.living(key)?.socket {
            Socket::Stream(stream) => Some(stream),
            _ => None,
        }
    }

    fn end(&mut self, key: Key, ending: Ending) {
        if let Some(slot) = self.living(key) {
            slot.ending = Some(ending);
            self.notify(key);
        }
    }

    /// Takes the socket away from the network, in good order or not.
    fn drop_socket(&self, socket: &Socket, abort: bool) {
        let mut net = lock(&self.net);
        match socket {
            Socket::Listener { number, .. } => net.close_listener(*number),
            Socket::Datagram(datagram) => net.close_datagram(datagram.number),
            Socket::Stream(stream) if abort => net.abort(stream.number),
            Socket::Stream(stream) => net.close(stream.number),
        }
    }

    fn close_or_abort(&mut self, key: Key, abort: bool) {
        self.note(if abort { "abort" } else { "close" }, key, &[]);
        if let Some(slot) = self.slots.get(&key.index())
            && slot.key == key
        {
            self.drop_socket(&slot.socket, abort);
            self.end(key, Ending::Closed);
        }
    }

    /// Takes bytes as a completion ring does: all at once, to be reported later.
    fn take_into_flight(&mut self, key: Key, outbox: &mut Outbox) -> SendState {
        let Some(stream) = self.living_stream(key) else { return SendState::Waiting };
        while let Some(chunk) = outbox.pop() {
            stream.in_flight_bytes += chunk.remaining().len();
            stream.in_flight.push_back(chunk);
        }
        outbox.put_in_flight(stream.in_flight_bytes);
        stream.waiting = true;
        self.notify(key);
        SendState::Waiting
    }

    /// Sends as a readiness driver does: as much as fits, and waits for room if that was not all.
    fn send_what_fits(&mut self, key: Key, number: u64, outbox: &mut Outbox) -> SendState {
        let sent = self.write_all_that_fits(number, outbox);
        let error = match sent {
            Ok(()) => return SendState::Done,
            Err(error) => error,
        };
        if error.kind() != io::ErrorKind::WouldBlock {
            self.end(key, Ending::Failed(error));
            return SendState::Waiting;
        }
        if let Some(stream) = self.living_stream(key) {
            stream.waiting = true;
            // After a write cut short by chance the pipe has room already.
            self.notify(key);
        }
        SendState::Waiting
    }

    fn write_all_that_fits(&self, number: u64, outbox: &mut Outbox) -> io::Result<()> {
        let mut net = lock(&self.net);
        while outbox.queued() > 0 {
            let mut slices = [IoSlice::new(&[])];
            outbox.slices(&mut slices);
            let offered = slices[0].len();
            let count = net.write(number, &slices[0])?;
            outbox.advance(count);
            if count < offered {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        Ok(())
    }
}

impl Driver for SimDriver {
    fn now(&self) -> Instant {
        lock(&self.net).clock.now()
    }

    fn listen(&mut self, key: Key, at: &Addr, options: &ListenOptions) -> io::Result<Addr> {
        self.check_vacant(key);
        self.note("listen", key, &[]);
        let (number, bound) = lock(&self.net).listen(self.owner(key), at, options)?;
        self.insert(key, Socket::Listener { number, resting_until: None });
        Ok(bound)
    }

    fn bind(&mut self, key: Key, at: &Addr, options: &ListenOptions) -> io::Result<Addr> {
        self.check_vacant(key);
        self.note("bind", key, &[]);
        let (number, bound) = lock(&self.net).bind(self.owner(key), at, options)?;
        self.insert(key, Socket::Datagram(DatagramSocket::new(number)));
        Ok(bound)
    }

    fn connect(&mut self, key: Key, to: &Addr, _: &SocketOptions) -> io::Result<()> {
        self.check_vacant(key);
        self.note("connect", key, &[]);
        let number = lock(&self.net).connect(self.owner(key), to)?;
        self.insert(key, Socket::Stream(StreamSocket::connecting(number)));
        Ok(())
    }

    fn connect_datagram(
        &mut self,
        key: Key,
        to: &Addr,
        options: &ListenOptions,
    ) -> io::Result<Addr> {
        self.check_vacant(key);
        self.note("connect_datagram", key, &[]);
        let (number, local) = lock(&self.net).connect_datagram(self.owner(key), to, options)?;
        self.insert(key, Socket::Datagram(DatagramSocket::new(number)));
        Ok(local)
    }

    fn adopt(&mut self, key: Key, stream: OwnedStream) -> io::Result<()> {
        self.check_vacant(key);
        self.note("adopt", key, &[]);
        let OwnedStream::Simulated(stream) = stream else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let number = stream.number();
        let owner = self.owner(key);
        // A stream of another world is not known here; dropping it closes it there.
        match lock(&self.net).endpoint_mut(number) {
            Some(endpoint) if endpoint.owner == Owner::Loose => endpoint.owner = owner,
            _ => return Err(io::ErrorKind::NotFound.into()),
        }
        stream.forget();
        self.insert(key, Socket::Stream(StreamSocket::open(number)));
        Ok(())
    }

    fn release(&mut self, key: Key) {
        self.note("release", key, &[]);
        let Some(stream) = self.living_stream(key) else { return };
        assert!(!stream.waiting, "D6: release of {key:?} while a send is waiting");
        self.end(key, Ending::Released);
    }

    fn set_options(&mut self, key: Key, _: &SocketOptions) -> io::Result<()> {
        self.note("set_options", key, &[]);
        Ok(())
    }

    fn multicast(&mut self, key: Key, group: IpAddr, join: bool) -> io::Result<()> {
        self.note(if join { "join" } else { "leave" }, key, &[]);
        match self.living(key).map(|slot| &slot.socket) {
            Some(Socket::Datagram(datagram)) => {
                let number = datagram.number;
                lock(&self.net).multicast(number, group, join)
            }
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn recv_start(&mut self, key: Key) {
        self.note("recv_start", key, &[]);
        let Some(slot) = self.living(key) else { return };
        slot.socket.receive(true);
        self.notify(key);
    }

    fn recv_stop(&mut self, key: Key) {
        self.note("recv_stop", key, &[]);
        self.stop_receiving(key);
    }

    fn send(&mut self, key: Key, outbox: &mut Outbox) -> SendState {
        let before = outbox.queued();
        let Some(stream) = self.living_stream(key) else {
            return if outbox.is_empty() { SendState::Done } else { SendState::Waiting };
        };
        assert!(!stream.waiting, "D6: a second send for {key:?} before `sent`");
        let number = stream.number;
        if stream.is_connecting {
            stream.waiting = true;
            self.note("send", key, &[]);
            return SendState::Waiting;
        }
        if before == 0 {
            return SendState::Done;
        }
        let in_flight = {
            let mut net = lock(&self.net);
            net.dice.strikes(|f| f.completion_send, |c| &mut c.completion_sends)
        };
        let state = if in_flight {
            self.take_into_flight(key, outbox)
        } else {
            self.send_what_fits(key, number, outbox)
        };
        let taken = (before - outbox.queued()) as u64;
        self.note("send", key, &taken.to_le_bytes());
        state
    }

    fn send_datagrams(&mut self, key: Key, outbox: &mut DatagramOutbox) -> SendState {
        let net = Arc::clone(&self.net);
        let owner = self.owner(key);
        let Some(Slot { socket: Socket::Datagram(socket), .. }) = self.living(key) else {
            return if outbox.is_empty() { SendState::Done } else { SendState::Waiting };
        };
        assert!(!socket.waiting, "D6: a second send for {key:?} before `sent`");
        let mut net = lock(&net);
        let mut gone = 0;
        for (to, payload) in outbox.iter() {
            match net.send_datagram(socket.number, to, payload) {
                Ok(()) => {}
                Err(Refusal::Dropped(error)) => socket.dropped(error),
                Err(Refusal::Full) => {
                    socket.waiting = true;
                    break;
                }
            }
            gone += 1;
        }
        outbox.advance(gone);
        net.note(self.index, "send_datagrams", Some(key), &(gone as u64).to_le_bytes());
        net.notify(owner);
        if outbox.is_empty() { SendState::Done } else { SendState::Waiting }
    }

    fn shutdown(&mut self, key: Key) {
        self.note("shutdown", key, &[]);
        let Some(stream) = self.living_stream(key) else { return };
        assert!(!stream.waiting, "D6: shutdown of {key:?} while a send is waiting");
        let number = stream.number;
        lock(&self.net).shutdown_write(number);
    }

    fn close(&mut self, key: Key) {
        self.close_or_abort(key, false);
    }

    fn abort(&mut self, key: Key) {
        self.close_or_abort(key, true);
    }

    fn waker(&self) -> Waker {
        wake::waker(Arc::clone(&self.net), self.index)
    }

    /// Which numbers can be caught is that of Linux.
    fn catch_signal(&mut self, number: i32) -> io::Result<()> {
        const NEVER_CAUGHT: [i32; 5] = [4, 8, 9, 11, 19];
        if !(1..=64).contains(&number) || NEVER_CAUGHT.contains(&number) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        lock(&self.net).mailboxes[self.index].caught.insert(number);
        Ok(())
    }

    fn poll(&mut self, timeout: Option<Duration>, sink: &mut impl Sink) -> io::Result<()> {
        self.turn(timeout, sink);
        Ok(())
    }
}

impl Drop for SimDriver {
    /// As when a process dies: the kernel closes what it held.
    fn drop(&mut self) {
        for slot in self.slots.values() {
            self.drop_socket(&slot.socket, false);
        }
        lock(&self.net).mailboxes[self.index].sleep = Sleep::Gone;
    }
}
