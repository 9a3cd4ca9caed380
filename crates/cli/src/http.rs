//! `mainspring http`: the same page for every request, by all the rules of HTTP/1.1 about where a
//! request ends.

mod page;

use crate::args::HttpArguments;
use crate::service::{Failure, Service};
use mainspring::wire::http1::{Body, BodyDecoder, Head, Heads, ResponseHead};
use mainspring::wire::{Decode, Step, http1};
use mainspring::{Action, Conn, Cx, Handler, Input, Limits, Opened, ServerInfo, TimerId};
use page::{Page, Persistence};
use std::time::Duration;

/// Keep-alive: how long a connection may wait for its next request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) fn run(arguments: &HttpArguments) -> Result<(), Failure> {
    let limits = Limits { idle_timeout: Some(IDLE_TIMEOUT), ..Limits::default() };
    let service = Service { name: "http", port: 8080, udp: false, takes_datagrams: false, limits };
    let body = if arguments.aaaa { vec![b'a'; 1024] } else { b"Hello World!\r\n".to_vec() };
    let (header_timeout, body_max) = (arguments.header_timeout.0, arguments.body_max.0 as u64);
    service.run(&arguments.service, move || Http {
        page: Page::new(body.clone()),
        header_timeout,
        body_max,
        draining: false,
    })
}

struct Http {
    page: Page,
    header_timeout: Option<Duration>,
    body_max: u64,
    draining: bool,
}

/// What is known of one connection.
struct Session {
    heads: Heads,
    /// The request whose body is being read.
    request: Option<Request>,
    /// When the head that has begun must be whole.
    deadline: Option<TimerId>,
}

/// What an answer depends on.
struct Request {
    body: BodyDecoder,
    is_head: bool,
    persistence: Persistence,
    expects_continue: bool,
}

impl Request {
    /// `None` for a method that this server does not know.
    fn of(head: &Head<'_>, body_max: u64, draining: bool) -> Option<Self> {
        const METHODS: [&[u8]; 7] =
            [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS"];
        let persistence = match (head.keep_alive() && !draining, head.version()) {
            (false, _) => Persistence::Close,
            (true, 0) => Persistence::KeepAliveOld,
            (true, _) => Persistence::KeepAlive,
        };
        METHODS.contains(&head.method()).then(|| Self {
            body: BodyDecoder::new(head.body(), body_max),
            is_head: head.method() == b"HEAD",
            persistence,
            expects_continue: head.expects_continue() && head.body() != Body::Length(0),
        })
    }
}

impl Handler for Http {
    type State = Session;

    fn on_start(&mut self, cx: &mut Cx<'_>, _server: &ServerInfo) -> Action {
        self.page.start(cx.now());
        Action::Continue
    }

    fn on_open(&mut self, _conn: &mut Conn<'_>) -> Opened<Session> {
        Opened::Accept(Session { heads: Heads::new(), request: None, deadline: None })
    }

    fn on_data(
        &mut self,
        session: &mut Session,
        conn: &mut Conn<'_>,
        input: &mut Input<'_>,
    ) -> Action {
        self.page.refresh(conn.cx().now());
        let was_busy = session.request.is_some();
        let action = match self.serve(session, conn, input) {
            Ok(action) => action,
            Err(error) => {
                tracing::debug!(peer = %conn.peer(), %error, "refused");
                self.refuse(conn, error.status())
            }
        };
        // A body between two deliveries leaves no trace in the input: say that it is not over.
        let is_busy = session.request.is_some();
        if was_busy != is_busy {
            conn.set_busy(is_busy);
        }
        if action == Action::Continue {
            self.watch_head(session, conn, input);
        }
        action
    }

    fn on_timer(&mut self, session: &mut Session, conn: &mut Conn<'_>, id: TimerId) -> Action {
        if session.deadline != Some(id) {
            return Action::Continue;
        }
        session.deadline = None;
        self.page.refresh(conn.cx().now());
        self.refuse(conn, 408)
    }

    fn on_drain(&mut self, _cx: &mut Cx<'_>) {
        self.draining = true;
    }
}

impl Http {
    /// Answers the requests that are whole.
    fn serve(
        &mut self,
        session: &mut Session,
        conn: &mut Conn<'_>,
        input: &mut Input<'_>,
    ) -> Result<Action, http1::Error> {
        loop {
            if conn.is_choked() {
                return Ok(Action::Continue);
            }
            let Some(request) = &mut session.request else {
                match session.heads.decode(input.bytes())? {
                    Step::Need(_) => return Ok(Action::Continue),
                    Step::Frame { frame, used } => {
                        let request = Request::of(&frame, self.body_max, self.draining);
                        input.consume(used);
                        let Some(request) = request else { return Ok(self.refuse(conn, 501)) };
                        session.request = Some(request);
                    }
                }
                continue;
            };
            while !request.body.is_done() {
                match request.body.decode(input.bytes())? {
                    Step::Frame { used, .. } => input.consume(used),
                    Step::Need(_) => {
                        if std::mem::take(&mut request.expects_continue) && input.is_empty() {
                            ResponseHead::new(conn.out(), 100).end();
                        }
                        return Ok(Action::Continue);
                    }
                }
            }
            conn.out().extend_from_slice(self.page.answer(request.persistence, request.is_head));
            let closes = request.persistence == Persistence::Close;
            session.request = None;
            if closes {
                return Ok(Action::Close);
            }
        }
    }

    /// Says why the connection ends.
    fn refuse(&self, conn: &mut Conn<'_>, status: u16) -> Action {
        let head = ResponseHead::new(conn.out(), status).field("server", b"mainspring");
        head.date(self.page.unix_seconds()).close().body(b"");
        Action::Close
    }

    /// Gives a head that has begun its time, and takes it back when the head is whole.
    fn watch_head(&self, session: &mut Session, conn: &mut Conn<'_>, input: &Input<'_>) {
        // While the output is choked the rest of the input waits for us and not for the peer.
        let begun = session.request.is_none() && !input.is_empty() && !conn.is_choked();
        match (begun, session.deadline) {
            (true, None) => session.deadline = self.header_timeout.map(|time| conn.set_timer(time)),
            (false, Some(id)) => {
                conn.cancel_timer(id);
                session.deadline = None;
            }
            _ => {}
        }
    }
}
