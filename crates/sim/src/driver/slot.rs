//! What the driver knows of one key.

use mainspring_io::{Chunk, Key};
use std::collections::VecDeque;
use std::io;
use std::time::Duration;

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) key: Key,
    /// How the key ends, once that is decided; the next poll tells it.
    pub(super) ending: Option<Ending>,
    pub(super) socket: Socket,
}

#[derive(Debug)]
pub(super) enum Ending {
    Closed,
    Released,
    Failed(io::Error),
}

#[derive(Debug)]
pub(super) enum Socket {
    Listener { number: u64, resting_until: Option<Duration> },
    Stream(StreamSocket),
    Datagram(DatagramSocket),
}

#[derive(Debug)]
pub(super) struct StreamSocket {
    pub(super) number: u64,
    pub(super) is_connecting: bool,
    pub(super) receiving: bool,
    /// How many bytes are still delivered although the loop has stopped receiving (D3).
    pub(super) late_bytes: usize,
    pub(super) eof_told: bool,
    /// A `sent` is owed.
    pub(super) waiting: bool,
    pub(super) in_flight: VecDeque<Chunk>,
    pub(super) in_flight_bytes: usize,
}

#[derive(Debug)]
pub(super) struct DatagramSocket {
    pub(super) number: u64,
    pub(super) receiving: bool,
    /// As for streams, in datagrams.
    pub(super) late_datagrams: usize,
    pub(super) waiting: bool,
    /// Datagrams given up and not reported yet.
    pub(super) dropped: Vec<(usize, io::Error)>,
}

impl Socket {
    pub(super) fn receive(&mut self, start: bool) {
        match self {
            Self::Stream(stream) => {
                stream.receiving = start;
                stream.late_bytes = 0;
            }
            Self::Datagram(datagram) => {
                datagram.receiving = start;
                datagram.late_datagrams = 0;
            }
            Self::Listener { .. } => {}
        }
    }
}

impl StreamSocket {
    pub(super) fn open(number: u64) -> Self {
        Self {
            number,
            is_connecting: false,
            receiving: false,
            late_bytes: 0,
            eof_told: false,
            waiting: false,
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
        }
    }

    pub(super) fn connecting(number: u64) -> Self {
        Self { is_connecting: true, ..Self::open(number) }
    }
}

impl DatagramSocket {
    pub(super) fn new(number: u64) -> Self {
        Self { number, receiving: false, late_datagrams: 0, waiting: false, dropped: Vec::new() }
    }

    /// One report for a run of datagrams that met the same fate.
    pub(super) fn dropped(&mut self, error: io::Error) {
        match self.dropped.last_mut() {
            Some((count, last)) if last.kind() == error.kind() => *count += 1,
            _ => self.dropped.push((1, error)),
        }
    }
}
