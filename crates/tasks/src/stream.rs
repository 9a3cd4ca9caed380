//! A connection as a task has it.

use crate::link::{Ends, Link, Mark};
use crate::received::{Forward, Receive, Received};
use crate::window::Window;
use mainspring_io::Addr;
use mainspring_loop::ConnId;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// A connection, for the task that serves it.
///
/// It implements `AsyncRead`, `AsyncBufRead` and `AsyncWrite` of `futures-io`, with the features
/// `tokio` and `hyper` also their traits; the methods here are enough for most. A task that needs no
/// buffer of its own is written like this:
///
/// ```
/// use mainspring_tasks::Stream;
///
/// async fn echo(mut stream: Stream) -> std::io::Result<()> {
///     while let Some(received) = stream.receive().await? {
///         stream.forward(received).await?;
///     }
///     Ok(())
/// }
/// # let _ = echo;
/// ```
///
/// What it costs to read and write in this way and in others is said in the [crate](crate).
///
/// Writes are taken at once while unsent output is not over
/// [`Limits::output_high`](mainspring_loop::Limits::output_high), and leave together after the poll;
/// so there is nothing to flush. Input that is not read stays where it is counted, and no more is
/// received. Reads and writes that are dropped half-way lose nothing: a write has then written a
/// part, as it may at any time.
///
/// When both halves are dropped, the connection is closed after what was written has been sent.
#[derive(Debug)]
pub struct Stream {
    read: ReadHalf,
    write: WriteHalf,
}

/// The half of a [`Stream`] that reads. While nobody reads, no more is received.
pub struct ReadHalf {
    link: Rc<Link>,
    /// What `fill_buf` has shown, and `consume` not taken yet.
    shown: Window,
}

/// The half of a [`Stream`] that writes. Dropping it ends this side's stream.
pub struct WriteHalf {
    link: Rc<Link>,
}

/// The future of [`Stream::read`].
#[derive(Debug)]
#[must_use = "futures do nothing unless they are awaited"]
pub struct Read<'a> {
    half: &'a mut ReadHalf,
    buffer: &'a mut [u8],
}

/// The future of [`Stream::write_all`]. Dropping it leaves written what had been taken.
#[derive(Debug)]
#[must_use = "futures do nothing unless they are awaited"]
pub struct WriteAll<'a> {
    half: &'a mut WriteHalf,
    /// What is still to be taken.
    bytes: &'a [u8],
}

impl Stream {
    pub(crate) fn new(link: Rc<Link>) -> Self {
        let read = ReadHalf { link: link.clone(), shown: Window::default() };
        Self { read, write: WriteHalf { link } }
    }

    /// The name of the connection.
    #[must_use]
    pub fn id(&self) -> ConnId {
        self.link().id.get().expect("a stream is given out when its connection is up")
    }

    /// The other end.
    #[must_use]
    pub fn peer(&self) -> &Addr {
        &self.ends().peer
    }

    /// This end.
    #[must_use]
    pub fn local(&self) -> &Addr {
        &self.ends().local
    }

    /// Which of the server's addresses it was accepted on; `None` if it was dialled.
    #[must_use]
    pub fn listener(&self) -> Option<usize> {
        self.ends().listener
    }

    /// Whether a graceful stop has to wait for this connection: yes, unless the task says otherwise,
    /// for instance while it waits for the next request.
    pub fn set_busy(&self, busy: bool) {
        let link = self.link();
        if link.has(Mark::BUSY) != busy {
            link.flip(Mark::BUSY);
            link.flip(Mark::BUSY_UNTOLD);
            link.touch();
        }
    }

    /// Reads what there is, at most as much as fits; waits if there is nothing. 0 is the end.
    ///
    /// # Errors
    ///
    /// Those of the connection's end, unless the peer has ended it in good order.
    pub fn read<'a>(&'a mut self, buffer: &'a mut [u8]) -> Read<'a> {
        self.read.read(buffer)
    }

    /// Reads until the buffer is full.
    ///
    /// # Errors
    ///
    /// As [`read`](Stream::read), and [`UnexpectedEof`](io::ErrorKind::UnexpectedEof).
    pub async fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        self.read.read_exact(buffer).await
    }

    /// Waits for input and gives all that there is, with its memory; `None` is the end. It needs no
    /// buffer, and a long delivery is not copied: it is the fastest way to read, for tasks that can
    /// take what comes.
    ///
    /// # Errors
    ///
    /// As [`read`](Stream::read).
    pub fn receive(&mut self) -> Receive<'_> {
        self.read.receive()
    }

    /// See [`ReadHalf::peek`].
    ///
    /// # Errors
    ///
    /// As [`read`](Stream::read).
    pub async fn peek(&mut self, count: usize) -> io::Result<&[u8]> {
        self.read.peek(count).await
    }

    /// Writes all of it; waits while too much is unsent.
    ///
    /// # Errors
    ///
    /// Those of the connection's end; [`BrokenPipe`](io::ErrorKind::BrokenPipe) after
    /// [`close`](Stream::close).
    pub fn write_all<'a>(&'a mut self, bytes: &'a [u8]) -> WriteAll<'a> {
        self.write.write_all(bytes)
    }

    /// Writes what was [received](Stream::receive), of this connection, which is an echo, or of
    /// another one of the loop, which is a relay; waits while too much is unsent. A long delivery
    /// is sent from where it was received. [`copy`](crate::copy) does it until the end.
    ///
    /// All of it is taken at once, so that it may exceed
    /// [`Limits::output_high`](mainspring_loop::Limits::output_high) by the length of a delivery.
    ///
    /// # Errors
    ///
    /// As [`write_all`](Stream::write_all).
    pub fn forward(&mut self, received: Received) -> Forward<'_> {
        self.write.forward(received)
    }

    /// Ends this side's stream after what has been written. Reading goes on.
    pub fn close(&mut self) {
        self.write.close();
    }

    /// Resets the connection: what has not been sent is dropped.
    pub fn abort(self) {
        self.link().set(Mark::ABORT);
    }

    /// The two halves, for two tasks or for two futures of one task.
    #[must_use]
    pub fn split(self) -> (ReadHalf, WriteHalf) {
        (self.read, self.write)
    }

    pub(crate) fn read_half(&mut self) -> &mut ReadHalf {
        &mut self.read
    }

    pub(crate) fn write_half(&mut self) -> &mut WriteHalf {
        &mut self.write
    }

    fn link(&self) -> &Rc<Link> {
        &self.write.link
    }

    fn ends(&self) -> &Ends {
        self.link().ends.get().expect("a stream is given out when its connection is up")
    }
}

impl ReadHalf {
    /// See [`Stream::read`].
    ///
    /// # Errors
    ///
    /// As [`Stream::read`].
    pub fn read<'a>(&'a mut self, buffer: &'a mut [u8]) -> Read<'a> {
        Read { half: self, buffer }
    }

    /// See [`Stream::read_exact`].
    ///
    /// # Errors
    ///
    /// As [`Stream::read_exact`].
    pub async fn read_exact(&mut self, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            let count = self.read(buffer).await?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            buffer = &mut buffer[count..];
        }
        Ok(())
    }

    /// Waits for at least `count` bytes, or the end of the stream, and shows what there is without
    /// consuming it: fewer bytes than asked for mean the end.
    ///
    /// # Errors
    ///
    /// As [`Stream::read`].
    pub async fn peek(&mut self, count: usize) -> io::Result<&[u8]> {
        while self.shown.rest().len() < count {
            let more = poll_fn(|cx| self.link.poll_window(cx.waker())).await?;
            if more.is_empty() {
                break;
            }
            if self.shown.is_empty() {
                self.shown = more;
            } else {
                self.shown.append(more.rest());
            }
        }
        Ok(self.shown.rest())
    }

    /// See [`Stream::receive`].
    ///
    /// # Errors
    ///
    /// As [`Stream::receive`].
    pub fn receive(&mut self) -> Receive<'_> {
        Receive::new(self)
    }

    /// All that there is, with its memory; an empty window is the end.
    pub(crate) fn poll_window(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Window>> {
        if self.shown.is_empty() {
            return self.link.poll_window(cx.waker());
        }
        Poll::Ready(Ok(std::mem::take(&mut self.shown)))
    }

    /// All that there is, in its place until it is consumed; nothing is the end.
    pub(crate) fn poll_shown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        if self.shown.is_empty() {
            self.shown = ready!(self.link.poll_window(cx.waker()))?;
        }
        Poll::Ready(Ok(self.shown.rest()))
    }

    pub(crate) fn poll_copy(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_take(cx, |bytes| {
            let count = bytes.len().min(buffer.len());
            buffer[..count].copy_from_slice(&bytes[..count]);
            count
        })
    }

    /// Has `take` take a part of what there is; 0 is the end.
    pub(crate) fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        take: impl FnOnce(&[u8]) -> usize,
    ) -> Poll<io::Result<usize>> {
        if self.shown.is_empty() {
            return self.link.poll_input(cx.waker(), take);
        }
        let count = take(self.shown.rest());
        self.advance(count);
        Poll::Ready(Ok(count))
    }

    pub(crate) fn advance(&mut self, count: usize) {
        self.shown.take(count);
    }
}

impl WriteHalf {
    /// See [`Stream::write_all`].
    ///
    /// # Errors
    ///
    /// As [`Stream::write_all`].
    pub fn write_all<'a>(&'a mut self, bytes: &'a [u8]) -> WriteAll<'a> {
        WriteAll { half: self, bytes }
    }

    /// See [`Stream::forward`].
    ///
    /// # Errors
    ///
    /// As [`Stream::forward`].
    pub fn forward(&mut self, received: Received) -> Forward<'_> {
        Forward::new(self, received)
    }

    /// See [`Stream::close`].
    pub fn close(&mut self) {
        self.link.finish();
    }

    pub(crate) fn poll_forward(
        &mut self,
        cx: &mut Context<'_>,
        window: &mut Window,
    ) -> Poll<io::Result<()>> {
        self.link.poll_forward(cx.waker(), window)
    }

    pub(crate) fn poll_pieces(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.link.poll_pieces(cx.waker(), pieces)
    }

    pub(crate) fn poll_bytes(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.link.poll_output(cx.waker(), bytes)
    }
}

impl Future for Read<'_> {
    type Output = io::Result<usize>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Self { half, buffer } = self.get_mut();
        half.poll_copy(cx, buffer)
    }
}

impl Future for WriteAll<'_> {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { half, bytes } = self.get_mut();
        while !bytes.is_empty() {
            let count = ready!(half.poll_bytes(cx, bytes))?;
            *bytes = &bytes[count..];
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for ReadHalf {
    fn drop(&mut self) {
        self.link.set(Mark::UNREAD);
        if self.link.is_let_go() {
            self.link.touch();
        }
    }
}

impl Drop for WriteHalf {
    fn drop(&mut self) {
        self.link.set(Mark::UNWRITTEN);
        if !self.link.is_let_go() {
            return self.link.finish();
        }
        self.link.touch();
    }
}

impl fmt::Debug for ReadHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReadHalf({:?})", self.link.id.get())
    }
}

impl fmt::Debug for WriteHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WriteHalf({:?})", self.link.id.get())
    }
}
