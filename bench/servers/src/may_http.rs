//! may_minihttp: coroutines on one worker thread. Heads are parsed, and it sends a date.

use std::io;
use std::net::TcpListener;
use std::os::fd::RawFd;

use may_minihttp::{HttpService, HttpServiceFactory, Request, Response};

use crate::listen::{Address, announce, refused};
use crate::unsafe_socket::set_nodelay;

struct Hello;

struct Factory;

impl HttpService for Hello {
    fn call(&mut self, _request: Request, response: &mut Response) -> io::Result<()> {
        response.header("Content-Type: text/plain").body("Hello World!");
        Ok(())
    }
}

impl HttpServiceFactory for Factory {
    type Service = Hello;

    fn new_service(&self, id: usize) -> Hello {
        // The library numbers a connection by its descriptor, and offers no TCP_NODELAY.
        set_nodelay(id as RawFd);
        Hello
    }
}

/// `Hello World!` for every request.
pub(crate) fn serve(name: &str, address: &Address) -> io::Result<()> {
    let Address::Tcp(socket) = address else { return Err(refused(address, "tcp")) };
    may::config().set_workers(1);
    // The library does not tell which port it got.
    let free = TcpListener::bind(socket)?.local_addr()?;
    let server = Factory.start(free)?;
    announce(name, &Address::Tcp(free))?;
    server.join().map_err(|_| io::Error::other("panicked"))
}
