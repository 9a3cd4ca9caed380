//! A connection inside a callback.

pub(crate) mod completion;
pub(crate) mod detached;
pub(crate) mod ends;
pub(crate) mod id;
pub(crate) mod info;
pub(crate) mod input;
pub(crate) mod reason;
pub(crate) mod slot;
mod waker;

use self::waker::ConnWaker;
use crate::conn::slot::{ConnSlot, Flags, NO_LISTENER, Slot, Stage};
use crate::state::{Install, LoopState};
use crate::turn::order::Order;
use crate::{CloseReason, ConnId, ConnInfo, ConnStats, Cx, Handler, HostId, Input, Layer, TimerId};
use bytes::Bytes;
use mainspring_io::{Addr, Kept, Key, SocketOptions};
use std::any::Any;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

/// A connection, for the length of one callback.
///
/// What is appended to [`out`](Conn::out) leaves after the turn in one system call. How the
/// connection goes on is said by the callback's [`Action`](crate::Action). To reach it later or
/// from elsewhere, keep its [`id`](Conn::id).
pub struct Conn<'a> {
    pub(crate) state: &'a mut LoopState,
    pub(crate) key: Key,
}

impl Conn<'_> {
    /// The name of the connection, valid everywhere and for ever.
    #[must_use]
    pub fn id(&self) -> ConnId {
        self.state.id_of(self.key)
    }

    /// The other end.
    #[must_use]
    pub fn peer(&self) -> Addr {
        self.slot().ends.peer()
    }

    /// This end; for an accepted connection the address that the peer connected to. While a dialled
    /// connection is not up it is the unspecified address.
    #[must_use]
    pub fn local(&self) -> Addr {
        self.slot().ends.local()
    }

    /// The time at which this turn began, as [`Cx::now`].
    #[must_use]
    pub fn now(&self) -> Instant {
        self.state.now()
    }

    /// When it was accepted, or dialled, by the clock of [`Cx::now`]; in steps of 1 ms.
    #[must_use]
    pub fn since(&self) -> Instant {
        self.state.instant_of(self.slot().since)
    }

    /// Which of [`ServerInfo::addrs`](crate::ServerInfo::addrs) it was accepted on; `None` if it
    /// was dialled.
    #[must_use]
    pub fn listener(&self) -> Option<usize> {
        let listener = self.slot().listener;
        (listener != NO_LISTENER).then_some(listener.into())
    }

    /// The rest of the loop.
    #[must_use]
    pub fn cx(&mut self) -> Cx<'_> {
        let host = self.slot().host;
        Cx { state: self.state, host }
    }

    /// Where output is appended. It holds only bytes that no send has touched, so that what a
    /// callback appended it may also take back.
    ///
    /// A connection over [`Limits::output_max`](crate::Limits::output_max) is about to be closed;
    /// what is appended then is dropped and counted.
    #[must_use]
    pub fn out(&mut self) -> &mut Vec<u8> {
        self.state.output(self.key)
    }

    /// Queues all of `bytes` behind everything queued so far and leaves it empty, as
    /// `conn.out().append(bytes)` does. Where nothing is queued, the two vectors are exchanged in
    /// place of a copy: for handlers that build their output before they have the connection at hand.
    ///
    /// Tells [`out_bytes`](Conn::out_bytes) as they are then.
    #[inline(always)]
    pub fn append(&mut self, bytes: &mut Vec<u8>) -> usize {
        self.state.append(self.key, bytes)
    }

    /// Queues all unconsumed input behind everything queued so far: of this connection, which is an
    /// echo, or of another one of the loop ([`Cx::conn`]), which is a relay.
    ///
    /// It does what `conn.out().extend_from_slice(input.take())` does. But a long delivery is not
    /// copied: it is sent from where it was received, unless this connection has to wait before it
    /// can send, or too much of the driver's memory is on its way already.
    /// [`LoopStats::bytes_forwarded`](crate::LoopStats::bytes_forwarded) counts what was not copied.
    ///
    /// # Examples
    ///
    /// ```
    /// use mainspring_loop::{Action, Conn, ConnId, Input};
    ///
    /// fn echo(conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
    ///     conn.forward(input);
    ///     Action::Continue
    /// }
    ///
    /// fn relay(to: ConnId, conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
    ///     match conn.cx().conn(to) {
    ///         Some(mut other) => other.forward(input),
    ///         None => return Action::Close,
    ///     }
    ///     Action::Continue
    /// }
    /// ```
    pub fn forward(&mut self, input: &mut Input<'_>) {
        self.state.forward(self.key, input);
    }

    /// Queues received bytes that were [kept](Input::keep), as [`forward`](Conn::forward) does with
    /// those of a delivery.
    pub fn forward_kept(&mut self, bytes: Kept) {
        self.state.forward_kept(self.key, bytes);
    }

    /// Queues bytes that other connections may share, behind everything queued so far, without
    /// copying them.
    pub fn send_shared(&mut self, bytes: Bytes) {
        self.state.send_shared(self.key, bytes, None);
    }

    /// Output accepted and not yet handed to the kernel, in bytes.
    #[must_use]
    #[inline]
    pub fn out_bytes(&self) -> usize {
        self.slot().unsent()
    }

    /// Whether unsent output is over [`Limits::output_high`](crate::Limits::output_high). A handler
    /// that answers many requests from one delivery stops here and leaves the rest unconsumed: it
    /// is delivered again when the output has drained.
    #[must_use]
    #[inline]
    pub fn is_choked(&self) -> bool {
        self.out_bytes() > self.state.limits.output_high
    }

    /// Whether input is kept back: the connection is paused or has yielded, or its unsent output has
    /// been over its high mark and has not come down to the low one. What a peer sends meanwhile
    /// stays in the kernel, so that its silence says nothing.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.slot().is_held() || self.is_choked()
    }

    /// Whether what is left of this delivery is not this handler's: a callback has given the
    /// connection [away](Conn::handoff), or put a [layer](Conn::add_layer) on, which is to receive it.
    ///
    /// A handler that calls others in turn for parts of one delivery stops here. Otherwise what
    /// somebody has put behind a `STARTTLS` would be taken for what came through TLS.
    #[must_use]
    pub fn is_rest_taken(&self) -> bool {
        self.slot().flags.has(Flags::NEW_LAYER)
            || self.state.installs.iter().any(|install| install.key == self.key)
    }

    /// Closes the connection as [`Action::Close`](crate::Action::Close) does, with a reason of its
    /// own for `on_close`. What the callback returns changes nothing then, unless it is `Abort`.
    pub fn close_for(&mut self, reason: CloseReason) {
        self.state.escalate(self.key, Stage::Closing, reason);
    }

    /// The same connection for a shorter time, to keep it in a value beside something else.
    pub fn reborrow(&mut self) -> Conn<'_> {
        Conn { state: self.state, key: self.key }
    }

    /// What has passed through the connection.
    #[must_use]
    pub fn stats(&self) -> ConnStats {
        self.slot().stats()
    }

    /// Puts a layer on the connection, above those it has: for protocols that change to TLS or
    /// compression in the middle.
    ///
    /// What was appended to [`out`](Conn::out) before leaves without it, what comes after goes
    /// through it; input that this callback leaves unconsumed is received by it, so leave whatever
    /// stands behind the command that asked for the layer: consumed, it would count as protected
    /// and was not. [`on_layered`](Handler::on_layered) follows when the layer is open.
    pub fn add_layer(&mut self, layer: impl Layer) {
        self.state.add_layer(self.key, Box::new(layer));
    }

    /// Whether layers stand between the connection and its socket that still take part.
    #[must_use]
    pub fn is_layered(&self) -> bool {
        self.slot().flags.has(Flags::LAYERED)
    }

    /// What a layer tells about the connection, such as the version and certificates of TLS.
    /// `None` if no layer tells a `T`.
    #[must_use]
    pub fn layer_info<T: Any>(&self) -> Option<&T> {
        self.slot().layered()?.stack.info()
    }

    /// All that can be told of the connection, to be kept.
    #[must_use]
    pub fn info(&self) -> ConnInfo {
        self.state.conn_info(self.key, self.slot())
    }

    /// Wakes the connection from any thread: `on_wake` follows. Unlike
    /// [`Remote::wake`](crate::Remote::wake) it is never refused: wakes that come before the loop has
    /// taken the last one are one. Make it once and clone it; it is harmless when the connection or the
    /// server has gone.
    #[must_use]
    pub fn waker(&self) -> Waker {
        Arc::new(ConnWaker::new(self.state.shared.clone(), self.id())).into()
    }

    /// Calls `on_timer` after `after`, in steps of 1 ms and never early.
    pub fn set_timer(&mut self, after: Duration) -> TimerId {
        self.state.arm_user_timer(self.key, after)
    }

    /// Takes a timer back. Returns whether it had not fired yet.
    pub fn cancel_timer(&mut self, id: TimerId) -> bool {
        self.state.cancel_user_timer(self.key, id)
    }

    /// Closes the connection with [`CloseReason::IdleTimeout`](crate::CloseReason::IdleTimeout)
    /// when no byte passes for `timeout`, in place of
    /// [`Limits::idle_timeout`](crate::Limits::idle_timeout). `None` lifts the timeout.
    pub fn set_idle_timeout(&mut self, timeout: Option<Duration>) {
        let idle_ms = timeout.map_or(0, idle_ms);
        self.slot_mut().idle_ms = idle_ms;
        self.state.keep_guard(self.key);
    }

    /// Gives a connection that is being dialled this long from now on, in place of
    /// [`Limits::dial_timeout`](crate::Limits::dial_timeout). Nothing if it is up.
    pub fn set_dial_timeout(&mut self, timeout: Duration) {
        let until = self.state.tick_after(timeout);
        let slot = self.slot_mut();
        if slot.stage == Stage::Dialing {
            slot.active = until;
            self.state.keep_guard(self.key);
        }
    }

    /// Changes socket options before the next byte leaves. A refusal is logged at debug level.
    pub fn set_options(&mut self, options: SocketOptions) {
        self.state.order(Order::SetOptions { key: self.key, options });
    }

    /// Keeps a graceful stop from closing the connection before the drain deadline (`true`),
    /// because an answer to it is being made elsewhere. Without it, a connection counts as done
    /// when it has no unsent output and no unconsumed input.
    pub fn set_busy(&mut self, busy: bool) {
        let flags = &mut self.slot_mut().flags;
        if busy {
            flags.set(Flags::BUSY)
        } else {
            flags.clear(Flags::BUSY)
        }
        self.state.mark_dirty(self.key);
    }

    /// Ends this side's stream when what is queued has been sent, and goes on receiving. What is
    /// appended after the end is dropped and counted. When the peer's stream has ended too, the
    /// connection is closed.
    pub fn finish(&mut self) {
        self.slot_mut().flags.set(Flags::FINISH);
        self.state.mark_dirty(self.key);
    }

    /// Reads from the connection however much of its output waits (`true`), or not while that is
    /// over [`Limits::output_high`](crate::Limits::output_high) (`false`, the default).
    ///
    /// The default is right where output answers input. A relay, whose output is what another
    /// connection received, pauses that one instead; two relays that both waited for their own
    /// output could wait for each other.
    pub fn set_relay(&mut self, relay: bool) {
        let flags = &mut self.slot_mut().flags;
        if relay {
            flags.set(Flags::RELAY)
        } else {
            flags.clear(Flags::RELAY)
        }
        self.state.mark_dirty(self.key);
    }

    /// Gives the connection to another handler of this loop when the callback has returned. The
    /// present state is dropped without `on_close`; unconsumed input is delivered to the new
    /// handler. Timers stay set and fire there. Of several hand-offs in one callback the last one
    /// counts.
    ///
    /// # Panics
    ///
    /// If `to` is the id of another server's handler.
    pub fn handoff<H: Handler>(&mut self, to: HostId<H>, state: H::State) {
        self.state.check_host(to);
        let (host, state) = (to.index, Box::new(state));
        self.state.installs.push_back(Install { key: self.key, host, state });
    }

    fn slot(&self) -> &ConnSlot {
        match self.state.slots.get(self.key) {
            Some(Slot::Conn(conn)) => conn,
            _ => unreachable!("a connection lives as long as its callback"),
        }
    }

    fn slot_mut(&mut self) -> &mut ConnSlot {
        self.state.conn(self.key).expect("a connection lives as long as its callback")
    }
}

/// At least 1 ms, because 0 stands for none.
pub(crate) fn idle_ms(timeout: Duration) -> u32 {
    u32::try_from(timeout.as_millis().max(1)).unwrap_or(u32::MAX)
}
