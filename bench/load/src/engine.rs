//! The loop over stream sockets: epoll, level-triggered, one receive buffer.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use rustix::time::Timespec;

use crate::in_flight::InFlight;
use crate::meter::Meter;
use crate::tls::{self, Tls};
use crate::{Error, Report, Target};

/// Bytes received at once.
const BUFFER_SIZE: usize = 256 * 1024;
pub(crate) const EVENTS_MAX: usize = 512;
/// A run in which nothing is answered for so long has failed.
pub(crate) const SILENCE_MAX_S: u64 = 5;
/// How long an open loop waits for replies after its end.
const DRAIN_NS: u64 = 2_000_000_000;
/// Requests without a reply at which an open loop gives up.
const UNANSWERED_MAX: usize = 1 << 20;
/// A request due in less is waited for without sleeping: waking up would take as long.
const SPIN_NS: u64 = 60_000;

/// What is asked of a server.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The server.
    pub target: Target,
    /// How many connections.
    pub connections: usize,
    /// When requests are sent.
    pub pace: Pace,
    /// Requests before the window do not count.
    pub warm_up: Duration,
    /// Length of the window.
    pub duration: Duration,
    /// Ends the window earlier, after so many replies.
    pub requests_max: Option<u64>,
    /// The server's process, whose processor time is measured.
    pub watch_pid: Option<u32>,
    /// Over UDP: whole bursts pass the kernel as one (GSO) and come back so (GRO).
    pub offload: bool,
}

/// When requests are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// Each connection has `depth` requests in flight; a reply lets the next one go.
    Closed {
        /// Requests in flight per connection.
        depth: usize,
    },
    /// So many requests per second over all connections, whatever the server does.
    Open {
        /// The rate.
        per_second: f64,
    },
}

/// Requests and the check of their replies.
pub trait Protocol {
    /// Appends the next request.
    fn request(&mut self, out: &mut Vec<u8>);

    /// Takes replies from the beginning of `input`. `progress` is a number per connection, for
    /// protocols that remember how far they came; what is not used comes again with more behind it.
    ///
    /// # Errors
    ///
    /// What is wrong with a reply.
    fn replies(&mut self, progress: &mut usize, input: &[u8]) -> Result<Taken, String>;
}

/// What was taken from received bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    /// Bytes that are done with.
    pub used: usize,
    /// Replies among them.
    pub replies: usize,
}

/// Runs the plan over TCP or unix streams.
pub(crate) fn run<P: Protocol>(plan: &Plan, protocol: P, what: String) -> Result<Report, Error> {
    let mut engine = Engine::connect(plan, protocol)?;
    match plan.pace {
        Pace::Closed { depth } => engine.closed(depth)?,
        Pace::Open { per_second } => engine.open(per_second)?,
    }
    Ok(engine.meter.report(what))
}

struct Engine<P> {
    poller: OwnedFd,
    conns: Vec<Conn>,
    protocol: P,
    meter: Meter,
    buffer: Vec<u8>,
    /// Requests on their way through TLS.
    plain: Vec<u8>,
    unanswered: usize,
    heard_ns: u64,
}

struct Conn {
    socket: OwnedFd,
    in_flight: InFlight,
    out: Vec<u8>,
    out_gone: usize,
    waits_for_room: bool,
    progress: usize,
    carry: Vec<u8>,
    tls: Option<Tls>,
}

impl<P: Protocol> Engine<P> {
    fn connect(plan: &Plan, protocol: P) -> Result<Self, Error> {
        let failed = || Error::io("epoll");
        let poller = epoll::create(epoll::CreateFlags::CLOEXEC)
            .map_err(std::io::Error::from)
            .map_err(failed())?;
        let tls = matches!(plan.target, Target::Tls(_)).then(tls::config).transpose()?;
        let mut conns = Vec::with_capacity(plan.connections);
        for index in 0..plan.connections {
            let socket = plan.target.dial()?;
            let tls = tls.clone().map(|config| Tls::connect(config, &socket)).transpose()?;
            epoll::add(&poller, &socket, EventData::new_u64(index as u64), EventFlags::IN)
                .map_err(std::io::Error::from)
                .map_err(failed())?;
            conns.push(Conn::new(socket, tls));
        }
        Ok(Self {
            poller,
            conns,
            protocol,
            meter: Meter::new(plan),
            buffer: vec![0; BUFFER_SIZE],
            plain: Vec::new(),
            unanswered: 0,
            heard_ns: 0,
        })
    }

    fn closed(&mut self, depth: usize) -> Result<(), Error> {
        for index in 0..self.conns.len() {
            let now = self.meter.now_ns();
            self.send(index, now, depth)?;
        }
        let mut events = Vec::with_capacity(EVENTS_MAX);
        loop {
            let now = self.meter.now_ns();
            if self.meter.turn(now)? {
                return Ok(());
            }
            self.hear_something(now)?;
            self.wait(&mut events, Some(Duration::from_millis(20)))?;
            for event in &events {
                let index = event.data.u64() as usize;
                self.flush_if_waiting(index)?;
                let replies = self.receive(index)?;
                if replies > 0 {
                    self.send(index, self.heard_ns, replies)?;
                }
            }
        }
    }

    fn open(&mut self, per_second: f64) -> Result<(), Error> {
        let gap_ns = 1e9 / per_second;
        let mut events = Vec::with_capacity(EVENTS_MAX);
        let mut next: u64 = 0;
        let mut window_closed = false;
        loop {
            let now = self.meter.now_ns();
            window_closed |= self.meter.turn(now)?;
            // Before the end is looked at: what was due while we had no core is sent too.
            let mut due_ns = (next as f64 * gap_ns) as u64;
            while due_ns <= now && due_ns < self.meter.end_ns() {
                self.send((next % self.conns.len() as u64) as usize, due_ns, 1)?;
                next += 1;
                due_ns = (next as f64 * gap_ns) as u64;
            }
            if window_closed && (self.unanswered == 0 || now > self.meter.end_ns() + DRAIN_NS) {
                self.meter.lost = self.unanswered as u64;
                return Ok(());
            }
            if self.unanswered > UNANSWERED_MAX {
                return Err(Error::Overrun(UNANSWERED_MAX));
            }
            let idle_ns = if due_ns < self.meter.end_ns() { due_ns - now } else { 20_000_000 };
            let idle_ns = if idle_ns < SPIN_NS { 0 } else { idle_ns.min(20_000_000) };
            self.wait(&mut events, Some(Duration::from_nanos(idle_ns)))?;
            for event in &events {
                let index = event.data.u64() as usize;
                self.flush_if_waiting(index)?;
                self.receive(index)?;
            }
        }
    }

    fn wait(&self, events: &mut Vec<Event>, timeout: Option<Duration>) -> Result<(), Error> {
        events.clear();
        wait(&self.poller, events, timeout)
    }

    /// Puts `count` requests into the outbox of a connection and sends what goes.
    fn send(&mut self, index: usize, sent_ns: u64, count: usize) -> Result<(), Error> {
        let conn = &mut self.conns[index];
        match &mut conn.tls {
            None => (0..count).for_each(|_| self.protocol.request(&mut conn.out)),
            Some(tls) => {
                self.plain.clear();
                (0..count).for_each(|_| self.protocol.request(&mut self.plain));
                tls.encrypt(&self.plain, &mut conn.out);
            }
        }
        conn.in_flight.add(sent_ns, count);
        self.unanswered += count;
        if conn.waits_for_room { Ok(()) } else { conn.flush(&self.poller, index) }
    }

    fn flush_if_waiting(&mut self, index: usize) -> Result<(), Error> {
        let conn = &mut self.conns[index];
        if conn.waits_for_room { conn.flush(&self.poller, index) } else { Ok(()) }
    }

    /// Receives once, and records the replies.
    fn receive(&mut self, index: usize) -> Result<usize, Error> {
        let conn = &mut self.conns[index];
        let length = match rustix::net::recv(&conn.socket, &mut self.buffer[..], RecvFlags::empty())
        {
            Ok((0, _)) => return Err(Error::Closed),
            Ok((length, _)) => length,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(0),
            Err(error) => return Err(Error::io("recv")(error.into())),
        };
        let now = self.meter.now_ns();
        let replies = conn.take(&mut self.protocol, &self.buffer[..length])?;
        let all = conn.in_flight.take(replies, |sent_ns, count| {
            self.meter.record(sent_ns, now, count);
        });
        if !all {
            return Err(Error::WrongReply("one more than there were requests".to_owned()));
        }
        self.unanswered -= replies;
        self.heard_ns = now;
        Ok(replies)
    }

    fn hear_something(&self, now: u64) -> Result<(), Error> {
        if now > self.heard_ns + SILENCE_MAX_S * 1_000_000_000 {
            return Err(Error::Silent(SILENCE_MAX_S));
        }
        Ok(())
    }
}

impl Conn {
    fn new(socket: OwnedFd, tls: Option<Tls>) -> Self {
        Self {
            socket,
            in_flight: InFlight::default(),
            out: Vec::new(),
            out_gone: 0,
            waits_for_room: false,
            progress: 0,
            carry: Vec::new(),
            tls,
        }
    }

    fn flush(&mut self, poller: &OwnedFd, index: usize) -> Result<(), Error> {
        while self.out_gone < self.out.len() {
            match rustix::net::send(&self.socket, &self.out[self.out_gone..], SendFlags::NOSIGNAL) {
                Ok(length) => self.out_gone += length,
                Err(Errno::AGAIN) => return self.wait_for_room(poller, index, true),
                Err(Errno::INTR) => {}
                Err(error) => return Err(Error::io("send")(error.into())),
            }
        }
        self.out.clear();
        self.out_gone = 0;
        self.wait_for_room(poller, index, false)
    }

    fn wait_for_room(&mut self, poller: &OwnedFd, index: usize, wait: bool) -> Result<(), Error> {
        if self.waits_for_room == wait {
            return Ok(());
        }
        self.waits_for_room = wait;
        let flags = if wait { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
        epoll::modify(poller, &self.socket, EventData::new_u64(index as u64), flags)
            .map_err(|error| Error::io("epoll")(error.into()))
    }

    fn take<P: Protocol>(&mut self, protocol: &mut P, fresh: &[u8]) -> Result<usize, Error> {
        let wrong = Error::WrongReply;
        let fresh = match &mut self.tls {
            None => fresh,
            Some(tls) => tls.decrypt(fresh)?,
        };
        if self.carry.is_empty() {
            let taken = protocol.replies(&mut self.progress, fresh).map_err(wrong)?;
            self.carry.extend_from_slice(&fresh[taken.used..]);
            return Ok(taken.replies);
        }
        self.carry.extend_from_slice(fresh);
        let taken = protocol.replies(&mut self.progress, &self.carry).map_err(wrong)?;
        self.carry.drain(..taken.used);
        Ok(taken.replies)
    }
}

/// One `epoll_wait`; an interrupted one gives no events.
pub(crate) fn wait(
    poller: impl AsFd,
    events: &mut Vec<Event>,
    timeout: Option<Duration>,
) -> Result<(), Error> {
    let timeout = timeout.map(|timeout| Timespec {
        tv_sec: timeout.as_secs() as i64,
        tv_nsec: i64::from(timeout.subsec_nanos()),
    });
    match epoll::wait(poller, rustix::buffer::spare_capacity(events), timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(Error::io("epoll_wait")(error.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixed::Fixed;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    /// An echo server that once does nothing for 200 ms.
    fn stalling() -> Target {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target::Tcp(listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut buffer = [0; 4096];
            let mut total = 0;
            while let Ok(length @ 1..) = stream.read(&mut buffer) {
                let before = total;
                total += length;
                if before < 200 * 64 && total >= 200 * 64 {
                    std::thread::sleep(Duration::from_millis(200));
                }
                stream.write_all(&buffer[..length]).unwrap();
            }
        });
        target
    }

    fn plan(pace: Pace) -> Plan {
        Plan {
            target: stalling(),
            connections: 1,
            pace,
            warm_up: Duration::ZERO,
            duration: Duration::from_millis(600),
            requests_max: None,
            watch_pid: None,
            offload: false,
        }
    }

    #[test]
    fn an_open_loop_does_not_omit_what_was_due_in_a_stall() {
        let plan = plan(Pace::Open { per_second: 1000.0 });
        let report = run(&plan, Fixed::echo(64, 1), String::new()).unwrap();
        assert!((599..=601).contains(&report.requests), "{report:?}");
        // 200 of 600 requests were due while the server did nothing.
        assert!(report.p99_us > 150_000.0 && report.max_us > 195_000.0, "{report:?}");
    }

    #[test]
    fn a_closed_loop_sees_a_stall_once_for_each_connection() {
        let report =
            run(&plan(Pace::Closed { depth: 1 }), Fixed::echo(64, 1), String::new()).unwrap();
        assert!(report.max_us > 195_000.0 && report.p99_us < 150_000.0, "{report:?}");
    }
}
