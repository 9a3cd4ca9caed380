//! One poll: what is due goes to the sink.
//!
//! The world is locked for each step and never while the sink runs, for the sink may drop a stream
//! or wake a loop, and both reach into the world.

use super::slot::{Ending, Socket};
use super::{SimDriver, Slot};
use crate::net::{Net, Phase, Sleep};
use crate::stream::SimStream;
use crate::world::lock;
use mainspring_io::{Accepted, Flow, Key, OwnedStream, Sink};
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// What is left of the turn's limits.
struct Budget {
    events: usize,
    bytes: usize,
    accepts: usize,
    delivered: bool,
}

/// Whether a key has more to do in the next turn.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Served {
    Idle,
    Again,
}

impl SimDriver {
    pub(super) fn turn(&mut self, timeout: Option<Duration>, sink: &mut impl Sink) {
        let (woken, keys) = self.begin(sink);
        let mut budget = Budget {
            events: self.limits.events_per_turn.max(1),
            bytes: self.limits.bytes_per_turn.max(1),
            accepts: self.limits.accepts_per_turn.max(1),
            delivered: woken,
        };
        for key in keys {
            // D5: what no budget is left for stays ready, and a driver with ready keys does not
            // sleep.
            let spent = budget.is_spent();
            if spent || self.serve(key, &mut budget, sink) == Served::Again {
                self.notify(key);
            }
        }
        self.fall_asleep(timeout, budget.delivered);
    }

    /// Lets time pass, takes the ready keys in an order of chance, and begins the sink's turn.
    fn begin(&mut self, sink: &mut impl Sink) -> (bool, Vec<Key>) {
        let mut net = lock(&self.net);
        let cost = net.options.poll_cost;
        net.clock.move_by(cost);
        if net.dice.strikes(|f| f.clock_jump, |c| &mut c.clock_jumps) {
            let most = net.options.faults.clock_jump_max;
            let leap = net.dice.duration(Duration::ZERO, most);
            net.clock.move_by(leap);
        }
        net.run_due();
        let mailbox = &mut net.mailboxes[self.index];
        let woken = std::mem::take(&mut mailbox.woken);
        let signals = if woken { std::mem::take(&mut mailbox.signals) } else { BTreeSet::new() };
        let mut keys: Vec<Key> = std::mem::take(&mut mailbox.ready).into_iter().collect();
        net.dice.rng.shuffle(&mut keys);
        net.note(self.index, "begin", None, &[u8::from(woken)]);
        let now = net.clock.now();
        drop(net);
        sink.begin(now);
        for number in signals {
            lock(&self.net).note(self.index, "signal", None, &number.to_be_bytes());
            sink.signal(number);
        }
        (woken, keys)
    }

    fn fall_asleep(&self, timeout: Option<Duration>, delivered: bool) {
        let mut net = lock(&self.net);
        let now = net.now();
        let asleep = !delivered && net.mailboxes[self.index].ready.is_empty();
        let mut until = timeout.map(|timeout| now.saturating_add(timeout));
        if asleep && net.dice.strikes(|f| f.spurious_wakeup, |c| &mut c.spurious_wakeups) {
            let most = timeout.unwrap_or(SPURIOUS_SLEEP_MAX).min(SPURIOUS_SLEEP_MAX);
            until = Some(now + net.dice.duration(Duration::ZERO, most));
        }
        net.mailboxes[self.index].sleep = if asleep { Sleep::Until(until) } else { Sleep::Awake };
    }

    fn serve(&mut self, key: Key, budget: &mut Budget, sink: &mut impl Sink) -> Served {
        let Some(slot) = self.slots.get_mut(&key.index()).filter(|slot| slot.key == key) else {
            return Served::Idle;
        };
        if slot.ending.is_some() {
            return self.tell_end(key, budget, sink);
        }
        let served = match &slot.socket {
            Socket::Listener { .. } => self.serve_listener(key, budget, sink),
            Socket::Stream(_) => self.serve_stream(key, budget, sink),
            Socket::Datagram(_) => self.serve_datagram(key, budget, sink),
        };
        // Serving may have found the end.
        match self.slots.get(&key.index()) {
            Some(Slot { ending: Some(_), .. }) => self.tell_end(key, budget, sink),
            _ => served,
        }
    }

    fn tell_end(&mut self, key: Key, budget: &mut Budget, sink: &mut impl Sink) -> Served {
        let Some(slot) = self.slots.remove(&key.index()) else { return Served::Idle };
        budget.event();
        match slot.ending {
            Some(Ending::Released) => {
                self.note("released", key, &[]);
                if let Socket::Stream(stream) = slot.socket {
                    sink.released(key, self.let_go(stream.number));
                }
            }
            Some(Ending::Failed(error)) => {
                self.drop_socket(&slot.socket, true);
                self.note("failed", key, error.kind().to_string().as_bytes());
                sink.failed(key, error);
                self.note("closed", key, &[]);
                sink.closed(key);
            }
            Some(Ending::Closed) | None => {
                self.note("closed", key, &[]);
                sink.closed(key);
            }
        }
        Served::Idle
    }

    /// An endpoint that no driver owns any more, or not yet.
    fn let_go(&self, number: u64) -> OwnedStream {
        if let Some(endpoint) = lock(&self.net).endpoint_mut(number) {
            endpoint.owner = crate::net::Owner::Loose;
        }
        OwnedStream::Simulated(Box::new(SimStream::new(Arc::clone(&self.net), number)))
    }

    fn serve_listener(&mut self, key: Key, budget: &mut Budget, sink: &mut impl Sink) -> Served {
        loop {
            let Some(Slot { socket: Socket::Listener { number, resting_until }, .. }) =
                self.slots.get_mut(&key.index())
            else {
                return Served::Idle;
            };
            let mut net = lock(&self.net);
            if resting_until.is_some_and(|until| net.now() < until) || net.backlog_len(*number) == 0
            {
                return Served::Idle;
            }
            if budget.is_spent() || budget.accepts == 0 {
                return Served::Again;
            }
            *resting_until = None;
            if net.dice.strikes(|f| f.accept_failure, |c| &mut c.accept_failures) {
                let rest = net.dice.duration(Duration::from_millis(1), ACCEPT_REST_MAX);
                *resting_until = Some(net.now() + rest);
                net.notify_later(self.owner(key), rest);
                net.note(self.index, "accept_failed", Some(key), &[]);
                drop(net);
                budget.event();
                sink.accept_failed(key, io::Error::other("too many open files (simulated)"));
                return Served::Idle;
            }
            let Some(accepted) = net.accept(*number) else { return Served::Idle };
            net.note(self.index, "accepted", Some(key), &[]);
            drop(net);
            self.hand_over(key, accepted, sink);
            budget.event();
            budget.accepts -= 1;
        }
    }

    fn hand_over(&self, key: Key, number: u64, sink: &mut impl Sink) {
        let stream = self.let_go(number);
        let ends = lock(&self.net)
            .endpoint(number)
            .map(|endpoint| (endpoint.peer.clone(), endpoint.local.clone()));
        if let Some((peer, local)) = ends {
            sink.accepted(key, Accepted { stream, peer, local });
        }
    }

    fn serve_stream(&mut self, key: Key, budget: &mut Budget, sink: &mut impl Sink) -> Served {
        if !self.finish_connect(key, budget, sink) {
            return Served::Idle;
        }
        self.finish_send(key, budget, sink);
        let served = self.deliver_data(key, budget, sink);
        if served == Served::Idle {
            self.deliver_eof(key, budget, sink);
            self.find_failure(key);
        }
        served
    }

    /// Whether the stream is connected, now or before.
    fn finish_connect(&mut self, key: Key, budget: &mut Budget, sink: &mut impl Sink) -> bool {
        let Some(stream) = self.living_stream(key) else { return false };
        if !stream.is_connecting {
            return true;
        }
        let number = stream.number;
        let found = lock(&self.net)
            .endpoint(number)
            .map(|endpoint| (endpoint.phase, endpoint.local.clone()));
        match found {
            Some((Phase::Open, local)) => {
                if let Some(stream) = self.living_stream(key) {
                    stream.is_connecting = false;
                }
                self.note("connected", key, &[]);
                budget.event();
                sink.connected(key, local);
                true
            }
            Some((Phase::ConnectFailed(kind), _)) => {
                self.end(key, Ending::Failed(kind.into()));
                false
            }
            _ => false,
        }
    }

    /// Moves what is in flight, and reports a waiting send that may go on.
    fn finish_send(&mut self, key: Key, budget: &mut Budget, sink: &mut impl Sink) {
        let net = Arc::clone(&self.net);
        let Some(stream) = self.living_stream(key).filter(|stream| stream.waiting) else { return };
        let mut net = lock(&net);
        while let Some(front) = stream.in_flight.front() {
            let bytes = front.remaining();
            let (offered, number) = (bytes.len(), stream.number);
            match net.write(number, bytes) {
                Ok(count) => advance_front(&mut stream.in_flight, count, offered),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    drop(net);
                    return self.end(key, Ending::Failed(error));
                }
            }
        }
        let may_write = net
            .endpoint(stream.number)
            .is_some_and(|endpoint| endpoint.window > 0 || endpoint.reset || endpoint.write_shut);
        if !may_write {
            return;
        }
        stream.waiting = false;
        let sent = std::mem::take(&mut stream.in_flight_bytes);
        net.note(self.index, "sent", Some(key), &(sent as u64).to_le_bytes());
        drop(net);
        budget.event();
        sink.sent(key, sent);
    }

    fn deliver_data(&mut self, key: Key, budget: &mut Budget, sink: &mut impl Sink) -> Served {
        loop {
            let Some(stream) = self.living_stream(key) else { return Served::Idle };
            let (number, receiving, late) = (stream.number, stream.receiving, stream.late_bytes);
            let buffer = self.buffers.front();
            let most = if receiving { buffer.len() } else { late.min(buffer.len()) };
            let mut net = lock(&self.net);
            let there = net.endpoint(number).map_or(0, |endpoint| endpoint.received.len());
            let mut count = there.min(most);
            if count == 0 {
                return Served::Idle;
            }
            if budget.is_spent() {
                return Served::Again;
            }
            if net.dice.strikes(|f| f.partial_read, |c| &mut c.partial_reads) {
                count = net.dice.part_of(count);
            }
            if net.read(number, &mut buffer[..count]).is_err() {
                return Served::Idle;
            }
            let what = if receiving { "data" } else { "late data" };
            net.note(self.index, what, Some(key), &buffer[..count]);
            drop(net);
            if !receiving && let Some(stream) = self.living_stream(key) {
                stream.late_bytes -= count;
            }
            budget.event();
            budget.bytes = budget.bytes.saturating_sub(count);
            // Both ways at any length, as it happens to be even or odd.
            let flow = if count.is_multiple_of(2) {
                sink.loan(key, self.buffers.loan(count))
            } else {
                sink.data(key, &mut self.buffers.front()[..count])
            };
            if flow == Flow::Pause && receiving {
                self.stop_receiving(key);
            }
        }
    }

    /// D3, D4: receiving ends, but what a ring would have taken by now may still come.
    pub(super) fn stop_receiving(&mut self, key: Key) {
        let net = Arc::clone(&self.net);
        let Some(slot) = self.living(key) else { return };
        let was_receiving = match &slot.socket {
            Socket::Stream(stream) => stream.receiving,
            Socket::Datagram(datagram) => datagram.receiving,
            Socket::Listener { .. } => false,
        };
        if !was_receiving {
            return;
        }
        slot.socket.receive(false);
        let mut net = lock(&net);
        match &mut slot.socket {
            Socket::Stream(stream) => {
                let there = net.endpoint(stream.number).map_or(0, |e| e.received.len());
                stream.late_bytes = late_amount(&mut net, there);
                net.dice.counts.late_bytes += stream.late_bytes as u64;
            }
            Socket::Datagram(datagram) => {
                let there = net.datagrams_received(datagram.number);
                datagram.late_datagrams = late_amount(&mut net, there);
            }
            Socket::Listener { .. } => {}
        }
        net.notify(crate::net::Owner::Driver { driver: self.index, key });
    }

    fn deliver_eof(&mut self, key: Key, budget: &mut Budget, sink: &mut impl Sink) {
        let net = Arc::clone(&self.net);
        let Some(stream) = self.living_stream(key) else { return };
        let at_end = lock(&net)
            .endpoint(stream.number)
            .is_some_and(|end| end.fin && !end.reset && end.received.is_empty());
        if !at_end || !stream.receiving || stream.eof_told {
            return;
        }
        stream.eof_told = true;
        self.note("eof", key, &[]);
        budget.event();
        sink.eof(key);
    }

    /// A reset shows when the bytes before it have been read, or to a send that waits.
    fn find_failure(&mut self, key: Key) {
        let net = Arc::clone(&self.net);
        let Some(stream) = self.living_stream(key) else { return };
        let waiting = stream.waiting;
        let is_broken = lock(&net)
            .endpoint(stream.number)
            .is_none_or(|end| end.reset && (waiting || end.received.is_empty()));
        if is_broken {
            self.end(key, Ending::Failed(io::ErrorKind::ConnectionReset.into()));
        }
    }

    fn serve_datagram(&mut self, key: Key, budget: &mut Budget, sink: &mut impl Sink) -> Served {
        self.report_datagrams(key, budget, sink);
        loop {
            let net = Arc::clone(&self.net);
            let Some(Slot { socket: Socket::Datagram(socket), .. }) = self.living(key) else {
                return Served::Idle;
            };
            if !socket.receiving && socket.late_datagrams == 0 {
                return Served::Idle;
            }
            let mut net = lock(&net);
            if net.datagrams_received(socket.number) == 0 {
                return Served::Idle;
            }
            if budget.is_spent() {
                return Served::Again;
            }
            let Some((from, mut payload)) = net.receive_datagram(socket.number) else {
                return Served::Idle;
            };
            let receiving = socket.receiving;
            socket.late_datagrams = socket.late_datagrams.saturating_sub(1);
            net.note(self.index, "datagram", Some(key), &payload);
            drop(net);
            budget.event();
            budget.bytes = budget.bytes.saturating_sub(payload.len());
            if sink.datagram(key, &from, &mut payload) == Flow::Pause && receiving {
                self.stop_receiving(key);
            }
        }
    }

    /// Datagrams given up, and room in a socket that was full.
    fn report_datagrams(&mut self, key: Key, budget: &mut Budget, sink: &mut impl Sink) {
        let net = Arc::clone(&self.net);
        let Some(Slot { socket: Socket::Datagram(socket), .. }) = self.living(key) else { return };
        let may_send = socket.waiting && lock(&net).datagrams_may_leave(socket.number);
        if may_send {
            socket.waiting = false;
        }
        let dropped = std::mem::take(&mut socket.dropped);
        for (count, error) in dropped {
            self.note("datagram_dropped", key, &(count as u64).to_le_bytes());
            budget.event();
            sink.datagram_dropped(key, count, error);
        }
        if may_send {
            self.note("sent", key, &[]);
            budget.event();
            sink.sent(key, 0);
        }
    }
}

impl Budget {
    fn event(&mut self) {
        self.delivered = true;
        self.events = self.events.saturating_sub(1);
    }

    fn is_spent(&self) -> bool {
        self.events == 0 || self.bytes == 0
    }
}

fn advance_front(
    in_flight: &mut std::collections::VecDeque<mainspring_io::Chunk>,
    count: usize,
    offered: usize,
) {
    if count == offered {
        in_flight.pop_front();
        return;
    }
    if let Some(front) = in_flight.front_mut() {
        front.advance(count);
    }
}

fn late_amount(net: &mut Net, there: usize) -> usize {
    let late = there > 0 && net.dice.rng.f64() < net.options.faults.late_data;
    if late { net.dice.part_of(there) } else { 0 }
}

/// D9 promises that accepting resumes within a second of relief.
const ACCEPT_REST_MAX: Duration = Duration::from_millis(500);
const SPURIOUS_SLEEP_MAX: Duration = Duration::from_millis(10);
