//! An axum router under hyper, HTTP/1.1 and HTTP/2, on a loop per processor: hyper's own code over the
//! stream of a task, with the loop's timers and without another runtime.
//!
//! ```text
//! $ cargo run --release --example hyper_axum -- tcp://127.0.0.1:8080
//! $ curl http://127.0.0.1:8080/hello/world
//! $ curl --http2-prior-knowledge -d 'some text' http://127.0.0.1:8080/upper
//! ```
#![forbid(unsafe_code)]

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::routing::{get, post};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use mainspring::tasks::{LoopExecutor, LoopTimer, Stream, Tasks, draining, sleep, timeout};
use mainspring::{Error, Loops, Server, Shard};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::process::ExitCode;
use std::time::Duration;
use tower_service::Service;

/// How long the first bytes, and the head of each request, may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

type Fault = Box<dyn std::error::Error + Send + Sync>;

/// What there is to ask for.
pub fn router() -> Router {
    Router::new()
        .route("/", get(|| async { "Hello World!\n" }))
        .route("/hello/{name}", get(hello))
        .route("/sleep/{milliseconds}", get(slow))
        .route("/upper", post(|body: Bytes| async move { body.to_ascii_uppercase() }))
}

async fn hello(Path(name): Path<String>) -> String {
    format!("Hello {name}!\n")
}

async fn slow(Path(milliseconds): Path<u64>) -> String {
    sleep(Duration::from_millis(milliseconds)).await;
    format!("slept {milliseconds} ms\n")
}

/// Serves a connection in the version of HTTP that it begins with.
pub async fn serve_http(mut stream: Stream, router: Router) -> Result<(), Fault> {
    let is_http2 = timeout(HEAD_TIMEOUT, speaks_http2(&mut stream)).await??;
    let service = service_fn(move |request| {
        let mut router = router.clone();
        async move { router.call(request).await }
    });
    if is_http2 {
        let mut builder = http2::Builder::new(LoopExecutor);
        let conn = builder.timer(LoopTimer).serve_connection(stream, service);
        until_drained(pin!(conn), |conn| conn.graceful_shutdown()).await?;
    } else {
        let mut builder = http1::Builder::new();
        builder.timer(LoopTimer).header_read_timeout(HEAD_TIMEOUT);
        let conn = builder.serve_connection(stream, service);
        until_drained(pin!(conn), |conn| conn.graceful_shutdown()).await?;
    }
    Ok(())
}

/// Whether the client begins as one of HTTP/2 with prior knowledge does (RFC 9113, section 3.4). No
/// method begins so.
async fn speaks_http2(stream: &mut Stream) -> std::io::Result<bool> {
    let may_be = stream.peek(1).await?.starts_with(b"P");
    Ok(may_be && stream.peek(4).await?.starts_with(b"PRI "))
}

/// Drives a connection of hyper; when the server drains, has it finish what it is at.
async fn until_drained<C: Future>(mut conn: Pin<&mut C>, finish: fn(Pin<&mut C>)) -> C::Output {
    let mut drain = pin!(draining());
    let mut is_told = false;
    poll_fn(|cx| {
        if !is_told && drain.as_mut().poll(cx).is_ready() {
            is_told = true;
            finish(conn.as_mut());
        }
        conn.as_mut().poll(cx)
    })
    .await
}

/// Sets one loop up.
pub fn setup(shard: &mut Shard<'_>, addresses: &[String]) -> Result<(), Error> {
    let router = router();
    let host = shard.host(Tasks::serve(move |stream| {
        let router = router.clone();
        async move {
            let peer = stream.peer().clone();
            if let Err(error) = serve_http(stream, router).await {
                eprintln!("hyper_axum: {peer}: {error}");
            }
        }
    }));
    for address in addresses {
        shard.listen(host, address)?;
    }
    Ok(())
}

fn serve(addresses: Vec<String>) -> Result<(), Error> {
    let builder = Server::builder().loops(Loops::PerCore);
    let running = builder.start(move |shard| setup(shard, &addresses))?;
    for addr in running.addrs() {
        println!("hyper_axum: listening on {addr}");
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
            eprintln!("hyper_axum: {error}");
            ExitCode::FAILURE
        }
    }
}
