//! A stack of layers: how bytes rise through it and sink through it.
//!
//! Nothing here knows of loops and connections; `slot.rs` ties a stack to one.

use crate::buffers::Buffers;
use crate::conn::ends::Ends;
use crate::{Input, Layer, LayerFault, LayerIo, LayerState};
use std::any::Any;
use std::time::Instant;

/// The layers of one connection, the one next to the socket first.
pub(crate) struct Stack {
    levels: Vec<Level>,
    /// The lowest layer that was put on and has not got what the handler has left for it.
    new_from: Option<usize>,
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
    /// What was to be sent before this layer was put on, and waits for those below to open.
    before: Vec<u8>,
}

/// The connection's side of a rise.
pub(crate) struct Rise<'a> {
    pub(crate) plain: &'a mut Vec<u8>,
    pub(crate) wire: &'a mut Vec<u8>,
    pub(crate) ends: &'a mut Ends,
    pub(crate) spare: &'a mut Buffers,
    pub(crate) now: Instant,
    /// Bytes that layers have appended, all of them together.
    pub(crate) risen: usize,
    /// Bytes that came after the end of a layer's stream.
    pub(crate) dropped: u64,
}

impl Stack {
    pub(crate) fn new(layers: Vec<Box<dyn Layer>>) -> Self {
        let levels = layers.into_iter().map(Level::new).collect();
        Self { levels, new_from: None, finished: false }
    }

    /// Puts a layer on top, which takes over what is received and not consumed. `before` is to
    /// leave without it.
    pub(crate) fn push(&mut self, layer: Box<dyn Layer>, before: Vec<u8>) {
        self.new_from.get_or_insert(self.levels.len());
        self.levels.push(Level { before, ..Level::new(layer) });
    }

    /// Whether output passes: no layer is agreeing with the peer any more.
    pub(crate) fn is_open(&self) -> bool {
        !self.levels.iter().any(Level::is_agreeing)
    }

    /// Whether a layer has taken the peer's stream to its end.
    pub(crate) fn has_ended(&self) -> bool {
        self.levels.iter().any(|level| level.state == Some(LayerState::Ended))
    }

    /// Whether bytes pass all layers by.
    pub(crate) fn is_done(&self) -> bool {
        !self.levels.iter().any(Level::takes_part)
    }

    /// Received bytes that wait in the layers' carries.
    pub(crate) fn held(&self) -> usize {
        self.levels.iter().map(|level| level.carry.len()).sum()
    }

    /// Bytes to be sent that wait for layers below others to open.
    pub(crate) fn waiting(&self) -> usize {
        self.levels.iter().map(|level| level.before.len()).sum()
    }

    /// The first thing of type `T` that a layer tells, from the top.
    pub(crate) fn info<T: Any>(&self) -> Option<&T> {
        self.levels.iter().rev().find_map(|level| level.layer.info()?.downcast_ref())
    }

    /// Keeps bytes from the socket until the connection may rise again. Returns whether a layer has
    /// them; where none has taken part so far, they come behind what the handler has left.
    pub(crate) fn hold(&mut self, bytes: &[u8], plain: &mut Vec<u8>) -> bool {
        let settled = self.new_from.unwrap_or(self.levels.len());
        let lowest = self.levels[..settled].iter_mut().find(|level| level.takes_part());
        let held = lowest.is_some();
        lowest.map_or(plain, |level| &mut level.carry).extend_from_slice(bytes);
        held
    }

    /// Gives the new layers what the handler has left. Returns whether there were others before.
    pub(crate) fn hand_to_new(&mut self, mut left: Vec<u8>) -> bool {
        let Some(at) = self.new_from.take() else { return false };
        self.levels[at].carry.append(&mut left);
        self.levels[..at].iter().any(Level::takes_part)
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
            if self.levels[at].takes_part() {
                moved |= self.start(at, io)?;
                moved |= self.receive(at, std::mem::take(&mut fresh), io)?;
            }
            if self.levels[at].is_agreeing() {
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
        spare: &mut Buffers,
    ) -> Result<(), &'static LayerFault> {
        sink(&mut self.levels, plain, wire, spare)
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
    pub(crate) fn finish(
        &mut self,
        wire: &mut Vec<u8>,
        spare: &mut Buffers,
    ) -> Result<(), &'static LayerFault> {
        self.finished = true;
        for at in (0..self.levels.len()).rev() {
            let (below, rest) = self.levels.split_at_mut(at);
            if rest[0].takes_part() {
                pass_down(below, wire, spare, |wire| {
                    rest[0].layer.finish(wire);
                    Ok(())
                })?;
            }
        }
        Ok(())
    }

    /// The peer's stream has ended: may it, in every layer? What one has taken to its end need not
    /// end in those below.
    pub(crate) fn eof(&mut self) -> Result<(), &'static LayerFault> {
        let ended = |level: &Level| level.state == Some(LayerState::Ended);
        let from = self.levels.iter().rposition(ended).map_or(0, |at| at + 1);
        let mut open = self.levels[from..].iter_mut().filter(|level| level.takes_part());
        open.try_for_each(|level| level.layer.eof())
    }

    fn start(&mut self, at: usize, io: &mut Rise<'_>) -> Result<bool, &'static LayerFault> {
        if self.levels[at].state.is_some() {
            return Ok(false);
        }
        let (below, level, above) = around(&mut self.levels, at);
        let before = std::mem::take(&mut level.before);
        if !before.is_empty() {
            sink(below, &before, io.wire, io.spare)?;
        }
        let Rise { plain, wire, ends, now, .. } = io;
        // What is received before a layer has started waits in its carry.
        let plain = target(above, plain);
        let floor = plain.len();
        let state = pass_down(below, wire, io.spare, |wire| {
            level.layer.start(&mut LayerIo { plain, wire, ends, now: *now, floor })
        })?;
        self.enter(at, state, io);
        Ok(true)
    }

    fn receive(
        &mut self,
        at: usize,
        fresh: &mut [u8],
        io: &mut Rise<'_>,
    ) -> Result<bool, &'static LayerFault> {
        let (_, level, above) = around(&mut self.levels, at);
        match level.state {
            // Started and done at once: everything goes on.
            Some(LayerState::Done) => {
                target(above, io.plain).extend_from_slice(fresh);
                return Ok(!fresh.is_empty());
            }
            Some(LayerState::Ended) => {
                io.dropped += (fresh.len() + level.carry.len()) as u64;
                level.carry = Vec::new();
                return Ok(false);
            }
            _ => {}
        }
        if above.iter().find(|level| level.takes_part()).is_some_and(|next| next.full) {
            // More would only lie there. The next one is called in this rise, this one in the next.
            level.keep(fresh, io.spare);
            return Ok(level.full || !level.carry.is_empty());
        }
        let in_place = level.carry.is_empty();
        if !in_place {
            level.carry.extend_from_slice(fresh);
        }
        let waiting = if in_place { fresh.len() } else { level.carry.len() };
        if (waiting == 0 || waiting < level.wanted) && !std::mem::take(&mut level.full) {
            if in_place {
                level.keep(fresh, io.spare);
            }
            return Ok(false);
        }
        self.offer(at, if in_place { Some(fresh) } else { None }, io)
    }

    /// Calls a layer with what it carries, or with fresh bytes where they lie.
    fn offer(
        &mut self,
        at: usize,
        fresh: Option<&mut [u8]>,
        io: &mut Rise<'_>,
    ) -> Result<bool, &'static LayerFault> {
        let (below, level, above) = around(&mut self.levels, at);
        let Level { layer, carry, .. } = &mut *level;
        let in_place = fresh.is_some();
        let bytes = fresh.unwrap_or(carry);
        let mut input = Input::over(bytes);
        let Rise { plain, wire, ends, now, .. } = io;
        let plain = target(above, plain);
        let floor = plain.len();
        if plain.capacity() == 0 {
            *plain = io.spare.take();
        }
        let result = pass_down(below, wire, io.spare, |wire| {
            layer.receive(&mut input, &mut LayerIo { plain, wire, ends, now: *now, floor })
        });
        let (consumed, wanted) = (input.consumed(), input.wanted());
        let plain = target(above, io.plain);
        let risen = plain.len().saturating_sub(floor);
        io.risen += risen;
        io.spare.give_if_empty(plain);
        if in_place {
            let mut kept = Vec::new();
            if consumed < bytes.len() {
                kept = io.spare.take();
                kept.extend_from_slice(&bytes[consumed..]);
            }
            level.carry = kept;
        } else {
            level.carry.drain(..consumed);
            io.spare.give_if_empty(&mut level.carry);
        }
        (level.wanted, level.full) = (wanted, risen >= LayerIo::PLAIN_MAX);
        let state = result?;
        let moved = consumed > 0 || risen > 0 || level.state != Some(state);
        self.enter(at, state, io);
        Ok(moved)
    }

    /// Notes where a layer stands; from one that is done, what it holds goes on.
    fn enter(&mut self, at: usize, state: LayerState, io: &mut Rise<'_>) {
        let (_, level, above) = around(&mut self.levels, at);
        if state == LayerState::Handshake && level.state == Some(LayerState::Open) {
            return;
        }
        level.state = Some(state);
        if !matches!(state, LayerState::Done | LayerState::Ended) {
            return;
        }
        (level.wanted, level.full) = (0, false);
        let rest = std::mem::take(&mut level.carry);
        match state {
            LayerState::Done => target(above, io.plain).extend_from_slice(&rest),
            _ => io.dropped += rest.len() as u64,
        }
    }
}

impl Level {
    fn new(layer: Box<dyn Layer>) -> Self {
        let (carry, before) = (Vec::new(), Vec::new());
        Self { layer, state: None, carry, wanted: 0, full: false, before }
    }

    fn is_agreeing(&self) -> bool {
        matches!(self.state, None | Some(LayerState::Handshake))
    }

    fn takes_part(&self) -> bool {
        self.state != Some(LayerState::Done)
    }

    /// Keeps what was not consumed, behind what is kept already.
    fn keep(&mut self, rest: &[u8], spare: &mut Buffers) {
        if !rest.is_empty() {
            if self.carry.capacity() == 0 {
                self.carry = spare.take();
            }
            self.carry.extend_from_slice(rest);
        }
    }
}

/// The levels below one, it, and those above.
fn around(levels: &mut [Level], at: usize) -> (&mut [Level], &mut Level, &mut [Level]) {
    let (below, rest) = levels.split_at_mut(at);
    let (level, above) = rest.split_first_mut().expect("a level of the stack");
    (below, level, above)
}

/// Where what rises to `above` goes: the first one that takes part, or the connection.
fn target<'a>(above: &'a mut [Level], plain: &'a mut Vec<u8>) -> &'a mut Vec<u8> {
    match above.iter_mut().find(|level| level.takes_part()) {
        Some(next) => &mut next.carry,
        None => plain,
    }
}

/// Has `say` write something, which sinks through the layers below to the wire.
fn pass_down<T>(
    below: &mut [Level],
    wire: &mut Vec<u8>,
    spare: &mut Buffers,
    say: impl FnOnce(&mut Vec<u8>) -> Result<T, &'static LayerFault>,
) -> Result<T, &'static LayerFault> {
    if !below.iter().any(Level::takes_part) {
        return say(wire);
    }
    let mut said = spare.take();
    let result = say(&mut said);
    let sunk = if said.is_empty() { Ok(()) } else { sink(below, &said, wire, spare) };
    spare.give(said);
    // What one layer has against going on says more than what became of its last words.
    result.and_then(|said| sunk.map(|()| said))
}

/// Wraps bytes in every layer that takes part, the highest first.
fn sink(
    levels: &mut [Level],
    plain: &[u8],
    wire: &mut Vec<u8>,
    spare: &mut Buffers,
) -> Result<(), &'static LayerFault> {
    match levels.iter().rposition(Level::takes_part) {
        None => {
            wire.extend_from_slice(plain);
            Ok(())
        }
        Some(top) => {
            let (below, rest) = levels.split_at_mut(top);
            pass_down(below, wire, spare, |wire| rest[0].layer.send(plain, wire))
        }
    }
}

#[cfg(test)]
mod tests;
