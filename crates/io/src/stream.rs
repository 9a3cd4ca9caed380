//! A connected socket that no loop owns: just accepted, or just let go of.

mod dial;

use crate::Addr;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// A connected stream socket, owned as a value and free to move between threads.
///
/// It comes out of a driver in two ways, as an [accepted](crate::Sink::accepted) connection and as
/// a [released](crate::Sink::released) one, and goes into a driver by
/// [`adopt`](crate::Driver::adopt). Dropping it closes it.
#[derive(Debug)]
#[non_exhaustive]
pub enum OwnedStream {
    /// A TCP connection.
    Tcp(TcpStream),
    /// A unix stream connection.
    #[cfg(unix)]
    Unix(UnixStream),
    /// A connection of a simulated network.
    Simulated(Box<dyn SimulatedStream>),
    /// A connection that stays where it is, and whose bytes are passed on in memory.
    Piped(Box<dyn PipedStream>),
}

/// What a simulated network puts behind [`OwnedStream::Simulated`].
///
/// `number` identifies the endpoint to the driver that adopts it. Reads and writes never wait:
/// where a blocking socket would, they answer [`io::ErrorKind::WouldBlock`].
pub trait SimulatedStream: Read + Write + Send + std::fmt::Debug {
    /// The number of this endpoint in its world.
    fn number(&self) -> u64;
    /// Closes one or both directions.
    fn shutdown(&self, how: Shutdown) -> io::Result<()>;
    /// Keeps `drop` from closing the endpoint: a driver has adopted it.
    fn forget(self: Box<Self>);
}

/// What stands behind [`OwnedStream::Piped`]: reads and writes that wait as those of a blocking socket
/// do. No driver adopts one.
pub trait PipedStream: Read + Write + Send + std::fmt::Debug {
    /// A second owner of the same stream.
    fn try_clone(&self) -> io::Result<Box<dyn PipedStream>>;
    /// Whether reads and writes answer [`io::ErrorKind::WouldBlock`] where they would wait.
    fn set_nonblocking(&self, nonblocking: bool);
    /// Limits how long a read waits.
    fn set_read_timeout(&self, timeout: Option<Duration>);
    /// Limits how long a write waits.
    fn set_write_timeout(&self, timeout: Option<Duration>);
    /// Closes one or both directions.
    fn shutdown(&self, how: Shutdown);
}

impl OwnedStream {
    /// Makes reads and writes wait (`false`) or answer `WouldBlock` (`true`).
    ///
    /// A simulated stream never waits; for it this does nothing.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_nonblocking(nonblocking),
            #[cfg(unix)]
            Self::Unix(stream) => stream.set_nonblocking(nonblocking),
            Self::Simulated(_) => Ok(()),
            Self::Piped(stream) => {
                stream.set_nonblocking(nonblocking);
                Ok(())
            }
        }
    }

    /// A second owner of the same socket, with a descriptor of its own if it has any.
    ///
    /// A simulated stream has one owner: the answer is [`io::ErrorKind::Unsupported`].
    pub fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(stream) => stream.try_clone().map(Self::Tcp),
            #[cfg(unix)]
            Self::Unix(stream) => stream.try_clone().map(Self::Unix),
            Self::Simulated(_) => Err(io::ErrorKind::Unsupported.into()),
            Self::Piped(stream) => stream.try_clone().map(Self::Piped),
        }
    }

    /// Limits how long a blocking read waits; `None` waits for ever.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_read_timeout(timeout),
            #[cfg(unix)]
            Self::Unix(stream) => stream.set_read_timeout(timeout),
            Self::Simulated(_) => Ok(()),
            Self::Piped(stream) => {
                stream.set_read_timeout(timeout);
                Ok(())
            }
        }
    }

    /// Limits how long a blocking write waits; `None` waits for ever.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_write_timeout(timeout),
            #[cfg(unix)]
            Self::Unix(stream) => stream.set_write_timeout(timeout),
            Self::Simulated(_) => Ok(()),
            Self::Piped(stream) => {
                stream.set_write_timeout(timeout);
                Ok(())
            }
        }
    }

    /// Closes the read half, the write half, or both.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(how),
            #[cfg(unix)]
            Self::Unix(stream) => stream.shutdown(how),
            Self::Simulated(stream) => stream.shutdown(how),
            Self::Piped(stream) => {
                stream.shutdown(how);
                Ok(())
            }
        }
    }

    /// The address of this end, where the kernel knows one.
    pub fn local_addr(&self) -> io::Result<Addr> {
        match self {
            Self::Tcp(stream) => stream.local_addr().map(Addr::from),
            #[cfg(unix)]
            Self::Unix(stream) => stream.local_addr().map(Addr::from),
            Self::Simulated(_) | Self::Piped(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// The TCP stream, or the value unchanged if it is something else.
    pub fn into_tcp(self) -> Result<TcpStream, Self> {
        match self {
            Self::Tcp(stream) => Ok(stream),
            other => Err(other),
        }
    }

    /// The unix stream, or the value unchanged if it is something else.
    #[cfg(unix)]
    pub fn into_unix(self) -> Result<UnixStream, Self> {
        match self {
            Self::Unix(stream) => Ok(stream),
            other => Err(other),
        }
    }
}

impl Read for OwnedStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            #[cfg(unix)]
            Self::Unix(stream) => stream.read(buffer),
            Self::Simulated(stream) => stream.read(buffer),
            Self::Piped(stream) => stream.read(buffer),
        }
    }
}

impl Write for OwnedStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            #[cfg(unix)]
            Self::Unix(stream) => stream.write(bytes),
            Self::Simulated(stream) => stream.write(bytes),
            Self::Piped(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
