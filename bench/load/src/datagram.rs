//! The closed loop over datagrams: each socket has `depth` of them in flight, numbered, and counts
//! what is lost.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use crate::engine::{BUFFER_SIZE, EVENTS_MAX, Pace, Plan, SILENCE_MAX_S, wait};
use crate::meter::Meter;
use crate::{Error, Report};

/// Bytes of the number at the beginning of each datagram.
pub(crate) const NUMBER_SIZE: usize = 8;
/// The most that fits behind the headers of IPv4 and UDP.
pub(crate) const PAYLOAD_MAX: usize = 65_507;
/// What is not answered by then is lost; loopback answers in microseconds.
const LOST_AFTER_NS: u64 = 200_000_000;

/// Runs the plan over UDP, with echoes of `size` bytes.
pub(crate) fn run(plan: &Plan, size: usize, what: String) -> Result<Report, Error> {
    let Pace::Closed { depth } = plan.pace else {
        return Err(Error::Usage(
            "--rate works over tcp and unix; udp is a closed loop".to_owned(),
        ));
    };
    if !(NUMBER_SIZE..=PAYLOAD_MAX).contains(&size) {
        let range = format!("{NUMBER_SIZE} to {PAYLOAD_MAX}");
        return Err(Error::Usage(format!("--size {size}: a datagram has {range} bytes")));
    }
    let poller = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(epoll_failed)?;
    let mut sockets = Vec::with_capacity(plan.connections);
    for index in 0..plan.connections {
        let socket = plan.target.dial()?;
        let data = EventData::new_u64(index as u64);
        epoll::add(&poller, &socket, data, EventFlags::IN).map_err(epoll_failed)?;
        sockets.push(Socket { socket, in_flight: VecDeque::new(), next: 0 });
    }
    let mut volley =
        Volley { meter: Meter::new(plan), message: vec![b'.'; size], buffer: vec![0; BUFFER_SIZE] };
    for socket in &mut sockets {
        volley.send(socket, depth)?;
    }
    let mut events = Vec::with_capacity(EVENTS_MAX);
    let mut heard_ns = 0;
    loop {
        let now = volley.meter.now_ns();
        if volley.meter.turn(now)? {
            return Ok(volley.meter.report(what));
        }
        if now > heard_ns + SILENCE_MAX_S * 1_000_000_000 {
            return Err(Error::Silent(SILENCE_MAX_S));
        }
        events.clear();
        wait(&poller, &mut events, Some(Duration::from_millis(20)))?;
        if events.is_empty() {
            // Only quiet turns look for losses: while answers come, gaps in their numbers tell.
            for socket in &mut sockets {
                volley.replace_lost(socket, now)?;
            }
        }
        for event in &events {
            let socket = &mut sockets[event.data.u64() as usize];
            let answered = volley.receive(socket)?;
            volley.send(socket, answered)?;
            heard_ns = volley.meter.now_ns();
        }
    }
}

struct Socket {
    socket: OwnedFd,
    /// Number and time of each datagram without an answer, oldest first.
    in_flight: VecDeque<(u64, u64)>,
    next: u64,
}

struct Volley {
    meter: Meter,
    message: Vec<u8>,
    buffer: Vec<u8>,
}

impl Volley {
    fn send(&mut self, socket: &mut Socket, count: usize) -> Result<(), Error> {
        for _ in 0..count {
            self.message[..NUMBER_SIZE].copy_from_slice(&socket.next.to_le_bytes());
            let now = self.meter.now_ns();
            match rustix::net::send(&socket.socket, &self.message, SendFlags::empty()) {
                Ok(_) => {}
                // Dropped by our own side: replaced like any other loss.
                Err(Errno::AGAIN | Errno::NOBUFS) => {}
                Err(error) => return Err(Error::io("send")(error.into())),
            }
            socket.in_flight.push_back((socket.next, now));
            socket.next += 1;
        }
        Ok(())
    }

    /// Receives what is there; the answer is how many datagrams are in flight no more.
    fn receive(&mut self, socket: &mut Socket) -> Result<usize, Error> {
        let before = socket.in_flight.len();
        loop {
            match rustix::net::recv(&socket.socket, &mut self.buffer[..], RecvFlags::empty()) {
                Ok((length, _)) => self.answered(socket, length)?,
                Err(Errno::AGAIN) => return Ok(before - socket.in_flight.len()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(Error::io("recv")(error.into())),
            }
        }
    }

    fn answered(&mut self, socket: &mut Socket, length: usize) -> Result<(), Error> {
        let now = self.meter.now_ns();
        let number = self.buffer.first_chunk::<NUMBER_SIZE>().map(|head| u64::from_le_bytes(*head));
        let same = length == self.message.len()
            && self.buffer[NUMBER_SIZE..length] == self.message[NUMBER_SIZE..];
        let Some(number) = number.filter(|number| same && *number < socket.next) else {
            return Err(Error::WrongReply(format!("a datagram of {length} bytes not sent by us")));
        };
        // Loopback keeps the order: what is older than an answer will not be answered.
        while let Some((oldest, sent_ns)) = socket.in_flight.front().copied() {
            if oldest > number {
                break;
            }
            socket.in_flight.pop_front();
            if oldest == number {
                self.meter.record(sent_ns, now);
            } else {
                self.meter.lost += 1;
            }
        }
        Ok(())
    }

    fn replace_lost(&mut self, socket: &mut Socket, now: u64) -> Result<(), Error> {
        let mut lost = 0;
        while socket.in_flight.front().is_some_and(|(_, sent)| now > sent + LOST_AFTER_NS) {
            socket.in_flight.pop_front();
            lost += 1;
        }
        self.meter.lost += lost as u64;
        self.send(socket, lost)
    }
}

fn epoll_failed(error: Errno) -> Error {
    Error::io("epoll")(error.into())
}
