//! Hello World over HTTP/1.1: keep-alive, pipelining, request bodies, HEAD.
//!
//! ```text
//! $ cargo run --example http -- tcp://127.0.0.1:8080
//! $ curl -i http://127.0.0.1:8080/
//! ```
#![forbid(unsafe_code)]

use mainspring::wire::http1::{BodyDecoder, Error as HttpError, Heads, ResponseHead};
use mainspring::wire::{Decode, Step};
use mainspring::{
    Action, Conn, Cx, Error, Handler, Input, Loops, Opened, Server, ServerInfo, Shard,
};
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const HELLO: &[u8] = b"Hello World!\r\n";
const REQUEST_BODY_BYTES_MAX: u64 = 1 << 20;
/// A client that is silent for this long, also within a request, is let go.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Answers every GET and HEAD alike.
#[derive(Debug)]
pub struct Hello {
    /// Wall time when the loop started, in seconds since 1970, and the loop's own time then.
    unix_seconds: u64,
    started: Option<Instant>,
}

/// What a connection is at.
#[derive(Debug, Default)]
pub struct Exchange {
    heads: Heads,
    /// The request whose body is being read.
    request: Option<Request>,
}

#[derive(Debug)]
struct Request {
    body: BodyDecoder,
    keep_alive: bool,
    /// Whether the answer has the length of a body but not the body.
    head_only: bool,
    status: u16,
}

impl Hello {
    fn answer(&self, request: &Request, now: Instant, out: &mut Vec<u8>) {
        let started = self.started.unwrap_or(now);
        let date = self.unix_seconds + now.saturating_duration_since(started).as_secs();
        let mut head =
            ResponseHead::new(out, request.status).field("server", b"mainspring").date(date);
        if request.status == 405 {
            head = head.field("allow", b"GET, HEAD");
        }
        if !request.keep_alive {
            head = head.close();
        }
        let body = if request.status == 200 { HELLO } else { b"" };
        match request.head_only {
            true => head.length(body.len() as u64).end(),
            false => head.body(body),
        }
    }

    /// One step through the input. `Ok(Err(more))` asks for more bytes.
    fn step(
        &self,
        exchange: &mut Exchange,
        conn: &mut Conn<'_>,
        input: &mut Input<'_>,
    ) -> Result<Result<Action, NonZeroUsize>, HttpError> {
        let Some(request) = &mut exchange.request else {
            let (request, used) = match exchange.heads.decode(input.bytes())? {
                Step::Need(more) => return Ok(Err(more)),
                Step::Frame { frame: head, used } => {
                    if head.expects_continue() {
                        ResponseHead::new(conn.out(), 100).end();
                    }
                    let known = matches!(head.method(), b"GET" | b"HEAD");
                    let request = Request {
                        body: BodyDecoder::new(head.body(), REQUEST_BODY_BYTES_MAX),
                        keep_alive: head.keep_alive(),
                        head_only: head.method() == b"HEAD",
                        status: if known { 200 } else { 405 },
                    };
                    (request, used)
                }
            };
            input.consume(used);
            exchange.request = Some(request);
            return Ok(Ok(Action::Continue));
        };
        let (last, used) = match request.body.decode(input.bytes())? {
            Step::Need(more) => return Ok(Err(more)),
            Step::Frame { frame: piece, used } => (piece.last, used),
        };
        input.consume(used);
        let Some(request) = exchange.request.take_if(|_| last) else {
            return Ok(Ok(Action::Continue));
        };
        let now = conn.cx().now();
        self.answer(&request, now, conn.out());
        Ok(Ok(if request.keep_alive { Action::Continue } else { Action::Close }))
    }
}

impl Handler for Hello {
    type State = Exchange;

    fn on_start(&mut self, cx: &mut Cx<'_>, _server: &ServerInfo) -> Action {
        self.started = Some(cx.now());
        Action::Continue
    }

    fn on_open(&mut self, conn: &mut Conn<'_>) -> Opened<Exchange> {
        conn.set_idle_timeout(Some(IDLE_TIMEOUT));
        Opened::Accept(Exchange::default())
    }

    fn on_data(
        &mut self,
        exchange: &mut Exchange,
        conn: &mut Conn<'_>,
        input: &mut Input<'_>,
    ) -> Action {
        while !conn.is_choked() {
            match self.step(exchange, conn, input) {
                Ok(Ok(Action::Continue)) => {}
                Ok(Ok(action)) => return action,
                Ok(Err(more)) => {
                    input.need(more);
                    break;
                }
                Err(error) => {
                    ResponseHead::new(conn.out(), error.status()).close().body(b"");
                    return Action::Close;
                }
            }
        }
        Action::Continue
    }
}

/// Sets one loop up, at the wall time given in seconds since 1970.
pub fn setup(shard: &mut Shard<'_>, addresses: &[String], unix_seconds: u64) -> Result<(), Error> {
    let host = shard.host(Hello { unix_seconds, started: None });
    for address in addresses {
        shard.listen(host, address)?;
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a Date is wall time, which the loop does not know")]
fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn serve(addresses: Vec<String>) -> Result<(), Error> {
    let builder = Server::builder().loops(Loops::PerCore);
    let running = builder.start(move |shard| setup(shard, &addresses, unix_seconds()))?;
    for addr in running.addrs() {
        println!("http: listening on {addr}");
    }
    running.join()
}

/// Serves the addresses on the command line until the process ends.
pub fn main() -> ExitCode {
    let mut addresses: Vec<String> = std::env::args().skip(1).collect();
    if addresses.is_empty() {
        addresses.push("tcp://127.0.0.1:8080".to_owned());
    }
    match serve(addresses) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("http: {error}");
            ExitCode::FAILURE
        }
    }
}
