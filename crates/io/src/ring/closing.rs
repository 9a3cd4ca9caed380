//! The ends of keys: closed, reset, broken, given up; and the end of the driver.

use super::RingDriver;
use super::operations::Operation;
use super::queue::Wait;
use super::table::{Slot, Socket, State};
use super::token::{Kind, Token};
use super::turn::Report;
use crate::ready::settings;
use crate::{Key, OwnedStream, Sink};
use socket2::SockRef;
use std::io;
use std::net::Shutdown;
use std::os::fd::{FromRawFd, OwnedFd};
use std::time::Duration;

/// How long a driver that is dropped waits for the kernel to be done with its memory, and how often
/// in vain.
const LAST_WAIT: Duration = Duration::from_millis(10);
const LAST_WAITS: usize = 20;

/// A stream whose send has failed. What the peer sent before that is delivered first.
#[derive(Debug)]
pub(super) struct Broken {
    token: Token,
    error: io::Error,
    /// The end is told when so many completions have been served.
    after: u64,
}

impl RingDriver {
    pub(super) fn close_in_order(&mut self, key: Key) {
        self.close_with(key, |stream, is_tcp| {
            // The peer gets its end at once, even if another process holds a copy of the descriptor
            // or the kernel is busy with the socket for a moment longer.
            let _ = stream.shutdown(Shutdown::Write);
            if is_tcp {
                settings::linger_in_background(stream);
            }
        });
    }

    pub(super) fn close_with_reset(&mut self, key: Key) {
        self.close_with(key, |stream, is_tcp| {
            if is_tcp {
                let _ = stream.set_linger(Some(Duration::ZERO));
            }
        });
    }

    fn close_with(&mut self, key: Key, before: impl FnOnce(&SockRef<'_>, bool)) {
        if self.table.get_mut(key).is_none() {
            return;
        }
        if let Some(slot) = self.table.remove(key) {
            match &slot.socket {
                Socket::Tcp(stream) => before(&SockRef::from(stream), true),
                Socket::Unix(stream) => before(&SockRef::from(stream), false),
                _ => {}
            }
            self.dispose(key, slot);
            self.reports.push_back(Report::Closed(key));
        }
    }

    /// Tells the failure and the end of a socket that is still in the table.
    pub(super) fn fail(&mut self, key: Key, error: io::Error, sink: &mut impl Sink) {
        if let Some(slot) = self.table.of_key(key)
            && slot.state.has(State::RELEASING)
        {
            // Whoever gets the socket finds out.
            let token = slot.token(key, Kind::Receive);
            return self.settle(key, token);
        }
        if let Some(slot) = self.table.remove(key) {
            self.dispose(key, slot);
            sink.failed(key, error);
            sink.closed(key);
        }
    }

    /// Cancels what the kernel does for a socket, and closes it.
    ///
    /// An operation that is submitted holds the socket, whatever becomes of the descriptor; one on
    /// its way names the descriptor by a number that the next socket may get. Therefore the
    /// descriptor is closed at once only if nothing of it is on its way.
    fn dispose(&mut self, key: Key, slot: Slot) {
        let nothing_on_its_way = slot.state.is_at_rest() || !self.queue.has_unsubmitted();
        self.cancel_all_of(key, &slot);
        if nothing_on_its_way {
            drop(slot);
            self.relieve_listeners();
        } else {
            self.doomed.push(slot.socket);
        }
    }

    fn cancel_all_of(&mut self, key: Key, slot: &Slot) {
        let mut cancel = |token| self.queue.push(Operation::cancel(token));
        if slot.state.has(State::ARMED) {
            cancel(slot.token(
                key,
                match slot.socket {
                    Socket::Listener(_) => Kind::Accept,
                    Socket::Datagram(_) => Kind::ReceiveDatagrams,
                    _ => Kind::Receive,
                },
            ));
        }
        if slot.state.has(State::WATCHED) {
            cancel(slot.token(key, Kind::Watch));
        }
        if slot.state.has(State::POLLED) {
            cancel(slot.token(key, Kind::Writable));
        }
        if slot.state.has(State::CONNECTING) {
            cancel(slot.token(key, Kind::Connect));
        }
        if slot.state.has(State::SENDING) {
            cancel(self.sends.token(slot.send));
        }
    }

    /// Closes the sockets that no operation on its way names any more.
    pub(super) fn bury(&mut self) {
        if !self.doomed.is_empty() && !self.queue.has_unsubmitted() {
            self.doomed.clear();
            self.relieve_listeners();
        }
    }

    /// Gives a stream up, when the kernel is done with it: until then it might take bytes that are
    /// the next owner's.
    pub(super) fn give_up(&mut self, key: Key) {
        let Some(slot) = self.table.get_mut(key) else {
            return;
        };
        if slot.stream().is_none() {
            return;
        }
        slot.state.clear(State::RECEIVING);
        slot.state.set(State::RELEASING);
        let token = slot.token(key, Kind::Receive);
        let (cancels, watched) = (
            slot.state.has(State::ARMED) && !slot.state.has(State::CANCELLING),
            slot.state.has(State::WATCHED),
        );
        slot.state.set(State::CANCELLING);
        if cancels {
            self.queue.push(Operation::cancel(token));
        }
        if watched {
            self.queue.push(Operation::cancel(Token { kind: Kind::Watch, ..token }));
        }
        self.settle(key, token);
    }

    /// An operation of a slot has ended: what has waited for that goes on.
    pub(super) fn settle(&mut self, key: Key, token: Token) {
        let Some((_, slot)) = self.table.of_token(Token { index: key.index() as u32, ..token })
        else {
            return;
        };
        if !slot.state.has(State::RELEASING) {
            return self.arm_receive(key);
        }
        if !slot.state.is_at_rest() {
            return;
        }
        if let Some(slot) = self.table.remove(key) {
            match slot.socket {
                Socket::Tcp(stream) => {
                    self.reports.push_back(Report::Released(key, OwnedStream::Tcp(stream)));
                }
                Socket::Unix(stream) => {
                    self.reports.push_back(Report::Released(key, OwnedStream::Unix(stream)));
                }
                _ => {}
            }
        }
    }

    pub(super) fn note_broken(&mut self, key: Key, tenancy: u32, error: io::Error) {
        let token = Token { kind: Kind::Send, index: key.index() as u32, tenancy };
        self.broken.push(Broken { token, error, after: self.queue.end() });
    }

    /// Tells the end of streams whose sends have failed, if what was received before is told.
    pub(super) fn tell_broken(&mut self, sink: &mut impl Sink) {
        let mut index = 0;
        while let Some(broken) = self.broken.get(index) {
            if broken.after > self.queue.taken() {
                index += 1;
                continue;
            }
            let Broken { token, error, .. } = self.broken.swap_remove(index);
            if let Some((key, _)) = self.table.of_token(token) {
                self.fail(key, error, sink);
            }
        }
    }

    /// Cancels everything and waits a little until the kernel is done with this driver's memory.
    /// Returns whether it is.
    fn finish_all(&mut self) -> bool {
        if !self.queue.is_enabled() {
            // Nothing was ever submitted.
            return true;
        }
        self.mark_sends();
        self.queue.push(Operation::cancel_all());
        let mut waits_in_vain = 0;
        while self.queue.outstanding() > 0 {
            let before = self.queue.outstanding();
            let entered = self.queue.enter(Wait::Sleep(1, Some(LAST_WAIT)));
            self.drain();
            waits_in_vain += usize::from(self.queue.outstanding() == before);
            // An error: this is not the thread that the ring belongs to.
            if entered.is_err() || waits_in_vain > LAST_WAITS {
                return false;
            }
        }
        true
    }

    /// Takes the completions that nobody will serve any more.
    fn drain(&mut self) {
        while let Some(completion) = self.queue.next() {
            match completion.token.kind {
                Kind::Mark => self.forget_marked(),
                Kind::Send => self.sends.finish(completion.token.index),
                _ => {}
            }
            if completion.token.kind == Kind::Accept
                && let Ok(descriptor) = completion.outcome()
            {
                // SAFETY: the kernel has just made the descriptor for this completion, which is
                // taken out of the queue once.
                drop(unsafe { OwnedFd::from_raw_fd(descriptor as i32) });
            }
        }
    }
}

impl Drop for RingDriver {
    fn drop(&mut self) {
        if self.finish_all() {
            return;
        }
        tracing::debug!(
            outstanding = self.queue.outstanding(),
            "the kernel is not done with the memory of a ring driver, which is given up"
        );
        self.sends.leak();
        self.handshakes.leak();
        [self.buffers.take(), self.datagram_buffers.take()]
            .into_iter()
            .flatten()
            .for_each(|it| it.leak());
    }
}
