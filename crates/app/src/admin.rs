//! The page of figures and the answer to whoever asks for health, on a loop like any other.

use crate::metrics::{CONTENT_TYPE, Meter};
use mainspring_io::{Addr, Address};
use mainspring_loop::{
    Action, CloseReason, Conn, ConnId, Cx, Error, Handler, Input, Opened, Shard, TimerId,
};
use mainspring_wire::http1::{self, Body, Head, Heads, ResponseHead};
use mainspring_wire::{Decode, Step};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Answers `GET` and `HEAD` over HTTP/1.1:
///
/// | target | answer |
/// |---|---|
/// | `/metrics` | the [`Meter`]'s figures, and what was [appended](Admin::append), for Prometheus |
/// | `/healthz` | 200 `ok`; 503 `draining` once a graceful stop has begun |
/// | others | 404 |
///
/// There is no protection but where it listens: on 127.0.0.1, or behind a guard. Its connections are
/// among those that the server counts and limits.
///
/// Limits: 16 connections a loop, beyond which one more gets 503; a request head of 8 KiB (431), in
/// ten seconds (408), without a body (413); a minute between two requests.
///
/// # Examples
///
/// ```
/// use mainspring_app::Admin;
/// use mainspring_app::metrics::Meter;
/// use mainspring_loop::Server;
/// use std::time::Duration;
///
/// let meter = Meter::every(Duration::from_secs(1));
/// let server = Server::builder().start(move |shard| {
///     meter.host(shard);
///     Admin::new(&meter).listen(shard, "tcp://127.0.0.1:0").map(drop)
/// })?;
/// # Ok::<(), mainspring_loop::Error>(())
/// ```
pub struct Admin {
    meter: Meter,
    append: Option<Append>,
    /// Open on this loop.
    connections: usize,
    draining: bool,
}

type Append = Arc<dyn Fn(&mut String) + Send + Sync>;

const CONNECTIONS_MAX: usize = 16;
const HEAD_BYTES_MAX: usize = 8 << 10;
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

impl Admin {
    /// A page of the meter's figures. [`Meter::host`] is a call of its own.
    #[must_use]
    pub fn new(meter: &Meter) -> Self {
        Self { meter: meter.clone(), append: None, connections: 0, draining: false }
    }

    /// Has `append` write more figures behind those of the meter, in the same format: what an
    /// exporter of the program's own figures renders.
    #[must_use]
    pub fn append(mut self, append: impl Fn(&mut String) + Send + Sync + 'static) -> Self {
        self.append = Some(Arc::new(append));
        self
    }

    /// Moves it into a loop and listens; to be called in the set-up of each. Returns the bound
    /// address.
    ///
    /// # Errors
    ///
    /// As for [`Shard::listen`].
    pub fn listen<A>(self, shard: &mut Shard<'_>, address: A) -> Result<Addr, Error>
    where
        A: TryInto<Address>,
        Error: From<A::Error>,
    {
        let host = shard.host(self);
        shard.listen(host, address)
    }

    fn answer(&self, head: &Head<'_>, out: &mut Vec<u8>) -> Action {
        let keeps = head.keep_alive() && !self.draining && head.body_is_empty();
        let reply = self.reply(head);
        let response = ResponseHead::new(out, reply.status).date(unix_seconds());
        let response = response.field("content-type", reply.content_type.as_bytes());
        let response = match reply.status {
            405 => response.field("allow", b"GET, HEAD"),
            _ => response,
        };
        let response = match (keeps, head.version()) {
            (false, _) => response.close(),
            (true, 0) => response.field("connection", b"keep-alive"),
            (true, _) => response,
        };
        if head.method() == b"HEAD" {
            response.length(reply.body.len() as u64).end();
        } else {
            response.body(reply.body.as_bytes());
        }
        if keeps { Action::Continue } else { Action::Close }
    }

    fn reply(&self, head: &Head<'_>) -> Reply {
        if !matches!(head.method(), b"GET" | b"HEAD") {
            return Reply::text(405, "only GET and HEAD\n");
        }
        if !head.body_is_empty() {
            return Reply::text(413, "no body is wanted\n");
        }
        let path = head.target().split(|byte| *byte == b'?').next().unwrap_or_default();
        match path {
            b"/metrics" => {
                let mut body = self.meter.prometheus();
                if let Some(append) = &self.append {
                    append(&mut body);
                }
                Reply { status: 200, content_type: CONTENT_TYPE, body }
            }
            b"/healthz" if self.draining => Reply::text(503, "draining\n"),
            b"/healthz" => Reply::text(200, "ok\n"),
            _ => Reply::text(404, "there are /metrics and /healthz\n"),
        }
    }

    /// Says why the connection ends.
    fn refuse(&self, conn: &mut Conn<'_>, status: u16) -> Action {
        ResponseHead::new(conn.out(), status).date(unix_seconds()).close().body(b"");
        Action::Close
    }

    fn serve(
        &self,
        session: &mut Session,
        conn: &mut Conn<'_>,
        input: &mut Input<'_>,
    ) -> Result<Action, http1::Error> {
        while !conn.is_choked() {
            let Step::Frame { frame: head, used } = session.heads.decode(input.bytes())? else {
                break;
            };
            let action = self.answer(&head, conn.out());
            input.consume(used);
            if action != Action::Continue {
                return Ok(action);
            }
        }
        Ok(Action::Continue)
    }
}

struct Reply {
    status: u16,
    content_type: &'static str,
    body: String,
}

impl Reply {
    fn text(status: u16, body: &str) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: body.to_owned() }
    }
}

/// Whether nothing follows the head that would have to be read.
trait Bodiless {
    fn body_is_empty(&self) -> bool;
}

impl Bodiless for Head<'_> {
    fn body_is_empty(&self) -> bool {
        matches!(self.body(), Body::None | Body::Length(0))
    }
}

/// What is known of one connection.
#[derive(Debug)]
pub struct Session {
    heads: Heads,
    /// When the head that has begun must be whole.
    deadline: Option<TimerId>,
}

impl Handler for Admin {
    type State = Session;

    fn on_open(&mut self, conn: &mut Conn<'_>) -> Opened<Session> {
        if self.connections >= CONNECTIONS_MAX {
            self.refuse(conn, 503);
            return Opened::Refuse;
        }
        self.connections += 1;
        conn.set_idle_timeout(Some(IDLE_TIMEOUT));
        Opened::Accept(Session { heads: Heads::new().max_bytes(HEAD_BYTES_MAX), deadline: None })
    }

    fn on_data(
        &mut self,
        session: &mut Session,
        conn: &mut Conn<'_>,
        input: &mut Input<'_>,
    ) -> Action {
        let action = match self.serve(session, conn, input) {
            Ok(action) => action,
            Err(error) => self.refuse(conn, error.status()),
        };
        let begun = action == Action::Continue && !input.is_empty() && !conn.is_choked();
        match (begun, session.deadline) {
            (true, None) => session.deadline = Some(conn.set_timer(HEAD_TIMEOUT)),
            (false, Some(id)) => {
                conn.cancel_timer(id);
                session.deadline = None;
            }
            _ => {}
        }
        action
    }

    fn on_timer(&mut self, session: &mut Session, conn: &mut Conn<'_>, id: TimerId) -> Action {
        if session.deadline != Some(id) {
            return Action::Continue;
        }
        self.refuse(conn, 408)
    }

    fn on_close(&mut self, _: Session, _: ConnId, _: &mut Cx<'_>, _: CloseReason) {
        self.connections -= 1;
    }

    fn on_drain(&mut self, _cx: &mut Cx<'_>) {
        self.draining = true;
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("connections", &self.connections).finish_non_exhaustive()
    }
}

#[expect(clippy::disallowed_methods, reason = "the loop's clock has no calendar, a page needs one")]
fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
