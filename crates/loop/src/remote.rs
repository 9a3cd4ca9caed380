//! The way into a server from any thread.

pub mod inbox;
pub(crate) mod post;

use crate::conn::completion::{Completion, SendOutcome};
use crate::remote::post::Post;
use crate::server::shared::ServerShared;
use crate::{BroadcastLimits, Broadcaster, ConnId, Cx, Full, Handler, HostId};
use bytes::Bytes;
use mainspring_io::Key;
use std::fmt;
use std::sync::Arc;

/// The way to one handler, and to every connection of its server, from any thread.
///
/// All calls queue and return at once. Calls from one thread to one loop are carried out in their
/// order. The ids of connections that have ended are harmless: a send is counted as dropped, the
/// rest does nothing.
///
/// # Errors
///
/// Every call answers [`Full`] when the inbox of the loop concerned is full or the server has
/// ended. Nothing was done then.
pub struct Remote<H> {
    shared: Arc<ServerShared>,
    home: u16,
    host: HostId<H>,
}

impl<H: Handler> Remote<H> {
    pub(crate) fn new(shared: Arc<ServerShared>, home: u16, host: HostId<H>) -> Self {
        Self { shared, home, host }
    }

    /// Runs `work` on the handler's loop. A panic in it is caught, counted and logged.
    pub fn post(
        &self,
        work: impl FnOnce(&mut H, &mut Cx<'_>) + Send + 'static,
    ) -> Result<(), Full> {
        let host = self.host.index;
        let run = Post::Run(Box::new(move |hosts, state| {
            let handler = hosts[host as usize].handler().downcast_mut::<H>();
            work(handler.expect("a typed id names the handler's type"), &mut Cx { state, host });
        }));
        self.push(self.home, run)
    }

    /// Queues `bytes` on a connection. Queued bytes are never lost silently: what comes too late
    /// for its connection is counted.
    pub fn send(&self, to: ConnId, bytes: Bytes) -> Result<(), Full> {
        self.push(to.home, Post::Send { key: to.key, bytes, done: None })
    }

    /// As [`send`](Remote::send); `done` is called exactly once, on the loop's thread or where the
    /// server ends: when the last byte was handed to the kernel, or when it is certain that it will
    /// not be. It is dropped uncalled if the answer is `Full`.
    pub fn send_notify(
        &self,
        to: ConnId,
        bytes: Bytes,
        done: impl FnOnce(SendOutcome) + Send + 'static,
    ) -> Result<(), Full> {
        let done = Some(Completion::new(done));
        self.push(to.home, Post::Send { key: to.key, bytes, done })
    }

    /// Queues the same bytes on many connections, wherever they are served, without copying them.
    /// On `Full` some loops may have taken their share.
    pub fn broadcast(&self, bytes: &Bytes, to: &[ConnId]) -> Result<(), Full> {
        for home in 0..self.shared.loops.len() as u16 {
            let keys: Arc<[Key]> =
                to.iter().filter(|id| id.home == home).map(|id| id.key).collect();
            if !keys.is_empty() {
                self.push(home, Post::Broadcast { keys, bytes: bytes.clone() })?;
            }
        }
        Ok(())
    }

    /// A way to send the same messages to many connections, some of which read slowly: with
    /// limits for each, and an account of what became of every message.
    #[must_use]
    pub fn broadcaster(&self, limits: BroadcastLimits) -> Broadcaster {
        Broadcaster::new(self.shared.clone(), limits)
    }

    /// Has `on_wake` called for a connection. Wakes that reach the loop in one turn are one call.
    pub fn wake(&self, id: ConnId) -> Result<(), Full> {
        self.push(id.home, Post::Wake(id.key))
    }

    /// Closes a connection after its output has been sent.
    pub fn close(&self, id: ConnId) -> Result<(), Full> {
        self.push(id.home, Post::Close(id.key))
    }

    /// Resets a connection.
    pub fn abort(&self, id: ConnId) -> Result<(), Full> {
        self.push(id.home, Post::Abort(id.key))
    }

    /// Delivers input again to a connection that was paused.
    pub fn resume(&self, id: ConnId) -> Result<(), Full> {
        self.push(id.home, Post::Resume(id.key))
    }

    fn push(&self, home: u16, post: Post) -> Result<(), Full> {
        let loop_ = self.shared.loops.get(usize::from(home)).ok_or(Full)?;
        let bytes = post.bytes();
        loop_.inbox.push(post, bytes).map_err(|refused| {
            if let Post::Send { done: Some(done), .. } = refused {
                done.disarm();
            }
            Full
        })
    }
}

impl<H> Clone for Remote<H> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), home: self.home, host: self.host }
    }
}

impl<H> fmt::Debug for Remote<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remote(loop {}, {:?})", self.home, self.host)
    }
}
