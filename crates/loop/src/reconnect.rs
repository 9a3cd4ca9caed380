//! Connections that are dialled again when they end.

mod backoff;
mod link;

pub use self::backoff::Backoff;
pub use self::link::{Link, LinkChange, LinkStatus, Retry};

use self::link::{Next, Stage};
use crate::{
    Action, CloseReason, Conn, ConnId, Cx, Datagram, Detached, Handler, Input, Opened, ServerInfo,
    Tick, TimerId,
};
use mainspring_io::Addr;
use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

/// A handler around another one, whose links it keeps up: it dials them at the start, and again when
/// they fail or end, with a delay that grows and jitters ([`Backoff`]).
///
/// The handler inside sees what it would see without: `on_connected` for each connection that is up,
/// with a state that the link's `make` has made, `on_close` once for each state. It may also accept
/// connections, and dial some of its own; those are not kept up. To the loop its type is
/// `Reconnect<H>`: inside, [`Cx::this`] is asked for `Reconnect<Self>`, and a
/// [`Remote`](crate::Remote) of that type is the way to stop and start links.
///
/// What happens to a link is told to its [`on_change`](Link::on_change). A link ends when it is
/// [stopped](Reconnect::stop), [judged](Link::stop_if) or given up ([`Retry::attempts_max`]), when the
/// handler detaches its connection, and with the server: a drain or a stop dials nothing more. A
/// connection that the handler hands off ([`Conn::handoff`]) is out of sight: its link counts as up for
/// ever.
///
/// At most one connection of a link is there at any time.
///
/// # Examples
///
/// A client of two servers, one of them in reserve:
///
/// ```
/// use mainspring_loop::{Action, Conn, Input, Link, LinkChange, Reconnect, Retry, Server};
/// use std::time::Duration;
///
/// # let upstream = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let first = format!("tcp://{}", upstream.local_addr()?);
/// let addresses = vec![first.try_into()?, "tcp://127.0.0.1:1".try_into()?];
/// let server = Server::builder().start(move |shard| {
///     let client = |_: &mut Conn<'_>, input: &mut Input<'_>| {
///         println!("{} bytes", input.take().len());
///         Action::Continue
///     };
///     let link = Link::to_any(addresses.clone(), |_, _| ())
///         .retry(Retry { delay_max: Duration::from_secs(5), ..Retry::default() })
///         .on_change(|_, cx, change| match change {
///             LinkChange::Connected { id, .. } => {
///                 cx.conn(id).expect("it is up").out().extend_from_slice(b"hello");
///             }
///             change => println!("{change:?}"),
///         });
///     shard.host(Reconnect::new(client).link(link));
///     Ok(())
/// })?;
/// # let mut hello = [0; 5];
/// # std::io::Read::read_exact(&mut upstream.accept()?.0, &mut hello)?;
/// server.handle().stop();
/// server.join()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Reconnect<H: Handler> {
    handler: H,
    links: Vec<Link<H>>,
    /// Which link a connection is of.
    conns: HashMap<ConnId, LinkId>,
    /// Which link a timer is of.
    timers: HashMap<TimerId, LinkId>,
    /// The server ends: nothing is dialled any more.
    is_ending: bool,
}

/// Names a link of one [`Reconnect`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkId(usize);

impl<H: Handler> Reconnect<H> {
    /// A handler without links.
    #[must_use]
    pub fn new(handler: H) -> Self {
        Self {
            handler,
            links: Vec::new(),
            conns: HashMap::new(),
            timers: HashMap::new(),
            is_ending: false,
        }
    }

    /// Adds a link that is dialled at the start. The ids count from the first one on; see
    /// [`links`](Reconnect::links).
    #[must_use]
    pub fn link(mut self, link: Link<H>) -> Self {
        self.links.push(link);
        self
    }

    /// Adds a link and dials it, while the loop runs: by way of
    /// [`Remote::post`](crate::Remote::post).
    pub fn add(&mut self, cx: &mut Cx<'_>, link: Link<H>) -> LinkId {
        let id = LinkId(self.links.len());
        self.links.push(link);
        self.start(cx, id);
        id
    }

    /// The ids of all links, in the order in which they were added.
    pub fn links(&self) -> impl Iterator<Item = LinkId> + use<H> {
        (0..self.links.len()).map(LinkId)
    }

    /// Where a link stands.
    ///
    /// # Panics
    ///
    /// If the id is of another `Reconnect`.
    #[must_use]
    pub fn status(&self, id: LinkId) -> LinkStatus {
        self.links[id.0].status()
    }

    /// The handler inside.
    pub fn handler(&mut self) -> &mut H {
        &mut self.handler
    }

    /// Dials a link at once, as if for the first time, unless it is up or being dialled. One that is
    /// being stopped is dialled when it has ended.
    ///
    /// # Panics
    ///
    /// If the id is of another `Reconnect`.
    pub fn start(&mut self, cx: &mut Cx<'_>, id: LinkId) {
        let link = &mut self.links[id.0];
        match &mut link.stage {
            Stage::Dialling(_) | Stage::Up { .. } => return,
            Stage::Stopping { again, .. } => {
                *again = true;
                return;
            }
            Stage::Waiting(timer) => {
                self.timers.remove(timer);
                cx.cancel_timer(*timer);
            }
            Stage::Idle => {}
        }
        link.reset();
        self.dial(cx, id);
    }

    /// Closes a link's connection after its output has been sent, or calls its dial off, and dials
    /// it no more. A change follows if there was a connection or a dial.
    ///
    /// # Panics
    ///
    /// If the id is of another `Reconnect`.
    pub fn stop(&mut self, cx: &mut Cx<'_>, id: LinkId) {
        let link = &mut self.links[id.0];
        link.stage = match link.stage {
            Stage::Idle => Stage::Idle,
            Stage::Waiting(timer) => {
                self.timers.remove(&timer);
                cx.cancel_timer(timer);
                Stage::Idle
            }
            Stage::Dialling(id) => Stage::Stopping { id, since: None, again: false },
            Stage::Up { id, since } => Stage::Stopping { id, since: Some(since), again: false },
            Stage::Stopping { id, since, .. } => Stage::Stopping { id, since, again: false },
        };
        if let Stage::Stopping { id, .. } = link.stage {
            cx.close(id);
        }
    }

    fn dial(&mut self, cx: &mut Cx<'_>, id: LinkId) {
        if self.is_ending {
            self.links[id.0].stage = Stage::Idle;
            return;
        }
        // If one of the user's functions panics, the link waits, and is not lost.
        self.wait(cx, id, self.links[id.0].retry.delay_min);
        let link = &mut self.links[id.0];
        let address = link.next_address();
        let state = (link.make)(&mut self.handler, cx);
        let dialled = (link.dial)(cx, cx.this::<Self>(), &address, state);
        if let Stage::Waiting(timer) = link.stage {
            self.timers.remove(&timer);
            cx.cancel_timer(timer);
        }
        let conn = match dialled {
            Ok(conn) => conn,
            Err(error) => {
                let reason = CloseReason::Failed((&error).into());
                let next = link.next(reason, None, cx.random());
                let retry = self.follow(cx, id, next);
                return self.tell(cx, id, LinkChange::Failed { reason, retry }, next);
            }
        };
        link.stage = Stage::Dialling(conn);
        self.conns.insert(conn, id);
        if let Some(timeout) = link.retry.dial_timeout
            && let Some(mut conn) = cx.conn(conn)
        {
            conn.set_dial_timeout(timeout);
        }
    }

    /// Does what comes next, and says when a dial is.
    fn follow(&mut self, cx: &mut Cx<'_>, id: LinkId, next: Next) -> Option<Duration> {
        match next {
            Next::After(delay) => {
                self.wait(cx, id, delay);
                Some(delay)
            }
            Next::GiveUp { .. } | Next::Stop => {
                self.links[id.0].stage = Stage::Idle;
                None
            }
        }
    }

    fn wait(&mut self, cx: &mut Cx<'_>, id: LinkId, delay: Duration) {
        let timer = cx.set_timer(delay);
        self.timers.insert(timer, id);
        self.links[id.0].stage = Stage::Waiting(timer);
    }

    fn tell(&mut self, cx: &mut Cx<'_>, id: LinkId, change: LinkChange, next: Next) {
        let Some(tell) = &mut self.links[id.0].tell else { return };
        tell(&mut self.handler, cx, change);
        if let Next::GiveUp { attempts } = next {
            tell(&mut self.handler, cx, LinkChange::GaveUp { attempts });
        }
    }

    /// What follows from the end of a link's connection, and how long that had been up.
    fn ended(
        &mut self,
        cx: &mut Cx<'_>,
        id: LinkId,
        reason: CloseReason,
    ) -> (Next, Option<Duration>) {
        let now = cx.now();
        let lasted = |since| now.saturating_duration_since(since);
        self.is_ending |= matches!(reason, CloseReason::Shutdown | CloseReason::DrainTimeout);
        let link = &mut self.links[id.0];
        let (up, is_stopped) = match link.stage {
            Stage::Up { since, .. } => (Some(lasted(since)), false),
            Stage::Stopping { since, again, .. } => {
                if again {
                    link.reset();
                    return (Next::After(Duration::ZERO), since.map(lasted));
                }
                (since.map(lasted), true)
            }
            Stage::Idle | Stage::Dialling(_) | Stage::Waiting(_) => (None, false),
        };
        if is_stopped || self.is_ending {
            return (Next::Stop, up);
        }
        (link.next(reason, up, cx.random()), up)
    }
}

impl<H: Handler> Handler for Reconnect<H> {
    type State = H::State;

    fn on_start(&mut self, cx: &mut Cx<'_>, server: &ServerInfo) -> Action {
        let action = self.handler.on_start(cx, server);
        for id in self.links() {
            self.start(cx, id);
        }
        action
    }

    fn on_connected(&mut self, state: &mut H::State, conn: &mut Conn<'_>) -> Action {
        let (id, now) = (conn.id(), conn.now());
        let link = self.conns.get(&id).copied();
        if let Some(link) = link
            && let Stage::Dialling(_) = self.links[link.0].stage
        {
            self.links[link.0].stage = Stage::Up { id, since: now };
        }
        let action = self.handler.on_connected(state, conn);
        if let Some(link) = link {
            let dials = self.links[link.0].dials;
            let change = LinkChange::Connected { id, dials };
            self.tell(&mut conn.cx(), link, change, Next::Stop);
        }
        action
    }

    fn on_close(&mut self, state: H::State, id: ConnId, cx: &mut Cx<'_>, reason: CloseReason) {
        let Some(link) = self.conns.remove(&id) else {
            return self.handler.on_close(state, id, cx, reason);
        };
        // First what must not be lost if one of the callbacks panics.
        let (next, up) = self.ended(cx, link, reason);
        let retry = self.follow(cx, link, next);
        self.handler.on_close(state, id, cx, reason);
        let change = match up {
            Some(up) => LinkChange::Lost { reason, up, retry },
            None => LinkChange::Failed { reason, retry },
        };
        self.tell(cx, link, change, next);
    }

    fn on_detach(&mut self, state: H::State, socket: Detached, cx: &mut Cx<'_>) {
        let link = self.conns.remove(&socket.id());
        if let Some(link) = link {
            self.links[link.0].stage = Stage::Idle;
        }
        self.handler.on_detach(state, socket, cx);
        if let Some(link) = link {
            self.tell(cx, link, LinkChange::Detached, Next::Stop);
        }
    }

    fn on_alarm(&mut self, cx: &mut Cx<'_>, id: TimerId) {
        match self.timers.remove(&id) {
            Some(link) => self.dial(cx, link),
            None => self.handler.on_alarm(cx, id),
        }
    }

    fn on_drain(&mut self, cx: &mut Cx<'_>) {
        self.is_ending = true;
        self.timers.clear();
        for link in &mut self.links {
            if let Stage::Waiting(timer) = link.stage {
                cx.cancel_timer(timer);
                link.stage = Stage::Idle;
            }
        }
        self.handler.on_drain(cx);
    }

    fn on_open(&mut self, conn: &mut Conn<'_>) -> Opened<H::State> {
        self.handler.on_open(conn)
    }

    fn on_data(
        &mut self,
        state: &mut H::State,
        conn: &mut Conn<'_>,
        input: &mut Input<'_>,
    ) -> Action {
        self.handler.on_data(state, conn, input)
    }

    fn on_wake(&mut self, state: &mut H::State, conn: &mut Conn<'_>) -> Action {
        self.handler.on_wake(state, conn)
    }

    fn on_eof(&mut self, state: &mut H::State, conn: &mut Conn<'_>) -> Action {
        self.handler.on_eof(state, conn)
    }

    fn on_timer(&mut self, state: &mut H::State, conn: &mut Conn<'_>, id: TimerId) -> Action {
        self.handler.on_timer(state, conn, id)
    }

    fn on_drained(&mut self, state: &mut H::State, conn: &mut Conn<'_>) -> Action {
        self.handler.on_drained(state, conn)
    }

    fn on_layered(&mut self, state: &mut H::State, conn: &mut Conn<'_>) -> Action {
        self.handler.on_layered(state, conn)
    }

    fn on_datagram(&mut self, socket: &mut Datagram<'_>, from: &Addr, bytes: &mut [u8]) -> Action {
        self.handler.on_datagram(socket, from, bytes)
    }

    fn on_tick(&mut self, cx: &mut Cx<'_>) -> Tick {
        self.handler.on_tick(cx)
    }

    fn on_notify(&mut self, cx: &mut Cx<'_>) {
        self.handler.on_notify(cx);
    }

    fn on_signal(&mut self, cx: &mut Cx<'_>, number: i32) {
        self.handler.on_signal(cx, number);
    }

    fn on_turn_end(&mut self, cx: &mut Cx<'_>) {
        self.handler.on_turn_end(cx);
    }
}

impl<H: Handler> fmt::Debug for Reconnect<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconnect").field("links", &self.links).finish_non_exhaustive()
    }
}
