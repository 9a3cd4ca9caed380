//! The operations that this driver asks of the kernel, each made in one place.

use super::token::{Kind, Token};
use io_uring::opcode::{
    AcceptMulti, AsyncCancel, AsyncCancel2, Connect, Nop, PollAdd, RecvMsgMulti, RecvMulti, Send,
    SendMsg,
};
use io_uring::squeue::{Entry, Flags};
use io_uring::types::{CancelBuilder, Fd};
use libc::{msghdr, sockaddr, socklen_t};
use std::os::fd::RawFd;

/// All bytes or an error: the kernel goes on after a short write by itself, and completes once.
const SEND_FLAGS: i32 = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;

/// How long a send takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// It ends while it is submitted, with what the socket takes, and completes only if that was not
    /// everything.
    AtOnce,
    /// It ends, and completes, when everything has left.
    Patient,
}

/// An operation on its way to the kernel.
///
/// One that reads or writes memory of this process can only be made by an unsafe function, whose
/// caller answers for that memory; whoever holds the value may push it.
pub(super) struct Operation(Entry);

impl Pace {
    fn flags(self) -> (i32, Flags) {
        match self {
            // A send that falls short of all its bytes is none that succeeded.
            Self::AtOnce => (SEND_FLAGS | libc::MSG_DONTWAIT, Flags::SKIP_SUCCESS),
            Self::Patient => (SEND_FLAGS, Flags::empty()),
        }
    }
}

impl Operation {
    /// Accepts until it is cancelled or an accept fails.
    pub(super) fn accept(listener: RawFd, token: Token) -> Self {
        Self::of(AcceptMulti::new(Fd(listener)).flags(libc::SOCK_CLOEXEC).build(), token)
    }

    /// Receives into the buffers of `group` until it is cancelled, the stream ends or breaks, or
    /// no buffer is left.
    pub(super) fn receive(stream: RawFd, group: u16, token: Token) -> Self {
        Self::of(RecvMulti::new(Fd(stream), group).build(), token)
    }

    /// As [`receive`](Self::receive), but ends by itself, without an error, when about `limit` bytes
    /// have come. Kernels before 6.17 answer EINVAL.
    pub(super) fn receive_up_to(stream: RawFd, group: u16, limit: u32, token: Token) -> Self {
        /// Where `optlen` stands in the kernel's `struct io_uring_sqe`.
        const OPTLEN: usize = 44;
        const { assert!(size_of::<Entry>() == 64 && align_of::<Entry>() >= align_of::<u32>()) };
        let mut operation = Self::receive(stream, group, token);
        // SAFETY: an entry is the kernel's structure and nothing else, integers without padding,
        // and the field lies within it, aligned. The io-uring crate has no name for it yet.
        unsafe { (&raw mut operation.0).cast::<u8>().add(OPTLEN).cast::<u32>().write(limit) };
        operation
    }

    /// Tells of errors and hang-ups, each time that there is one.
    pub(super) fn watch(stream: RawFd, token: Token) -> Self {
        let events = (libc::POLLERR | libc::POLLHUP) as u32;
        Self::of(PollAdd::new(Fd(stream), events).multi(true).build(), token)
    }

    /// Tells each time that somebody writes to `event`. Its counter is never read: a poll that
    /// stays tells of each write by itself.
    pub(super) fn wakes(event: RawFd, token: Token) -> Self {
        Self::of(PollAdd::new(Fd(event), libc::POLLIN as u32).multi(true).build(), token)
    }

    /// Tells once that there is room to send.
    pub(super) fn writable(socket: RawFd, token: Token) -> Self {
        Self::of(PollAdd::new(Fd(socket), libc::POLLOUT as u32).build(), token)
    }

    /// Cancels `target`, which then completes by itself with ECANCELED, unless it has already.
    pub(super) fn cancel(target: Token) -> Self {
        let entry = AsyncCancel::new(target.to_bits()).build();
        Self::of(entry.flags(Flags::SKIP_SUCCESS), Token { kind: Kind::Cancel, ..target })
    }

    /// Cancels everything.
    pub(super) fn cancel_all() -> Self {
        let entry = AsyncCancel2::new(CancelBuilder::any().all()).build();
        Self::of(entry.flags(Flags::SKIP_SUCCESS), Token::of_driver(Kind::Cancel))
    }

    /// Receives datagrams, each into a buffer of `group`, laid out as `layout` says.
    ///
    /// # Safety
    ///
    /// `layout` is valid until the operation is submitted: the kernel reads the lengths in it.
    pub(super) unsafe fn receive_datagrams(
        socket: RawFd,
        layout: *const msghdr,
        group: u16,
        token: Token,
    ) -> Self {
        Self::of(RecvMsgMulti::new(Fd(socket), layout, group).build(), token)
    }

    /// Tells that everything submitted before it has been tried.
    pub(super) fn mark() -> Self {
        Self::of(Nop::new().build(), Token::of_driver(Kind::Mark))
    }

    /// Sends `len` bytes.
    ///
    /// # Safety
    ///
    /// The bytes are valid and stay as they are until the operation has ended.
    pub(super) unsafe fn send(
        stream: RawFd,
        bytes: *const u8,
        len: u32,
        pace: Pace,
        token: Token,
    ) -> Self {
        let (message_flags, flags) = pace.flags();
        let entry = Send::new(Fd(stream), bytes, len).flags(message_flags).build();
        Self::of(entry.flags(flags), token)
    }

    /// Sends the bytes that `message` points to.
    ///
    /// # Safety
    ///
    /// The header and its vectors are valid until the operation is submitted, the bytes until it
    /// has ended.
    pub(super) unsafe fn send_message(
        stream: RawFd,
        message: *const msghdr,
        pace: Pace,
        token: Token,
    ) -> Self {
        let (message_flags, flags) = pace.flags();
        let entry = SendMsg::new(Fd(stream), message).flags(message_flags as u32).build();
        Self::of(entry.flags(flags), token)
    }

    /// Connects to `address`.
    ///
    /// # Safety
    ///
    /// The address is valid until the operation has completed.
    pub(super) unsafe fn connect(
        stream: RawFd,
        address: *const sockaddr,
        len: socklen_t,
        token: Token,
    ) -> Self {
        Self::of(Connect::new(Fd(stream), address, len).build(), token)
    }

    fn of(entry: Entry, token: Token) -> Self {
        Self(entry.user_data(token.to_bits()))
    }

    /// Whether it completes for certain, be it by an error.
    pub(super) fn completes(&self) -> bool {
        Token::from_bits(self.0.get_user_data()).is_some_and(|token| token.kind != Kind::Cancel)
    }

    pub(super) fn entry(&self) -> &Entry {
        &self.0
    }
}
