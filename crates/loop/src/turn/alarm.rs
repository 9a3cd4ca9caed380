//! What happens when a timer fires: deadlines of connections, timers of handlers, ticks.

use crate::conn::slot::{Flags, Slot, Stage};
use crate::handler::host::Event;
use crate::state::{Alarm, LoopState, Ticking};
use crate::turn::core::Core;
use crate::turn::due::Due;
use crate::{CloseReason, Cx, Tick, TimerId};
use mainspring_io::Key;
use std::time::Duration;

impl Core {
    /// Moves the timers on, and fires those that are due.
    #[inline(always)]
    pub(crate) fn timers(&mut self) {
        let tick = self.state.tick();
        self.state.timers.advance(tick);
        if self.state.timers.has_due() {
            self.fire();
        }
    }

    /// Fires a bounded number of due timers.
    #[inline(never)]
    fn fire(&mut self) {
        for _ in 0..self.state.limits.posts_per_turn {
            let Some((id, alarm)) = self.state.timers.first_due() else { break };
            if let Alarm::User(key) = alarm
                && self.state.cancel_user_timer(key, id)
            {
                self.event(key, Event::Timer(id));
                continue;
            }
            self.state.timers.cancel(id);
            match alarm {
                Alarm::Guard(key) => self.guard(key),
                // A timer ends with its connection.
                Alarm::User(_) => {}
                Alarm::Handler(host) => self.handler_timer(host, id),
                Alarm::Tick(host) => self.tick(host),
                Alarm::Late(key) => self.state.late(key),
                Alarm::DrainOver => self.cut(),
            }
        }
    }

    /// A connection's guard fired: its deadline has come, or has moved on since the guard was
    /// armed.
    fn guard(&mut self, key: Key) {
        let (now, write_timeout_ms) = (self.state.tick(), self.state.write_timeout_ms);
        let Some(Slot::Conn(conn)) = self.state.slots.get_mut(key) else { return };
        (conn.guard, conn.guard_at) = (None, u64::MAX);
        if conn.deadline(write_timeout_ms).is_none_or(|deadline| deadline > now) {
            return self.state.keep_guard(key);
        }
        let waiting = conn.flags.has(Flags::WAITING);
        let unlayered = conn.handshake_deadline().is_some_and(|deadline| deadline <= now);
        let (stage, reason) = match conn.stage {
            Stage::Dialing => (Stage::Aborting, CloseReason::DialTimeout),
            Stage::Lingering => {
                // As if the peer had ended: a reset could destroy a reply that it has yet to read.
                conn.flags.set(Flags::EOF);
                conn.flags.clear(Flags::ENDED_ABOVE);
                return self.state.mark_dirty(key);
            }
            _ if unlayered && waiting => (Stage::Aborting, CloseReason::HandshakeTimeout),
            _ if unlayered => (Stage::Closing, CloseReason::HandshakeTimeout),
            _ if waiting => (Stage::Aborting, CloseReason::WriteTimeout),
            _ => (Stage::Closing, CloseReason::IdleTimeout),
        };
        self.state.escalate(key, stage, reason);
    }

    fn handler_timer(&mut self, host: u32, id: TimerId) {
        self.call(host, &"on_alarm", |hosted, state| hosted.alarm(&mut Cx { state, host }, id));
    }

    /// The first tick of each handler comes right after the start.
    pub(crate) fn first_ticks(&mut self) {
        let now = self.state.tick();
        for host in 0..self.hosts.len() {
            if self.state.index == 0 || self.state.hosts[host].ticks_on_every_loop {
                self.state.timers.arm(now, Alarm::Tick(host as u32));
                self.state.hosts[host].tick = Ticking::Armed;
            }
        }
    }

    fn tick(&mut self, host: u32) {
        self.state.hosts[host as usize].tick = Ticking::Stopped;
        let next =
            self.call(host, &"on_tick", |hosted, state| hosted.tick(&mut Cx { state, host }));
        let ticking = match next {
            Some(Tick::After(delay)) => {
                // No delay is no sleep: the present tick is due in the next turn, the one after
                // only with time.
                let next =
                    if delay.is_zero() { self.state.tick() } else { self.state.tick_after(delay) };
                self.state.timers.arm(next, Alarm::Tick(host));
                Ticking::Armed
            }
            Some(Tick::Adaptive { busy, idle }) => {
                let timer = self.state.timers.arm(self.state.tick_after(idle), Alarm::Tick(host));
                self.state.due.set(Due::TICKS);
                Ticking::Adaptive { timer, earliest: self.state.tick_after(busy) }
            }
            Some(Tick::Stop) | None => Ticking::Stopped,
        };
        self.state.hosts[host as usize].tick = ticking;
    }

    /// There was traffic: brings adaptive ticks forward.
    pub(crate) fn hasten_ticks(&mut self) {
        for host in 0..self.hosts.len() {
            if let Ticking::Adaptive { timer, earliest } = self.state.hosts[host].tick
                && self.state.timers.cancel(timer).is_some()
            {
                self.state.timers.arm(earliest, Alarm::Tick(host as u32));
                self.state.hosts[host].tick = Ticking::Armed;
            }
        }
    }
}

/// Timers that handlers set. Those of a connection are taken back when it ends.
impl LoopState {
    pub(crate) fn arm_user_timer(&mut self, key: Key, after: Duration) -> TimerId {
        let tick = self.tick_after(after);
        let Some(Slot::Conn(conn)) = self.slots.get_mut(key) else {
            unreachable!("a connection lives as long as its callback");
        };
        self.timers.arm_in(&mut conn.timers, tick, Alarm::User(key))
    }

    pub(crate) fn cancel_user_timer(&mut self, key: Key, id: TimerId) -> bool {
        match (self.timers.payload(id), self.slots.get_mut(key)) {
            (Some(Alarm::User(owner)), Some(Slot::Conn(conn))) if owner == key => {
                self.timers.cancel_in(&mut conn.timers, id).is_some()
            }
            _ => false,
        }
    }

    pub(crate) fn arm_handler_timer(&mut self, host: u32, after: Duration) -> TimerId {
        self.timers.arm(self.tick_after(after), Alarm::Handler(host))
    }

    pub(crate) fn cancel_handler_timer(&mut self, host: u32, id: TimerId) -> bool {
        match self.timers.payload(id) {
            Some(Alarm::Handler(owner)) if owner == host => self.timers.cancel(id).is_some(),
            _ => false,
        }
    }
}
