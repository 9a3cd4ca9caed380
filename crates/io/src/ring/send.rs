//! Sending to streams.

use super::RingDriver;
use super::queue::Completion;
use super::sends::Progress;
use super::table::State;
use super::token::{Kind, Token};
use crate::ready::unsent;
use crate::{Key, Outbox, SendState, Sink};
use std::io::ErrorKind;

impl RingDriver {
    /// Takes bytes out of the outbox; they leave with the next enter.
    pub(super) fn start_send(&mut self, key: Key, outbox: &mut Outbox) -> SendState {
        let Some(slot) = self.table.get_mut(key) else {
            return unsent(outbox.is_empty());
        };
        let Some(stream) = slot.stream() else {
            return unsent(outbox.is_empty());
        };
        if slot.state.has(State::CONNECTING) {
            slot.state.set(State::WAITING);
            return SendState::Waiting;
        }
        if outbox.queued() == 0 {
            return unsent(outbox.is_empty());
        }
        // After a failure the end follows instead of `sent`.
        if slot.state.any(State::SENDING.and(State::BROKEN)) {
            return SendState::Waiting;
        }
        let (number, bytes) = self.sends.take(outbox, key, slot.tenancy);
        outbox.put_in_flight(bytes);
        slot.state.set(State::SENDING);
        slot.send = number;
        self.queue.push(self.sends.operation(number, stream));
        SendState::Waiting
    }

    pub(super) fn note_sent(&mut self, completion: Completion, sink: &mut impl Sink) {
        let number = completion.token.index;
        let Some((key, tenancy)) = self.sends.owner(completion.token) else {
            return;
        };
        let token = Token { index: key.index() as u32, tenancy, ..completion.token };
        let Some((_, slot)) = self.table.of_token(token) else {
            // Its socket was closed under way.
            return self.sends.finish(number);
        };
        match self.sends.note(number, completion.outcome()) {
            Progress::Gone(bytes) => self.land(number, key, token, bytes, sink),
            Progress::Short => self.resume_send(number, token),
            Progress::Failed(error)
                if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) =>
            {
                self.resume_send(number, token);
            }
            Progress::Failed(error) => {
                slot.state.clear(State::SENDING);
                slot.state.set(State::BROKEN);
                self.sends.finish(number);
                self.note_broken(key, tenancy, error);
            }
        }
    }

    /// The sends before a mark have been tried, and those that fell short have told so before it: the
    /// others have left.
    pub(super) fn note_mark(&mut self, sink: &mut impl Sink) {
        for _ in 0..self.sends.marked() {
            let Some((number, bytes)) = self.sends.next_marked() else {
                continue;
            };
            self.queue.forgo();
            let Some((key, tenancy)) = self.sends.owner_of(number) else {
                continue;
            };
            let token = Token { kind: Kind::Send, index: key.index() as u32, tenancy };
            if self.table.of_token(token).is_some() {
                self.land(number, key, token, bytes, sink);
            } else {
                self.sends.finish(number);
            }
        }
    }

    /// As [`note_mark`](Self::note_mark), with nobody left to be told.
    pub(super) fn forget_marked(&mut self) {
        for _ in 0..self.sends.marked() {
            if let Some((number, _)) = self.sends.next_marked() {
                self.queue.forgo();
                self.sends.finish(number);
            }
        }
    }

    /// Puts a mark behind the sends of this turn. Whether there were any.
    pub(super) fn mark_sends(&mut self) -> bool {
        let mark = self.sends.mark();
        mark.map(|mark| self.queue.push(mark)).is_some()
    }

    /// All bytes of a send have left.
    fn land(&mut self, number: u32, key: Key, token: Token, bytes: usize, sink: &mut impl Sink) {
        if let Some((_, slot)) = self.table.of_token(token) {
            slot.state.clear(State::SENDING);
        }
        self.sends.finish(number);
        sink.sent(key, bytes);
        self.settle(key, token);
    }

    fn resume_send(&mut self, number: u32, token: Token) {
        if let Some((_, slot)) = self.table.of_token(token)
            && let Some(stream) = slot.stream()
        {
            self.queue.push(self.sends.operation(number, stream));
        }
    }
}
