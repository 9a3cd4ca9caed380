//! One loop, and one turn of it.
//!
//! ```text
//! flush     orders of the last turn, replies of the last turn        driver calls
//! poll      sleep until an event, a deadline or a wake; deliver       handlers run
//! inbox     work posted by other threads                              handlers run
//! timers    what has become due                                       handlers run
//! pending   callbacks the loop itself owes: wakes, drained, held and yielded input
//! turn_end  on_turn_end of each handler with something to send
//! ```

mod alarm;
pub(crate) mod core;
pub(crate) mod delivery;
mod dispatch;
pub(crate) mod due;
mod flush;
pub(crate) mod layers;
mod life;
pub(crate) mod order;
pub(crate) mod outgoing;

use crate::handler::waker::Turning;
use crate::state::{Life, LoopState};
use crate::turn::core::Core;
use crate::turn::due::Due;
use crate::{Cx, Error, ServerInfo};
use mainspring_io::Driver;
use std::time::Duration;

/// One loop over one driver.
pub(crate) struct Loop<D> {
    pub(crate) driver: D,
    pub(crate) core: Core,
}

impl<D: Driver> Loop<D> {
    pub(crate) fn new(driver: D, state: LoopState) -> Self {
        Self { driver, core: Core { hosts: Vec::new(), state } }
    }

    /// Turns until the server has stopped.
    pub(crate) fn run(&mut self) -> Result<(), Error> {
        let _turning = Turning::begin(&self.core.state.home);
        while self.phases()? {}
        Ok(())
    }

    /// Turns once. `false` when the loop has ended and must not be turned again.
    pub(crate) fn turn(&mut self) -> Result<bool, Error> {
        let _turning = Turning::begin(&self.core.state.home);
        self.phases()
    }

    fn phases(&mut self) -> Result<bool, Error> {
        self.flush();
        if self.is_over() {
            self.core.state.publish();
            return Ok(false);
        }
        let timeout = self.time_to_sleep();
        let state = &mut self.core.state;
        let yielded = state.due.take(Due::YIELDED);
        if yielded {
            std::mem::swap(&mut state.yielded, &mut state.yielded_before);
        }
        self.driver.poll(timeout, &mut self.core).map_err(Error::Driver)?;
        self.core.inbox();
        self.core.timers();
        if yielded {
            self.core.take_up_yielded();
        }
        self.core.pending();
        self.turn_end();
        Ok(true)
    }

    /// Tells the handlers that the server is about to run.
    pub(crate) fn start(&mut self, info: &ServerInfo) -> Result<(), Error> {
        self.core.state.set_now(self.driver.now());
        for host in 0..self.core.hosts.len() as u32 {
            let action = self.core.call(host, &"on_start", |hosted, state| {
                hosted.start(&mut Cx { state, host }, info)
            });
            match action {
                Some(crate::Action::Shutdown) => {
                    self.core.state.shared.control(crate::server::shared::Control::Stop);
                }
                Some(_) => {}
                None => return Err(Error::Panicked("on_start")),
            }
        }
        self.core.first_ticks();
        Ok(())
    }

    fn turn_end(&mut self) {
        let mut next = 0;
        while let Some(host) = self.core.state.outgoing.next_host(next) {
            self.core.call(host, &"on_turn_end", |hosted, state| {
                hosted.turn_end(&mut Cx { state, host })
            });
            // What `on_turn_end` itself appended leaves with the rest and needs no second call.
            self.core.state.outgoing.clear_host(host);
            next = host + 1;
        }
        if self.core.state.traffic {
            self.core.state.counters.turns.add(1);
            if self.core.state.due.take(Due::TICKS) {
                self.core.hasten_ticks();
            }
        }
    }

    /// `None` until something happens, zero if something waits.
    fn time_to_sleep(&mut self) -> Option<Duration> {
        let state = &mut self.core.state;
        let now = self.driver.now();
        state.note_turn_end(now);
        state.publish();
        let waits = state.due.any(Due::SOON)
            || !state.outgoing.sockets.is_empty()
            || state.timers.has_due()
            || state.home.has_woken_handlers()
            || state.home.inbox.is_notified();
        if waits {
            return Some(Duration::ZERO);
        }
        let to_timer = state.next_timer().map(|at| at.saturating_duration_since(now));
        if !state.due.any(Due::GUARDS) {
            return to_timer;
        }
        // Sends that are still under way after this sleep get their guards: in time, if it is short.
        let to_guard = state.limits.write_timeout;
        to_timer.into_iter().chain(to_guard).min()
    }

    fn is_over(&self) -> bool {
        let state = &self.core.state;
        state.life > Life::Running && state.slots.len() == 0
    }
}

impl LoopState {
    /// Makes figures that are sums rather than counts readable.
    fn publish(&mut self) {
        self.count_overflow();
        self.counters.connections.set(self.conns_open as u64);
        self.counters.buffered_bytes.set(self.buffered as u64);
    }
}
