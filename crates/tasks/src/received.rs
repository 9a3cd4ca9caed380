//! Received bytes as a value: read where they lie, and passed on without a copy.

use crate::stream::{ReadHalf, WriteHalf};
use crate::window::Window;
use std::fmt;
use std::io;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Bytes that [`Stream::receive`](crate::Stream::receive) has given, at least one of them.
///
/// Of a long delivery they are the memory itself that it was received into, of a short one a copy.
/// Such memory is bounded: while a task holds on to it, other long deliveries may have to be copied,
/// but are received all the same. So a value that is to wait for long is better copied by
/// `to_vec()` and dropped.
pub struct Received {
    window: Window,
}

impl Received {
    /// Gives the first `count` bytes up.
    ///
    /// # Panics
    ///
    /// If there are fewer.
    pub fn advance(&mut self, count: usize) {
        self.window.take(count);
    }
}

impl Deref for Received {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.window.rest()
    }
}

impl AsRef<[u8]> for Received {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} received bytes", self.len())
    }
}

/// The future of [`Stream::receive`](crate::Stream::receive). Dropping it loses nothing.
#[derive(Debug)]
#[must_use = "futures do nothing unless they are awaited"]
pub struct Receive<'a> {
    half: &'a mut ReadHalf,
}

impl<'a> Receive<'a> {
    pub(crate) fn new(half: &'a mut ReadHalf) -> Self {
        Self { half }
    }
}

impl Future for Receive<'_> {
    type Output = io::Result<Option<Received>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let half = &mut *self.get_mut().half;
        let window = ready!(half.poll_window(cx))?;
        if window.is_empty() {
            return Poll::Ready(Ok(None));
        }
        Poll::Ready(Ok(Some(Received { window })))
    }
}

/// The future of [`Stream::forward`](crate::Stream::forward). Dropping it before it is ready drops
/// what was to be forwarded, all of it.
#[derive(Debug)]
#[must_use = "futures do nothing unless they are awaited"]
pub struct Forward<'a> {
    half: &'a mut WriteHalf,
    received: Received,
}

impl<'a> Forward<'a> {
    pub(crate) fn new(half: &'a mut WriteHalf, received: Received) -> Self {
        Self { half, received }
    }
}

impl Future for Forward<'_> {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { half, received } = self.get_mut();
        half.poll_forward(cx, &mut received.window)
    }
}

/// Forwards what `from` receives to `to`, of the same connection or of another one, until `from`
/// ends, and tells how many bytes that were. `to` is left open. Long deliveries are not copied.
///
/// # Errors
///
/// Those of [`Stream::receive`](crate::Stream::receive) and
/// [`Stream::forward`](crate::Stream::forward).
///
/// # Examples
///
/// ```no_run
/// use mainspring_tasks::{Stream, connect, copy, spawn};
///
/// async fn proxy(client: Stream) -> std::io::Result<()> {
///     let server = connect("tcp://127.0.0.1:8080").await?;
///     let (mut from_client, mut to_client) = client.split();
///     let (mut from_server, mut to_server) = server.split();
///     let there = spawn(async move { copy(&mut from_client, &mut to_server).await });
///     copy(&mut from_server, &mut to_client).await?;
///     there.await.map_err(std::io::Error::other)?.map(drop)
/// }
/// ```
pub async fn copy(from: &mut ReadHalf, to: &mut WriteHalf) -> io::Result<u64> {
    let mut count = 0;
    while let Some(received) = from.receive().await? {
        count += received.len() as u64;
        to.forward(received).await?;
    }
    Ok(count)
}
