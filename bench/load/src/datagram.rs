//! The closed loop over datagrams: each socket has `depth` of them in flight, numbered, in batches,
//! and counts what is lost.

mod flight;
mod wire;

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;

use crate::engine::{EVENTS_MAX, Pace, Plan, SILENCE_MAX_S, wait};
use crate::meter::Meter;
use crate::{Error, Report};
use flight::Flight;
use wire::{Batched, Coalesced, Wire};

/// Bytes of the number at the beginning of each datagram.
const NUMBER_SIZE: usize = 8;
/// The most that fits behind the headers of IPv4 and UDP.
const PAYLOAD_MAX: usize = 65_507;
/// What is not answered by then is lost: loopback answers in microseconds.
const LOST_AFTER_NS: u64 = 20_000_000;
/// A server that keeps up leaves no gap between batches: the clock has to be looked at meanwhile.
const CALLS_MAX: usize = 8;

/// Runs the plan over UDP, with echoes of `size` bytes.
pub(crate) fn run(plan: &Plan, size: usize, what: String) -> Result<Report, Error> {
    let Pace::Closed { depth } = plan.pace else {
        return Err(Error::Usage(
            "--rate works over tcp and unix; udp is a closed loop".to_owned(),
        ));
    };
    let most = if plan.offload { PAYLOAD_MAX / 2 } else { PAYLOAD_MAX };
    if !(NUMBER_SIZE..=most).contains(&size) {
        let two = if plan.offload { "; with --offload two have to fit into one" } else { "" };
        let range = format!("{NUMBER_SIZE} to {most}");
        return Err(Error::Usage(format!("--size {size}: a datagram has {range} bytes{two}")));
    }
    if plan.offload {
        let wires = || Coalesced::new(plan.target.dial()?, size);
        Volley::new(plan, depth, size, wires)?.run(what)
    } else {
        let wires = || Batched::new(plan.target.dial()?, size);
        Volley::new(plan, depth, size, wires)?.run(what)
    }
}

struct Volley<W> {
    poller: OwnedFd,
    lanes: Vec<Lane<W>>,
    meter: Meter,
    depth: usize,
    contents: Contents,
}

/// A socket and what is under way on it.
struct Lane<W> {
    wire: W,
    flight: Flight,
}

impl<W: Wire> Volley<W> {
    fn new(
        plan: &Plan,
        depth: usize,
        size: usize,
        mut wires: impl FnMut() -> Result<W, Error>,
    ) -> Result<Self, Error> {
        let poller = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(epoll_failed)?;
        let mut lanes = Vec::with_capacity(plan.connections);
        for index in 0..plan.connections {
            let wire = wires()?;
            let data = EventData::new_u64(index as u64);
            epoll::add(&poller, wire.socket(), data, EventFlags::IN).map_err(epoll_failed)?;
            lanes.push(Lane { wire, flight: Flight::default() });
        }
        let contents = Contents::new(size);
        Ok(Self { poller, lanes, meter: Meter::new(plan), depth, contents })
    }

    fn run(mut self, what: String) -> Result<Report, Error> {
        for lane in &mut self.lanes {
            lane.fill_up(&self.contents, &self.meter, self.depth)?;
        }
        let mut events = Vec::with_capacity(EVENTS_MAX);
        let mut heard_ns = 0;
        loop {
            let now = self.meter.now_ns();
            if self.meter.turn(now)? {
                return Ok(self.meter.report(what));
            }
            if now > heard_ns + SILENCE_MAX_S * 1_000_000_000 {
                return Err(Error::Silent(SILENCE_MAX_S));
            }
            events.clear();
            wait(&self.poller, &mut events, Some(Duration::from_millis(20)))?;
            if events.is_empty() {
                self.look_for_losses(now)?;
            }
            for event in &events {
                self.exchange(event.data.u64() as usize)?;
                heard_ns = now;
            }
        }
    }

    /// Only quiet turns do: while answers come, gaps in their numbers tell.
    fn look_for_losses(&mut self, now: u64) -> Result<(), Error> {
        for lane in &mut self.lanes {
            self.meter.lost += lane.flight.give_up(now.saturating_sub(LOST_AFTER_NS));
            lane.fill_up(&self.contents, &self.meter, self.depth)?;
        }
        Ok(())
    }

    /// Takes what has come and sends as much.
    fn exchange(&mut self, index: usize) -> Result<(), Error> {
        let Self { lanes, meter, contents, .. } = self;
        let lane = &mut lanes[index];
        for _ in 0..CALLS_MAX {
            let now = meter.now_ns();
            let mut answers = lane.flight.answers();
            let more = lane.wire.receive(&mut |datagram: &[u8]| {
                let number = contents.check(datagram)?;
                let known =
                    answers.take(number, |sent_ns, count| meter.record(sent_ns, now, count));
                if known { Ok(()) } else { Err(wrong(datagram)) }
            })?;
            let lost = answers.end(|sent_ns, count| meter.record(sent_ns, now, count));
            meter.lost += lost;
            lane.fill_up(contents, meter, self.depth)?;
            if !more {
                break;
            }
        }
        Ok(())
    }
}

impl<W: Wire> Lane<W> {
    fn fill_up(&mut self, contents: &Contents, meter: &Meter, depth: usize) -> Result<(), Error> {
        let room = depth - self.flight.len();
        if room > 0 {
            let sent = self.wire.send(contents, self.flight.next(), room)?;
            self.flight.add(sent, meter.now_ns());
        }
        Ok(())
    }
}

/// What datagrams hold behind their numbers; neighbours differ, so that bytes that move from one to
/// the other are seen.
struct Contents([Vec<u8>; 32]);

impl Contents {
    fn new(size: usize) -> Self {
        Self(std::array::from_fn(|index| vec![b'A' + index as u8; size - NUMBER_SIZE]))
    }

    fn of(&self, number: u64) -> &[u8] {
        &self.0[(number % self.0.len() as u64) as usize]
    }

    /// The number of a datagram whose other bytes and length are as they were sent.
    fn check(&self, datagram: &[u8]) -> Result<u64, Error> {
        let (head, rest) = datagram.split_first_chunk().ok_or_else(|| wrong(datagram))?;
        let number = u64::from_le_bytes(*head);
        if rest == self.of(number) { Ok(number) } else { Err(wrong(datagram)) }
    }
}

fn wrong(datagram: &[u8]) -> Error {
    Error::WrongReply(format!("a datagram of {} bytes that was not sent so", datagram.len()))
}

fn epoll_failed(error: Errno) -> Error {
    Error::io("epoll")(error.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Target;
    use std::net::UdpSocket;

    /// Echoes, but never the datagram numbered `but`; with `shift` it moves a byte.
    fn echo(but: u64, shift: bool) -> Target {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let target = Target::Udp(socket.local_addr().unwrap());
        std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                if buffer[..NUMBER_SIZE] != but.to_le_bytes() {
                    let length = length - usize::from(shift);
                    let _ = socket.send_to(&buffer[..length], from);
                }
            }
        });
        target
    }

    fn plan(target: Target, offload: bool) -> Plan {
        Plan {
            target,
            connections: 1,
            pace: Pace::Closed { depth: 100 },
            warm_up: Duration::from_millis(10),
            duration: Duration::from_millis(100),
            requests_max: None,
            watch_pid: None,
            offload,
        }
    }

    #[test]
    fn datagrams_come_back_in_batches_and_a_lost_one_is_counted() {
        for offload in [false, true] {
            let report = run(&plan(echo(150, false), offload), 64, String::new()).unwrap();
            assert!(report.requests > 500, "offload {offload}: {report:?}");
            // The receiver may be too slow for its buffer; so at least.
            assert!(report.lost >= 1, "offload {offload}: {report:?}");
        }
    }

    #[test]
    fn a_datagram_of_another_length_is_wrong() {
        for offload in [false, true] {
            let outcome = run(&plan(echo(u64::MAX, true), offload), 64, String::new());
            assert!(matches!(outcome, Err(Error::WrongReply(_))), "{outcome:?}");
        }
    }

    #[test]
    fn a_byte_of_a_neighbour_is_seen() {
        let contents = Contents::new(64);
        let mut datagram = 3_u64.to_le_bytes().to_vec();
        datagram.extend_from_slice(contents.of(3));
        assert_eq!(contents.check(&datagram).unwrap(), 3);
        datagram[63] = contents.of(4)[0];
        assert!(contents.check(&datagram).is_err());
        assert!(contents.check(&datagram[..63]).is_err());
    }
}
