//! A server in five callbacks, for programs that need no more.
//!
//! One loop on the calling thread, connections named by increasing numbers, replies returned rather
//! than queued. It is an ordinary [`Handler`] underneath.

use crate::{
    Action, CloseReason, Conn, ConnId, Cx, Error, Handler, Input, Opened, Server, ServerInfo, Tick,
};
use mainspring_io::{Addr, Address, Keepalive, SocketOptions};
use std::time::Duration;

/// The five callbacks. All run on the thread that called [`serve`], one at a time.
pub trait Callbacks: 'static {
    /// A connection arrived. `id` counts from 1 and is never used again; `waker` works from any
    /// thread. A reply that does not keep the connection open refuses it, after sending; `closed`
    /// is then not called.
    fn accept(&mut self, id: u64, peer: &Addr, waker: Waker) -> Reply {
        let _ = (id, peer, waker);
        Reply::keep()
    }

    /// Bytes arrived.
    fn data(&mut self, id: u64, bytes: &mut [u8]) -> Reply;

    /// The connection's waker was used, once or several times.
    fn wake(&mut self, id: u64) -> Reply {
        let _ = id;
        Reply::keep()
    }

    /// A connection that had been kept is gone. Called exactly once for each.
    fn closed(&mut self, id: u64, reason: CloseReason) {
        let _ = (id, reason);
    }

    /// Called before the first connection, then at least once a second and, while there is traffic,
    /// up to 60 times a second. `false` stops the server.
    fn tick(&mut self) -> bool {
        true
    }
}

/// What to send, and whether to keep the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Sent in full, whatever `keep_open` says.
    pub send: Vec<u8>,
    /// `false` closes the connection after sending.
    pub keep_open: bool,
}

impl Reply {
    /// Sends nothing and keeps the connection.
    #[must_use]
    pub fn keep() -> Self {
        Self { send: Vec::new(), keep_open: true }
    }

    /// Sends and keeps the connection.
    #[must_use]
    pub fn send(bytes: impl Into<Vec<u8>>) -> Self {
        Self { send: bytes.into(), keep_open: true }
    }

    /// Sends and closes the connection.
    #[must_use]
    pub fn close(bytes: impl Into<Vec<u8>>) -> Self {
        Self { send: bytes.into(), keep_open: false }
    }
}

/// Wakes one connection from any thread; see [`Callbacks::wake`].
#[derive(Clone, Debug)]
pub struct Waker(std::task::Waker);

impl Waker {
    /// Has `wake` called. Never refused, and harmless when the connection is gone. Calls that come
    /// faster than the loop turns are one call.
    pub fn wake(&self) {
        self.0.wake_by_ref();
    }
}

/// Serves `address` until `tick` returns `false`.
///
/// # Errors
///
/// As for [`crate::serve`].
pub fn serve<A, C>(address: A, callbacks: C) -> Result<(), Error>
where
    A: TryInto<Address>,
    Error: From<A::Error>,
    C: Callbacks,
{
    Server::builder().run(|shard| {
        let host = shard.host(simple(callbacks));
        shard.listen(host, address)?;
        Ok(())
    })
}

/// The callbacks as a handler, for servers that are built otherwise.
pub fn simple<C: Callbacks>(callbacks: C) -> Simple<C> {
    Simple { callbacks, last_id: 0, ticked: false }
}

/// What [`simple`] returns.
#[derive(Debug)]
pub struct Simple<C: Callbacks> {
    callbacks: C,
    last_id: u64,
    ticked: bool,
}

impl<C: Callbacks> Simple<C> {
    /// Busy at most 60 times a second, idle once.
    const TICK: Tick = Tick::Adaptive {
        busy: Duration::from_nanos(1_000_000_000 / 60),
        idle: Duration::from_secs(1),
    };
    const KEEPALIVE: Duration = Duration::from_secs(500);
}

impl<C: Callbacks> Handler for Simple<C> {
    /// The number of the connection.
    type State = u64;

    fn on_start(&mut self, _cx: &mut Cx<'_>, _server: &ServerInfo) -> Action {
        if self.callbacks.tick() { Action::Continue } else { Action::Shutdown }
    }

    fn on_open(&mut self, conn: &mut Conn<'_>) -> Opened<u64> {
        self.last_id += 1;
        let keepalive =
            Keepalive { idle: Self::KEEPALIVE, interval: Some(Self::KEEPALIVE), count: None };
        conn.set_options(SocketOptions { keepalive: Some(keepalive), ..SocketOptions::default() });
        let peer = conn.peer();
        let reply = self.callbacks.accept(self.last_id, &peer, Waker(conn.waker()));
        match answer(conn, &reply) {
            Action::Close => Opened::Refuse,
            _ => Opened::Accept(self.last_id),
        }
    }

    fn on_data(&mut self, id: &mut u64, conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
        let reply = self.callbacks.data(*id, input.take());
        answer(conn, &reply)
    }

    fn on_wake(&mut self, id: &mut u64, conn: &mut Conn<'_>) -> Action {
        let reply = self.callbacks.wake(*id);
        answer(conn, &reply)
    }

    fn on_close(&mut self, id: u64, _conn: ConnId, _cx: &mut Cx<'_>, reason: CloseReason) {
        self.callbacks.closed(id, reason);
    }

    fn on_tick(&mut self, cx: &mut Cx<'_>) -> Tick {
        // The first call was `on_start`'s.
        if std::mem::replace(&mut self.ticked, true) && !self.callbacks.tick() {
            cx.shutdown();
            return Tick::Stop;
        }
        Self::TICK
    }
}

fn answer(conn: &mut Conn<'_>, reply: &Reply) -> Action {
    if !reply.send.is_empty() {
        conn.out().extend_from_slice(&reply.send);
    }
    if reply.keep_open { Action::Continue } else { Action::Close }
}
