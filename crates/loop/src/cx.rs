//! The rest of the loop inside a callback.

use crate::conn::slot::{Flags, Slot, Stage};
use crate::server::shared::Control;
use crate::state::LoopState;
use crate::{
    BroadcastLimits, Broadcaster, CloseReason, Conn, ConnId, Datagram, Handle, Handler, HostId,
    Limits, LoopStats, Remote, TimerId,
};
use bytes::Bytes;
use mainspring_io::Key;
use std::task::Waker;
use std::time::{Duration, Instant};

/// The loop that a callback runs on, without the connection it was called for.
///
/// All of it is for this loop only and takes effect at once or after the callback; ids of other
/// loops are answered with `None` or `false`. For those there is [`Remote`].
pub struct Cx<'a> {
    pub(crate) state: &'a mut LoopState,
    /// The handler that is being called.
    pub(crate) host: u32,
}

impl Cx<'_> {
    /// The time at which the turn began, by the driver's clock.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.state.now()
    }

    /// This loop, counted from 0.
    #[must_use]
    pub fn loop_index(&self) -> usize {
        self.state.index.into()
    }

    /// The number of the present turn, counted from 1; 0 before the first.
    #[must_use]
    pub fn turn(&self) -> u64 {
        self.state.counters.wakeups.get()
    }

    /// Another connection of this loop, if it is open or being dialled. What is appended to the
    /// output of one that is being dialled leaves when it is up.
    pub fn conn(&mut self, id: ConnId) -> Option<Conn<'_>> {
        let key = self.state.key_of(id)?;
        Some(Conn { state: self.state, key })
    }

    /// A datagram socket of this loop, by the id that [`Cx::connect`] or [`Datagram::id`] told.
    pub fn datagram(&mut self, id: ConnId) -> Option<Datagram<'_>> {
        if id.home != self.state.index {
            return None;
        }
        self.state.datagram(id.key)?;
        Some(Datagram { state: self.state, key: id.key, from: None })
    }

    /// The open connections of this loop, all handlers together.
    #[must_use]
    pub fn connections(&self) -> Vec<ConnId> {
        let open = |slot: &Slot| matches!(slot, Slot::Conn(conn) if conn.is_open());
        self.state
            .slots
            .iter()
            .filter(|(_, slot)| open(slot))
            .map(|(key, _)| self.state.id_of(key))
            .collect()
    }

    /// Delivers input again to a connection that was paused. `false` if it is not open here.
    pub fn resume(&mut self, id: ConnId) -> bool {
        self.with_key(id, LoopState::resume)
    }

    /// Delivers no more input to a connection until it is resumed. `false` if it is not open here.
    pub fn pause(&mut self, id: ConnId) -> bool {
        self.with_key(id, |state, key| {
            if let Some(conn) = state.conn(key) {
                conn.flags.set(Flags::PAUSED);
            }
            state.mark_dirty(key);
        })
    }

    /// Has `on_wake` called for a connection. `false` if it is not open here.
    pub fn wake(&mut self, id: ConnId) -> bool {
        self.with_key(id, |state, key| state.owe(key, Flags::WOKEN))
    }

    /// Closes a connection after its output has been sent. `false` if it is not open here.
    pub fn close(&mut self, id: ConnId) -> bool {
        self.with_key(id, |state, key| state.escalate(key, Stage::Closing, CloseReason::Local))
    }

    /// Resets a connection. `false` if it is not open here.
    pub fn abort(&mut self, id: ConnId) -> bool {
        self.with_key(id, |state, key| state.escalate(key, Stage::Aborting, CloseReason::Aborted))
    }

    /// Queues the same bytes on many connections of this loop without copying them. Returns how
    /// many took them; ids that are not open here are left out.
    pub fn broadcast(&mut self, bytes: &Bytes, to: &[ConnId]) -> usize {
        let mut taken = 0;
        for id in to {
            if let Some(mut conn) = self.conn(*id) {
                conn.send_shared(bytes.clone());
                taken += 1;
            }
        }
        taken
    }

    /// The id of the handler that is being called, to dial, to hand connections to, or to make a
    /// [`Remote`] from.
    ///
    /// # Panics
    ///
    /// If the handler being called is not an `H`.
    #[must_use]
    pub fn this<H: Handler>(&self) -> HostId<H> {
        let this = HostId::new(self.host);
        self.state.check_host(this);
        this
    }

    /// Whether the handler that is being called is an `H`: one that is part of another handler is
    /// not, and has no id of its own.
    #[must_use]
    pub fn is_this<H: Handler>(&self) -> bool {
        self.state.hosts[self.host as usize].handler == std::any::TypeId::of::<H>()
    }

    /// The way to a handler of this loop, and to every connection of the server, from any thread.
    #[must_use]
    pub fn remote<H: Handler>(&self, host: HostId<H>) -> Remote<H> {
        Remote::new(self.state.shared.clone(), self.state.index, host)
    }

    /// Wakes the handler that is being called, from any thread: its
    /// [`on_notify`](Handler::on_notify) follows on this loop, in this turn if the loop has not come
    /// past its wakes yet. Never refused: wakes that come before the handler is called are one call.
    /// Harmless when the server has ended. From within a turn of this loop a wake costs one flag.
    #[must_use]
    pub fn waker(&mut self) -> Waker {
        self.state.handler_waker(self.host).into()
    }

    /// Calls [`on_alarm`](Handler::on_alarm) of the handler that is being called, after `after`, in
    /// steps of 1 ms and never early. Timers do not keep a server from ending.
    pub fn set_timer(&mut self, after: Duration) -> TimerId {
        self.state.arm_handler_timer(self.host, after)
    }

    /// Takes a timer of this handler back. Returns whether it had not fired yet.
    pub fn cancel_timer(&mut self, id: TimerId) -> bool {
        self.state.cancel_handler_timer(self.host, id)
    }

    /// The limits of the server.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.state.limits
    }

    /// As [`Remote::broadcaster`].
    #[must_use]
    pub fn broadcaster(&self, limits: BroadcastLimits) -> Broadcaster {
        Broadcaster::new(self.state.shared.clone(), limits)
    }

    /// Closes the listeners of this server on all loops; open connections go on.
    pub fn stop_listening(&mut self) {
        self.state.shared.control(Control::StopListening);
    }

    /// Stops the server as [`Action::Shutdown`](crate::Action::Shutdown) does.
    pub fn shutdown(&mut self) {
        self.state.shared.control(Control::Stop);
    }

    /// Starts a graceful stop as [`Handle::drain`](crate::Handle::drain) does.
    pub fn drain(&mut self) {
        self.state.shared.control(Control::Drain);
    }

    /// The handle to the whole server: its figures, and the ways to stop it.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle { shared: self.state.shared.clone() }
    }

    /// What this loop has counted.
    #[must_use]
    pub fn stats(&self) -> LoopStats {
        self.state.counters.snapshot()
    }

    /// The next number of the loop's random sequence, which the server's seed determines. Not for
    /// secrets.
    pub fn random(&mut self) -> u64 {
        self.state.rng.u64(..)
    }

    fn with_key(&mut self, id: ConnId, act: impl FnOnce(&mut LoopState, Key)) -> bool {
        let key = self.state.key_of(id);
        key.inspect(|key| act(self.state, *key)).is_some()
    }
}
