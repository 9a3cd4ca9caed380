//! Connections: two endpoints and a pipe each way.
//!
//! A pipe is what is under way to an endpoint plus what the endpoint has received and not read.
//! Both count against the sender's window, so a reader that stops slows its sender down.

use super::{Event, Net, Owner};
use mainspring_io::Addr;
use std::collections::VecDeque;
use std::io;
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) owner: Owner,
    pub(crate) phase: Phase,
    pub(crate) local: Addr,
    pub(crate) peer: Addr,
    /// The number of the other end; unknown until connected.
    pub(crate) other: Option<u64>,
    /// Arrived and not read.
    pub(crate) received: VecDeque<u8>,
    /// The other end will send nothing after what is in `received`.
    pub(crate) fin: bool,
    pub(crate) reset: bool,
    /// How many bytes may still be sent before the other end reads.
    pub(crate) window: usize,
    pub(crate) write_shut: bool,
    /// Scripted peers only: whether arriving bytes are read at once.
    pub(crate) reading: bool,
    /// Scripted peers only: what was read.
    pub(crate) collected: Vec<u8>,
    /// Nothing sent later may arrive before this.
    pipe_due: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Connecting,
    Open,
    ConnectFailed(io::ErrorKind),
}

#[derive(Debug)]
pub(crate) enum Segment {
    Data(Vec<u8>),
    Fin,
    Reset,
}

/// Orders.
impl Net {
    /// Starts a handshake. Whether it succeeds shows in the endpoint's [`Phase`].
    pub(crate) fn connect(&mut self, owner: Owner, to: &Addr) -> io::Result<u64> {
        self.check_destination(to)?;
        let local = self.local_address_towards(to)?;
        let number = self.new_endpoint(owner, local, to.clone());
        let due = self.arrival();
        if self.dice.strikes(|f| f.connect_failure, |c| &mut c.connect_failures) {
            let kinds = [
                io::ErrorKind::ConnectionRefused,
                io::ErrorKind::HostUnreachable,
                io::ErrorKind::TimedOut,
            ];
            let kind = kinds[self.dice.rng.usize(..kinds.len())];
            self.schedule(due, Event::ConnectFailed { to: number, kind });
        } else {
            self.schedule(due, Event::Syn { from: number, to: to.clone(), attempts: 0 });
        }
        Ok(number)
    }

    pub(crate) fn endpoint(&self, number: u64) -> Option<&Endpoint> {
        self.endpoints.get(&number)
    }

    pub(crate) fn endpoint_mut(&mut self, number: u64) -> Option<&mut Endpoint> {
        self.endpoints.get_mut(&number)
    }

    /// Writes what fits the window: at least one byte, or the error `WouldBlock`.
    pub(crate) fn write(&mut self, number: u64, bytes: &[u8]) -> io::Result<usize> {
        let endpoint = self.endpoints.get(&number).ok_or(io::ErrorKind::NotConnected)?;
        if endpoint.reset {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if endpoint.write_shut {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if endpoint.phase != Phase::Open || (endpoint.window == 0 && !bytes.is_empty()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut count = endpoint.window.min(bytes.len());
        if count == 0 {
            return Ok(0);
        }
        if self.dice.strikes(|f| f.reset, |c| &mut c.resets) {
            self.break_connection(number);
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if count > 1 && self.dice.strikes(|f| f.partial_write, |c| &mut c.partial_writes) {
            count = self.dice.part_of(count - 1);
        }
        self.send_segment(number, Segment::Data(bytes[..count].to_vec()));
        if let Some(endpoint) = self.endpoints.get_mut(&number) {
            endpoint.window -= count;
        }
        Ok(count)
    }

    /// Reads what has arrived: 0 at the end of the stream, `WouldBlock` if there is nothing yet.
    pub(crate) fn read(&mut self, number: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let endpoint = self.endpoints.get_mut(&number).ok_or(io::ErrorKind::NotConnected)?;
        let count = endpoint.received.len().min(buffer.len());
        if count == 0 && !buffer.is_empty() {
            return match endpoint {
                Endpoint { reset: true, .. } => Err(io::ErrorKind::ConnectionReset.into()),
                Endpoint { fin: true, .. } => Ok(0),
                _ => Err(io::ErrorKind::WouldBlock.into()),
            };
        }
        for (slot, byte) in buffer.iter_mut().zip(endpoint.received.drain(..count)) {
            *slot = byte;
        }
        self.acknowledge(number, count);
        Ok(count)
    }

    pub(crate) fn shutdown_write(&mut self, number: u64) {
        let Some(endpoint) = self.endpoints.get_mut(&number) else { return };
        if !std::mem::replace(&mut endpoint.write_shut, true) && endpoint.phase == Phase::Open {
            self.send_segment(number, Segment::Fin);
        }
    }

    /// Closes in good order, unless bytes stand unread: then the other end sees a reset, for its
    /// bytes are lost.
    ///
    /// RFC 2525 section 2.17: a TCP that closes with unread data should send a reset.
    pub(crate) fn close(&mut self, number: u64) {
        let Some(endpoint) = self.endpoints.get(&number) else { return };
        if endpoint.phase == Phase::Open && !endpoint.reset {
            if !endpoint.received.is_empty() {
                self.send_segment(number, Segment::Reset);
            } else if !endpoint.write_shut {
                self.send_segment(number, Segment::Fin);
            }
        }
        self.forget_endpoint(number);
    }

    /// Closes at once; the other end sees a reset.
    pub(crate) fn abort(&mut self, number: u64) {
        let Some(endpoint) = self.endpoints.get(&number) else { return };
        if endpoint.phase == Phase::Open && !endpoint.reset {
            self.send_segment(number, Segment::Reset);
        }
        self.forget_endpoint(number);
    }

    /// Lets a scripted peer read at once what arrives, what has arrived included, or not.
    pub(crate) fn set_reading(&mut self, number: u64, reading: bool) {
        let Some(endpoint) = self.endpoints.get_mut(&number) else { return };
        endpoint.reading = reading;
        self.collect(number);
    }
}

/// Events.
impl Net {
    pub(super) fn segment_arrived(&mut self, to: u64, from: u64, segment: Segment) {
        let Some(endpoint) = self.endpoints.get_mut(&to) else {
            // Nobody reads here any more: bytes are answered by a reset, an end is not.
            if matches!(segment, Segment::Data(_)) {
                self.reset_arrives_at(from);
            }
            return;
        };
        match segment {
            Segment::Data(bytes) if !endpoint.reset => endpoint.received.extend(bytes),
            Segment::Data(_) => {}
            Segment::Fin => endpoint.fin = true,
            Segment::Reset => endpoint.reset = true,
        }
        let owner = endpoint.owner;
        self.collect(to);
        self.notify(owner);
    }

    pub(super) fn window_opened(&mut self, to: u64, count: usize) {
        let Some(endpoint) = self.endpoints.get_mut(&to) else { return };
        endpoint.window += count;
        let owner = endpoint.owner;
        self.notify(owner);
    }

    pub(super) fn syn_ack_arrived(&mut self, to: u64, from: u64) {
        let Some(endpoint) = self.endpoints.get_mut(&to) else {
            return self.reset_arrives_at(from);
        };
        endpoint.phase = Phase::Open;
        endpoint.other = Some(from);
        let (owner, shut) = (endpoint.owner, endpoint.write_shut);
        if shut {
            self.send_segment(to, Segment::Fin);
        }
        self.notify(owner);
    }

    pub(super) fn connect_failed(&mut self, to: u64, kind: io::ErrorKind) {
        let Some(endpoint) = self.endpoints.get_mut(&to) else { return };
        endpoint.phase = Phase::ConnectFailed(kind);
        let owner = endpoint.owner;
        self.notify(owner);
    }

    /// The far end of a handshake: an open endpoint that answers to `client`.
    pub(super) fn answer_handshake(&mut self, client: u64, local: Addr) -> Option<u64> {
        let peer = self.endpoints.get(&client)?.local.clone();
        let number = self.new_endpoint(Owner::Loose, local, peer);
        let due = self.arrival();
        let endpoint = self.endpoints.get_mut(&number)?;
        endpoint.phase = Phase::Open;
        endpoint.other = Some(client);
        endpoint.pipe_due = due;
        self.schedule(due, Event::SynAck { to: client, from: number });
        Some(number)
    }

    fn new_endpoint(&mut self, owner: Owner, local: Addr, peer: Addr) -> u64 {
        let number = self.new_number();
        self.ports.take(&local);
        let endpoint = Endpoint {
            owner,
            phase: Phase::Connecting,
            local,
            peer,
            other: None,
            received: VecDeque::new(),
            fin: false,
            reset: false,
            window: self.options.pipe_bytes,
            write_shut: false,
            reading: true,
            collected: Vec::new(),
            pipe_due: Duration::ZERO,
        };
        self.endpoints.insert(number, endpoint);
        number
    }

    fn forget_endpoint(&mut self, number: u64) {
        if let Some(endpoint) = self.endpoints.remove(&number) {
            self.ports.give_back(&endpoint.local);
        }
    }

    /// Sends into the pipe. What one pipe carries stays in order, however late its parts are.
    fn send_segment(&mut self, number: u64, segment: Segment) {
        let due = self.arrival();
        let Some(endpoint) = self.endpoints.get_mut(&number) else { return };
        let Some(to) = endpoint.other else { return };
        endpoint.pipe_due = endpoint.pipe_due.max(due);
        let due = endpoint.pipe_due;
        self.schedule(due, Event::Segment { to, from: number, segment });
    }

    /// A middlebox, or a crash, ends the connection for both ends.
    fn break_connection(&mut self, number: u64) {
        self.send_segment(number, Segment::Reset);
        if let Some(endpoint) = self.endpoints.get_mut(&number) {
            endpoint.reset = true;
            let owner = endpoint.owner;
            self.notify(owner);
        }
    }

    fn reset_arrives_at(&mut self, number: u64) {
        let due = self.arrival();
        let segment = Segment::Reset;
        self.schedule(due, Event::Segment { to: number, from: number, segment });
    }

    /// Tells the other end, in its own time, that `count` bytes were read.
    fn acknowledge(&mut self, number: u64, count: usize) {
        let other = self.endpoints.get(&number).and_then(|endpoint| endpoint.other);
        if let Some(to) = other
            && count > 0
        {
            let due = self.arrival();
            self.schedule(due, Event::Window { to, count });
        }
    }

    fn collect(&mut self, number: u64) {
        let Some(endpoint) = self.endpoints.get_mut(&number) else { return };
        if endpoint.owner != Owner::Script || !endpoint.reading || endpoint.received.is_empty() {
            return;
        }
        let count = endpoint.received.len();
        endpoint.collected.extend(endpoint.received.drain(..));
        self.acknowledge(number, count);
    }
}
