//! tokio on one thread: datagrams back to where they came from, one at a time.

use std::io;

use tokio::net::UdpSocket;

use crate::BUFFER_SIZE;
use crate::listen::{Address, bind_udp};

/// The same datagrams back.
pub(crate) fn serve(name: &str, address: &Address) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let socket = bind_udp(name, address)?;
        socket.set_nonblocking(true)?;
        let socket = UdpSocket::from_std(socket)?;
        let mut buffer = vec![0; BUFFER_SIZE];
        loop {
            let (length, from) = socket.recv_from(&mut buffer).await?;
            // What finds no room is lost, as datagrams are.
            let _ = socket.try_send_to(&buffer[..length], from);
        }
    })
}
