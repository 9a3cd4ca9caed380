//! A connection that has left its loop.

use crate::ConnId;
use mainspring_io::{Addr, OwnedStream};
use std::io::{self, Read, Write};
use std::net::TcpStream;
#[cfg(unix)]
use std::os::unix::net::UnixStream;

/// A connection that has left its loop: a blocking `Read + Write + Send` object for any thread.
///
/// Reads give first what the loop had received and no handler had consumed. Everything queued for
/// sending has been sent. Dropping it closes the connection.
#[derive(Debug)]
pub struct Detached {
    stream: OwnedStream,
    unread: Vec<u8>,
    given: usize,
    id: ConnId,
    peer: Addr,
}

impl Detached {
    pub(crate) fn new(
        stream: OwnedStream,
        unread: Vec<u8>,
        id: ConnId,
        peer: Addr,
    ) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        Ok(Self { stream, unread, given: 0, id, peer })
    }

    /// The name the connection had.
    #[must_use]
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// The other end.
    #[must_use]
    pub fn peer(&self) -> &Addr {
        &self.peer
    }

    /// The socket itself, for its options and timeouts.
    #[must_use]
    pub fn stream(&self) -> &OwnedStream {
        &self.stream
    }

    /// The socket, and the bytes that were received and have not been read. `OwnedStream` in turn
    /// gives the `std` type.
    #[must_use]
    pub fn into_parts(mut self) -> (OwnedStream, Vec<u8>) {
        self.unread.drain(..self.given);
        (self.stream, self.unread)
    }
}

/// Blocking code that wants a standard socket gets one, if nothing would be lost.
macro_rules! into_std {
    ($stream:ty, $into:ident) => {
        /// # Errors
        ///
        /// The connection as it was, if it is of another kind, or if there are bytes that were
        /// received and have not been read: see [`Detached::into_parts`].
        impl TryFrom<Detached> for $stream {
            type Error = Detached;

            fn try_from(mut detached: Detached) -> Result<Self, Detached> {
                if detached.given < detached.unread.len() {
                    return Err(detached);
                }
                match detached.stream.$into() {
                    Ok(stream) => Ok(stream),
                    Err(stream) => {
                        detached.stream = stream;
                        Err(detached)
                    }
                }
            }
        }
    };
}

into_std!(TcpStream, into_tcp);
#[cfg(unix)]
into_std!(UnixStream, into_unix);

impl Read for Detached {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = &self.unread[self.given..];
        if rest.is_empty() {
            return self.stream.read(buffer);
        }
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.given += count;
        Ok(count)
    }
}

impl Write for Detached {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
