//! One thread on raw io_uring: connections and their bytes come by themselves, the replies of a turn
//! go with the call that waits for the next.
//!
//! What does not go at once is copied, so that a client that does not read holds no buffer. Clients
//! are trusted with memory as the epoll floor trusts them, but one that only sends is read no more.

mod unsafe_buffers;
mod unsafe_queue;

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::sockopt;

use super::answer::{Answer, Reply};
use crate::listen::{Address, Listener};
use unsafe_buffers::Received;
use unsafe_queue::{Bytes, Event, Queue, Unsent};

/// A blocked connection with more is not read until all has gone.
const PENDING_MAX: usize = 1 << 20;

/// Serves until it fails.
pub(super) fn serve<A: Answer>(name: &str, address: &Address, answer: A) -> io::Result<()> {
    let listener: OwnedFd = match Listener::bind(name, address)? {
        Listener::Tcp(listener) => {
            // Connections inherit it; they have no descriptor to set it on.
            sockopt::set_tcp_nodelay(&listener, true)?;
            listener.into()
        }
        Listener::Unix(listener) => listener.into(),
    };
    let mut queue = Queue::new(listener)?;
    queue.accept()?;
    let mut floor = Floor {
        queue,
        answer,
        conns: Vec::new(),
        turn: 0,
        postponed: Vec::new(),
        ending: Vec::new(),
        is_full: false,
        out: Vec::new(),
    };
    let (mut unsent, mut events) = (Vec::new(), Vec::new());
    loop {
        floor.queue.turn(floor.may_wait(), &mut unsent, &mut events)?;
        floor.turn += 1;
        for unsent in unsent.drain(..) {
            floor.unsent(unsent)?;
        }
        floor.close_ended()?;
        for (slot, received) in std::mem::take(&mut floor.postponed) {
            floor.conns[slot as usize].postponed -= 1;
            floor.received(slot, received)?;
        }
        for event in events.drain(..) {
            floor.handle(event)?;
        }
    }
}

struct Conn<S> {
    state: S,
    /// The turn in which it last sent.
    sent_turn: u64,
    /// Received in a turn in which it had sent already.
    postponed: u32,
    receiving: bool,
    /// A rest of a reply waits for room.
    blocked: bool,
    /// Being shut down, by another thread of the kernel: the file must not be another's by then.
    shutting: bool,
    ending: bool,
    /// What comes after that rest.
    pending: Vec<u8>,
}

struct Floor<A: Answer> {
    queue: Queue,
    answer: A,
    /// By file of the ring.
    conns: Vec<Conn<A::State>>,
    turn: u64,
    postponed: Vec<(u32, Received)>,
    /// Connections that are to be closed when nothing is under way for them.
    ending: Vec<u32>,
    /// There was no place for another connection.
    is_full: bool,
    out: Vec<u8>,
}

impl<A: Answer> Floor<A> {
    fn may_wait(&self) -> bool {
        self.postponed.is_empty()
            && !self.ending.iter().any(|slot| self.conns[*slot as usize].is_quiet())
    }

    fn handle(&mut self, event: Event) -> io::Result<()> {
        match event {
            Event::Received { slot, received, more } => {
                if !more {
                    self.queue.receive(slot)?;
                }
                self.received(slot, received)
            }
            Event::Accepted { slot } => self.accepted(slot),
            Event::AcceptEnded { errno: libc::ENFILE } => {
                self.is_full = true;
                Ok(())
            }
            Event::AcceptEnded { .. } => self.queue.accept(),
            Event::ReceiveEnded { slot, errno } => self.receive_ended(slot, errno),
            Event::Flushed { slot, outcome } => self.flushed(slot, outcome),
            Event::ShutDown { slot } => {
                self.conns[slot as usize].shutting = false;
                Ok(())
            }
        }
    }

    fn accepted(&mut self, slot: u32) -> io::Result<()> {
        let conn = Conn::new();
        let index = slot as usize;
        if index < self.conns.len() {
            self.conns[index] = conn;
        } else {
            self.conns.resize_with(index, Conn::new);
            self.conns.push(conn);
        }
        self.queue.receive(slot)
    }

    fn received(&mut self, slot: u32, received: Received) -> io::Result<()> {
        let conn = &mut self.conns[slot as usize];
        // Two sends of one turn could overtake one another if the first finds no room.
        if conn.sent_turn == self.turn {
            conn.postponed += 1;
            self.postponed.push((slot, received));
            return Ok(());
        }
        let input = self.queue.buffers.bytes(&received);
        let reply = self.answer.answer(&mut conn.state, input, &mut self.out);
        if conn.blocked {
            let bytes = match reply {
                Reply::Input => input,
                Reply::Constant(bytes) => bytes,
                Reply::Out => &self.out,
            };
            conn.pending.extend_from_slice(bytes);
            self.out.clear();
            self.queue.buffers.give_back(received);
            if conn.pending.len() > PENDING_MAX && conn.receiving {
                self.queue.stop_receiving(slot)?;
            }
            return Ok(());
        }
        let bytes = match reply {
            Reply::Input => Bytes::Received(received),
            Reply::Constant(bytes) => {
                self.queue.buffers.give_back(received);
                Bytes::Constant(bytes)
            }
            Reply::Out => {
                self.queue.buffers.give_back(received);
                let empty = self.queue.spare();
                Bytes::Made(std::mem::replace(&mut self.out, empty))
            }
        };
        if bytes.is_empty() {
            return Ok(());
        }
        conn.sent_turn = self.turn;
        self.queue.send(slot, bytes)
    }

    fn receive_ended(&mut self, slot: u32, errno: i32) -> io::Result<()> {
        let conn = &mut self.conns[slot as usize];
        match errno {
            // The buffers were used up; this turn's are given back before the kernel looks again.
            libc::ENOBUFS => self.queue.receive(slot),
            // Our own wish.
            libc::ECANCELED if !conn.ending => {
                conn.receiving = false;
                if conn.blocked { Ok(()) } else { self.resume(slot) }
            }
            _ => {
                conn.receiving = false;
                self.end(slot);
                Ok(())
            }
        }
    }

    fn unsent(&mut self, unsent: Unsent) -> io::Result<()> {
        match unsent.outcome {
            Ok(rest) => {
                self.conns[unsent.slot as usize].blocked = true;
                self.queue.flush(unsent.slot, rest)
            }
            Err(_) => self.break_off(unsent.slot),
        }
    }

    fn flushed(&mut self, slot: u32, outcome: Result<(), i32>) -> io::Result<()> {
        let conn = &mut self.conns[slot as usize];
        conn.blocked = false;
        if outcome.is_err() {
            return self.break_off(slot);
        }
        if !conn.pending.is_empty() {
            conn.blocked = true;
            let pending = std::mem::take(&mut conn.pending);
            return self.queue.flush(slot, pending);
        }
        if conn.receiving || conn.ending { Ok(()) } else { self.resume(slot) }
    }

    fn resume(&mut self, slot: u32) -> io::Result<()> {
        self.conns[slot as usize].receiving = true;
        self.queue.receive(slot)
    }

    /// Nothing can be sent any more.
    fn break_off(&mut self, slot: u32) -> io::Result<()> {
        self.end(slot);
        let conn = &mut self.conns[slot as usize];
        if !conn.receiving || conn.shutting {
            return Ok(());
        }
        conn.shutting = true;
        self.queue.shut_down(slot)
    }

    fn end(&mut self, slot: u32) {
        let conn = &mut self.conns[slot as usize];
        if !conn.ending {
            conn.ending = true;
            self.ending.push(slot);
        }
    }

    /// All sends of earlier turns are accounted for here.
    fn close_ended(&mut self) -> io::Result<()> {
        let mut index = 0;
        while index < self.ending.len() {
            let slot = self.ending[index];
            if self.conns[slot as usize].is_quiet() {
                self.ending.swap_remove(index);
                self.conns[slot as usize] = Conn::new();
                self.queue.close(slot)?;
                if std::mem::take(&mut self.is_full) {
                    self.queue.accept()?;
                }
            } else {
                index += 1;
            }
        }
        Ok(())
    }
}

impl<S: Default> Conn<S> {
    fn new() -> Self {
        Self {
            state: S::default(),
            sent_turn: 0,
            postponed: 0,
            receiving: true,
            blocked: false,
            shutting: false,
            ending: false,
            pending: Vec::new(),
        }
    }

    fn is_quiet(&self) -> bool {
        !self.receiving && !self.blocked && !self.shutting && self.postponed == 0
    }
}
