//! One turn of the driver: submit and wait in one system call, tell what is due, serve what has
//! completed.

use super::queue::{Completion, Wait};
use super::table::Socket;
use super::token::Kind;
use super::{RingDriver, clock};
use crate::{Key, OwnedStream, Sink, signals};
use std::io;
use std::time::{Duration, Instant};

/// How long sends that the system had no memory for wait: no event tells when it has.
const STARVED_SEND: Duration = Duration::from_millis(1);

/// How late a `sent` is told that nobody waits for, if nothing else happens.
const LATEST_SENT: Duration = Duration::from_millis(10);

/// Something that happened between polls.
#[derive(Debug)]
pub(super) enum Report {
    /// The loop closed the socket.
    Closed(Key),
    /// The loop gave the socket up, and the kernel is done with it.
    Released(Key, OwnedStream),
    /// A handshake was over at once.
    Connected(Key),
    /// A handshake failed at once. The key is unknown.
    NeverOpened(Key, io::Error),
    /// So many datagrams were refused.
    Dropped(Key, usize, io::Error),
}

impl RingDriver {
    pub(super) fn run_turn(
        &mut self,
        timeout: Option<Duration>,
        sink: &mut impl Sink,
    ) -> io::Result<()> {
        self.arm_fresh_listeners();
        self.watch_the_stopped();
        Self::stream_buffers(&mut self.buffers).reclaim();
        self.resume_parked();
        self.ask(timeout)?;
        self.bury();
        self.now = clock();
        sink.begin(self.now);
        self.tell_reports(sink);
        self.end_rests();
        self.resume_starved_sends(sink);
        self.serve_completions(sink);
        self.serve_accepts(sink);
        self.tell_broken(sink);
        Ok(())
    }

    /// Enters the kernel, unless there is neither anything to bring nor to fetch.
    fn ask(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let left_over = self.queue.has_completions();
        let remembered = left_over
            || !self.reports.is_empty()
            || !self.accepts.is_empty()
            || !self.parked.is_empty();
        // What has completed stays with the kernel until it is fetched. While older completions are
        // left, fetching more would only use up buffers; but two turns in a row without would let
        // one busy connection silence the others. A socket is closed when its cancelled operations
        // have been fetched.
        let fetch = !left_over || !self.fetched || !self.doomed.is_empty();
        self.fetched = fetch;
        let marked = self.mark_sends();
        let patient = std::mem::take(&mut self.sent_may_wait);
        if !fetch {
            return if self.queue.has_unsubmitted() { self.queue.enter(Wait::No) } else { Ok(()) };
        }
        let wait = match if remembered { Some(Duration::ZERO) } else { self.until_retry(timeout) } {
            Some(Duration::ZERO) => Wait::Fetch,
            // The mark alone does not end the sleep. It has completed before that begins.
            limit if marked && patient => {
                Wait::Sleep(2, Some(limit.map_or(LATEST_SENT, |limit| limit.min(LATEST_SENT))))
            }
            limit => Wait::Sleep(1, limit),
        };
        self.queue.enter(wait)
    }

    /// `timeout`, or less if something is to be tried again before.
    fn until_retry(&mut self, timeout: Option<Duration>) -> Option<Duration> {
        let mut shortest = timeout;
        for index in 0..self.resting.len() {
            if let Some(at) = self.retry_at(self.resting[index]) {
                let rest = at.saturating_duration_since(self.now);
                shortest = Some(shortest.map_or(rest, |timeout| timeout.min(rest)));
            }
        }
        if self.starved.is_empty() {
            return shortest;
        }
        Some(shortest.map_or(STARVED_SEND, |timeout| timeout.min(STARVED_SEND)))
    }

    fn retry_at(&mut self, key: Key) -> Option<Instant> {
        match &self.table.get_mut(key)?.socket {
            Socket::Listener(listener) => listener.retry_at(),
            _ => None,
        }
    }

    fn tell_reports(&mut self, sink: &mut impl Sink) {
        for _ in 0..self.reports.len() {
            match self.reports.pop_front() {
                Some(Report::Closed(key)) => sink.closed(key),
                Some(Report::Released(key, stream)) => sink.released(key, stream),
                Some(Report::Connected(key)) => self.finish_connect(key, sink),
                Some(Report::Dropped(key, count, error)) => {
                    sink.datagram_dropped(key, count, error);
                }
                Some(Report::NeverOpened(key, error)) => {
                    sink.failed(key, error);
                    sink.closed(key);
                }
                None => return,
            }
        }
    }

    /// Listeners whose rest is over try again.
    fn end_rests(&mut self) {
        let mut index = 0;
        while let Some(&key) = self.resting.get(index) {
            match self.retry_at(key) {
                Some(at) if at > self.now => index += 1,
                _ => {
                    self.resting.swap_remove(index);
                    self.end_rest(key);
                }
            }
        }
    }

    /// Serves completions in their order, as far as the budgets reach.
    fn serve_completions(&mut self, sink: &mut impl Sink) {
        let mut delivered = 0;
        for _ in 0..self.limits.events_per_turn.max(1) {
            if delivered >= self.limits.bytes_per_turn.max(1) {
                return;
            }
            let Some(completion) = self.queue.next() else {
                return;
            };
            self.serve(completion, &mut delivered, sink);
        }
    }

    fn serve(&mut self, completion: Completion, delivered: &mut usize, sink: &mut impl Sink) {
        match completion.token.kind {
            Kind::Receive => self.note_received(completion, delivered, sink),
            Kind::Send => self.note_sent(completion, sink),
            Kind::ReceiveDatagrams => self.note_datagram(completion, delivered, sink),
            Kind::Accept => self.note_accepted(completion, sink),
            Kind::Connect => self.note_connected(completion, sink),
            Kind::Watch => self.note_watched(completion, sink),
            Kind::Writable => self.note_writable(completion, sink),
            Kind::Wake => {
                signals::numbers(self.wake.lower()).for_each(|number| sink.signal(number));
                if !completion.more() {
                    self.arm_wake();
                }
            }
            Kind::Mark => self.note_mark(sink),
            Kind::Cancel => {}
        }
    }
}
