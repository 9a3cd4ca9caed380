//! One side of a connection in memory, with what a loop would keep for it, and its bounds.

use crate::engine::{Engine, Output, Progress};
use mainspring_loop::Input;

/// An engine with the input that it has not consumed and the output that nobody has taken.
pub(crate) struct Side {
    pub(crate) engine: Engine,
    unread: Vec<u8>,
    plain: Vec<u8>,
    wire: Vec<u8>,
    received: usize,
    progress: Progress,
    pub(crate) error: Option<rustls::Error>,
}

/// The largest handshake message, 2^16 - 1 bytes (rustls), in records of one byte each, and a part
/// of a record behind it.
const UNREAD_MAX: usize = (1 << 16) * 32;
/// A flight with a certificate of one key, tickets, an alert, and what an answer may repeat.
const ANSWER_MAX: usize = 64 << 10;

impl Side {
    pub(crate) fn new(engine: Engine) -> Self {
        Self {
            engine,
            unread: Vec::new(),
            plain: Vec::new(),
            wire: Vec::new(),
            received: 0,
            progress: Progress::Handshake,
            error: None,
        }
    }

    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        self.received += bytes.len();
        self.unread.extend_from_slice(bytes);
    }

    /// Processes what has come, as a layer does.
    pub(crate) fn turn(&mut self) {
        if self.error.is_some() {
            self.unread.clear();
            return;
        }
        let before = self.wire.len();
        let mut input = Input::over(&mut self.unread);
        let mut output =
            Output { plain: &mut self.plain, plain_max: usize::MAX, wire: &mut self.wire };
        let result = self.engine.process(&mut input, &mut output);
        let left = input.len();
        let consumed = self.unread.len() - left;
        self.unread.drain(..consumed);
        match result {
            Ok(progress) => {
                assert!(progress >= self.progress, "{:?} became {progress:?}", self.progress);
                self.progress = progress;
            }
            Err(error) => self.error = Some(error),
        }
        assert!(self.unread.len() <= UNREAD_MAX, "{} bytes are kept", self.unread.len());
        assert!(self.plain.len() <= self.received, "more came out than went in");
        let answer = self.wire.len() - before;
        assert!(answer <= ANSWER_MAX + self.received, "an answer of {answer} bytes");
    }

    pub(crate) fn say(&mut self, plain: &[u8]) {
        if self.is_open() && !self.has_failed() {
            self.engine.encrypt(plain, &mut self.wire).expect("an open connection encrypts");
        }
    }

    pub(crate) fn close(&mut self) {
        if !self.has_failed() {
            self.engine.close(&mut self.wire);
        }
    }

    pub(crate) fn take_wire(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.wire)
    }

    #[cfg(test)]
    pub(crate) fn take_plain(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.plain)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.progress >= Progress::Open
    }

    #[cfg(test)]
    pub(crate) fn has_ended(&self) -> bool {
        self.progress == Progress::PeerEnded
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.error.is_some()
    }

    #[cfg(test)]
    pub(crate) fn unread(&self) -> usize {
        self.unread.len()
    }
}

#[cfg(test)]
/// Passes bytes between two sides until neither has anything to say.
pub(crate) fn shake(one: &mut Side, other: &mut Side) {
    loop {
        one.turn();
        other.turn();
        let (from_one, from_other) = (one.take_wire(), other.take_wire());
        if from_one.is_empty() && from_other.is_empty() {
            return;
        }
        one.receive(&from_other);
        other.receive(&from_one);
    }
}
