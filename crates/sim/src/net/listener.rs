//! Listening sockets, of drivers and of scripts.

use super::{Event, Net, Owner};
use mainspring_io::{Addr, ListenOptions};
use std::collections::VecDeque;
use std::io;
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) at: Addr,
    pub(crate) owner: Owner,
    pub(crate) shared_port: bool,
    /// Handshakes done, connections not accepted yet.
    pub(crate) backlog: VecDeque<u64>,
}

impl Net {
    /// Listens at `at`, port 0 meaning any. Returns the listener's number and its address.
    pub(crate) fn listen(
        &mut self,
        owner: Owner,
        at: &Addr,
        options: &ListenOptions,
    ) -> io::Result<(u64, Addr)> {
        let shared_port = super::address::shares_port(options);
        let at = self.bindable_stream(at, shared_port)?;
        let number = self.new_number();
        let backlog = VecDeque::new();
        self.listeners.insert(number, Listener { at: at.clone(), owner, shared_port, backlog });
        Ok((number, at))
    }

    /// Takes the oldest connection out of the backlog.
    pub(crate) fn accept(&mut self, listener: u64) -> Option<u64> {
        self.listeners.get_mut(&listener)?.backlog.pop_front()
    }

    pub(crate) fn backlog_len(&self, listener: u64) -> usize {
        self.listeners.get(&listener).map_or(0, |listener| listener.backlog.len())
    }

    /// Stops listening; connections that nobody accepted are reset.
    pub(crate) fn close_listener(&mut self, number: u64) {
        let Some(listener) = self.listeners.remove(&number) else { return };
        for endpoint in listener.backlog {
            self.abort(endpoint);
        }
    }

    pub(super) fn syn_arrived(&mut self, from: u64, to: Addr, attempts: u32) {
        if self.endpoint(from).is_none() {
            return;
        }
        let Some(number) = self.listener_for(&to) else {
            let (due, kind) = (self.arrival(), io::ErrorKind::ConnectionRefused);
            return self.schedule(due, Event::ConnectFailed { to: from, kind });
        };
        if self.backlog_len(number) >= self.options.backlog {
            return self.retry_syn(from, to, attempts);
        }
        let Some(endpoint) = self.answer_handshake(from, to) else { return };
        if let Some(listener) = self.listeners.get_mut(&number) {
            listener.backlog.push_back(endpoint);
            let owner = listener.owner;
            self.notify(owner);
        }
    }

    /// A full backlog drops the handshake silently, and the client tries again after 1, 2, 4 ..
    /// seconds.
    fn retry_syn(&mut self, from: u64, to: Addr, attempts: u32) {
        if attempts >= SYN_RETRIES_MAX {
            return self.connect_failed(from, io::ErrorKind::TimedOut);
        }
        let due = self.now() + Duration::from_secs(1 << attempts);
        self.schedule(due, Event::Syn { from, to, attempts: attempts + 1 });
    }

    /// Of several listeners that share a port, chance chooses, as the kernel's hash does.
    fn listener_for(&mut self, to: &Addr) -> Option<u64> {
        let here = |(number, listener): (&u64, &Listener)| {
            super::address::covers(&listener.at, to).then_some(*number)
        };
        let candidates: Vec<u64> = self.listeners.iter().filter_map(here).collect();
        match candidates.len() {
            0 => None,
            1 => Some(candidates[0]),
            count => Some(candidates[self.dice.rng.usize(..count)]),
        }
    }
}

/// `tcp_syn_retries` of Linux is 6.
const SYN_RETRIES_MAX: u32 = 6;
