//! A connection that has left its loop, echoed by the script.

use super::ledger::Book;
use mainspring_loop::Detached;
use std::io::{ErrorKind, Read, Write};

/// The echo goes on: what the loop had received first, then what comes.
pub(super) struct DetachedEcho {
    token: usize,
    socket: Detached,
    unsent: Vec<u8>,
    eof: bool,
}

impl DetachedEcho {
    pub(super) fn new(token: usize, socket: Detached) -> Self {
        socket.stream().set_nonblocking(true).expect("an open socket");
        Self { token, socket, unsent: Vec::new(), eof: false }
    }

    /// Reads and writes what it can. Whether the connection goes on.
    pub(super) fn work(&mut self, book: &Book) -> bool {
        let mut buffer = [0; 2048];
        while !self.eof && self.unsent.len() < UNSENT_MAX {
            match self.socket.read(&mut buffer) {
                Ok(0) => self.eof = true,
                Ok(count) => self.unsent.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return self.broke(book),
            }
        }
        while !self.unsent.is_empty() {
            match self.socket.write(&self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(_) => return self.broke(book),
            }
        }
        !self.eof
    }

    /// The answer stays incomplete, and that is nobody's fault.
    pub(super) fn broke(&self, book: &Book) -> bool {
        book.open().conns[self.token].excused = true;
        false
    }
}

const UNSENT_MAX: usize = 16 * 1024;
