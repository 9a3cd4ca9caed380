//! Datagrams back to where they came from: one `epoll_wait`, one `recvmmsg` and one `sendmmsg` for
//! as many as have come.

mod unsafe_batch;

use std::io;
use std::os::fd::AsFd as _;

use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::io::Errno;

use crate::listen::{Address, bind_udp};
use unsafe_batch::{Batch, join_received};

/// Echoes until it fails; `joined`: the kernel joins what it receives and cuts what it sends
/// (UDP_GRO, UDP_SEGMENT, `udp(7)`).
pub(super) fn echo(name: &str, address: &Address, joined: bool) -> io::Result<()> {
    let socket = bind_udp(name, address)?;
    socket.set_nonblocking(true)?;
    if joined {
        join_received(socket.as_fd())?;
    }
    let poller = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&poller, &socket, EventData::new_u64(0), EventFlags::IN)?;
    let mut events: Vec<Event> = Vec::with_capacity(1);
    let mut batch = Batch::new(joined);
    loop {
        events.clear();
        match epoll::wait(&poller, rustix::buffer::spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        // A batch that is not full leaves nothing behind.
        while batch.receive(socket.as_fd())? {
            batch.send_back(socket.as_fd());
        }
        batch.send_back(socket.as_fd());
    }
}
