//! Many datagrams with one call: `recvmmsg(2)`, `sendmmsg(2)`.
#![expect(unsafe_code, reason = "the kernel follows addresses in the headers of a batch")]

use std::io;
use std::mem::zeroed;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::ptr::{null_mut, read_unaligned, write_unaligned};

use libc::{c_int, c_uint, c_void, cmsghdr, iovec, mmsghdr, sockaddr_storage, socklen_t};

use crate::BUFFER_SIZE;

/// Datagrams of a batch.
const COUNT: usize = 64;
/// Buffers begin a little later than a multiple of a page, each at another place of it, so that the
/// first bytes of all do not fight for the same lines of the processor's cache.
const STRIDE: usize = BUFFER_SIZE + 192;
/// Room for one number in a control message.
// SAFETY: arithmetic only.
const CONTROL_SIZE: usize = unsafe { libc::CMSG_SPACE(size_of::<c_int>() as c_uint) as usize };

/// A control message, aligned as its header.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL_SIZE]);

/// Buffers, addresses and headers of a batch. The headers point into the other parts, which are
/// never moved or resized.
pub(super) struct Batch {
    headers: Box<[mmsghdr]>,
    pieces: Box<[iovec]>,
    names: Box<[sockaddr_storage]>,
    controls: Box<[Control]>,
    bytes: Box<[u8]>,
    joined: bool,
    /// Datagrams that were received and not sent.
    received: usize,
}

/// Lets the kernel join datagrams of one sender, and tell the size of each.
pub(super) fn join_received(socket: BorrowedFd<'_>) -> io::Result<()> {
    let on: c_int = 1;
    // SAFETY: the value is a number that lives during the call, and its size is told.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_GRO,
            (&raw const on).cast(),
            size_of::<c_int>() as socklen_t,
        )
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

impl Batch {
    pub(super) fn new(joined: bool) -> Self {
        // SAFETY: all three are plain records of numbers and addresses, for which zero is a value.
        let (header, name, piece) =
            unsafe { (zeroed::<mmsghdr>(), zeroed::<sockaddr_storage>(), zeroed::<iovec>()) };
        let mut batch = Self {
            headers: vec![header; COUNT].into(),
            pieces: vec![piece; COUNT].into(),
            names: vec![name; COUNT].into(),
            controls: vec![Control([0; CONTROL_SIZE]); COUNT].into(),
            bytes: vec![0; COUNT * STRIDE].into(),
            joined,
            received: 0,
        };
        let bytes = batch.bytes.as_mut_ptr();
        for index in 0..COUNT {
            batch.pieces[index].iov_base = bytes.wrapping_add(index * STRIDE).cast();
            let header = &mut batch.headers[index].msg_hdr;
            header.msg_name = (&raw mut batch.names[index]).cast();
            header.msg_iov = &raw mut batch.pieces[index];
            header.msg_iovlen = 1;
        }
        batch
    }

    /// Takes what has come; true: there may be more.
    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<bool> {
        for index in 0..COUNT {
            self.pieces[index].iov_len = BUFFER_SIZE;
            let header = &mut self.headers[index].msg_hdr;
            header.msg_namelen = size_of::<sockaddr_storage>() as socklen_t;
            if self.joined {
                header.msg_control = (&raw mut self.controls[index]).cast();
                header.msg_controllen = CONTROL_SIZE;
            }
        }
        // SAFETY: each header points to a buffer, a name and, if it has one, a control message of the
        // sizes that it tells; all belong to the batch and live during the call.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                COUNT as c_uint,
                0,
                null_mut(),
            )
        };
        self.received = count.max(0) as usize;
        if count < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(false),
                // A complaint about a datagram that was sent earlier.
                io::ErrorKind::ConnectionRefused => Ok(true),
                _ => Err(error),
            };
        }
        Ok(self.received == COUNT)
    }

    /// Sends back what was received. What finds no room is lost, as datagrams are.
    pub(super) fn send_back(&mut self, socket: BorrowedFd<'_>) {
        for index in 0..self.received {
            let header = &mut self.headers[index];
            self.pieces[index].iov_len = header.msg_len as usize;
            if self.joined {
                cut_as_received(&mut header.msg_hdr, header.msg_len);
            }
        }
        let mut sent = 0;
        while sent < self.received {
            let left = &mut self.headers[sent..self.received];
            // SAFETY: as in `receive`; the buffers hold as many bytes as is told.
            let count = unsafe {
                libc::sendmmsg(socket.as_raw_fd(), left.as_mut_ptr(), left.len() as c_uint, 0)
            };
            // An error is that of the first.
            sent += count.max(1) as usize;
        }
        self.received = 0;
    }
}

/// Turns the control message that tells the size of joined datagrams into the one that asks to cut
/// them again.
fn cut_as_received(header: &mut libc::msghdr, length: u32) {
    // SAFETY: the kernel has written `msg_controllen` bytes of control messages into our control
    // message, and `CMSG_FIRSTHDR` gives none if they hold no header.
    let message: *mut cmsghdr = unsafe { libc::CMSG_FIRSTHDR(header) };
    let size = if message.is_null() {
        0
    } else {
        // SAFETY: the header lies in the control message, which is aligned for it and large enough
        // for the one number that UDP_GRO brings.
        unsafe {
            let is_size =
                (*message).cmsg_level == libc::SOL_UDP && (*message).cmsg_type == libc::UDP_GRO;
            if is_size { read_unaligned(libc::CMSG_DATA(message).cast::<c_int>()) } else { 0 }
        }
    };
    if size <= 0 || size as u32 >= length {
        header.msg_control = null_mut::<c_void>();
        header.msg_controllen = 0;
        return;
    }
    // SAFETY: as above; the two bytes lie where the number was.
    unsafe {
        (*message).cmsg_type = libc::UDP_SEGMENT;
        (*message).cmsg_len = libc::CMSG_LEN(size_of::<u16>() as c_uint) as usize;
        write_unaligned(libc::CMSG_DATA(message).cast::<u16>(), size as u16);
        header.msg_controllen = libc::CMSG_SPACE(size_of::<u16>() as c_uint) as usize;
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd as _;
    use std::time::Duration;

    use super::*;

    /// One send that the kernel cuts into pieces of `size` bytes.
    fn send_cut(socket: &UdpSocket, bytes: &[u8], size: c_int) {
        let option = (&raw const size).cast();
        let length = size_of::<c_int>() as socklen_t;
        // SAFETY: the value is a number that lives during the call, and its size is told.
        let outcome = unsafe {
            libc::setsockopt(socket.as_raw_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, option, length)
        };
        assert_eq!(outcome, 0, "{}", io::Error::last_os_error());
        assert_eq!(socket.send(bytes).unwrap(), bytes.len());
    }

    #[test]
    fn joined_datagrams_go_back_with_their_bytes_and_boundaries() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(server.local_addr().unwrap()).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        join_received(server.as_fd()).unwrap();
        let bytes: Vec<u8> = (0..1050_u32).map(|number| (number % 251) as u8).collect();
        send_cut(&client, &bytes, 100);
        send_cut(&client, &bytes[..7], 0);

        let mut batch = Batch::new(true);
        server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut calls = 0;
        while calls < 2 {
            server.set_nonblocking(true).unwrap();
            assert!(!batch.receive(server.as_fd()).unwrap());
            calls += batch.received;
            batch.send_back(server.as_fd());
        }

        let mut expected: Vec<&[u8]> = bytes.chunks(100).collect();
        expected.push(&bytes[..7]);
        let mut buffer = [0; 2000];
        for datagram in expected {
            let length = client.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], datagram);
        }
        assert_eq!(calls, 2, "eleven datagrams came as one");
    }
}
