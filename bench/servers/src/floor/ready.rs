//! One thread on raw epoll, level-triggered.
//!
//! Per turn one `epoll_wait`, per readable connection one `recv` and one `send`, more only if the
//! buffer was filled, and no copy that the protocol does not ask for. What does not go at once is
//! kept, and the connection is not read until it has gone.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;

use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, sockopt};

use super::answer::{Answer, Reply};
use crate::BUFFER_SIZE;
use crate::listen::{Address, Listener};

const EVENTS_MAX: usize = 256;
/// The event data of the listener; connections have their slots.
const LISTENER: u64 = u64::MAX;

struct Conn<S> {
    socket: OwnedFd,
    state: S,
    /// What did not go; while there is some, the connection waits for room and is not read.
    pending: VecDeque<u8>,
}

struct Floor<A: Answer> {
    poller: OwnedFd,
    listener: OwnedFd,
    is_tcp: bool,
    conns: Vec<Option<Conn<A::State>>>,
    free: Vec<usize>,
    answer: A,
    buffer: Vec<u8>,
    /// For replies that are made.
    out: Vec<u8>,
}

/// Serves until it fails.
pub(super) fn serve<A: Answer>(name: &str, address: &Address, answer: A) -> io::Result<()> {
    let listener = Listener::bind(name, address)?;
    listener.set_nonblocking()?;
    let (listener, is_tcp): (OwnedFd, bool) = match listener {
        Listener::Tcp(listener) => (listener.into(), true),
        Listener::Unix(listener) => (listener.into(), false),
    };
    let poller = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&poller, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut floor = Floor {
        poller,
        listener,
        is_tcp,
        conns: Vec::new(),
        free: Vec::new(),
        answer,
        buffer: vec![0; BUFFER_SIZE],
        out: Vec::new(),
    };
    let mut events: Vec<Event> = Vec::with_capacity(EVENTS_MAX);
    loop {
        events.clear();
        match epoll::wait(&floor.poller, rustix::buffer::spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            match event.data.u64() {
                LISTENER => floor.accept()?,
                slot => floor.ready(slot as usize)?,
            }
        }
    }
}

impl<A: Answer> Floor<A> {
    fn accept(&mut self) -> io::Result<()> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = match rustix::net::accept_with(&self.listener, flags) {
            Ok(socket) => socket,
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if self.is_tcp {
            sockopt::set_tcp_nodelay(&socket, true)?;
        }
        let slot = self.free.pop().unwrap_or(self.conns.len());
        let data = EventData::new_u64(slot as u64);
        epoll::add(&self.poller, &socket, data, EventFlags::IN)?;
        let conn = Some(Conn { socket, state: A::State::default(), pending: VecDeque::new() });
        if slot == self.conns.len() {
            self.conns.push(conn);
        } else {
            self.conns[slot] = conn;
        }
        Ok(())
    }

    fn ready(&mut self, slot: usize) -> io::Result<()> {
        let Some(conn) = self.conns.get_mut(slot).and_then(Option::as_mut) else { return Ok(()) };
        let alive = if conn.pending.is_empty() {
            conn.exchange(&mut self.answer, &mut self.buffer, &mut self.out)
        } else {
            conn.send_pending()
        };
        match alive {
            Some(Change::None) => Ok(()),
            Some(Change::WaitFor(flags)) => {
                let data = EventData::new_u64(slot as u64);
                Ok(epoll::modify(&self.poller, &conn.socket, data, flags)?)
            }
            None => {
                // Closing takes it out of the poller.
                self.conns[slot] = None;
                self.free.push(slot);
                Ok(())
            }
        }
    }
}

/// What the poller has to look for from now on.
enum Change {
    None,
    WaitFor(EventFlags),
}

impl<S> Conn<S> {
    /// Receives and answers until the buffer is not filled; `None`: the connection is over.
    ///
    /// A full buffer means that there is more, and to go on with this connection while its memory is
    /// in the cache costs less than to come back to it.
    fn exchange<A: Answer<State = S>>(
        &mut self,
        answer: &mut A,
        buffer: &mut [u8],
        out: &mut Vec<u8>,
    ) -> Option<Change> {
        loop {
            let length = match rustix::net::recv(&self.socket, &mut *buffer, RecvFlags::empty()) {
                Ok((0, _)) => return None,
                Ok((length, _)) => length,
                Err(Errno::AGAIN | Errno::INTR) => return Some(Change::None),
                Err(_) => return None,
            };
            out.clear();
            let reply = match answer.answer(&mut self.state, &buffer[..length], out) {
                Reply::Input => &buffer[..length],
                Reply::Constant(bytes) => bytes,
                Reply::Out => out,
            };
            if !reply.is_empty() {
                let sent = match rustix::net::send(&self.socket, reply, SendFlags::NOSIGNAL) {
                    Ok(sent) => sent,
                    Err(Errno::AGAIN | Errno::INTR) => 0,
                    Err(_) => return None,
                };
                if sent < reply.len() {
                    self.pending.extend(&reply[sent..]);
                    return Some(Change::WaitFor(EventFlags::OUT));
                }
            }
            if length < buffer.len() {
                return Some(Change::None);
            }
        }
    }

    fn send_pending(&mut self) -> Option<Change> {
        while !self.pending.is_empty() {
            let sent = match rustix::net::send(
                &self.socket,
                self.pending.as_slices().0,
                SendFlags::NOSIGNAL,
            ) {
                Ok(sent) => sent,
                Err(Errno::AGAIN) => return Some(Change::None),
                Err(Errno::INTR) => 0,
                Err(_) => return None,
            };
            self.pending.drain(..sent);
        }
        Some(Change::WaitFor(EventFlags::IN))
    }
}
