//! Many datagrams in one system call: recvmmsg(2), sendmmsg(2), and the kernel's own cutting up
//! (GSO) and coalescing (GRO) of equally long ones, udp(7).

use crate::{Addr, DatagramOutbox};
use mio::net::UdpSocket;
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;

/// How many messages one receive takes at most.
pub(super) const SLOTS: usize = 64;
/// Slots begin at other places of their pages, or else the first bytes of all would fight for the
/// same lines of the processor's cache, and short datagrams have no others.
const STRIDE: usize = super::LONGEST + 3 * 64;
/// How many datagrams one send takes at most. The kernel cuts a message into no more than 64 either
/// (UDP_MAX_SEGMENTS in kernels before 6.6).
const SENDS: usize = 64;
/// A message, to be cut up or not, is one IPv4 datagram: 65,535 bytes less the two headers.
const LONGEST_RUN: usize = 65_507;
/// Room for one control message that carries one integer, aligned as the kernel wants it.
type Control = [u64; 4];

/// The memory that a receive fills. Pages that no datagram has touched cost nothing.
#[derive(Debug)]
pub(super) struct Batch {
    slots: Vec<u8>,
}

/// What a send did.
#[derive(Debug)]
pub(super) struct Attempt {
    /// How many datagrams left, or why the first message did not.
    pub(super) sent: io::Result<usize>,
    /// How many datagrams the first message held.
    pub(super) first: usize,
}

/// One message of a send: datagrams `start..end` of the call.
#[derive(Clone, Copy)]
struct Run {
    start: usize,
    end: usize,
    segment: usize,
    bytes: usize,
}

impl Batch {
    pub(super) fn new() -> Box<Self> {
        Box::new(Self { slots: vec![0; SLOTS * STRIDE] })
    }

    /// Receives up to [`SLOTS`] messages, which may be runs of datagrams if `coalesced`, lends each
    /// datagram to `each`, and returns how many messages there were.
    pub(super) fn receive(
        &mut self,
        socket: &UdpSocket,
        coalesced: bool,
        mut each: impl FnMut(SocketAddr, &mut [u8]),
    ) -> io::Result<usize> {
        let mut names = [const { MaybeUninit::<libc::sockaddr_storage>::uninit() }; SLOTS];
        let mut controls = [const { MaybeUninit::<Control>::uninit() }; SLOTS];
        let mut vectors = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; SLOTS];
        let mut messages = [NO_MESSAGE; SLOTS];
        for (index, slot) in self.slots.chunks_exact_mut(STRIDE).enumerate() {
            vectors[index].iov_base = slot.as_mut_ptr().cast();
            vectors[index].iov_len = super::LONGEST;
            let header = &mut messages[index].msg_hdr;
            header.msg_name = names[index].as_mut_ptr().cast();
            header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_iov = &mut vectors[index];
            header.msg_iovlen = 1;
            if coalesced {
                header.msg_control = controls[index].as_mut_ptr().cast();
                header.msg_controllen = size_of::<Control>() as _;
            }
        }
        // SAFETY: every header points to a name, a vector, a slot and, if it has one, a control
        // buffer that live in this frame or in `self` until the call returns, with no more than
        // their true lengths; no two overlap.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                messages.as_mut_ptr(),
                SLOTS as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        let slots = self.slots.chunks_exact_mut(STRIDE);
        for ((message, slot), name) in messages[..received].iter().zip(slots).zip(&names) {
            // SAFETY: the kernel has filled the first `msg_namelen` bytes of the name.
            let Some(from) = (unsafe { socket_addr(name, message.msg_hdr.msg_namelen) }) else {
                continue;
            };
            // SAFETY: the header's control buffer, if any, is alive in `controls`, and
            // `msg_controllen` says how much of it the kernel has filled.
            let segment = unsafe { coalesced_segment(&message.msg_hdr) };
            let bytes = &mut slot[..message.msg_len as usize];
            match segment {
                Some(segment) if !bytes.is_empty() => {
                    bytes.chunks_mut(segment).for_each(|datagram| each(from, datagram));
                }
                _ => each(from, bytes),
            }
        }
        Ok(received)
    }

    /// Sends up to `limit` datagrams from the front of `outbox` in one system call. Runs of equally
    /// long ones to one destination leave as one message if `segments`.
    pub(super) fn send(
        socket: &UdpSocket,
        outbox: &DatagramOutbox,
        reachable: impl Fn(&Addr) -> Option<SocketAddr>,
        segments: bool,
        limit: usize,
    ) -> Attempt {
        let mut names = [Name::NONE; SENDS];
        let mut vectors = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; SENDS];
        let mut runs = [Run { start: 0, end: 0, segment: 0, bytes: 0 }; SENDS];
        let mut count = 0;
        let mut last_to = None;
        for (index, (to, payload)) in outbox.iter().take(limit.min(SENDS)).enumerate() {
            vectors[index] = libc::iovec {
                iov_base: payload.as_ptr().cast_mut().cast(),
                iov_len: payload.len(),
            };
            if segments && count > 0 && last_to == Some(to) && runs[count - 1].join(payload.len()) {
                continue;
            }
            if let Some(to) = to {
                match reachable(to) {
                    Some(address) => names[count] = address.into(),
                    // It fails by itself when it is the first.
                    None if count > 0 => break,
                    None => return Attempt { sent: Err(unsupported()), first: 1 },
                }
            }
            last_to = Some(to);
            let (start, end, len) = (index, index + 1, payload.len());
            runs[count] = Run { start, end, segment: len, bytes: len };
            count += 1;
        }
        let sent = send_runs(socket.as_raw_fd(), &runs[..count], &names, &mut vectors);
        let sent = sent.map(|sent| runs[..sent].last().map_or(0, |run| run.end));
        Attempt { sent, first: runs[0].end }
    }
}

impl Run {
    /// Takes another datagram of `len` bytes in, if the kernel would cut it off again there: all
    /// but the last of a run are equally long, and none is empty.
    fn join(&mut self, len: usize) -> bool {
        let all_full = self.bytes == self.segment * (self.end - self.start);
        let fits = all_full && 0 < len && len <= self.segment && self.bytes + len <= LONGEST_RUN;
        if fits {
            self.end += 1;
            self.bytes += len;
        }
        fits
    }
}

/// An address as the kernel reads it, in no more bytes than one of the internet has; `len` says how
/// many, none if there is no address.
#[derive(Clone, Copy)]
struct Name {
    address: NameAddress,
    len: libc::socklen_t,
}

#[derive(Clone, Copy)]
#[repr(C)]
union NameAddress {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

impl Name {
    const NONE: Self = Self {
        // SAFETY: numbers, for which zero is a value.
        address: NameAddress { v6: unsafe { MaybeUninit::zeroed().assume_init() } },
        len: 0,
    };
}

impl From<SocketAddr> for Name {
    fn from(address: SocketAddr) -> Self {
        let mut name = Self::NONE;
        match address {
            SocketAddr::V4(v4) => {
                name.len = size_of::<libc::sockaddr_in>() as libc::socklen_t;
                name.address.v4 = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: v4.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                    sin_zero: [0; 8],
                };
            }
            SocketAddr::V6(v6) => {
                name.len = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
                name.address.v6 = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: v6.port().to_be(),
                    sin6_flowinfo: v6.flowinfo(),
                    sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                    sin6_scope_id: v6.scope_id(),
                };
            }
        }
        name
    }
}

const NO_MESSAGE: libc::mmsghdr = libc::mmsghdr {
    // SAFETY: a header of null pointers and zero lengths is a valid one.
    msg_hdr: unsafe { MaybeUninit::<libc::msghdr>::zeroed().assume_init() },
    msg_len: 0,
};

/// Sends each run as one message and returns how many left.
fn send_runs(
    socket: RawFd,
    runs: &[Run],
    names: &[Name; SENDS],
    vectors: &mut [libc::iovec; SENDS],
) -> io::Result<usize> {
    let mut controls = [const { MaybeUninit::<Control>::uninit() }; SENDS];
    let mut messages = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; SENDS];
    for (index, run) in runs.iter().enumerate() {
        let header = &mut messages[index].write(NO_MESSAGE).msg_hdr;
        let name = &names[index];
        if name.len > 0 {
            header.msg_name = ptr::from_ref(&name.address).cast_mut().cast();
            header.msg_namelen = name.len;
        }
        header.msg_iov = &mut vectors[run.start];
        header.msg_iovlen = (run.end - run.start) as _;
        if run.end - run.start > 1 {
            header.msg_control = ptr::from_mut(controls[index].write([0; 4])).cast();
            // SAFETY: the buffer behind `msg_control` is that of this header, and large enough.
            unsafe { put_segment(header, run.segment as u16) };
        }
    }
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: so many headers as there are runs were written. Each points to names, vectors and
    // controls that outlive the call with their true lengths; the payloads are borrowed by the
    // caller's outbox, and the kernel only reads them.
    let sent = unsafe {
        libc::sendmmsg(socket, messages.as_mut_ptr().cast(), runs.len() as libc::c_uint, flags as _)
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Tells the kernel where to cut the message up.
///
/// # Safety
///
/// `header.msg_control` points to a [`Control`] of the caller's.
unsafe fn put_segment(header: &mut libc::msghdr, segment: u16) {
    let size = size_of::<u16>() as libc::c_uint;
    // SAFETY: CMSG_SPACE and CMSG_LEN only compute. The control buffer is a `Control`, 32 aligned
    // bytes, which holds one control message of two bytes, so that CMSG_FIRSTHDR is not null.
    unsafe {
        header.msg_controllen = libc::CMSG_SPACE(size) as _;
        let control = libc::CMSG_FIRSTHDR(header);
        (*control).cmsg_level = libc::SOL_UDP;
        (*control).cmsg_type = libc::UDP_SEGMENT;
        (*control).cmsg_len = libc::CMSG_LEN(size) as _;
        libc::CMSG_DATA(control).cast::<u16>().write_unaligned(segment);
    }
}

/// How long each datagram of a coalesced message was; `None` if it was one.
///
/// # Safety
///
/// The kernel has filled the control buffer of `header`, which is still alive.
unsafe fn coalesced_segment(header: &libc::msghdr) -> Option<usize> {
    // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR stay within `msg_controllen`, and the kernel writes
    // whole control messages; UDP_GRO carries an int.
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(header);
        while let Some(message) = control.as_ref() {
            if (message.cmsg_level, message.cmsg_type) == (libc::SOL_UDP, libc::UDP_GRO) {
                let segment = libc::CMSG_DATA(control).cast::<libc::c_int>().read_unaligned();
                return usize::try_from(segment).ok().filter(|segment| *segment > 0);
            }
            control = libc::CMSG_NXTHDR(header, control);
        }
    }
    None
}

/// Reads an address that the kernel has written.
///
/// # Safety
///
/// The first `len` bytes of `storage` are initialised.
unsafe fn socket_addr(
    storage: &MaybeUninit<libc::sockaddr_storage>,
    len: libc::socklen_t,
) -> Option<SocketAddr> {
    let storage = storage.as_ptr();
    if (len as usize) < size_of::<libc::sockaddr_in>() {
        return None;
    }
    // SAFETY: at least a `sockaddr_in` was written, and every address begins with its family. The
    // storage is aligned for every kind of address; each is read only if it was written whole.
    unsafe {
        match libc::c_int::from((*storage.cast::<libc::sockaddr_in>()).sin_family) {
            libc::AF_INET => {
                let v4 = storage.cast::<libc::sockaddr_in>().read();
                let ip = u32::from_be(v4.sin_addr.s_addr).into();
                Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
            }
            libc::AF_INET6 if len as usize >= size_of::<libc::sockaddr_in6>() => {
                let v6 = storage.cast::<libc::sockaddr_in6>().read();
                let (ip, port) = (Ipv6Addr::from(v6.sin6_addr.s6_addr), v6.sin6_port);
                let port = u16::from_be(port);
                Some(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into())
            }
            _ => None,
        }
    }
}

/// Lets the kernel hand over runs of equally long datagrams of one peer as one message. Where it
/// cannot (`false`), they come one by one.
pub(super) fn receive_coalesced(socket: &UdpSocket) -> bool {
    let on: libc::c_int = 1;
    // SAFETY: the option value is an int that lives until the call returns.
    let refused = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_GRO,
            ptr::from_ref(&on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if refused != 0 {
        tracing::debug!(error = %io::Error::last_os_error(), "no receive coalescing");
    }
    refused == 0
}

/// Whether the kernel can cut a message up into datagrams.
pub(super) fn can_segment(socket: &UdpSocket) -> bool {
    let mut segment: libc::c_int = 0;
    let mut len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the option value is an int, its length is told, and both live until the call returns.
    let refused = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_SEGMENT,
            ptr::from_mut(&mut segment).cast(),
            &mut len,
        )
    };
    refused == 0
}

fn unsupported() -> io::Error {
    io::ErrorKind::Unsupported.into()
}
