//! A socket whose reads and writes end in time.
#![expect(
    clippy::disallowed_methods,
    reason = "a client that blocks has no loop that tells the time"
)]

use mainspring_io::OwnedStream;
use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

/// A blocking socket that gives up when its time is over.
#[derive(Debug)]
pub(crate) struct Timed {
    pub(crate) stream: OwnedStream,
    pub(crate) read: Option<Duration>,
    pub(crate) write: Option<Duration>,
    /// When everything has to be done, whatever the two above allow.
    pub(crate) deadline: Option<Instant>,
    /// What the socket was last told: a change costs a system call.
    told: Told,
}

#[derive(Debug, Default)]
struct Told {
    read: Option<Duration>,
    write: Option<Duration>,
}

impl Timed {
    pub(crate) fn new(stream: OwnedStream) -> Self {
        Self { stream, read: None, write: None, deadline: None, told: Told::default() }
    }

    /// `None` for ever.
    fn time_left(&self, timeout: Option<Duration>) -> io::Result<Option<Duration>> {
        let Some(deadline) = self.deadline else { return Ok(timeout) };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        Ok(Some(timeout.map_or(left, |timeout| timeout.min(left))))
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = self.time_left(self.read)?.map(settable);
        if wanted != self.told.read {
            self.stream.set_read_timeout(wanted)?;
            self.told.read = wanted;
        }
        self.stream.read(buffer).map_err(plain)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let wanted = self.time_left(self.write)?.map(settable);
        if wanted != self.told.write {
            self.stream.set_write_timeout(wanted)?;
            self.told.write = wanted;
        }
        self.stream.write(bytes).map_err(plain)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// What is left of `time` since `since`, for whoever waits in several steps.
pub(crate) fn left_of(time: Duration, since: Instant) -> Duration {
    time.saturating_sub(since.elapsed())
}

pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Sockets take no time as for ever.
fn settable(time: Duration) -> Duration {
    time.max(Duration::from_millis(1))
}

/// Systems differ in what a timeout is called.
fn plain(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::WouldBlock => ErrorKind::TimedOut.into(),
        _ => error,
    }
}
