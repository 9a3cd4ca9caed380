//! The least that a server has to do, on raw epoll and on raw io_uring.

mod answer;
mod datagram;
pub(crate) mod http;
mod ready;
mod resp;
mod ring;

use std::io;

use crate::listen::Address;
use answer::Echo;

/// How a floor is told what came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kernel {
    Epoll,
    Ring,
}

/// The same bytes back; over datagrams with epoll only.
pub(crate) fn echo(name: &str, address: &Address, kernel: Kernel) -> io::Result<()> {
    match (kernel, address) {
        (Kernel::Epoll, Address::Udp(_)) => datagrams(name, address),
        (Kernel::Epoll, _) => ready::serve(name, address, Echo),
        (Kernel::Ring, _) => ring::serve(name, address, Echo),
    }
}

/// PING, SET and GET.
pub(crate) fn resp(name: &str, address: &Address, kernel: Kernel) -> io::Result<()> {
    match kernel {
        Kernel::Epoll => ready::serve(name, address, resp::Resp::new()),
        Kernel::Ring => ring::serve(name, address, resp::Resp::new()),
    }
}

/// A fixed reply to each head.
pub(crate) fn http(name: &str, address: &Address, kernel: Kernel) -> io::Result<()> {
    match kernel {
        Kernel::Epoll => ready::serve(name, address, http::Http::new()),
        Kernel::Ring => ring::serve(name, address, http::Http::new()),
    }
}

/// The same datagrams back, in batches.
pub(crate) fn datagrams(name: &str, address: &Address) -> io::Result<()> {
    datagram::echo(name, address, false)
}

/// The same datagrams back, in batches that the kernel joins and cuts.
pub(crate) fn joined_datagrams(name: &str, address: &Address) -> io::Result<()> {
    datagram::echo(name, address, true)
}
