//! The proxy: every accepted connection has a dialled one, and neither side outruns the other.

use super::plan::Kind;
use super::service::{Service, Tracked};
use mainspring_loop::{Action, Conn, ConnId, Cx, Input};

/// An accepted connection of a proxy and its other half.
pub(super) struct Link {
    upstream: ConnId,
    forwarded: usize,
    returned: usize,
    eof: bool,
}

impl Service {
    /// Dials for a new connection. `false` if there is no room for another.
    pub(super) fn dial(&mut self, conn: &mut Conn<'_>) -> bool {
        let client = conn.id();
        let at = self.echo_at.clone().expect("the echo listens first");
        let mut cx = conn.cx();
        let this = cx.this::<Self>();
        // The token is that of the record made below.
        let token = self.book.open().conns.len();
        let mut state = Tracked::new(token, Kind::Proxy);
        state.client = Some(client);
        let now = cx.now();
        let Ok(upstream) = cx.connect(this, &at, state) else { return false };
        let mut book = self.book.open();
        let added = book.add(upstream, Kind::Proxy, None, now);
        book.conns[added].has_state = true;
        self.links.insert(client, Link { upstream, forwarded: 0, returned: 0, eof: false });
        true
    }

    /// Takes bytes to the other half, and stops for it when it is choked.
    pub(super) fn relay(
        &mut self,
        state: &mut Tracked,
        conn: &mut Conn<'_>,
        input: &mut Input<'_>,
    ) -> Action {
        let client = state.client.unwrap_or_else(|| conn.id());
        let Some(link) = self.links.get_mut(&client) else { return Action::Close };
        let count = input.len();
        let to = if state.client.is_some() {
            link.returned += count;
            client
        } else {
            link.forwarded += count;
            link.upstream
        };
        let done = link.eof && link.returned == link.forwarded;
        let busy = link.returned != link.forwarded;
        let choked = self.say_to(&mut conn.cx(), to, input.take());
        if let Some(mut served) = conn.cx().conn(client) {
            served.set_busy(busy);
        }
        match choked {
            None => Action::Close,
            Some(_) if done => {
                conn.cx().close(client);
                Action::Close
            }
            Some(true) => Action::Pause,
            Some(false) => Action::Continue,
        }
    }

    /// The way through one half is free again: its source goes on.
    pub(super) fn link_drained(&mut self, state: &Tracked, conn: &mut Conn<'_>) {
        let source = match state.client {
            Some(client) => Some(client),
            None => self.links.get(&conn.id()).map(|link| link.upstream),
        };
        if let Some(source) = source {
            self.resume(&mut conn.cx(), source);
        }
    }

    /// A client has said all: it is closed when the last answer is back, for its end cannot be passed on.
    pub(super) fn link_ended(&mut self, state: &Tracked, conn: &mut Conn<'_>) -> Action {
        let Some(link) = self.links.get_mut(&conn.id()) else { return Action::Close };
        link.eof = true;
        if state.client.is_none() && link.returned != link.forwarded {
            return Action::Continue;
        }
        Action::Close
    }

    pub(super) fn unlink(&mut self, state: &Tracked, id: ConnId, cx: &mut Cx<'_>) {
        let other = match state.client {
            Some(client) => Some(client),
            None => self.links.remove(&id).map(|link| link.upstream),
        };
        if let Some(other) = other {
            cx.close(other);
        }
    }
}
