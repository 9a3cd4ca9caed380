//! Bytes into and out of a stream socket, one system call each.
//!
//! On Linux the calls are made directly. Those of the C library are cancellation points of its
//! threads, which costs as much again as all that this driver does for a message.

use super::stream::{StreamSocket, with_socket};
use socket2::SockRef;
use std::io::{self, IoSlice};

/// Keeps a write to a connection that the peer has closed from raising SIGPIPE.
#[cfg(all(unix, not(target_vendor = "apple")))]
const SEND_FLAGS: i32 = libc::MSG_NOSIGNAL;
/// Here the socket option SO_NOSIGPIPE does that, set when the socket is made.
#[cfg(not(all(unix, not(target_vendor = "apple"))))]
const SEND_FLAGS: i32 = 0;

#[cfg(target_os = "linux")]
mod direct {
    use super::*;
    use rustix::net::{RecvFlags, SendFlags};
    use std::os::fd::{AsFd, BorrowedFd};

    impl StreamSocket {
        pub(in super::super) fn recv_once(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let (count, _) = rustix::net::recv(self.descriptor(), buffer, RecvFlags::empty())?;
            Ok(count)
        }

        pub(in super::super) fn send_once(&self, bytes: &[u8]) -> io::Result<usize> {
            Ok(rustix::net::send(self.descriptor(), bytes, SendFlags::NOSIGNAL)?)
        }

        fn descriptor(&self) -> BorrowedFd<'_> {
            with_socket!(self, socket => socket.as_fd())
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod portable {
    use super::*;
    use std::io::Read;

    impl StreamSocket {
        pub(in super::super) fn recv_once(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            with_socket!(self, socket => socket.read(buffer))
        }

        pub(in super::super) fn send_once(&self, bytes: &[u8]) -> io::Result<usize> {
            with_socket!(self, socket => socket
                .try_io(|| SockRef::from(socket).send_with_flags(bytes, SEND_FLAGS)))
        }
    }
}

impl StreamSocket {
    pub(super) fn send_slices(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        // Not `writev`: it cannot be told to keep SIGPIPE down.
        with_socket!(self, socket => socket
            .try_io(|| SockRef::from(socket).send_vectored_with_flags(slices, SEND_FLAGS)))
    }
}
