//! One blocking connection.

use crate::dial::dial;
use crate::timed::Timed;
use crate::{Closed, Error, Timeouts};
use mainspring_io::{Addr, Address, Scheme};
use std::fmt;
use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

/// What is read from the socket at a time, so that a frame of few bytes is no call for each.
const READ_BYTES: usize = 16 * 1024;

/// One blocking connection over TCP, a unix socket, or TLS.
///
/// It reads and writes as any stream does; [`ReadFrame`](crate::ReadFrame) and its siblings put
/// frames and numbers on top. Reads are buffered, writes are not: build what belongs together and
/// write it at once.
///
/// # Ends
///
/// The connection ends exactly once, and whoever gave [`on_close`](Client::on_close) hears of it
/// with the [reason](Closed): when a read finds the peer's end, when a read or a write fails, or by
/// [`close`](Client::close) or drop. Afterwards reads give the end of the stream if it was the
/// peer's, else an error, and writes give `BrokenPipe`.
///
/// A timeout (`ErrorKind::TimedOut`) does not end it: what came is kept, and the call may be
/// repeated. Only of a `write_all` it is then unknown how much had gone.
pub struct Client {
    stream: Option<Stream>,
    peer: Addr,
    /// Received and not yet taken: from `start` on.
    received: Vec<u8>,
    start: usize,
    closed: Option<Closed>,
    on_close: Option<Box<dyn FnOnce(Closed) + Send>>,
}

pub(crate) enum Stream {
    Plain(Timed),
    #[cfg(feature = "tls")]
    Tls(Box<rustls::StreamOwned<rustls::ClientConnection, Timed>>),
}

impl Client {
    /// Connects to a stream address: `tcp://host:port`, `unix://path`, or one made elsewhere.
    ///
    /// # Errors
    ///
    /// As [`Error`] says.
    pub fn connect<A>(address: A, timeouts: &Timeouts) -> Result<Self, Error>
    where
        A: TryInto<Address>,
        Error: From<A::Error>,
    {
        let address = address.try_into()?;
        if address.scheme() == Scheme::Tls {
            return Err(Error::TlsWanted { address: address.to_string() });
        }
        let (timed, peer) = dial(&address, timeouts)?;
        Ok(Self::over(Stream::Plain(timed), peer, timeouts))
    }

    pub(crate) fn over(stream: Stream, peer: Addr, timeouts: &Timeouts) -> Self {
        let (received, start) = (Vec::new(), 0);
        let mut this =
            Self { stream: Some(stream), peer, received, start, closed: None, on_close: None };
        this.set_timeouts(timeouts.read, timeouts.write);
        this
    }

    /// Has `tell` called when the connection ends, on the thread that finds it out; at once if it
    /// has ended already. A later one takes the place of an earlier one.
    pub fn on_close(&mut self, tell: impl FnOnce(Closed) + Send + 'static) {
        match self.closed {
            Some(reason) => tell(reason),
            None => self.on_close = Some(Box::new(tell)),
        }
    }

    /// How long each read and each write may take from now on; `None` for ever.
    pub fn set_timeouts(&mut self, read: Option<Duration>, write: Option<Duration>) {
        if let Some(timed) = self.timed() {
            (timed.read, timed.write) = (read, write);
        }
    }

    /// When all that follows has to be done, in place of a timeout per call: a `read_exact` from a
    /// peer that sends byte by byte ends too. `None` lifts it.
    pub fn set_deadline(&mut self, deadline: Option<Instant>) {
        if let Some(timed) = self.timed() {
            timed.deadline = deadline;
        }
    }

    /// The other end.
    #[must_use]
    pub fn peer(&self) -> &Addr {
        &self.peer
    }

    /// Why the connection ended, if it has.
    #[must_use]
    pub fn closed(&self) -> Option<Closed> {
        self.closed
    }

    /// Ends this side's stream, and goes on receiving. Further writes fail.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn finish(&mut self) -> io::Result<()> {
        match &mut self.stream {
            Some(stream) => {
                stream.end().and_then(|()| stream.timed().stream.shutdown(Shutdown::Write))
            }
            None => Err(ErrorKind::NotConnected.into()),
        }
    }

    /// Ends the connection. What was written is still sent; what was not read is dropped.
    pub fn close(&mut self) {
        self.end(Closed::Local);
    }

    fn timed(&mut self) -> Option<&mut Timed> {
        self.stream.as_mut().map(Stream::timed)
    }

    fn end(&mut self, reason: Closed) {
        let Some(mut stream) = self.stream.take() else { return };
        self.closed = Some(reason);
        if reason == Closed::Local {
            // A peer that is gone needs no last word.
            let _ = stream.end();
        }
        drop(stream);
        if let Some(tell) = self.on_close.take() {
            tell(reason);
        }
    }

    /// Reads once, and ends the connection where that says so.
    fn receive(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some(stream) = &mut self.stream else { return self.after_end() };
        let result = stream.read(into);
        match &result {
            Ok(0) if !into.is_empty() => self.end(Closed::Peer),
            Err(error) => self.note(error.kind()),
            Ok(_) => {}
        }
        result
    }

    fn after_end(&self) -> io::Result<usize> {
        match self.closed {
            Some(Closed::Failed(kind)) => Err(kind.into()),
            Some(Closed::Local) | None => Err(ErrorKind::NotConnected.into()),
            Some(Closed::Peer) => Ok(0),
        }
    }

    /// An error ends the connection unless the call may be repeated.
    fn note(&mut self, kind: ErrorKind) {
        if !matches!(kind, ErrorKind::TimedOut | ErrorKind::Interrupted) {
            self.end(Closed::Failed(kind));
        }
    }
}

impl Read for Client {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.start == self.received.len() && buffer.len() >= READ_BYTES {
            return self.receive(buffer);
        }
        let ready = self.fill_buf()?;
        let count = ready.len().min(buffer.len());
        buffer[..count].copy_from_slice(&ready[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Client {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.start == self.received.len() {
            let mut memory = std::mem::take(&mut self.received);
            memory.resize(READ_BYTES, 0);
            let result = self.receive(&mut memory);
            memory.truncate(*result.as_ref().unwrap_or(&0));
            (self.received, self.start) = (memory, 0);
            result?;
        }
        Ok(&self.received[self.start..])
    }

    fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.received.len());
    }
}

impl Write for Client {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(stream) = &mut self.stream else { return Err(ErrorKind::BrokenPipe.into()) };
        let result = stream.write(bytes);
        if let Err(error) = &result {
            self.note(error.kind());
        }
        result
    }

    /// Of use with TLS alone, where a write that timed out may have left a part behind.
    fn flush(&mut self) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Err(ErrorKind::BrokenPipe.into()) };
        let result = stream.flush();
        if let Err(error) = &result {
            self.note(error.kind());
        }
        result
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("Client");
        text.field("peer", &self.peer).field("closed", &self.closed).finish_non_exhaustive()
    }
}

impl Stream {
    fn timed(&mut self) -> &mut Timed {
        match self {
            Self::Plain(timed) => timed,
            #[cfg(feature = "tls")]
            Self::Tls(stream) => &mut stream.sock,
        }
    }

    /// What is to be said before the stream ends.
    fn end(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => {
                stream.conn.send_close_notify();
                stream.flush()
            }
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(timed) => timed.read(buffer),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(timed) => timed.write(bytes),
            // It sends, too. An error of that is for the next call: these bytes have been taken, and
            // one who heard of an error would give them again.
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(timed) => timed.flush(),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.flush(),
        }
    }
}
