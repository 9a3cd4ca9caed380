//! What other threads end a sleep in the ring with: an event counter.
//!
//! A message from ring to ring would spare the counter, but a waker is called by threads that have
//! no ring.

use crate::wake::KernelWake;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// An eventfd(2).
#[derive(Debug)]
pub(super) struct EventCounter(File);

impl EventCounter {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: the call takes no memory.
        let counter = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if counter < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made, and nobody else knows it.
        let counter = unsafe { OwnedFd::from_raw_fd(counter) };
        Ok(Self(counter.into()))
    }

    pub(super) fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl KernelWake for EventCounter {
    fn wake(&self) -> io::Result<()> {
        (&self.0).write(&1u64.to_ne_bytes()).map(drop)
    }
}
