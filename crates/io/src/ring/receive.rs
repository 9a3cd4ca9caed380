//! Receiving from streams, and watching those that do not receive.

use super::RingDriver;
use super::operations::Operation;
use super::queue::Completion;
use super::table::{Slot, Socket, State};
use super::token::{Kind, Token};
use crate::ready::SHORTEST_LOAN;
use crate::{Flow, Key, Sink};
use socket2::SockRef;
use std::os::fd::{AsRawFd, RawFd};

impl RingDriver {
    /// Has the kernel receive for `key`, if that is wanted and possible and not done yet.
    pub(super) fn arm_receive(&mut self, key: Key) {
        let Some(slot) = self.table.get_mut(key) else {
            return;
        };
        let hindrances = State::ARMED.and(State::ENDED).and(State::CONNECTING);
        if !slot.state.has(State::RECEIVING) || slot.state.any(hindrances) {
            return;
        }
        let operation = match &slot.socket {
            Socket::Tcp(_) | Socket::Unix(_) => {
                let Some(stream) = slot.stream() else {
                    return;
                };
                let token = slot.token(key, Kind::Receive);
                match self.receive_limit {
                    Some(limit) => Operation::receive_up_to(stream, super::STREAMS, limit, token),
                    None => Operation::receive(stream, super::STREAMS, token),
                }
            }
            Socket::Datagram(socket) => {
                let token = slot.token(key, Kind::ReceiveDatagrams);
                self.layout.operation(socket.as_raw_fd(), token)
            }
            Socket::Listener(_) | Socket::Vacant => return,
        };
        slot.state.set(State::ARMED);
        self.queue.push(operation);
    }

    /// Cancels receiving. What the kernel has taken until then is still delivered (D3).
    pub(super) fn stop_receiving(&mut self, key: Key) {
        let Some(slot) = self.table.get_mut(key) else {
            return;
        };
        slot.state.clear(State::RECEIVING);
        let kind = match &slot.socket {
            Socket::Tcp(_) | Socket::Unix(_) => Kind::Receive,
            Socket::Datagram(_) => Kind::ReceiveDatagrams,
            Socket::Listener(_) | Socket::Vacant => return,
        };
        if kind == Kind::Receive && !slot.state.has(State::WATCHED) {
            self.unwatched.push(key);
        }
        if slot.state.has(State::ARMED) && !slot.state.has(State::CANCELLING) {
            slot.state.set(State::CANCELLING);
            let token = slot.token(key, kind);
            self.queue.push(Operation::cancel(token));
        }
    }

    pub(super) fn note_received(
        &mut self,
        completion: Completion,
        delivered: &mut usize,
        sink: &mut impl Sink,
    ) {
        let outcome = completion.outcome();
        let count = *outcome.as_ref().unwrap_or(&0);
        let buffers = Self::stream_buffers(&mut self.buffers);
        let Some((key, slot)) = self.table.of_token(completion.token) else {
            // Late for a key that has ended.
            if let Some((id, more)) = completion.buffer() {
                buffers.used(id, count, more);
            }
            return;
        };
        if !completion.more() {
            slot.state.clear(State::ARMED.and(State::CANCELLING));
        }
        if let Some((id, more)) = completion.buffer() {
            let mut flow = Flow::Continue;
            if count > 0 {
                *delivered += count;
                flow = if count < SHORTEST_LOAN {
                    sink.data(key, buffers.bytes(id, count))
                } else {
                    sink.loan(key, buffers.loan(id, count))
                };
            }
            buffers.used(id, count, more);
            if flow == Flow::Pause {
                self.stop_receiving(key);
            }
        }
        match outcome {
            Ok(0) => self.end_receiving(key, sink),
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                return self.park(key, completion.token);
            }
            Err(error) if Completion::is_passing(&error) => {}
            Err(error)
                if self.receive_limit.is_some() && error.raw_os_error() == Some(libc::EINVAL) =>
            {
                // A kernel before 6.17.
                self.receive_limit = None;
            }
            Err(error) => return self.fail(key, error, sink),
        }
        if !completion.more() {
            self.settle(key, completion.token);
        }
    }

    /// There was no buffer for what has come. To ask again at once would fail again, for each of the
    /// others too, and again with every turn.
    fn park(&mut self, key: Key, token: Token) {
        match self.table.of_key(key) {
            Some(slot) if slot.state.has(State::RELEASING) => self.settle(key, token),
            _ => self.parked.push_back(key),
        }
    }

    /// Receives again for as many of those that were without a buffer as there is room for by now, if
    /// each brings as much as others did of late.
    pub(super) fn resume_parked(&mut self) {
        // Where completions are left, it is not known yet what is free.
        if self.parked.is_empty() || self.queue.has_completions() {
            return;
        }
        let buffers = Self::stream_buffers(&mut self.buffers);
        let receives = buffers.room().div_ceil(buffers.usual_receive());
        for _ in 0..receives {
            let Some(key) = self.parked.pop_front() else {
                return;
            };
            self.arm_receive(key);
        }
    }

    fn end_receiving(&mut self, key: Key, sink: &mut impl Sink) {
        // One that is being given up is told as well: the loop has not heard its end yet.
        if let Some(slot) = self.table.of_key(key)
            && !slot.state.has(State::ENDED)
        {
            slot.state.set(State::ENDED);
            if !slot.state.has(State::WATCHED) {
                self.unwatched.push(key);
            }
            sink.eof(key);
        }
    }

    /// Has the kernel watch the streams that it does not receive from: a peer that resets the
    /// connection is told all the same. Those that receive again by now, or are gone, cost nothing.
    pub(super) fn watch_the_stopped(&mut self) {
        while let Some(key) = self.unwatched.pop() {
            let Some(slot) = self.table.get_mut(key) else {
                continue;
            };
            let receives = slot.state.has(State::RECEIVING) && !slot.state.has(State::ENDED);
            if receives || slot.state.any(State::WATCHED.and(State::CONNECTING)) {
                continue;
            }
            if let Some(stream) = slot.stream() {
                let token = slot.token(key, Kind::Watch);
                slot.state.set(State::WATCHED);
                self.queue.push(Operation::watch(stream, token));
            }
        }
    }

    pub(super) fn note_watched(&mut self, completion: Completion, sink: &mut impl Sink) {
        let Some((key, slot)) = self.table.of_token(completion.token) else {
            return;
        };
        if !completion.more() {
            slot.state.clear(State::WATCHED);
            self.unwatched.push(key);
        }
        let broke = completion
            .outcome()
            .is_ok_and(|events| events as i32 & i32::from(libc::POLLERR | libc::POLLHUP) != 0);
        // While the kernel receives, that tells it, behind the bytes that came before.
        let receives = slot.state.has(State::ARMED) && !slot.state.has(State::CANCELLING);
        if broke
            && !receives
            && let Some(stream) = slot.sock_ref()
            && let Ok(Some(error)) = stream.take_error()
        {
            return self.fail(key, error, sink);
        }
        self.settle(key, completion.token);
    }
}

impl Slot {
    /// The descriptor of a stream.
    pub(super) fn stream(&self) -> Option<RawFd> {
        match &self.socket {
            Socket::Tcp(stream) => Some(stream.as_raw_fd()),
            Socket::Unix(stream) => Some(stream.as_raw_fd()),
            _ => None,
        }
    }

    /// A stream, for its options.
    pub(super) fn sock_ref(&self) -> Option<SockRef<'_>> {
        match &self.socket {
            Socket::Tcp(stream) => Some(SockRef::from(stream)),
            Socket::Unix(stream) => Some(SockRef::from(stream)),
            _ => None,
        }
    }
}
