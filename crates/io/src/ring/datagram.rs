//! Datagram sockets: received by the ring, sent by batched system calls.
//!
//! Sending goes the ready driver's way, sendmmsg(2) with the kernel's own cutting up: one call per
//! batch, where the ring would need an operation, and its bookkeeping in kernel and driver, for
//! each datagram.

use super::RingDriver;
use super::buffers::Buffers;
use super::operations::Operation;
use super::queue::Completion;
use super::table::{Socket, State};
use super::token::{Kind, Token};
use super::turn::Report;
use crate::ready::datagram::{DatagramSocket, Sent, is_passing};
use crate::ready::{plain, unsent};
use crate::{Addr, DatagramOutbox, Flow, Key, SendState, Sink};
use io_uring::types::RecvMsgOut;
use libc::msghdr;
use std::collections::VecDeque;
use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::RawFd;

/// The group of the buffers that datagrams arrive in.
const DATAGRAMS: u16 = 1;
/// How many datagrams, or runs of coalesced ones, the kernel receives ahead of us.
const BUFFERS: u16 = 64;
/// Room for an address of any family, and for one control message that carries one integer.
const NAME: usize = 32;
const CONTROL: usize = 32;
/// What stands before the payload: `struct io_uring_recvmsg_out`, address, control messages.
const HEAD: usize = 16 + NAME + CONTROL;
/// No UDP datagram is longer, coalesced ones included.
const LONGEST: usize = 64 * 1024;
/// An odd number of pages and three cache lines, so that the heads of the buffers do not all fall
/// into the same places of the processor's caches.
const BUFFER: usize = (HEAD + LONGEST).next_multiple_of(4096) + 3 * 64;

/// How the kernel is to lay out what it receives: the lengths of address and control messages.
pub(super) struct Layout(msghdr);

// SAFETY: the header holds two lengths and no pointer but null ones.
unsafe impl Send for Layout {}

impl Layout {
    /// Receives datagrams at `socket`, laid out so.
    pub(super) fn operation(&self, socket: RawFd, token: Token) -> Operation {
        // SAFETY: the layout stands in a box of the driver's, unchanged as long as the driver
        // lives, and operations are submitted by the driver only.
        unsafe { Operation::receive_datagrams(socket, &raw const self.0, DATAGRAMS, token) }
    }
}

impl RingDriver {
    pub(super) fn insert_datagram(&mut self, key: Key, socket: DatagramSocket) -> io::Result<Addr> {
        self.table.check_vacant(key)?;
        let bound = socket.local_addr()?;
        if self.datagram_buffers.is_none() {
            let buffers = Buffers::new(self.queue.ring(), DATAGRAMS, BUFFERS, BUFFER, false)?;
            self.datagram_buffers = Some(buffers);
        }
        self.table.insert(key, Socket::Datagram(Box::new(socket)), State::default());
        Ok(bound)
    }

    pub(super) fn note_datagram(
        &mut self,
        completion: Completion,
        delivered: &mut usize,
        sink: &mut impl Sink,
    ) {
        let outcome = completion.outcome();
        let count = *outcome.as_ref().unwrap_or(&0);
        let of_token = self.table.of_token(completion.token);
        let key = of_token.map(|(key, slot)| {
            if !completion.more() {
                slot.state.clear(State::ARMED.and(State::CANCELLING));
            }
            key
        });
        if let Some((id, more)) = completion.buffer()
            && let Some(buffers) = &mut self.datagram_buffers
        {
            let mut flow = Flow::Continue;
            if let Some(key) = key {
                let bytes = buffers.bytes(id, count);
                flow = deliver(bytes, &self.layout, key, delivered, sink);
            }
            buffers.used(id, count, more);
            if let Some(key) = key
                && flow == Flow::Pause
            {
                self.stop_receiving(key);
            }
        }
        let Some(key) = key else {
            return;
        };
        if let Err(error) = outcome
            && !Completion::is_passing(&error)
            && !is_passing(&error)
        {
            return self.fail(key, error, sink);
        }
        if !completion.more() {
            self.settle(key, completion.token);
        }
    }

    pub(super) fn send_all_datagrams(
        &mut self,
        key: Key,
        outbox: &mut DatagramOutbox,
    ) -> SendState {
        let Some(slot) = self.table.get_mut(key) else {
            return unsent(outbox.is_empty());
        };
        let Socket::Datagram(socket) = &mut slot.socket else {
            return unsent(outbox.is_empty());
        };
        let reports = &mut self.reports;
        let sent = socket.send(outbox, &self.batches, &mut |error| {
            report_dropped(reports, key, error);
        });
        match sent {
            Sent::Done => return SendState::Done,
            Sent::Starved => self.starved.push(key),
            Sent::Full if !slot.state.has(State::POLLED) => {
                let operation =
                    Operation::writable(socket.as_raw_fd(), slot.token(key, Kind::Writable));
                slot.state.set(State::POLLED);
                self.queue.push(operation);
            }
            Sent::Full => {}
        }
        if let Some(slot) = self.table.get_mut(key) {
            slot.state.set(State::WAITING);
        }
        SendState::Waiting
    }

    pub(super) fn note_writable(&mut self, completion: Completion, sink: &mut impl Sink) {
        if let Some((key, slot)) = self.table.of_token(completion.token) {
            slot.state.clear(State::POLLED);
            if slot.state.has(State::WAITING) {
                slot.state.clear(State::WAITING);
                sink.sent(key, 0);
            }
        }
    }

    pub(super) fn resume_starved_sends(&mut self, sink: &mut impl Sink) {
        for _ in 0..self.starved.len() {
            if let Some(key) = self.starved.pop()
                && let Some(slot) = self.table.get_mut(key)
                && slot.state.has(State::WAITING)
            {
                slot.state.clear(State::WAITING);
                sink.sent(key, 0);
            }
        }
    }
}

/// One report for a run of datagrams that met the same fate.
fn report_dropped(reports: &mut VecDeque<Report>, key: Key, error: io::Error) {
    match reports.back_mut() {
        Some(Report::Dropped(of, count, before))
            if *of == key && before.raw_os_error() == error.raw_os_error() =>
        {
            *count += 1;
        }
        _ => reports.push_back(Report::Dropped(key, 1, error)),
    }
}

/// Takes apart what stands in a buffer, and delivers each datagram.
fn deliver(
    bytes: &mut [u8],
    layout: &Layout,
    key: Key,
    delivered: &mut usize,
    sink: &mut impl Sink,
) -> Flow {
    let Ok(message) = RecvMsgOut::parse(bytes, &layout.0) else {
        return Flow::Continue;
    };
    let Some(from) = inet_address(message.name_data()) else {
        return Flow::Continue;
    };
    let (from, len) = (plain(from), message.payload_data().len());
    let segment = coalesced_segment(message.control_data()).unwrap_or(len).max(1);
    let payload = &mut bytes[HEAD..HEAD + len];
    *delivered += len;
    if payload.is_empty() {
        return sink.datagram(key, &from, payload);
    }
    let mut flow = Flow::Continue;
    for datagram in payload.chunks_mut(segment) {
        if sink.datagram(key, &from, datagram) == Flow::Pause {
            flow = Flow::Pause;
        }
    }
    flow
}

/// Reads a `sockaddr_in` or `sockaddr_in6` that the kernel has written.
fn inet_address(name: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(*name.first_chunk()?);
    let port = u16::from_be_bytes(*name.get(2..)?.first_chunk()?);
    match i32::from(family) {
        libc::AF_INET => {
            let ip: [u8; 4] = *name.get(4..)?.first_chunk()?;
            Some(SocketAddr::from((Ipv4Addr::from(ip), port)))
        }
        libc::AF_INET6 => {
            let flow = u32::from_ne_bytes(*name.get(4..)?.first_chunk()?);
            let ip: [u8; 16] = *name.get(8..)?.first_chunk()?;
            let scope = u32::from_ne_bytes(*name.get(24..)?.first_chunk()?);
            Some(SocketAddrV6::new(Ipv6Addr::from(ip), port, flow, scope).into())
        }
        _ => None,
    }
}

/// How long each datagram of a coalesced message was (udp(7), UDP_GRO); `None` if it was one.
fn coalesced_segment(mut control: &[u8]) -> Option<usize> {
    // struct cmsghdr: the length, which counts itself, then level and type, then the data. Each
    // begins at a multiple of the size of a length.
    const LEN: usize = size_of::<usize>();
    const DATA: usize = (LEN + 8).next_multiple_of(LEN);
    loop {
        let len = usize::from_ne_bytes(*control.first_chunk()?);
        let level = i32::from_ne_bytes(*control.get(LEN..)?.first_chunk()?);
        let kind = i32::from_ne_bytes(*control.get(LEN + 4..)?.first_chunk()?);
        if (level, kind) == (libc::SOL_UDP, libc::UDP_GRO) {
            let segment = i32::from_ne_bytes(*control.get(DATA..)?.first_chunk()?);
            return usize::try_from(segment).ok().filter(|segment| *segment > 0);
        }
        control = control.get(len.max(DATA).next_multiple_of(LEN)..)?;
    }
}

impl Default for Layout {
    fn default() -> Self {
        // SAFETY: a header of null pointers and zero lengths is a valid one.
        let mut header = unsafe { MaybeUninit::<msghdr>::zeroed().assume_init() };
        header.msg_namelen = NAME as libc::socklen_t;
        header.msg_controllen = CONTROL as _;
        Self(header)
    }
}

impl std::fmt::Debug for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Layout")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_the_kernel_writes_them() {
        for text in ["127.0.0.1:80", "255.1.2.3:65535", "[::1]:1", "[fe80::1%7]:53"] {
            let address: SocketAddr = text.parse().unwrap();
            let raw = socket2::SockAddr::from(address);
            // SAFETY: the address has this many bytes.
            let name = unsafe {
                std::slice::from_raw_parts(raw.as_ptr().cast::<u8>(), raw.len() as usize)
            };
            assert_eq!(inet_address(name), Some(address));
            assert_eq!(inet_address(&name[..name.len() - 9]), None, "a short one");
        }
        assert_eq!(inet_address(&[]), None);
    }

    #[test]
    fn control_messages_are_read_within_their_bounds() {
        let message = |level: i32, kind: i32, value: i32| {
            let mut bytes = 20usize.to_ne_bytes().to_vec();
            bytes.extend(level.to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(value.to_ne_bytes());
            bytes.resize(24, 0);
            bytes
        };
        let gro = message(libc::SOL_UDP, libc::UDP_GRO, 1200);
        assert_eq!(coalesced_segment(&gro), Some(1200));
        let other = message(libc::SOL_SOCKET, 1, 5);
        assert_eq!(coalesced_segment(&[other.clone(), gro.clone()].concat()), Some(1200));
        assert_eq!(coalesced_segment(&other), None);
        assert_eq!(coalesced_segment(&gro[..17]), None);
        assert_eq!(coalesced_segment(&[]), None);
        assert_eq!(coalesced_segment(&[0; 24]), None, "a length of nothing ends too");
    }
}
