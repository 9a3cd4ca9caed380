//! mio: edge-triggered, read until there is no more, write at once.

use std::collections::HashMap;
use std::io::{self, Read, Write};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::BUFFER_SIZE;
use crate::listen::{Address, bind_tcp};

const LISTENER: Token = Token(0);
const EVENTS_MAX: usize = 256;

struct Conn {
    stream: TcpStream,
    /// What did not go; while there is some, nothing is read.
    pending: Vec<u8>,
}

/// The same bytes back.
pub(crate) fn serve(name: &str, address: &Address) -> io::Result<()> {
    let listener = bind_tcp(name, address)?;
    listener.set_nonblocking(true)?;
    let mut listener = TcpListener::from_std(listener);
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(EVENTS_MAX);
    let mut conns: HashMap<Token, Conn> = HashMap::new();
    let mut next = 1;
    let mut buffer = vec![0; BUFFER_SIZE];
    loop {
        if let Err(error) = poll.poll(&mut events, None)
            && error.kind() != io::ErrorKind::Interrupted
        {
            return Err(error);
        }
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, &poll, &mut conns, &mut next)?;
            } else if let Some(conn) = conns.get_mut(&event.token()) {
                // Closing the stream takes it out of the poller.
                if !conn.exchange(&mut buffer).unwrap_or(false) {
                    conns.remove(&event.token());
                }
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    poll: &Poll,
    conns: &mut HashMap<Token, Conn>,
    next: &mut usize,
) -> io::Result<()> {
    loop {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        stream.set_nodelay(true)?;
        let token = Token(*next);
        *next += 1;
        let both = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, token, both)?;
        conns.insert(token, Conn { stream, pending: Vec::new() });
    }
}

impl Conn {
    /// Until there is no more to read or no room to write; false: the connection is over.
    fn exchange(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
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
            if self.pending.is_empty() && length < buffer.len() {
                return Ok(true);
            }
        }
    }
}
