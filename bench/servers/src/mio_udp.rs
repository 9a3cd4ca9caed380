//! mio: edge-triggered, datagrams back to where they came from, one at a time until none is left.

use std::io;

use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};

use crate::BUFFER_SIZE;
use crate::listen::{Address, bind_udp};

/// The same datagrams back.
pub(crate) fn serve(name: &str, address: &Address) -> io::Result<()> {
    let socket = bind_udp(name, address)?;
    socket.set_nonblocking(true)?;
    let mut socket = UdpSocket::from_std(socket);
    let mut poll = Poll::new()?;
    poll.registry().register(&mut socket, Token(0), Interest::READABLE)?;
    let mut events = Events::with_capacity(1);
    let mut buffer = vec![0; BUFFER_SIZE];
    loop {
        if let Err(error) = poll.poll(&mut events, None)
            && error.kind() != io::ErrorKind::Interrupted
        {
            return Err(error);
        }
        loop {
            match socket.recv_from(&mut buffer) {
                // What finds no room is lost, as datagrams are.
                Ok((length, from)) => drop(socket.send_to(&buffer[..length], from)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
