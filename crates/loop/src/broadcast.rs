//! The same messages to many connections, some of which read slowly.

mod account;
pub(crate) mod channel;
mod delivery;
pub(crate) mod lane;
mod targets;

pub use account::{BroadcastDrops, BroadcastStats};
pub use targets::Targets;

use crate::broadcast::channel::Channel;
use crate::remote::post::Post;
use crate::server::shared::ServerShared;
use crate::{ConnId, Full};
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Sends the same messages to many connections of a server, from any thread, and keeps those that
/// read slowly from costing the others anything but a bounded amount of memory.
///
/// Made by [`Remote::broadcaster`](crate::Remote::broadcaster),
/// [`Shard::broadcaster`](crate::Shard::broadcaster) or
/// [`Cx::broadcaster`](crate::Cx::broadcaster); clones share one account. It reaches the connections
/// of every handler and loop of the server.
///
/// ```text
///   send --> one post per loop --+--> outbox below its mark: behind what is queued there --> kernel
///                                |                                 ^
///                                +--> else: waits outside ---------+ when the outbox has drained
///                                          |
///                                          +--> over a mark, or too late: the policy
/// ```
///
/// A message is either wholly in the stream of a connection or not at all; each connection gets
/// the messages of one sending thread in their order. Between the messages of two broadcasters, or
/// of a broadcaster and the connection's own output, the order is that in which they reached the
/// outbox: a handler whose own output has to be whole appends it whole.
///
/// A message that waits counts as output: a connection that is closed, finished, detached or
/// drained gets it first. It also counts as buffered: while a loop is over its share of
/// [`Limits::memory_max`](crate::Limits::memory_max), nothing more waits and the policy decides.
///
/// # Accounting
///
/// Every message to every target is counted once when it is sent, and then is queued, delivered or
/// dropped for one reason: whenever nothing is under way between threads,
/// [`stats`](Broadcaster::stats) says `sent = delivered + queued + dropped`.
///
/// # Examples
///
/// ```
/// use bytes::Bytes;
/// use mainspring_loop::{Action, BroadcastLimits, Conn, Input, Server, SlowPolicy};
/// use std::time::Duration;
///
/// let running = Server::builder().start(|shard| {
///     let host = shard.host(|_: &mut Conn<'_>, input: &mut Input<'_>| {
///         input.take();
///         Action::Continue
///     });
///     let prices = shard.broadcaster(BroadcastLimits {
///         queue_messages: 100,
///         deadline: Some(Duration::from_secs(2)),
///         policy: SlowPolicy::DropOldest,
///         ..BroadcastLimits::default()
///     });
///     prices.send(Bytes::from_static(b"to nobody yet"), &[]).expect("nobody is full");
///     assert_eq!(prices.stats().sent, 0);
///     shard.listen(host, "tcp://127.0.0.1:0").map(drop)
/// })?;
/// running.handle().stop();
/// running.join()?;
/// # Ok::<(), mainspring_loop::Error>(())
/// ```
#[derive(Clone)]
pub struct Broadcaster {
    shared: Arc<ServerShared>,
    channel: Arc<Channel>,
}

/// What a [`Broadcaster`] lets wait for one connection, and what happens beyond.
///
/// Fields may be added: write `BroadcastLimits { policy: .., ..BroadcastLimits::default() }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BroadcastLimits {
    /// Unsent output of a connection, in bytes, from which on messages wait outside of it, where
    /// they can still be dropped. An empty outbox takes a message of any length. At most
    /// [`Limits::output_high`](crate::Limits::output_high) makes sense: beyond it the connection is
    /// not read from. Default 64 KiB.
    pub outbox_bytes: usize,
    /// Bytes that wait for one connection. A longer message never waits. Default 256 KiB.
    pub queue_bytes: usize,
    /// Messages that wait for one connection. Default 1,024.
    pub queue_messages: usize,
    /// How long a message may wait, from when the connection's loop has taken it, until it is
    /// dropped as too late; in steps of 1 ms, and never early. Default 30 s.
    pub deadline: Option<Duration>,
    /// What is given up when a message comes for which there is no room. Default
    /// [`SlowPolicy::DropOldest`].
    pub policy: SlowPolicy,
}

/// What a broadcaster gives up when too much waits for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SlowPolicy {
    /// The message that has just come: the peer gets the beginning of what it missed.
    DropNewest,
    /// What has waited longest: the peer gets the end of what it missed.
    DropOldest,
    /// The connection, with
    /// [`CloseReason::SlowConsumer`](crate::CloseReason::SlowConsumer): the peer gets everything or
    /// learns that it does not.
    Disconnect,
}

impl Default for BroadcastLimits {
    fn default() -> Self {
        Self {
            outbox_bytes: 64 << 10,
            queue_bytes: 256 << 10,
            queue_messages: 1024,
            deadline: Some(Duration::from_secs(30)),
            policy: SlowPolicy::DropOldest,
        }
    }
}

impl Broadcaster {
    pub(crate) fn new(shared: Arc<ServerShared>, limits: BroadcastLimits) -> Self {
        let channel = Arc::new(Channel::new(limits, shared.loops.len()));
        Self { shared, channel }
    }

    /// Sends a message to many connections without copying it. A connection that is named twice
    /// gets it twice; one that is not open is counted.
    ///
    /// For a list that is used again, see [`targets`](Broadcaster::targets).
    ///
    /// # Errors
    ///
    /// [`Full`] if the inbox of a loop was full, or the server has ended. The targets on that loop
    /// do not get the message and are counted as
    /// [`refused`](BroadcastDrops::refused); all others do: it must not be sent again.
    pub fn send(&self, bytes: Bytes, to: &[ConnId]) -> Result<(), Full> {
        self.send_to(bytes, &self.targets(to))
    }

    /// As [`send`](Broadcaster::send), to targets that are sorted by loop already. It allocates
    /// nothing.
    ///
    /// # Errors
    ///
    /// As for [`send`](Broadcaster::send).
    pub fn send_to(&self, bytes: Bytes, to: &Targets) -> Result<(), Full> {
        self.channel.note_sent(to.len() as u64);
        self.channel.note_unknown(to.unknown());
        let mut outcome = Ok(());
        for (home, keys) in to.by_loop() {
            let count = keys.len() as u64;
            let Some(target) = self.shared.loops.get(usize::from(home)) else {
                self.channel.note_unknown(count);
                continue;
            };
            self.channel.note_posted(home, count);
            let channel = self.channel.clone();
            let post = Post::Cast { channel, keys: keys.clone(), bytes: bytes.clone() };
            if target.inbox.push(post, bytes.len()).is_err() {
                self.channel.note_refused(home, count);
                outcome = Err(Full);
            }
        }
        outcome
    }

    /// Sorts targets by loop, for any number of [`send_to`](Broadcaster::send_to). Ids of
    /// connections that have ended meanwhile are harmless, but counted each time.
    #[must_use]
    pub fn targets(&self, to: &[ConnId]) -> Targets {
        Targets::new(to, self.shared.loops.len())
    }

    /// What this broadcaster and its clones have sent, and what has become of it.
    #[must_use]
    pub fn stats(&self) -> BroadcastStats {
        self.channel.stats()
    }

    /// The limits that it was made with.
    #[must_use]
    pub fn limits(&self) -> &BroadcastLimits {
        &self.channel.limits
    }
}

impl fmt::Debug for Broadcaster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broadcaster").field("limits", &self.channel.limits).finish_non_exhaustive()
    }
}
