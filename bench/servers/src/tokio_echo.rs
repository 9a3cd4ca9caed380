//! tokio on one thread: a task per connection.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::BUFFER_SIZE;
use crate::listen::{Address, Listener};

/// The same bytes back.
pub(crate) fn serve(name: &str, address: &Address) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        match Listener::bind(name, address)? {
            Listener::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                let listener = tokio::net::TcpListener::from_std(listener)?;
                loop {
                    let (stream, _) = listener.accept().await?;
                    stream.set_nodelay(true)?;
                    tokio::spawn(echo_all(stream));
                }
            }
            Listener::Unix(listener) => {
                listener.set_nonblocking(true)?;
                let listener = tokio::net::UnixListener::from_std(listener)?;
                loop {
                    let (stream, _) = listener.accept().await?;
                    tokio::spawn(echo_all(stream));
                }
            }
        }
    })
}

async fn echo_all(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    // Not filled with zeros, so that it takes no memory before something comes.
    let mut buffer = Vec::with_capacity(BUFFER_SIZE);
    while stream.read_buf(&mut buffer).await? > 0 {
        stream.write_all(&buffer).await?;
        buffer.clear();
    }
    Ok(())
}
