//! Connecting streams.

use super::RingDriver;
use super::operations::Operation;
use super::queue::Completion;
use super::table::{Socket, State};
use super::token::{Kind, Token};
use super::turn::Report;
use crate::ready::{plain, settings, unix_path};
use crate::{Addr, Key, Sink, SocketOptions, UnixAddr};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket as RawSocket, Type};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};

/// The addresses of handshakes under way: the kernel reads them when the operation is submitted,
/// which can be after the key has ended.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    under_way: Vec<(Token, Box<SockAddr>)>,
}

impl Handshakes {
    fn operation(&mut self, stream: RawFd, to: SockAddr, token: Token) -> Operation {
        let address = Box::new(to);
        let (start, len) = (address.as_ptr(), address.len());
        self.under_way.push((token, address));
        // SAFETY: the address stands in a box that only the completion of this operation frees, or
        // a drop of the driver after the last completion.
        unsafe { Operation::connect(stream, start.cast(), len, token) }
    }

    fn finish(&mut self, token: Token) {
        self.under_way.retain(|(other, _)| *other != token);
    }

    /// Gives the memory up without freeing it, because the kernel may still read it.
    pub(super) fn leak(&mut self) {
        std::mem::forget(std::mem::take(&mut self.under_way));
    }
}

impl RingDriver {
    pub(super) fn start_connect(
        &mut self,
        key: Key,
        to: &Addr,
        options: &SocketOptions,
    ) -> io::Result<()> {
        match to {
            Addr::Inet(to) => self.start_tcp(key, *to, options),
            Addr::Unix(to) => self.connect_unix(key, to, options),
        }
    }

    fn start_tcp(&mut self, key: Key, to: SocketAddr, options: &SocketOptions) -> io::Result<()> {
        let socket = RawSocket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
        settings::apply(&SockRef::from(&socket), options, true)?;
        let stream = socket.as_raw_fd();
        self.insert_stream(key, Socket::Tcp(socket.into()), State::CONNECTING);
        let tenancy = self.table.get_mut(key).map_or(0, |slot| slot.tenancy);
        let token = Token { kind: Kind::Connect, index: key.index() as u32, tenancy };
        self.queue.push(self.handshakes.operation(stream, SockAddr::from(to), token));
        Ok(())
    }

    /// A unix socket answers at once, and a full backlog is an answer too: a ring would wait.
    fn connect_unix(&mut self, key: Key, to: &UnixAddr, options: &SocketOptions) -> io::Result<()> {
        let address = unix_path::address_of(to)?;
        let socket = RawSocket::new(Domain::UNIX, Type::STREAM, None)?;
        settings::apply(&SockRef::from(&socket), options, false)?;
        socket.set_nonblocking(true)?;
        match socket.connect(&address) {
            Ok(()) => {
                self.insert_stream(key, Socket::Unix(socket.into()), State::CONNECTING);
                self.reports.push_back(Report::Connected(key));
            }
            Err(error) => self.reports.push_back(Report::NeverOpened(key, error)),
        }
        Ok(())
    }

    pub(super) fn note_connected(&mut self, completion: Completion, sink: &mut impl Sink) {
        self.handshakes.finish(completion.token);
        let Some((key, slot)) = self.table.of_token(completion.token) else {
            return;
        };
        match completion.outcome() {
            Ok(_) => self.finish_connect(key, sink),
            Err(error) => {
                slot.state.clear(State::CONNECTING);
                self.fail(key, error, sink);
            }
        }
    }

    /// The handshake is over.
    pub(super) fn finish_connect(&mut self, key: Key, sink: &mut impl Sink) {
        let Some(slot) = self.table.of_key(key) else {
            return;
        };
        let local = match &slot.socket {
            Socket::Tcp(stream) => stream.local_addr().map(plain),
            Socket::Unix(stream) => stream.local_addr().map(Addr::from),
            _ => return,
        };
        let local = match local {
            Ok(local) => local,
            Err(error) => return self.fail(key, error, sink),
        };
        let was_waiting = slot.state.has(State::WAITING);
        slot.state.clear(State::CONNECTING.and(State::WAITING));
        let token = slot.token(key, Kind::Connect);
        sink.connected(key, local);
        if was_waiting {
            sink.sent(key, 0);
        }
        self.unwatched.push(key);
        self.settle(key, token);
    }
}
