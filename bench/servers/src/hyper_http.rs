//! hyper's HTTP/1.1 on tokio with one thread. Heads are parsed, and hyper sends a date.

use std::convert::Infallible;
use std::io;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use crate::listen::{Address, bind_tcp};

/// `Hello World!` for every request.
pub(crate) fn serve(name: &str, address: &Address) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = bind_tcp(name, address)?;
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let mut builder = http1::Builder::new();
            // Answers to pipelined requests go together.
            builder.pipeline_flush(true);
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service_fn(hello)));
        }
    })
}

async fn hello(_request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::new(Bytes::from_static(b"Hello World!"))))
}
