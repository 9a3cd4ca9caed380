//! A handler with its states, behind one interface for all handlers.

use crate::conn::slot::STATELESS;
use crate::{
    Action, CloseReason, Conn, ConnId, Cx, Datagram, Detached, Handler, Input, Opened, ServerInfo,
    Tick, TimerId,
};
use mainspring_io::Addr;
use std::any::Any;
use std::fmt;
use std::marker::PhantomData;

/// Names a handler of one loop, with its type.
pub struct HostId<H> {
    pub(crate) index: u32,
    handler: PhantomData<fn(H)>,
}

impl<H> HostId<H> {
    pub(crate) const fn new(index: u32) -> Self {
        Self { index, handler: PhantomData }
    }
}

impl<H> Clone for HostId<H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H> Copy for HostId<H> {}

impl<H> fmt::Debug for HostId<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostId({})", self.index)
    }
}

/// What the loop calls. One virtual call per delivery; inside, everything is static.
///
/// `conn` events take the place of the state in the host, which the slot remembers, so that the
/// loop need not know the state's type.
pub(crate) trait Host {
    fn start(&mut self, cx: &mut Cx<'_>, server: &ServerInfo) -> Action;
    /// The place of the new state, or `STATELESS` if the connection is refused.
    fn open(&mut self, conn: &mut Conn<'_>) -> (u32, Action);
    fn data(&mut self, place: u32, conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action;
    fn event(&mut self, place: u32, conn: &mut Conn<'_>, event: Event) -> Action;
    fn close(&mut self, place: u32, id: ConnId, cx: &mut Cx<'_>, reason: CloseReason);
    fn detach(&mut self, place: u32, socket: Detached, cx: &mut Cx<'_>);
    fn datagram(&mut self, socket: &mut Datagram<'_>, from: &Addr, bytes: &mut [u8]) -> Action;
    fn tick(&mut self, cx: &mut Cx<'_>) -> Tick;
    fn alarm(&mut self, cx: &mut Cx<'_>, id: TimerId);
    fn notify(&mut self, cx: &mut Cx<'_>);
    fn signal(&mut self, cx: &mut Cx<'_>, number: i32);
    fn turn_end(&mut self, cx: &mut Cx<'_>);
    fn drain(&mut self, cx: &mut Cx<'_>);
    /// Takes in a state made elsewhere and returns its place.
    fn install(&mut self, state: Box<dyn Any>) -> u32;
    /// Drops a state without a callback.
    fn forget(&mut self, place: u32);
    fn handler(&mut self) -> &mut dyn Any;
}

/// What happened to a connection that has a state, besides data.
pub(crate) enum Event {
    Connected,
    Wake,
    Eof,
    Timer(TimerId),
    Drained,
    Layered,
}

/// A handler and the states of its connections.
pub(crate) struct Hosted<H: Handler> {
    handler: H,
    states: Vec<Option<H::State>>,
    vacant: Vec<u32>,
}

impl<H: Handler> Hosted<H> {
    pub(crate) fn new(handler: H) -> Self {
        Self { handler, states: Vec::new(), vacant: Vec::new() }
    }

    fn put(&mut self, state: H::State) -> u32 {
        if let Some(place) = self.vacant.pop() {
            self.states[place as usize] = Some(state);
            return place;
        }
        self.states.push(Some(state));
        u32::try_from(self.states.len() - 1).expect("fewer than 2^32 states")
    }

    fn take(&mut self, place: u32) -> H::State {
        let state = self.states[place as usize].take().expect("a state is taken once");
        self.vacant.push(place);
        state
    }
}

impl<H: Handler> Host for Hosted<H> {
    fn start(&mut self, cx: &mut Cx<'_>, server: &ServerInfo) -> Action {
        self.handler.on_start(cx, server)
    }

    fn open(&mut self, conn: &mut Conn<'_>) -> (u32, Action) {
        match self.handler.on_open(conn) {
            Opened::Accept(state) => (self.put(state), Action::Continue),
            Opened::AcceptThen(state, action) => (self.put(state), action),
            Opened::Refuse => (STATELESS, Action::Close),
        }
    }

    fn data(&mut self, place: u32, conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
        let Some(Some(state)) = self.states.get_mut(place as usize) else {
            debug_assert!(false, "data for a connection without state");
            return Action::Abort;
        };
        self.handler.on_data(state, conn, input)
    }

    fn event(&mut self, place: u32, conn: &mut Conn<'_>, event: Event) -> Action {
        let Some(Some(state)) = self.states.get_mut(place as usize) else {
            debug_assert!(false, "event for a connection without state");
            return Action::Abort;
        };
        match event {
            Event::Connected => self.handler.on_connected(state, conn),
            Event::Wake => self.handler.on_wake(state, conn),
            Event::Eof => self.handler.on_eof(state, conn),
            Event::Timer(id) => self.handler.on_timer(state, conn, id),
            Event::Drained => self.handler.on_drained(state, conn),
            Event::Layered => self.handler.on_layered(state, conn),
        }
    }

    fn close(&mut self, place: u32, id: ConnId, cx: &mut Cx<'_>, reason: CloseReason) {
        let state = self.take(place);
        self.handler.on_close(state, id, cx, reason);
    }

    fn detach(&mut self, place: u32, socket: Detached, cx: &mut Cx<'_>) {
        let state = self.take(place);
        self.handler.on_detach(state, socket, cx);
    }

    fn datagram(&mut self, socket: &mut Datagram<'_>, from: &Addr, bytes: &mut [u8]) -> Action {
        self.handler.on_datagram(socket, from, bytes)
    }

    fn tick(&mut self, cx: &mut Cx<'_>) -> Tick {
        self.handler.on_tick(cx)
    }

    fn alarm(&mut self, cx: &mut Cx<'_>, id: TimerId) {
        self.handler.on_alarm(cx, id);
    }

    fn notify(&mut self, cx: &mut Cx<'_>) {
        self.handler.on_notify(cx);
    }

    fn signal(&mut self, cx: &mut Cx<'_>, number: i32) {
        self.handler.on_signal(cx, number);
    }

    fn turn_end(&mut self, cx: &mut Cx<'_>) {
        self.handler.on_turn_end(cx);
    }

    fn drain(&mut self, cx: &mut Cx<'_>) {
        self.handler.on_drain(cx);
    }

    fn install(&mut self, state: Box<dyn Any>) -> u32 {
        let state = state.downcast::<H::State>().expect("a typed id names the state's type");
        self.put(*state)
    }

    fn forget(&mut self, place: u32) {
        drop(self.take(place));
    }

    fn handler(&mut self) -> &mut dyn Any {
        &mut self.handler
    }
}
