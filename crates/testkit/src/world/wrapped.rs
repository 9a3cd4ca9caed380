//! A peer with the layers of its listener: a script above it sees plain bytes.

use super::plan::{Kind, Plan};
use super::stage::Played;
use crate::coat::coat;
use mainspring_io::Addr;
use mainspring_loop::{LayerFault, Unwired};
use std::io;
use std::time::Instant;

/// One end of a connection, bare or behind layers.
pub(super) struct Wrapped<P> {
    peer: P,
    layers: Option<Unwired>,
    /// Bytes that pass each way before the layers are put on.
    bare_out: usize,
    bare_in: usize,
    /// What the layers gave and the network has not taken.
    wire: Vec<u8>,
    ending: Ending,
    /// Why the layers could not take what came.
    pub(super) fault: Option<&'static LayerFault>,
    /// Bytes that have left.
    pub(super) wire_sent: u64,
}

/// How far the end of this side's stream has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    No,
    Wanted,
    Said,
    Ended,
}

impl<P: Played> Wrapped<P> {
    /// Around a peer that connects to the listener of that number.
    pub(super) fn new(peer: P, plan: &Plan, listener: usize) -> Self {
        let name = plan.coats[listener];
        let local = peer.local_addr();
        #[expect(clippy::disallowed_methods, reason = "no layer here asks for the time")]
        let now = Instant::now();
        let layers = (!name.is_empty())
            .then(|| coat(name, false, |_| false).unwired(local.clone(), local, now));
        let bare = usize::from(plan.kinds[listener] == Kind::Upgrade);
        Self {
            peer,
            layers,
            bare_out: bare,
            bare_in: bare,
            wire: Vec::new(),
            ending: Ending::No,
            fault: None,
            wire_sent: 0,
        }
    }

    /// Whether something of what it was given has not left and never will.
    pub(super) fn is_cut_short(&mut self) -> bool {
        self.layers.is_some() && self.ending != Ending::Ended && self.peer.write_ended()
    }

    /// Whether the other side has said its last words, where layers have any.
    pub(super) fn heard_the_end(&mut self) -> bool {
        let Some(layers) = self.layers.as_mut().filter(|_| self.bare_in == 0) else { return true };
        layers.eof().is_ok()
    }

    /// Sends what the layers have given, and ends the stream behind their last words.
    fn pump(&mut self) {
        let Some(layers) = &mut self.layers else { return };
        if self.bare_out > 0 || !self.peer.is_connected() {
            return;
        }
        if self.fault.is_none() {
            // The first call starts the layers.
            self.fault = layers.receive(&mut []).err();
        }
        if self.ending == Ending::Wanted && layers.is_open() {
            layers.finish().expect("no layer here refuses its end");
            self.ending = Ending::Said;
        }
        self.wire.append(layers.wire());
        let count = self.peer.send(&self.wire);
        self.wire_sent += count as u64;
        self.wire.drain(..count);
        if self.ending == Ending::Said && self.wire.is_empty() {
            self.ending = Ending::Ended;
            self.peer.shutdown_write();
        }
    }
}

impl<P: Played> Played for Wrapped<P> {
    fn send(&mut self, bytes: &[u8]) -> usize {
        let first = match self.layers {
            None => bytes.len(),
            Some(_) => self.bare_out.min(bytes.len()),
        };
        if first > 0 {
            let count = self.peer.send(&bytes[..first]);
            self.wire_sent += count as u64;
            self.bare_out = self.bare_out.saturating_sub(count);
            return count;
        }
        self.pump();
        let Some(layers) = self.layers.as_mut().filter(|_| self.wire.len() < WIRE_MAX) else {
            return 0;
        };
        layers.send(bytes).expect("no layer here refuses bytes");
        self.pump();
        bytes.len()
    }

    fn take_received(&mut self) -> Vec<u8> {
        self.pump();
        let mut plain = self.peer.take_received();
        let Some(layers) = self.layers.as_mut().filter(|_| plain.len() > self.bare_in) else {
            self.bare_in = self.bare_in.saturating_sub(plain.len());
            return plain;
        };
        let mut wire = plain.split_off(self.bare_in);
        self.bare_in = 0;
        if self.fault.is_none() {
            self.fault = layers.receive(&mut wire).err();
        }
        plain.append(layers.plain());
        self.pump();
        plain
    }

    fn stop_reading(&mut self) {
        self.peer.stop_reading();
    }

    fn resume_reading(&mut self) {
        self.peer.resume_reading();
    }

    fn shutdown_write(&mut self) {
        if self.layers.is_none() || self.bare_out > 0 {
            self.ending = Ending::Ended;
            return self.peer.shutdown_write();
        }
        self.ending = Ending::Wanted;
        self.pump();
    }

    fn reset(&mut self) {
        self.peer.reset();
    }

    /// With the last words of the layers, as far as the network takes them at once.
    fn close(&mut self) {
        if self.layers.is_some() && self.bare_out == 0 && self.ending == Ending::No {
            self.ending = Ending::Wanted;
            self.pump();
        }
        self.peer.close();
    }

    fn is_connected(&mut self) -> bool {
        self.peer.is_connected()
    }

    fn connect_error(&mut self) -> Option<io::ErrorKind> {
        self.peer.connect_error()
    }

    fn eof(&mut self) -> bool {
        self.peer.eof()
    }

    fn reset_seen(&mut self) -> bool {
        self.peer.reset_seen()
    }

    fn write_ended(&mut self) -> bool {
        self.ending != Ending::No || self.peer.write_ended()
    }

    fn local_addr(&self) -> Addr {
        self.peer.local_addr()
    }
}

/// So much may wait for the network before a script is told that it is full.
const WIRE_MAX: usize = 4 << 10;
