//! Layered connections: received bytes on their way up, and what follows when layers open or fail.

use crate::conn::slot::{ConnSlot, Flags, STATELESS, Stage};
use crate::handler::host::Event;
use crate::layer::slot::Risen;
use crate::turn::core::Core;
use crate::turn::delivery::Delivery;
use crate::{CloseReason, LayerFault, LayerIo, Layers};
use mainspring_io::{Flow, Key};

/// The peer has gone while the layers were agreeing with it.
pub(crate) const ENDED_EARLY: LayerFault =
    LayerFault::new("layers", "the stream ended before they were open");

/// A socket cannot be given away from under layers that still take part.
pub(crate) const NOT_DETACHED: LayerFault =
    LayerFault::new("layers", "a connection with layers cannot be detached");

/// Bytes that may rise for one connection in one event. What there is beyond comes in the next
/// turn, so that a few compressed bytes cannot keep a loop busy.
const TURN_MAX: usize = 256 << 10;

impl Core {
    /// Calls a listener's factory. `None` if it has panicked: the connection is dropped.
    pub(crate) fn layers_of(&mut self, listener: u16) -> Option<Layers> {
        let Some(make) = &mut self.state.listeners[usize::from(listener)].layers else {
            return Some(Layers::new());
        };
        match crate::panic::caught(make) {
            Ok(layers) => Some(layers),
            Err(panic) => {
                panic.count(&self.state.counters, &"layers of a listener");
                self.state.counters.refused.add(1);
                self.state.shared.release_connection(self.state.index);
                None
            }
        }
    }

    /// Bytes from the socket of a layered connection.
    #[inline(never)]
    pub(crate) fn data_through_layers(&mut self, key: Key, bytes: &mut [u8]) -> Flow {
        let Some(conn) = self.state.conn(key) else { return Flow::Pause };
        let waits = conn.is_held() || conn.flags.has(Flags::NEW_LAYER);
        if !waits {
            self.rise(key, bytes);
            return self.flow(key);
        }
        // What the driver had taken before it heard of the stop (D3).
        if let Some(layers) = conn.extra.as_mut().and_then(|extra| extra.layers.as_deref_mut())
            && layers.stack.hold(bytes, &mut conn.carry)
        {
            layers.wire_in += bytes.len() as u64;
            self.state.counters.layer_wire_in.add(bytes.len() as u64);
        }
        self.state.owe(key, Flags::REDELIVER);
        self.state.recount(key);
        self.flow(key)
    }

    /// Goes on where a rise had to stop.
    pub(crate) fn rise_again(&mut self, key: Key) {
        let Some(conn) = self.state.conn(key).filter(|conn| conn.takes_data()) else { return };
        if conn.is_held() {
            return conn.flags.set(Flags::REDELIVER);
        }
        self.rise(key, &mut []);
        self.steer_later(key);
    }

    /// Takes bytes up through the layers and delivers what comes out, as long as anything moves.
    pub(crate) fn rise(&mut self, key: Key, mut fresh: &mut [u8]) {
        let mut spent = 0;
        while let Some(risen) = self.rise_once(key, std::mem::take(&mut fresh)) {
            let opened = risen.fault.is_none() && self.open_layers(key);
            self.deliver_risen(key, risen.plain > 0 || opened);
            if let Some(fault) = risen.fault {
                return self.layer_failed(key, fault);
            }
            spent += risen.risen;
            let Some(conn) = self.state.conn(key) else { return };
            if !conn.takes_data() || conn.flags.has(Flags::NEW_LAYER) {
                return;
            }
            if !risen.moved {
                return self.risen_to_the_end(key);
            }
            if conn.is_held() {
                return conn.flags.set(Flags::REDELIVER);
            }
            if spent >= TURN_MAX {
                return self.yield_input(key);
            }
        }
    }

    /// Delivers what has come out on top, unless the callbacks before have kept it back or for a
    /// layer.
    fn deliver_risen(&mut self, key: Key, anything: bool) {
        let Some(conn) = self.state.conn(key) else { return };
        if !anything || !conn.is_open() || conn.carry.is_empty() {
            return;
        }
        if conn.is_held() || conn.flags.has(Flags::NEW_LAYER) {
            return conn.flags.set(Flags::REDELIVER);
        }
        let delivery = Delivery::begin(key, conn);
        self.state.counters.deliveries.add(1);
        self.deliver_joined(delivery, &[]);
    }

    /// Nothing moves any more in the layers: all that came before the end of their stream has been
    /// delivered, or they wait for more than they may.
    fn risen_to_the_end(&mut self, key: Key) {
        let input_max = self.state.limits.input_max.max(LayerIo::PLAIN_MAX);
        let Some(conn) = self.state.conn(key) else { return };
        let Some(layers) = conn.layered() else { return };
        let opened = conn.is_open() && layers.stack.is_open();
        let waiting = if opened { layers.stack.held() } else { conn.unread() };
        if layers.stack.has_ended() {
            if !conn.flags.has(Flags::EOF) {
                conn.flags.set(Flags::ENDED_ABOVE);
            }
            self.input_ended(key);
        } else if waiting > input_max {
            self.state.escalate(key, Stage::Closing, CloseReason::InputTooLong);
        }
    }

    /// `None` if there is nothing more to be done: the connection has gone, or a layer panicked.
    fn rise_once(&mut self, key: Key, fresh: &mut [u8]) -> Option<Risen> {
        match self.state.rise(key, fresh)? {
            Ok(risen) => Some(risen),
            Err(panic) => {
                self.state.layer_panicked(key, &panic);
                None
            }
        }
    }

    /// What follows when the last layer has opened. Whether the handler has heard of it.
    fn open_layers(&mut self, key: Key) -> bool {
        let Some(conn) = self.state.conn(key) else { return false };
        let stage = conn.stage;
        let Some(layers) = conn.layered_mut().filter(|layers| layers.stack.is_open()) else {
            return false;
        };
        let announces = std::mem::take(&mut layers.announces);
        // What waits to be sent still passes the layers, which pass it on.
        let bypassed = layers.stack.is_done() && layers.plain.is_empty();
        layers.opened = true;
        if bypassed {
            conn.flags.clear(Flags::LAYERED);
        }
        if stage == Stage::Handshaking {
            self.handshaken(key);
        } else if announces {
            self.event(key, Event::Layered);
        }
        stage == Stage::Handshaking || announces
    }

    fn handshaken(&mut self, key: Key) {
        let Some(conn) = self.state.conn(key) else { return };
        if conn.state == STATELESS {
            conn.stage = Stage::Open;
            self.let_in(key);
        } else {
            self.dialled(key);
        }
        self.state.mark_dirty(key);
    }

    /// A connection that was dialled is ready for its handler.
    pub(crate) fn dialled(&mut self, key: Key) {
        let now = self.state.tick();
        let Some(conn) = self.state.conn(key) else { return };
        (conn.stage, conn.active) = (Stage::Open, now);
        self.state.counters.dialled.add(1);
        self.state.keep_guard(key);
        self.state.mark_dirty(key);
        self.event(key, Event::Connected);
    }

    /// A layer cannot go on. What it had to say about it is sent, nothing else; but on a connection
    /// that is closing anyway the handler's last words are.
    pub(crate) fn layer_failed(&mut self, key: Key, fault: &'static LayerFault) {
        let Some(conn) = self.state.conn(key).filter(|conn| conn.takes_data()) else { return };
        let peer = conn.ends.peer();
        if let Some(layers) = conn.layered_mut() {
            layers.broken = true;
        }
        self.state.escalate(key, Stage::Closing, CloseReason::Layer(fault));
        crate::panic::log(|| tracing::debug!(?key, %peer, %fault, "a layer cannot go on"));
    }

    /// Asks the layers whether the peer's stream may end here.
    pub(crate) fn layers_allow_eof(&mut self, key: Key) -> bool {
        let asked = |conn: &&mut ConnSlot| conn.flags.has(Flags::LAYERED) && conn.takes_data();
        let Some(conn) = self.state.conn(key).filter(asked) else { return true };
        let Some(layers) = conn.layered_mut() else { return true };
        if !layers.stack.is_open() {
            self.layer_failed(key, &ENDED_EARLY);
            return false;
        }
        match crate::panic::caught(|| layers.stack.eof()) {
            Ok(Ok(())) => return true,
            Ok(Err(fault)) => self.layer_failed(key, fault),
            Err(panic) => self.state.layer_panicked(key, &panic),
        }
        false
    }
}
