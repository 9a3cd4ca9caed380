//! A datagram socket that sends and receives many datagrams in a call.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, recvmmsg, recvmsg, sendmmsg,
    sendmsg, setsockopt, sockopt,
};

use super::{Contents, NUMBER_SIZE};
use crate::Error;

/// Datagrams in a batch, and segments in a message: the most that old kernels take
/// (`UDP_MAX_SEGMENTS`).
const BATCH: usize = 64;
/// Hundreds of datagrams wait in the buffer, each of which counts for most of a kilobyte.
const BUFFER_BYTES: usize = 4 << 20;
/// No message is longer, coalesced ones included.
const LONGEST: usize = 64 * 1024;

/// Sends and receives numbered datagrams.
pub(super) trait Wire {
    fn socket(&self) -> BorrowedFd<'_>;

    /// Sends `count` datagrams from `number` on; the answer is how many the kernel took.
    fn send(&mut self, contents: &Contents, number: u64, count: usize) -> Result<usize, Error>;

    /// Gives each datagram of one call to `each`; true if there may be more.
    fn receive(&mut self, each: &mut dyn FnMut(&[u8]) -> Result<(), Error>) -> Result<bool, Error>;
}

/// A datagram is a datagram: sendmmsg and recvmmsg.
pub(super) struct Batched {
    socket: OwnedFd,
    size: usize,
    out: Vec<u8>,
    input: Vec<u8>,
    /// Nothing is remembered in them from call to call but their memory.
    headers: [MultiHeaders<()>; 2],
}

/// The kernel cuts a message into datagrams (UDP_SEGMENT) and joins those that come (UDP_GRO).
pub(super) struct Coalesced {
    socket: OwnedFd,
    size: usize,
    burst: usize,
    out: Vec<u8>,
    input: Vec<u8>,
    control: Vec<u8>,
}

impl Batched {
    pub(super) fn new(socket: OwnedFd, size: usize) -> Result<Self, Error> {
        with_room(&socket);
        // One byte more than wanted tells a datagram that is too long.
        let input = vec![0; (size + 1) * BATCH];
        let headers = [0, 1].map(|_| MultiHeaders::preallocate(BATCH, None));
        Ok(Self { socket, size, out: vec![0; size * BATCH], input, headers })
    }
}

impl Wire for Batched {
    fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn send(&mut self, contents: &Contents, mut number: u64, count: usize) -> Result<usize, Error> {
        let fd = self.socket.as_raw_fd();
        let mut left = count;
        while left > 0 {
            let batch = left.min(BATCH);
            for (datagram, number) in self.out.chunks_exact_mut(self.size).take(batch).zip(number..)
            {
                write(datagram, contents, number);
            }
            let slices: Vec<[IoSlice<'_>; 1]> =
                (self.out.chunks_exact(self.size).take(batch).map(|bytes| [IoSlice::new(bytes)]))
                    .collect();
            let sent = sendmmsg(
                fd,
                &mut self.headers[0],
                slices.iter(),
                [None; BATCH],
                [],
                MsgFlags::empty(),
            );
            let Some(sent) = taken(sent.map(Iterator::count), "sendmmsg")? else { break };
            left -= sent;
            number += sent as u64;
        }
        Ok(count - left)
    }

    fn receive(&mut self, each: &mut dyn FnMut(&[u8]) -> Result<(), Error>) -> Result<bool, Error> {
        let stride = self.size + 1;
        let mut slices: Vec<[IoSliceMut<'_>; 1]> =
            self.input.chunks_exact_mut(stride).map(|room| [IoSliceMut::new(room)]).collect();
        let fd = self.socket.as_raw_fd();
        let flags = MsgFlags::empty();
        let received = recvmmsg(fd, &mut self.headers[1], slices.iter_mut(), flags, None)
            .map(|messages| messages.map(|message| message.bytes).collect::<Vec<usize>>());
        let Some(lengths) = taken(received, "recvmmsg")? else { return Ok(false) };
        for (datagram, length) in self.input.chunks_exact(stride).zip(&lengths) {
            each(&datagram[..*length])?;
        }
        Ok(lengths.len() == BATCH)
    }
}

impl Coalesced {
    pub(super) fn new(socket: OwnedFd, size: usize) -> Result<Self, Error> {
        with_room(&socket);
        setsockopt(&socket, sockopt::UdpGroSegment, &true)
            .map_err(|error| Error::io("cannot switch UDP_GRO on")(error.into()))?;
        let burst = (super::PAYLOAD_MAX / size).min(BATCH);
        Ok(Self {
            socket,
            size,
            burst,
            out: vec![0; size * burst],
            input: vec![0; LONGEST],
            control: nix::cmsg_space!(i32),
        })
    }
}

impl Wire for Coalesced {
    fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn send(&mut self, contents: &Contents, mut number: u64, count: usize) -> Result<usize, Error> {
        let mut left = count;
        while left > 0 {
            let batch = left.min(self.burst);
            let bytes = &mut self.out[..batch * self.size];
            for (datagram, number) in bytes.chunks_exact_mut(self.size).zip(number..) {
                write(datagram, contents, number);
            }
            let segment = u16::try_from(self.size).unwrap_or(u16::MAX);
            let sent = sendmsg::<()>(
                self.socket.as_raw_fd(),
                &[IoSlice::new(bytes)],
                &[ControlMessage::UdpGsoSegments(&segment)],
                MsgFlags::empty(),
                None,
            );
            if taken(sent, "sendmsg with UDP_SEGMENT")?.is_none() {
                break;
            }
            left -= batch;
            number += batch as u64;
        }
        Ok(count - left)
    }

    fn receive(&mut self, each: &mut dyn FnMut(&[u8]) -> Result<(), Error>) -> Result<bool, Error> {
        let fd = self.socket.as_raw_fd();
        let mut slices = [IoSliceMut::new(&mut self.input)];
        let received = recvmsg::<()>(fd, &mut slices, Some(&mut self.control), MsgFlags::empty());
        let Some(message) = taken(received, "recvmsg with UDP_GRO")? else { return Ok(false) };
        let length = message.bytes;
        let segment = message.cmsgs().ok().and_then(|mut all| {
            all.find_map(|control| match control {
                ControlMessageOwned::UdpGroSegments(size) => usize::try_from(size).ok(),
                _ => None,
            })
        });
        // Without the control message it is a datagram by itself.
        let segment = segment.unwrap_or(length).max(1);
        for datagram in self.input[..length].chunks(segment) {
            each(datagram)?;
        }
        Ok(true)
    }
}

/// What a call gave; `None`: nothing now. A datagram that found no room is sent again later, and
/// a refused one (ECONNREFUSED) is told by the next call.
fn taken<T>(outcome: nix::Result<T>, doing: &str) -> Result<Option<T>, Error> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::EINTR) => Ok(None),
        Err(error) => Err(Error::io(doing)(error.into())),
    }
}

fn write(datagram: &mut [u8], contents: &Contents, number: u64) {
    datagram[..NUMBER_SIZE].copy_from_slice(&number.to_le_bytes());
    datagram[NUMBER_SIZE..].copy_from_slice(contents.of(number));
}

/// Makes the buffers as large as the system lets us: losses for want of them say nothing.
fn with_room(socket: &OwnedFd) {
    let _ = setsockopt(socket, sockopt::RcvBuf, &BUFFER_BYTES);
    let _ = setsockopt(socket, sockopt::SndBuf, &BUFFER_BYTES);
}
