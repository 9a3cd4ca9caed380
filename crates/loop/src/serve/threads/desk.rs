//! Who is served, who waits, and who has been called.

use crate::ConnId;
use mainspring_io::OwnedStream;
use std::collections::{HashMap, HashSet, VecDeque};
use std::task::Waker;
use std::thread::JoinHandle;

/// The books of the threads of one [`Threads`](crate::Threads).
#[derive(Debug, Default)]
pub(super) struct Desk {
    /// Places that are taken: by threads, by connections on their way to one, and by those that have
    /// been called.
    pub(super) taken: usize,
    queue: VecDeque<(u64, Waker)>,
    /// Tickets of connections that were called and have not come yet.
    called: HashSet<u64>,
    tickets: u64,
    /// The sockets of running threads, to end what waits in them.
    pub(super) running: HashMap<ConnId, OwnedStream>,
    /// Threads that may not have been joined.
    pub(super) threads: HashMap<ConnId, JoinHandle<()>>,
    /// Those of them that are about to end.
    pub(super) ended: Vec<ConnId>,
    pub(super) is_draining: bool,
    pub(super) is_closed: bool,
}

impl Desk {
    /// A free place, if nobody waits for one.
    pub(super) fn sit_down(&mut self, threads_max: usize) -> bool {
        let free = self.queue.is_empty() && self.taken < threads_max;
        self.taken += usize::from(free);
        free
    }

    /// The last place in the queue.
    pub(super) fn queue_up(&mut self, waiting_max: usize, waker: Waker) -> Option<u64> {
        if self.queue.len() >= waiting_max {
            return None;
        }
        self.tickets += 1;
        self.queue.push_back((self.tickets, waker));
        Some(self.tickets)
    }

    /// Whether the ticket was called: its owner takes its place.
    pub(super) fn redeem(&mut self, ticket: u64) -> bool {
        self.called.remove(&ticket)
    }

    /// Whether the ticket was still waiting: now it is not.
    pub(super) fn give_up(&mut self, ticket: u64) -> bool {
        let at = self.queue.iter().position(|(waiting, _)| *waiting == ticket);
        at.and_then(|at| self.queue.remove(at)).is_some()
    }

    /// A place is free again: calls the one that has waited longest. Whether there was one.
    pub(super) fn call_next(&mut self) -> bool {
        let next = if self.is_closed { None } else { self.queue.pop_front() };
        let Some((ticket, waker)) = next else {
            self.taken -= 1;
            return false;
        };
        self.called.insert(ticket);
        waker.wake();
        true
    }

    /// The threads whose code has returned.
    pub(super) fn take_ended(&mut self) -> Vec<JoinHandle<()>> {
        let ended = std::mem::take(&mut self.ended);
        ended.into_iter().filter_map(|id| self.threads.remove(&id)).collect()
    }
}
