//! An option on a descriptor that another library owns.
#![expect(unsafe_code, reason = "the library shows its socket as a number only")]

use std::os::fd::{BorrowedFd, RawFd};

use rustix::net::sockopt;

/// Turns TCP_NODELAY on for an open descriptor.
pub(crate) fn set_nodelay(descriptor: RawFd) {
    // SAFETY: the caller is called by the owner of the socket while the connection is new; nobody
    // closes the descriptor before this returns.
    let socket = unsafe { BorrowedFd::borrow_raw(descriptor) };
    let _ = sockopt::set_tcp_nodelay(socket, true);
}
