//! One turn of the driver: ask the kernel, tell what is due, serve what is ready.

use super::stream::Served;
use super::table::{Slot, Socket, State, Table, token_of};
use super::wait::Told;
use super::{ReadyDriver, WAKE, clock, enqueue};
use crate::{DriverLimits, Key, OwnedStream, Sink, signals};
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

/// A poller that fails this often in a row is lost.
const FAILED_WAITS: u32 = 1_000;
/// Between failed waits, so that a failing poller does not take the processor.
const AFTER_FAILED_WAIT: Duration = Duration::from_millis(1);

/// How long sends that the system had no memory for wait: no event tells when it has.
const STARVED_SEND: Duration = Duration::from_millis(1);

/// Something that happened between polls.
#[derive(Debug)]
pub(super) enum Report {
    /// The loop closed the socket.
    Closed(Key),
    /// The loop gave the socket up.
    Released(Key, OwnedStream),
    /// A handshake failed before the poller knew the socket.
    NeverOpened(Key, io::Error),
    /// A send failed. The socket is still in the table.
    Broken(Key, io::Error),
    /// So many datagrams were refused.
    Dropped(Key, usize, io::Error),
}

/// What a turn may still take in.
struct Budget {
    delivered: usize,
    /// How many bytes may be delivered.
    bytes: usize,
    accepts: usize,
}

impl ReadyDriver {
    pub(super) fn run_turn(
        &mut self,
        timeout: Option<Duration>,
        sink: &mut impl Sink,
    ) -> io::Result<()> {
        let remembered = !self.reports.is_empty() || !self.queue.is_empty();
        if remembered || !self.resting.is_empty() || !self.starved.is_empty() {
            return self.run_turn_with_rest(remembered, timeout, sink);
        }
        self.wait(timeout)?;
        self.asked = true;
        self.begin(sink);
        self.serve_events(&mut Budget::of(&self.limits), sink);
        Ok(())
    }

    /// A turn with something to do besides what the kernel tells in it.
    #[inline(never)]
    fn run_turn_with_rest(
        &mut self,
        remembered: bool,
        timeout: Option<Duration>,
        sink: &mut impl Sink,
    ) -> io::Result<()> {
        // Two turns in a row without the kernel would let one busy connection silence the others.
        let ask = !remembered || !self.asked;
        if ask {
            let timeout = if remembered { Some(Duration::ZERO) } else { self.until_retry(timeout) };
            self.wait(timeout)?;
        }
        self.asked = ask;
        self.begin(sink);
        self.tell_reports(sink);
        self.wake_rested_listeners();
        let mut budget = Budget::of(&self.limits);
        if ask && self.queue.is_empty() && self.starved.is_empty() {
            self.serve_events(&mut budget, sink);
            return Ok(());
        }
        if ask {
            self.note_events(sink);
            self.resume_starved_sends();
        }
        self.serve_queue(&mut budget, sink);
        Ok(())
    }

    #[inline(always)]
    fn begin(&mut self, sink: &mut impl Sink) {
        self.now = clock();
        sink.begin(self.now);
    }

    /// `timeout`, or less if a listener wants to try again before.
    fn until_retry(&mut self, timeout: Option<Duration>) -> Option<Duration> {
        let mut shortest = timeout;
        for key in &self.resting {
            if let Some(at) = retry_at(&mut self.table, *key) {
                let rest = at.saturating_duration_since(self.now);
                shortest = Some(shortest.map_or(rest, |timeout| timeout.min(rest)));
            }
        }
        if self.starved.is_empty() {
            return shortest;
        }
        Some(shortest.map_or(STARVED_SEND, |timeout| timeout.min(STARVED_SEND)))
    }

    /// Asks the kernel. A wait that fails is a wait that brought nothing, until it keeps failing.
    #[inline(always)]
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        match self.events.wait(&mut self.poller, timeout) {
            Ok(()) => {
                self.failed_waits = 0;
                Ok(())
            }
            Err(error) => self.wait_failed(error),
        }
    }

    #[cold]
    fn wait_failed(&mut self, error: io::Error) -> io::Result<()> {
        if error.kind() == ErrorKind::Interrupted {
            return Ok(());
        }
        self.failed_waits += 1;
        tracing::debug!(%error, in_a_row = self.failed_waits, "the poller failed");
        if self.failed_waits >= FAILED_WAITS {
            return Err(error);
        }
        pause_after_failure();
        Ok(())
    }

    fn tell_reports(&mut self, sink: &mut impl Sink) {
        while let Some(report) = self.reports.pop_front() {
            match report {
                Report::Closed(key) => sink.closed(key),
                Report::Released(key, stream) => sink.released(key, stream),
                Report::Dropped(key, count, error) => sink.datagram_dropped(key, count, error),
                Report::NeverOpened(key, error) => {
                    sink.failed(key, error);
                    sink.closed(key);
                }
                Report::Broken(key, error) => {
                    if let Some((Socket::Stream(mut stream), state)) = self.table.remove(key) {
                        stream.receive_rest(key, state, &mut self.buffers, sink);
                        drop(stream);
                        sink.failed(key, error);
                        sink.closed(key);
                        self.relieve_listeners();
                    }
                }
            }
        }
    }

    fn wake_rested_listeners(&mut self) {
        let mut index = 0;
        while let Some(&key) = self.resting.get(index) {
            match retry_at(&mut self.table, key) {
                Some(at) if at > self.now => index += 1,
                _ => {
                    self.resting.swap_remove(index);
                    self.end_rest(key);
                }
            }
        }
    }

    fn resume_starved_sends(&mut self) {
        while let Some(key) = self.starved.pop() {
            if let Some(slot) = self.table.get_mut(key)
                && slot.state.has(State::WAITING)
            {
                slot.state.set(State::WRITABLE);
                enqueue(&mut self.queue, key, &mut slot.state);
            }
        }
    }

    /// Serves events as they were told, nothing older being left to do. What is beyond the budget
    /// is queued.
    #[inline(always)]
    fn serve_events(&mut self, budget: &mut Budget, sink: &mut impl Sink) {
        for index in 0..self.events.len() {
            let told = self.events.told(index);
            let Some((key, slot)) = note(&mut self.table, told) else {
                self.note_wake(told, sink);
                continue;
            };
            let state = &mut slot.state;
            if let Socket::Stream(stream) = &mut slot.socket
                && !budget.is_spent()
            {
                match stream.serve(key, state, &mut self.buffers, &mut budget.delivered, sink) {
                    Served::Idle => {}
                    Served::Again => enqueue(&mut self.queue, key, state),
                    Served::Failed(error) => self.fail(key, error, sink),
                }
            } else if !slot.is_due() {
                continue;
            } else if budget.is_spent() {
                enqueue(&mut self.queue, key, &mut slot.state);
            } else {
                self.serve(key, budget, sink);
            }
        }
    }

    /// Queues what the events tell.
    fn note_events(&mut self, sink: &mut impl Sink) {
        for index in 0..self.events.len() {
            let told = self.events.told(index);
            match note(&mut self.table, told) {
                None => self.note_wake(told, sink),
                Some((key, slot)) if slot.is_due() => {
                    enqueue(&mut self.queue, key, &mut slot.state);
                }
                Some(_) => {}
            }
        }
    }

    /// An event of no socket is that of the waker, or late.
    #[inline(never)]
    fn note_wake(&mut self, told: Told, sink: &mut impl Sink) {
        if told.token == WAKE {
            signals::numbers(self.wake.lower()).for_each(|number| sink.signal(number));
        }
    }

    /// Serves each queued key once, as far as the budget reaches.
    fn serve_queue(&mut self, budget: &mut Budget, sink: &mut impl Sink) {
        for _ in 0..self.queue.len() {
            if budget.is_spent() {
                return;
            }
            let Some(key) = self.queue.pop_front() else {
                return;
            };
            if let Some(slot) = self.table.get_mut(key) {
                slot.state.clear(State::QUEUED);
                self.serve(key, budget, sink);
            }
        }
    }

    #[inline(never)]
    fn serve(&mut self, key: Key, budget: &mut Budget, sink: &mut impl Sink) {
        let Some(slot) = self.table.get_mut(key) else {
            return;
        };
        let state = &mut slot.state;
        let served = match &mut slot.socket {
            Socket::Stream(stream) => {
                stream.serve(key, state, &mut self.buffers, &mut budget.delivered, sink)
            }
            Socket::Listener(listener) => {
                let served = listener.serve(key, &mut budget.accepts, self.now, sink);
                if listener.retry_at().is_some() {
                    state.set(State::RESTING);
                    self.resting.push(key);
                }
                served
            }
            Socket::Datagram(socket) => {
                if state.has(State::WAITING.and(State::WRITABLE)) {
                    socket.end_wait(self.poller.registry(), token_of(key));
                }
                socket.serve(key, state, &mut self.batches, &mut budget.delivered, sink)
            }
            Socket::Vacant => return,
        };
        match served {
            Served::Idle => {}
            Served::Again => enqueue(&mut self.queue, key, state),
            Served::Failed(error) => self.fail(key, error, sink),
        }
    }

    #[cold]
    fn fail(&mut self, key: Key, error: io::Error, sink: &mut impl Sink) {
        drop(self.table.remove(key));
        sink.failed(key, error);
        sink.closed(key);
        self.relieve_listeners();
    }
}

impl Budget {
    fn of(limits: &DriverLimits) -> Self {
        Self { delivered: 0, bytes: limits.bytes_per_turn, accepts: limits.accepts_per_turn }
    }

    fn is_spent(&self) -> bool {
        self.delivered >= self.bytes
    }
}

/// Turns an event into bits of its socket, and finds that.
#[inline(always)]
fn note(table: &mut Table, told: Told) -> Option<(Key, &mut Slot)> {
    let (key, slot) = table.of_token(told.token)?;
    slot.state.take_in(told.state);
    Some((key, slot))
}

fn retry_at(table: &mut Table, key: Key) -> Option<Instant> {
    match &table.get_mut(key)?.socket {
        Socket::Listener(listener) => listener.retry_at(),
        _ => None,
    }
}

#[expect(clippy::disallowed_methods, reason = "only while the poller itself fails")]
fn pause_after_failure() {
    std::thread::sleep(AFTER_FAILED_WAIT);
}
