//! The proxy: every accepted connection has a dialled one; neither side outruns the other, and the
//! end of each direction is passed on.

use super::plan::Kind;
use super::planted::Bug;
use super::service::{Service, Tracked};
use crate::coat::coat;
use mainspring_loop::{Action, CloseReason, Conn, ConnId, Cx, Input};

impl Service {
    /// Dials for a new connection. `false` if there is no room for another.
    pub(super) fn dial(&mut self, conn: &mut Conn<'_>) -> bool {
        let client = conn.id();
        conn.set_relay(true);
        let at = self.echo_at.clone().expect("the echo listens first");
        let mut cx = conn.cx();
        let this = cx.this::<Self>();
        // The token is that of the record made below; no other loop may come between.
        let mut book = self.book.open();
        let token = book.conns.len();
        let mut state = Tracked::new(token, Kind::Proxy);
        state.client = Some(client);
        let now = cx.now();
        let trap = self.plan.trap.clone();
        let strikes = move |flaw| trap.strikes(Bug::Seam(flaw));
        let layers = coat(self.plan.coat(Kind::Echo), false, strikes);
        let Ok(upstream) = cx.connect_layered(this, &at, state, layers) else { return false };
        if let Some(mut conn) = cx.conn(upstream) {
            conn.set_relay(true);
        }
        let added = book.add(upstream, Kind::Proxy, None, Some(now));
        book.conns[added].has_state = true;
        self.links.insert(client, upstream);
        true
    }

    /// Takes bytes to the other half, and stops for it when it is choked.
    pub(super) fn relay(
        &mut self,
        state: &mut Tracked,
        conn: &mut Conn<'_>,
        input: &mut Input<'_>,
    ) -> Action {
        let Some(other) = self.other_half(state, conn.id()) else { return Action::Close };
        // An answer is on its way until the other half ends.
        conn.set_busy(true);
        match self.say_to(&mut conn.cx(), other, input.take()) {
            None => Action::Close,
            Some(true) => Action::Pause,
            Some(false) => Action::Continue,
        }
    }

    /// The way through one half is free again: its source goes on.
    pub(super) fn link_drained(&mut self, state: &Tracked, conn: &mut Conn<'_>) {
        if let Some(source) = self.other_half(state, conn.id()) {
            self.resume(&mut conn.cx(), source);
        }
    }

    /// One direction has ended: so does the other half's output.
    pub(super) fn link_ended(&mut self, state: &Tracked, conn: &mut Conn<'_>) -> Action {
        let Some(other) = self.other_half(state, conn.id()) else { return Action::Close };
        match conn.cx().conn(other) {
            Some(mut other) => {
                other.finish();
                Action::Continue
            }
            None => Action::Close,
        }
    }

    /// One half is gone. After a good end the other one has its own; any other takes it along.
    pub(super) fn unlink(
        &mut self,
        state: &Tracked,
        id: ConnId,
        cx: &mut Cx<'_>,
        reason: CloseReason,
    ) {
        let other = self.other_half(state, id);
        if state.client.is_none() {
            self.links.remove(&id);
        }
        if let Some(other) = other.filter(|_| reason != CloseReason::Peer) {
            cx.close(other);
        }
    }

    fn other_half(&self, state: &Tracked, id: ConnId) -> Option<ConnId> {
        state.client.or_else(|| self.links.get(&id).copied())
    }
}
