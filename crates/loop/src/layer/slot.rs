//! A stack of layers tied to a connection: what the loop keeps for it, and the two directions.

use crate::buffers::Buffers;
use crate::conn::slot::{ConnSlot, Flags, Passed, Slot, Stage};
use crate::layer::stack::{Rise, Stack};
use crate::panic::{Caught, caught};
use crate::state::LoopState;
use crate::{CloseReason, ConnStats, Layer, LayerFault, Layers};
use bytes::Bytes;
use mainspring_io::Key;
use std::collections::VecDeque;

/// What the loop keeps for a connection with layers.
pub(crate) struct Layered {
    pub(crate) stack: Stack,
    /// What the handler has appended and no layer has wrapped yet.
    pub(crate) plain: Vec<u8>,
    /// Where the wire stood in this side's stream, and where plain bytes did, after each wrapping
    /// that has not left.
    marks: VecDeque<(u64, u64)>,
    /// The plain end of the last mark that has left.
    marked: u64,
    /// Plain bytes handed up and taken over since there are layers.
    pub(crate) plain_in: u64,
    plain_out: u64,
    /// Wire bytes of the same time.
    pub(crate) wire_in: u64,
    wire_out: u64,
    /// The tick by which the layers must be open.
    pub(crate) deadline: u64,
    /// The connection was open once.
    pub(crate) opened: bool,
    /// The handler has put a layer on and is to hear when it is open.
    pub(crate) announces: bool,
    /// Nothing is wrapped any more.
    pub(crate) broken: bool,
}

/// How a rise went.
pub(crate) struct Risen {
    /// Whether any layer got further.
    pub(crate) moved: bool,
    /// Plain bytes that came out on top.
    pub(crate) plain: usize,
    /// Bytes that came out of layers, all of them together.
    pub(crate) risen: usize,
    /// Why it cannot go on, after all that.
    pub(crate) fault: Option<&'static LayerFault>,
}

impl Layered {
    pub(crate) fn new(layers: Vec<Box<dyn Layer>>, deadline: u64) -> Box<Self> {
        Box::new(Self {
            stack: Stack::new(layers),
            plain: Vec::new(),
            marks: VecDeque::new(),
            marked: 0,
            plain_in: 0,
            plain_out: 0,
            wire_in: 0,
            wire_out: 0,
            deadline,
            opened: false,
            announces: false,
            broken: false,
        })
    }

    /// Whether something is still to be wrapped before this side's stream can end.
    fn owes(&self) -> bool {
        let wraps = !self.broken && self.stack.is_open();
        wraps && (!self.plain.is_empty() || self.stack.owes_last_words())
    }
}

impl ConnSlot {
    /// Puts the first layers on a connection that is not open.
    pub(crate) fn put_on(&mut self, layers: Layers, deadline: u64) {
        self.flags.set(Flags::LAYERED);
        self.extra().layers = Some(Layered::new(layers.0, deadline));
    }

    pub(crate) fn layered(&self) -> Option<&Layered> {
        self.extra.as_ref()?.layers.as_deref()
    }

    pub(crate) fn layered_mut(&mut self) -> Option<&mut Layered> {
        self.extra.as_mut()?.layers.as_deref_mut()
    }

    /// Output that has not left, bytes that no layer has wrapped included.
    pub(crate) fn unsent(&self) -> usize {
        let plain = match self.flags.has(Flags::LAYERED) {
            true => self.layered().map_or(0, |layers| layers.plain.len() + layers.stack.waiting()),
            false => 0,
        };
        self.outbox.len() + plain
    }

    /// Received bytes that wait, bytes that no layer has unwrapped included.
    pub(crate) fn unread(&self) -> usize {
        let held = match self.flags.has(Flags::LAYERED) {
            true => self.layered().map_or(0, |layers| layers.stack.held()),
            false => 0,
        };
        self.carry.len() + held
    }

    /// Whether layers have something to say before this side's stream may end.
    pub(crate) fn owes_to_layers(&self) -> bool {
        self.flags.has(Flags::LAYERED) && self.layered().is_some_and(Layered::owes)
    }

    /// Whether layers are agreeing with the peer, so that input is needed before output can leave.
    pub(crate) fn is_agreeing(&self) -> bool {
        self.flags.has(Flags::LAYERED)
            && self.layered().is_some_and(|layers| !layers.stack.is_open() && !layers.broken)
    }

    /// The tick by which its layers have to be open, unless they are.
    pub(crate) fn handshake_deadline(&self) -> Option<u64> {
        let layers = self.layered().filter(|_| self.flags.has(Flags::LAYERED))?;
        (!layers.stack.is_open()).then_some(layers.deadline)
    }

    /// What has passed through it, outside and inside of its layers.
    pub(crate) fn stats(&self) -> ConnStats {
        let Passed { bytes_in, bytes_out } = self.passed;
        let (plain_in, plain_out) = self.layered().map_or((bytes_in, bytes_out), |layers| {
            let plain_in = bytes_in - layers.wire_in + layers.plain_in;
            (plain_in, (bytes_out + layers.plain_out).saturating_sub(layers.wire_out))
        });
        ConnStats { bytes_in, bytes_out, plain_in, plain_out }
    }

    /// Queues bytes behind all output. Layers make other bytes of them, so that sharing ends here.
    pub(crate) fn append_shared(&mut self, bytes: Bytes, spare: &mut Buffers) {
        if !self.flags.has(Flags::LAYERED) {
            return spare.push_shared(&mut self.outbox, bytes);
        }
        if let Some(layers) = self.layered_mut() {
            if layers.plain.capacity() == 0 {
                layers.plain = spare.take();
            }
            layers.plain.extend_from_slice(&bytes);
        }
    }

    /// Where this side's stream of the handler's bytes stands with all that is queued.
    pub(crate) fn position(&self) -> u64 {
        let wire = self.passed.bytes_out + self.outbox.len() as u64;
        self.layered().map_or(wire, |layers| match self.flags.has(Flags::LAYERED) {
            true => layers.plain_out + layers.plain.len() as u64,
            false => wire + layers.plain_out - layers.wire_out,
        })
    }

    /// Up to where the handler's bytes are known to have left.
    pub(crate) fn sent_position(&mut self) -> u64 {
        let wire = self.passed.bytes_out;
        let layered = self.flags.has(Flags::LAYERED);
        let Some(layers) = self.layered_mut() else { return wire };
        while let Some((end, plain)) = layers.marks.front()
            && *end <= wire
        {
            layers.marked = *plain;
            layers.marks.pop_front();
        }
        if !layered && layers.marks.is_empty() {
            return (wire + layers.plain_out).saturating_sub(layers.wire_out).max(layers.marked);
        }
        layers.marked
    }
}

impl LoopState {
    /// Puts a layer on top of a connection's. What was appended before leaves without it; what the
    /// handler does not consume is received by it.
    pub(crate) fn add_layer(&mut self, key: Key, layer: Box<dyn Layer>) {
        let deadline = self.tick_after(self.limits.handshake_timeout);
        self.wrap_all(key);
        let Some(conn) = self.conn(key) else { return };
        let (plain, wire) = (conn.position(), conn.passed.bytes_out + conn.outbox.len() as u64);
        let open = conn.is_open();
        conn.wanted = 0;
        conn.flags.set(Flags::LAYERED.and(Flags::NEW_LAYER));
        let layers = conn.extra().layers.get_or_insert_with(|| Layered::new(Vec::new(), deadline));
        // Anything left has to wait for the layers below to open.
        let before = std::mem::take(&mut layers.plain);
        if before.is_empty() && layers.stack.waiting() == 0 {
            layers.marks.push_back((wire, plain));
        }
        layers.stack.push(layer, before);
        layers.opened |= open;
        (layers.announces, layers.deadline) = (true, deadline);
        (layers.plain_out, layers.wire_out) = (plain, wire);
        self.owe(key, Flags::REDELIVER);
        self.mark_dirty(key);
    }

    /// Takes received bytes up through a connection's layers, into its carry. `None` if there is no
    /// such connection.
    pub(crate) fn rise(&mut self, key: Key, fresh: &mut [u8]) -> Option<Result<Risen, Caught>> {
        let now = self.now();
        let Some(Slot::Conn(conn)) = self.slots.get_mut(key) else { return None };
        let ConnSlot { outbox, carry, ends, extra, flags, passed, .. } = conn;
        let layers = extra.as_mut()?.layers.as_deref_mut()?;
        let mut received = fresh.len() as u64;
        if flags.take(Flags::NEW_LAYER) {
            // What the handler has left was for the new layer.
            let left = carry.len() as u64;
            if layers.stack.hand_to_new(std::mem::take(carry)) {
                layers.plain_in -= left;
            } else {
                received += left;
            }
        }
        if carry.capacity() == 0 {
            *carry = self.spare.take();
        }
        if !outbox.has_buffer() {
            outbox.give_spare(self.spare.take());
        }
        let (plain_before, wire_before) = (carry.len(), outbox.tail().len());
        let waiting = layers.stack.waiting();
        let (stack, wire, spare) = (&mut layers.stack, outbox.tail(), &mut self.spare);
        let mut io = Rise { plain: carry, wire, ends, spare, now, risen: 0, dropped: 0 };
        let moved = caught(|| stack.rise(fresh, &mut io));
        let (risen, dropped) = (io.risen, io.dropped);
        let plain = carry.len().saturating_sub(plain_before);
        let answered = outbox.tail().len().saturating_sub(wire_before);
        let sunk = (waiting - layers.stack.waiting()) as u64;
        if sunk > 0 {
            layers.marks.push_back((passed.bytes_out + outbox.len() as u64, layers.plain_out));
        }
        layers.wire_in += received;
        layers.plain_in += plain as u64;
        layers.wire_out += answered as u64;
        self.counters.layer_wire_in.add(received);
        self.counters.layer_plain_in.add(plain as u64);
        self.counters.layer_plain_out.add(sunk);
        self.counters.layer_wire_out.add(answered as u64);
        self.counters.dropped_input_bytes.add(dropped);
        self.spare.give_if_empty(carry);
        self.spare.give_from(outbox);
        self.recount(key);
        if answered > 0 {
            self.mark_dirty(key);
        }
        Some(moved.map(|moved| match moved {
            Ok(moved) => Risen { moved, plain, risen, fault: None },
            Err(fault) => Risen { moved: false, plain, risen, fault: Some(fault) },
        }))
    }

    /// Wraps what the handler has appended, unless enough that is wrapped waits already.
    pub(crate) fn wrap(&mut self, key: Key) {
        let output_high = self.limits.output_high;
        if self.conn(key).is_some_and(|conn| conn.outbox.len() <= output_high) {
            self.wrap_all(key);
        }
    }

    /// What was not wrapped because enough waited already goes with the next flush, if that has left.
    pub(crate) fn wrap_on(&mut self, key: Key) {
        let unwrapped = |conn: &mut ConnSlot| {
            !conn.flags.has(Flags::WAITING)
                && conn.flags.has(Flags::LAYERED)
                && conn.layered().is_some_and(|layers| !layers.plain.is_empty() && layers.owes())
        };
        if self.conn(key).is_some_and(unwrapped) {
            self.mark_dirty(key);
        }
    }

    /// Wraps what the handler has appended, and says this side's last words when its stream is to
    /// end.
    fn wrap_all(&mut self, key: Key) {
        let Some(Slot::Conn(conn)) = self.slots.get_mut(key) else { return };
        // What a broadcaster has waiting still goes in front of the last words.
        let ends = (conn.flags.has(Flags::FINISH) || conn.stage == Stage::Closing)
            && !conn.flags.has(Flags::QUEUED);
        let ConnSlot { outbox, extra, flags, passed, .. } = conn;
        let layers = extra.as_mut().and_then(|extra| extra.layers.as_deref_mut());
        let Some(layers) = layers.filter(|layers| flags.has(Flags::LAYERED) && layers.owes())
        else {
            return;
        };
        if layers.stack.is_finished() {
            // Appended after the end.
            self.counters.dropped_closed_bytes.add(layers.plain.len() as u64);
            return layers.plain.clear();
        }
        if layers.plain.is_empty() && !ends {
            return;
        }
        if !outbox.has_buffer() {
            outbox.give_spare(self.spare.take());
        }
        let plain = std::mem::take(&mut layers.plain);
        let before = outbox.tail().len();
        let (stack, wire, spare) = (&mut layers.stack, outbox.tail(), &mut self.spare);
        let wrapped = caught(|| {
            if !plain.is_empty() {
                stack.send(&plain, wire, spare)?;
            }
            if ends && stack.owes_last_words() {
                stack.finish(wire, spare)?;
            }
            Ok(())
        });
        let sent = outbox.tail().len().saturating_sub(before) as u64;
        layers.plain_out += plain.len() as u64;
        layers.wire_out += sent;
        self.counters.layer_plain_out.add(plain.len() as u64);
        self.counters.layer_wire_out.add(sent);
        if !matches!(wrapped, Ok(Ok(()))) {
            self.counters.dropped_closed_bytes.add(plain.len() as u64);
        }
        self.spare.give(plain);
        layers.marks.push_back((passed.bytes_out + outbox.len() as u64, layers.plain_out));
        match wrapped {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => {
                self.escalate(key, Stage::Aborting, CloseReason::Layer(fault));
            }
            Err(panic) => self.layer_panicked(key, &panic),
        }
    }

    pub(crate) fn layer_panicked(&mut self, key: Key, panic: &Caught) {
        panic.count(&self.counters, &"layer");
        self.escalate(key, Stage::Aborting, CloseReason::Panicked);
    }
}
