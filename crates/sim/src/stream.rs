//! A connection of the simulated network that no driver holds.

use crate::world::{Shared, lock};
use mainspring_io::SimulatedStream;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::Shutdown;

/// What stands behind `OwnedStream::Simulated`: the endpoint's number and the world it lives in.
/// Dropping it closes the endpoint.
pub(crate) struct SimStream {
    net: Shared,
    number: u64,
    forgotten: bool,
}

impl SimStream {
    pub(crate) fn new(net: Shared, number: u64) -> Self {
        Self { net, number, forgotten: false }
    }
}

impl SimulatedStream for SimStream {
    fn number(&self) -> u64 {
        self.number
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        // Shutting the read half down sends nothing and only this end would notice.
        if how != Shutdown::Read {
            lock(&self.net).shutdown_write(self.number);
        }
        Ok(())
    }

    fn forget(mut self: Box<Self>) {
        self.forgotten = true;
    }
}

impl Read for SimStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        lock(&self.net).read(self.number, buffer)
    }
}

impl Write for SimStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.net).write(self.number, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        if !self.forgotten {
            lock(&self.net).close(self.number);
        }
    }
}

impl fmt::Debug for SimStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimStream").field("number", &self.number).finish_non_exhaustive()
    }
}
