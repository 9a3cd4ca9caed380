//! monoio on one thread, a task per connection: on io_uring, or on epoll ("legacy").

use std::future::Future;
use std::io;

use monoio::io::{AsyncReadRent, AsyncWriteRentExt as _};
use monoio::net::{TcpListener, UnixListener};
use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};

use crate::BUFFER_SIZE;
use crate::listen::{Address, Listener};

/// The same bytes back, by io_uring.
pub(crate) fn serve(name: &str, address: &Address) -> io::Result<()> {
    let listener = Listener::bind(name, address)?;
    RuntimeBuilder::<IoUringDriver>::new().build()?.block_on(accept(listener))
}

/// The same bytes back, by epoll.
pub(crate) fn serve_legacy(name: &str, address: &Address) -> io::Result<()> {
    let listener = Listener::bind(name, address)?;
    listener.set_nonblocking()?;
    RuntimeBuilder::<LegacyDriver>::new().build()?.block_on(accept(listener))
}

// The listeners are made by std: monoio's own for unix sockets asks for SO_REUSEPORT, which Linux
// refuses there.
async fn accept(listener: Listener) -> io::Result<()> {
    match listener {
        Listener::Tcp(listener) => {
            let listener = TcpListener::from_std(listener)?;
            loop {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                spawn(echo_all(stream));
            }
        }
        Listener::Unix(listener) => {
            let listener = UnixListener::from_std(listener)?;
            loop {
                let (stream, _) = listener.accept().await?;
                spawn(echo_all(stream));
            }
        }
    }
}

fn spawn(task: impl Future<Output = io::Result<()>> + 'static) {
    drop(monoio::spawn(task));
}

async fn echo_all(mut stream: impl AsyncReadRent + monoio::io::AsyncWriteRent) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(BUFFER_SIZE);
    loop {
        let (length, read) = stream.read(buffer).await;
        if length? == 0 {
            return Ok(());
        }
        let (written, back) = stream.write_all(read).await;
        written?;
        buffer = back;
        buffer.clear();
    }
}
