//! mio: edge-triggered, read until there is no more, write at once.

use std::io::{self, Read, Write};

use mio::event::Source;
use mio::net::{TcpListener, UnixListener};
use mio::{Events, Interest, Poll, Token};

use crate::BUFFER_SIZE;
use crate::listen::{Address, Listener};

/// Connections have their slots.
const LISTENER: Token = Token(usize::MAX >> 1);
const EVENTS_MAX: usize = 256;

/// A stream of either kind.
trait Stream: Read + Write + Source {}

impl<S: Read + Write + Source> Stream for S {}

struct Conn<S> {
    stream: S,
    /// What did not go; while there is some, nothing is read.
    pending: Vec<u8>,
}

/// The same bytes back.
pub(crate) fn serve(name: &str, address: &Address) -> io::Result<()> {
    let listener = Listener::bind(name, address)?;
    listener.set_nonblocking()?;
    match listener {
        Listener::Tcp(listener) => {
            let listener = TcpListener::from_std(listener);
            run(listener, |listener| {
                let (stream, _) = listener.accept()?;
                stream.set_nodelay(true)?;
                Ok(stream)
            })
        }
        Listener::Unix(listener) => {
            run(UnixListener::from_std(listener), |listener| Ok(listener.accept()?.0))
        }
    }
}

fn run<L: Source, S: Stream>(
    mut listener: L,
    accept: impl Fn(&L) -> io::Result<S>,
) -> io::Result<()> {
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(EVENTS_MAX);
    let mut conns: Vec<Option<Conn<S>>> = Vec::new();
    let mut free = Vec::new();
    let mut buffer = vec![0; BUFFER_SIZE];
    loop {
        if let Err(error) = poll.poll(&mut events, None)
            && error.kind() != io::ErrorKind::Interrupted
        {
            return Err(error);
        }
        for event in &events {
            if event.token() == LISTENER {
                accept_all(|| accept(&listener), &poll, &mut conns, &mut free)?;
                continue;
            }
            let slot = event.token().0;
            if let Some(conn) = conns[slot].as_mut()
                && !conn.exchange(&mut buffer, event.is_read_closed()).unwrap_or(false)
            {
                // Closing the stream takes it out of the poller.
                conns[slot] = None;
                free.push(slot);
            }
        }
    }
}

fn accept_all<S: Stream>(
    accept: impl Fn() -> io::Result<S>,
    poll: &Poll,
    conns: &mut Vec<Option<Conn<S>>>,
    free: &mut Vec<usize>,
) -> io::Result<()> {
    loop {
        let mut stream = match accept() {
            Ok(stream) => stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let slot = free.pop().unwrap_or_else(|| {
            conns.push(None);
            conns.len() - 1
        });
        let both = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, Token(slot), both)?;
        conns[slot] = Some(Conn { stream, pending: Vec::new() });
    }
}

impl<S: Stream> Conn<S> {
    /// Until there is no more to read or no room to write; false: the connection is over.
    /// `closed`: after what is there comes the end, of which no other event tells.
    fn exchange(&mut self, buffer: &mut [u8], closed: bool) -> io::Result<bool> {
        loop {
            while !self.pending.is_empty() {
                match self.stream.write(&self.pending) {
                    Ok(sent) => drop(self.pending.drain(..sent)),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                    Err(error) => return Err(error),
                }
            }
            let length = match self.stream.read(buffer) {
                Ok(0) => return Ok(false),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            };
            let sent = match self.stream.write(&buffer[..length]) {
                Ok(sent) => sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error),
            };
            self.pending.extend_from_slice(&buffer[sent..length]);
            // A short read leaves nothing behind: mio's guide allows to stop here, and it saves a
            // system call.
            if self.pending.is_empty() && length < buffer.len() && !closed {
                return Ok(true);
            }
        }
    }
}
