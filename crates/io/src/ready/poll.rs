//! One turn of the driver: ask the kernel, tell what is due, serve what is ready.

use super::stream::Served;
use super::table::{Socket, State, Table, token_of};
use super::wait::Told;
use super::{ReadyDriver, WAKE, clock, enqueue};
use crate::{DriverLimits, Key, OwnedStream, Sink};
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
        // Two turns in a row without the kernel would let one busy connection silence the others.
        let ask = !remembered || !self.asked;
        if ask {
            let timeout = if remembered { Some(Duration::ZERO) } else { self.until_retry(timeout) };
            self.wait(timeout)?;
        }
        self.asked = ask;
        self.now = clock();
        sink.begin(self.now);
        self.tell_reports(sink);
        self.wake_rested_listeners();
        let mut budget = Budget::of(&self.limits);
        if !ask {
            self.serve_queue(&mut budget, sink);
        } else if self.queue.is_empty() && self.starved.is_empty() {
            self.serve_events(&mut budget, sink);
        } else {
            self.note_events();
            self.resume_starved_sends();
            self.serve_queue(&mut budget, sink);
        }
        Ok(())
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
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        match self.events.wait(&mut self.poller, timeout) {
            Ok(()) => {
                self.failed_waits = 0;
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) => {
                self.failed_waits += 1;
                tracing::debug!(%error, in_a_row = self.failed_waits, "the poller failed");
                if self.failed_waits >= FAILED_WAITS {
                    return Err(error);
                }
                pause_after_failure();
                Ok(())
            }
        }
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
    fn serve_events(&mut self, budget: &mut Budget, sink: &mut impl Sink) {
        for index in 0..self.events.len() {
            let Some(key) = self.note(index) else { continue };
            if budget.is_spent() {
                self.enqueue(key);
            } else {
                self.serve(key, budget, sink);
            }
        }
    }

    /// Queues what the events tell.
    fn note_events(&mut self) {
        for index in 0..self.events.len() {
            if let Some(key) = self.note(index) {
                self.enqueue(key);
            }
        }
    }

    /// Turns an event into bits of its socket. The key of the socket if that gives it something to
    /// do.
    fn note(&mut self, event: usize) -> Option<Key> {
        let told = self.events.told(event);
        if told.token == WAKE {
            self.wake.lower();
            return None;
        }
        let (key, slot) = self.table.of_token(told.token)?;
        mark(told, &mut slot.state);
        let due = slot.state.has(State::RECEIVING.and(State::READABLE))
            || slot.state.any(State::ERROR.and(State::WRITABLE).and(State::CONNECTING))
            || matches!(slot.socket, Socket::Listener(_)) && !slot.state.has(State::RESTING);
        due.then_some(key)
    }

    fn enqueue(&mut self, key: Key) {
        if let Some(slot) = self.table.get_mut(key) {
            enqueue(&mut self.queue, key, &mut slot.state);
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
        let Socket::Stream(stream) = &mut slot.socket else {
            return self.serve_other(key, budget, sink);
        };
        let buffers = &mut self.buffers;
        let served = stream.serve(key, &mut slot.state, buffers, &mut budget.delivered, sink);
        self.go_on(key, served, sink);
    }

    /// As [`serve`](Self::serve), for a listener or a datagram socket.
    #[inline(never)]
    fn serve_other(&mut self, key: Key, budget: &mut Budget, sink: &mut impl Sink) {
        let Some(slot) = self.table.get_mut(key) else {
            return;
        };
        let state = &mut slot.state;
        let served = match &mut slot.socket {
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
            Socket::Stream(_) | Socket::Vacant => return,
        };
        self.go_on(key, served, sink);
    }

    fn go_on(&mut self, key: Key, served: Served, sink: &mut impl Sink) {
        match served {
            Served::Idle => {}
            Served::Again => self.enqueue(key),
            Served::Failed(error) => {
                drop(self.table.remove(key));
                sink.failed(key, error);
                sink.closed(key);
                self.relieve_listeners();
            }
        }
    }
}

impl Budget {
    fn of(limits: &DriverLimits) -> Self {
        Self { delivered: 0, bytes: limits.bytes_per_turn, accepts: limits.accepts_per_turn.max(1) }
    }

    fn is_spent(&self) -> bool {
        self.delivered >= self.bytes
    }
}

fn mark(told: Told, state: &mut State) {
    let (error, read_closed) = (told.error, told.read_closed);
    if !state.has(State::ENDED) {
        if told.readable || read_closed || error {
            state.set(State::READABLE);
        }
        if read_closed || error {
            state.set(State::HANGUP);
        }
    }
    if error {
        state.set(State::ERROR);
    }
    if state.has(State::WAITING) && (told.writable || told.write_closed || error) {
        state.set(State::WRITABLE);
    }
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
