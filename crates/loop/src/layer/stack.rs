//! A stack of layers: how bytes rise through it and sink through it.
//!
//! Nothing here knows of loops and connections; `slot.rs` ties a stack to one.

use crate::conn::ends::Ends;
use crate::{Input, Layer, LayerFault, LayerIo, LayerState};
use std::any::Any;
use std::time::Instant;

/// The layers of one connection, the one next to the socket first.
pub(crate) struct Stack {
    levels: Vec<Level>,
    /// Whether this side's last words have been said.
    finished: bool,
}

/// A layer and what it has not consumed.
struct Level {
    layer: Box<dyn Layer>,
    /// `None` before it was started.
    state: Option<LayerState>,
    carry: Vec<u8>,
    /// No call before the carry has this length.
    wanted: usize,
    /// The last call left no room: there may be more where that came from.
    full: bool,
}

/// The connection's side of a rise.
pub(crate) struct Rise<'a> {
    pub(crate) plain: &'a mut Vec<u8>,
    pub(crate) wire: &'a mut Vec<u8>,
    pub(crate) ends: &'a mut Ends,
    pub(crate) now: Instant,
}

impl Stack {
    pub(crate) fn new(layers: Vec<Box<dyn Layer>>) -> Self {
        let mut stack = Self { levels: Vec::with_capacity(layers.len()), finished: false };
        layers.into_iter().for_each(|layer| stack.push(layer, Vec::new()));
        stack
    }

    /// Puts a layer on top, which takes over what is received and not consumed.
    pub(crate) fn push(&mut self, layer: Box<dyn Layer>, carry: Vec<u8>) {
        self.levels.push(Level { layer, state: None, carry, wanted: 0, full: false });
    }

    /// Whether output passes: no layer is agreeing with the peer any more.
    pub(crate) fn is_open(&self) -> bool {
        let closed = |level: &Level| matches!(level.state, None | Some(LayerState::Handshake));
        !self.levels.iter().any(closed)
    }

    /// Whether a layer has taken the peer's stream to its end.
    pub(crate) fn has_ended(&self) -> bool {
        self.levels.iter().any(|level| level.state == Some(LayerState::Ended))
    }

    /// Whether bytes pass all layers by.
    pub(crate) fn is_done(&self) -> bool {
        self.levels.iter().all(|level| level.state == Some(LayerState::Done))
    }

    /// Received bytes that wait in the layers' carries.
    pub(crate) fn held(&self) -> usize {
        self.levels.iter().map(|level| level.carry.len()).sum()
    }

    /// The first thing of type `T` that a layer tells, from the top.
    pub(crate) fn info<T: Any>(&self) -> Option<&T> {
        self.levels.iter().rev().find_map(|level| level.layer.info()?.downcast_ref())
    }

    /// Keeps bytes from the socket until the connection may rise again.
    pub(crate) fn hold(&mut self, bytes: &[u8], plain: &mut Vec<u8>) {
        match self.levels.iter_mut().find(|level| level.state != Some(LayerState::Done)) {
            Some(lowest) => lowest.carry.extend_from_slice(bytes),
            None => plain.extend_from_slice(bytes),
        }
    }

    /// Gives the topmost layer what the connection had in its carry.
    pub(crate) fn hold_at_top(&mut self, mut bytes: Vec<u8>) {
        if let Some(top) = self.levels.last_mut() {
            top.carry.append(&mut bytes);
        }
    }

    /// Takes bytes from the socket up through the layers, as far as there is room. Returns whether
    /// anything moved.
    pub(crate) fn rise(
        &mut self,
        mut fresh: &mut [u8],
        io: &mut Rise<'_>,
    ) -> Result<bool, &'static LayerFault> {
        let mut moved = false;
        for at in 0..self.levels.len() {
            if self.levels[at].state == Some(LayerState::Done) {
                continue;
            }
            moved |= self.start(at, io)?;
            moved |= self.receive(at, std::mem::take(&mut fresh), io)?;
            if matches!(self.levels[at].state, Some(LayerState::Handshake)) {
                // Those above start when it is open.
                return Ok(moved);
            }
        }
        // All layers were done already.
        io.plain.extend_from_slice(fresh);
        Ok(moved || !fresh.is_empty())
    }

    /// Wraps `plain`, all of it, from the top down.
    pub(crate) fn send(
        &mut self,
        plain: &[u8],
        wire: &mut Vec<u8>,
    ) -> Result<(), &'static LayerFault> {
        sink(&mut self.levels, plain, wire)
    }

    /// Whether this side's last words are still to be said.
    pub(crate) fn owes_last_words(&self) -> bool {
        !self.finished && self.is_open() && !self.is_done()
    }

    /// Whether this side's last words have been said: nothing can follow them.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Ends this side's stream in every layer, from the top down.
    pub(crate) fn finish(&mut self, wire: &mut Vec<u8>) -> Result<(), &'static LayerFault> {
        self.finished = true;
        for at in (0..self.levels.len()).rev() {
            let (below, level) = self.split(at);
            if level.state != Some(LayerState::Done) {
                pass_down(below, wire, |wire| {
                    level.layer.finish(wire);
                    Ok(())
                })?;
            }
        }
        Ok(())
    }

    /// The peer's stream has ended: may it, in every layer? What one has taken to its end need not
    /// end in those below.
    pub(crate) fn eof(&mut self) -> Result<(), &'static LayerFault> {
        if self.has_ended() {
            return Ok(());
        }
        let takes_part = |level: &&mut Level| level.state != Some(LayerState::Done);
        self.levels.iter_mut().filter(takes_part).try_for_each(|level| level.layer.eof())
    }

    fn split(&mut self, at: usize) -> (&mut [Level], &mut Level) {
        let (below, rest) = self.levels.split_at_mut(at);
        (below, &mut rest[0])
    }

    fn start(&mut self, at: usize, io: &mut Rise<'_>) -> Result<bool, &'static LayerFault> {
        if self.levels[at].state.is_some() {
            return Ok(false);
        }
        let now = io.now;
        // What is received before a layer has started waits in its carry.
        let mut plain = Vec::new();
        let (below, level) = self.split(at);
        let ends = &mut *io.ends;
        let state = pass_down(below, io.wire, |wire| {
            level.layer.start(&mut LayerIo { plain: &mut plain, wire, ends, now })
        })?;
        self.enter(at, state, plain, io);
        Ok(true)
    }

    fn receive(
        &mut self,
        at: usize,
        fresh: &mut [u8],
        io: &mut Rise<'_>,
    ) -> Result<bool, &'static LayerFault> {
        let level = &mut self.levels[at];
        let mut carry = std::mem::take(&mut level.carry);
        let in_place = carry.is_empty();
        let bytes = if in_place {
            fresh
        } else {
            carry.extend_from_slice(fresh);
            &mut carry[..]
        };
        match level.state {
            // Started and done at once: everything goes on.
            Some(LayerState::Done) => {
                let moved = !bytes.is_empty();
                self.target(at, io).extend_from_slice(bytes);
                return Ok(moved);
            }
            Some(LayerState::Ended) => return Ok(false),
            _ => {}
        }
        let short = bytes.len() < level.wanted || bytes.is_empty();
        if short && !std::mem::take(&mut level.full) {
            level.carry = if in_place { bytes.to_vec() } else { carry };
            return Ok(false);
        }
        let mut input = Input::over(bytes);
        let mut plain = std::mem::take(self.target(at, io));
        let before = plain.len();
        let now = io.now;
        let (below, level) = self.split(at);
        let ends = &mut *io.ends;
        let result = pass_down(below, io.wire, |wire| {
            level.layer.receive(&mut input, &mut LayerIo { plain: &mut plain, wire, ends, now })
        });
        let (consumed, wanted) = (input.consumed(), input.wanted());
        let risen = plain.len() - before;
        level.wanted = wanted;
        level.full = plain.len() >= LayerIo::PLAIN_MAX;
        let rest = bytes.len() - consumed;
        if in_place {
            level.carry.extend_from_slice(&bytes[consumed..]);
        } else {
            carry.drain(..consumed);
            if rest > 0 {
                level.carry = carry;
            }
        }
        *self.target(at, io) = plain;
        let state = result?;
        let moved = consumed > 0 || risen > 0 || self.levels[at].state != Some(state);
        self.enter(at, state, Vec::new(), io);
        Ok(moved)
    }

    /// Notes where a layer stands; from one that is done, what it holds goes on.
    fn enter(&mut self, at: usize, state: LayerState, plain: Vec<u8>, io: &mut Rise<'_>) {
        let level = &mut self.levels[at];
        level.state = Some(state);
        let mut rest = Vec::new();
        if matches!(state, LayerState::Done | LayerState::Ended) {
            rest = std::mem::take(&mut level.carry);
            (level.wanted, level.full) = (0, false);
        }
        let target = self.target(at, io);
        target.extend_from_slice(&plain);
        if state == LayerState::Done {
            target.extend_from_slice(&rest);
        }
    }

    /// Where what rises from a layer goes: the next one that takes part, or the connection.
    fn target<'a>(&'a mut self, at: usize, io: &'a mut Rise<'_>) -> &'a mut Vec<u8> {
        let takes_part = |level: &&mut Level| level.state != Some(LayerState::Done);
        match self.levels[at + 1..].iter_mut().find(takes_part) {
            Some(above) => &mut above.carry,
            None => io.plain,
        }
    }
}

/// Has `say` write something, which sinks through the layers below to the wire.
fn pass_down<T>(
    below: &mut [Level],
    wire: &mut Vec<u8>,
    say: impl FnOnce(&mut Vec<u8>) -> Result<T, &'static LayerFault>,
) -> Result<T, &'static LayerFault> {
    if below.iter().all(|level| level.state == Some(LayerState::Done)) {
        return say(wire);
    }
    let mut said = Vec::new();
    let result = say(&mut said);
    if !said.is_empty() {
        sink(below, &said, wire)?;
    }
    result
}

/// Wraps bytes in every layer that takes part, the highest first.
fn sink(levels: &mut [Level], plain: &[u8], wire: &mut Vec<u8>) -> Result<(), &'static LayerFault> {
    let takes_part = |level: &Level| level.state != Some(LayerState::Done);
    match levels.iter().rposition(takes_part) {
        None => {
            wire.extend_from_slice(plain);
            Ok(())
        }
        Some(top) => {
            let (below, rest) = levels.split_at_mut(top);
            pass_down(below, wire, |wire| rest[0].layer.send(plain, wire))
        }
    }
}
