//! compio on one thread, on io_uring: a task per connection.

use std::io;

use compio::BufResult;
use compio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use compio::net::{TcpListener, UnixListener};
use compio::runtime::Runtime;

use crate::BUFFER_SIZE;
use crate::listen::{Address, Listener};

/// The same bytes back.
pub(crate) fn serve(name: &str, address: &Address) -> io::Result<()> {
    let listener = Listener::bind(name, address)?;
    Runtime::new()?.block_on(async {
        match listener {
            Listener::Tcp(listener) => {
                let listener = TcpListener::from_std(listener)?;
                loop {
                    let (stream, _) = listener.accept().await?;
                    stream.set_nodelay(true)?;
                    compio::runtime::spawn(echo_all(stream)).detach();
                }
            }
            Listener::Unix(listener) => {
                let listener = UnixListener::from_std(listener)?;
                loop {
                    let (stream, _) = listener.accept().await?;
                    compio::runtime::spawn(echo_all(stream)).detach();
                }
            }
        }
    })
}

async fn echo_all(mut stream: impl AsyncRead + AsyncWrite) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(BUFFER_SIZE);
    loop {
        let BufResult(length, read) = stream.read(buffer).await;
        if length? == 0 {
            return Ok(());
        }
        let BufResult(written, back) = stream.write_all(read).await;
        written?;
        buffer = back;
        buffer.clear();
    }
}
