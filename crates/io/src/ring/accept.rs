//! Accepting connections, and resting when the system has no more to give (D9).

use super::RingDriver;
use super::operations::Operation;
use super::queue::Completion;
use super::table::{Socket, State};
use super::token::Kind;
use crate::{Key, Sink};
use std::os::fd::{FromRawFd, OwnedFd};

/// So many accepted connections may wait without new memory.
const USUAL_CROWD: usize = 256;

impl RingDriver {
    /// Not before a poll: a listener that is closed until then leaves its port at once.
    pub(super) fn arm_fresh_listeners(&mut self) {
        while let Some(key) = self.fresh.pop() {
            self.arm_accept(key);
        }
    }

    /// Has the kernel accept at a listener.
    pub(super) fn arm_accept(&mut self, key: Key) {
        if let Some(slot) = self.table.get_mut(key)
            && !slot.state.has(State::ARMED)
            && let Socket::Listener(listener) = &slot.socket
        {
            let operation = Operation::accept(listener.as_raw_fd(), slot.token(key, Kind::Accept));
            slot.state.set(State::ARMED);
            self.queue.push(operation);
        }
    }

    pub(super) fn note_accepted(&mut self, completion: Completion, sink: &mut impl Sink) {
        let outcome = completion.outcome().map(|descriptor| {
            // SAFETY: the kernel has just made the descriptor for this completion, which is taken
            // out of the queue once.
            unsafe { OwnedFd::from_raw_fd(descriptor as i32) }
        });
        let Some((key, slot)) = self.table.of_token(completion.token) else {
            // The listener was closed: so is the connection, by the drop.
            return;
        };
        if !completion.more() {
            slot.state.clear(State::ARMED);
        }
        let Socket::Listener(listener) = &mut slot.socket else {
            return;
        };
        match outcome {
            Ok(accepted) => {
                listener.note_success();
                self.accepts.push_back((completion.token, accepted));
            }
            Err(error) if error.raw_os_error() == Some(libc::ECANCELED) => {}
            Err(error) => {
                let rest_is_due = listener.note_failure(&error, self.now);
                sink.accept_failed(key, error);
                if rest_is_due {
                    self.resting.push(key);
                    return;
                }
            }
        }
        if !completion.more() {
            self.arm_accept(key);
        }
    }

    /// Hands over what was accepted, as far as the budget reaches.
    pub(super) fn serve_accepts(&mut self, sink: &mut impl Sink) {
        for _ in 0..self.limits.accepts_per_turn.max(1) {
            let Some((token, accepted)) = self.accepts.pop_front() else {
                // Of a crowd at the door nothing is to stay but those that came in.
                return self.accepts.shrink_to(USUAL_CROWD);
            };
            let Some((key, slot)) = self.table.of_token(token) else {
                continue;
            };
            let Socket::Listener(listener) = &mut slot.socket else {
                continue;
            };
            match listener.take_in(accepted) {
                Ok(accepted) => sink.accepted(key, accepted),
                // The connection is gone already; others may be well.
                Err(error) => sink.accept_failed(key, error),
            }
        }
    }

    /// A descriptor is free again: listeners that rest for want of one need not wait.
    pub(super) fn relieve_listeners(&mut self) {
        while let Some(key) = self.resting.pop() {
            self.end_rest(key);
        }
    }

    pub(super) fn end_rest(&mut self, key: Key) {
        if let Some(slot) = self.table.get_mut(key)
            && let Socket::Listener(listener) = &mut slot.socket
        {
            listener.end_rest();
            self.arm_accept(key);
        }
    }
}
