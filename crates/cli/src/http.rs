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

/// A request whose body has not come in full.
struct Request {
    body: BodyDecoder,
    answer: Answer,
    expects_continue: bool,
}

/// Which answer a request gets.
#[derive(Clone, Copy)]
struct Answer {
    is_head: bool,
    persistence: Persistence,
}

/// Why no further request is answered now.
enum Pause {
    /// More has to come.
    Input,
    /// The last answer ends the connection.
    Close,
    /// The method is not known to this server.
    Method,
}

/// After this much output of one delivery the connection is asked whether it is choked.
const OUTPUT_BYTES_UNASKED: usize = 16 * 1024;

impl Request {
    /// Drops what has come of the body; whether that was all. A client that waits to be asked for
    /// it is asked.
    fn body_comes(
        &mut self,
        out: &mut Vec<u8>,
        input: &mut Input<'_>,
    ) -> Result<bool, http1::Error> {
        while !self.body.is_done() {
            match self.body.decode(input.bytes())? {
                Step::Frame { used, .. } => input.consume(used),
                Step::Need(_) => {
                    if std::mem::take(&mut self.expects_continue) && input.is_empty() {
                        ResponseHead::new(out, 100).end();
                    }
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

impl Answer {
    /// `None` for a method that this server does not know.
    #[inline]
    fn to(head: &Head<'_>, draining: bool) -> Option<Self> {
        let is_head = match head.method() {
            b"HEAD" => true,
            b"GET" | b"POST" | b"PUT" | b"DELETE" | b"PATCH" | b"OPTIONS" => false,
            _ => return None,
        };
        let persistence = match (head.keep_alive() && !draining, head.version()) {
            (false, _) => Persistence::Close,
            (true, 0) => Persistence::KeepAliveOld,
            (true, _) => Persistence::KeepAlive,
        };
        Some(Self { is_head, persistence })
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
        self.page.refresh(conn.now());
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
        self.page.refresh(conn.now());
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
            match self.answer(session, conn.out(), input)? {
                None => {}
                Some(Pause::Input) => return Ok(Action::Continue),
                Some(Pause::Close) => return Ok(Action::Close),
                Some(Pause::Method) => return Ok(self.refuse(conn, 501)),
            }
        }
    }

    /// Answers requests until one cannot be; `None` when much output has come together.
    fn answer(
        &self,
        session: &mut Session,
        out: &mut Vec<u8>,
        input: &mut Input<'_>,
    ) -> Result<Option<Pause>, http1::Error> {
        let ask_at = out.len() + OUTPUT_BYTES_UNASKED;
        while out.len() < ask_at {
            let answer = match &mut session.request {
                None => {
                    let Step::Frame { frame: head, used } = session.heads.decode(input.bytes())?
                    else {
                        return Ok(Some(Pause::Input));
                    };
                    let answer = Answer::to(&head, self.draining);
                    let body = head.body();
                    let expects_continue = head.expects_continue() && body != Body::Length(0);
                    input.consume(used);
                    let Some(answer) = answer else { return Ok(Some(Pause::Method)) };
                    if body != Body::None {
                        let body = BodyDecoder::new(body, self.body_max);
                        session.request = Some(Request { body, answer, expects_continue });
                        continue;
                    }
                    answer
                }
                Some(request) => {
                    if !request.body_comes(out, input)? {
                        return Ok(Some(Pause::Input));
                    }
                    let answer = request.answer;
                    session.request = None;
                    answer
                }
            };
            out.extend_from_slice(self.page.answer(answer.persistence, answer.is_head));
            if answer.persistence == Persistence::Close {
                return Ok(Some(Pause::Close));
            }
            if input.is_empty() {
                return Ok(Some(Pause::Input));
            }
        }
        Ok(None)
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
