//! Datagrams back to where they came from, one at a time.

use std::io;
use std::net::SocketAddr;

use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use crate::BUFFER_SIZE;
use crate::listen::bind_udp;

pub(super) fn echo(name: &str, address: SocketAddr) -> io::Result<()> {
    let socket = bind_udp(name, address)?;
    socket.set_nonblocking(true)?;
    let poller = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&poller, &socket, EventData::new_u64(0), EventFlags::IN)?;
    let mut events: Vec<Event> = Vec::with_capacity(1);
    let mut buffer = vec![0; BUFFER_SIZE];
    loop {
        events.clear();
        match epoll::wait(&poller, rustix::buffer::spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        loop {
            match rustix::net::recvfrom(&socket, &mut buffer[..], RecvFlags::empty()) {
                Ok((_, length, Some(from))) => {
                    // What finds no room is lost, as datagrams are.
                    let _ =
                        rustix::net::sendto(&socket, &buffer[..length], SendFlags::empty(), &from);
                }
                Ok((_, _, None)) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
}
