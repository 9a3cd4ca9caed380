//! How a loop ends.

use crate::conn::slot::{Slot, Stage};
use crate::remote::post::Post;
use crate::server::shared::Control;
use crate::state::{Alarm, Life};
use crate::turn::core::Core;
use crate::turn::order::Order;
use crate::{CloseReason, Cx};
use mainspring_io::Key;

impl Core {
    /// Does what the server was told to do. Lives only go on: a drain does not take a stop back.
    pub(crate) fn control(&mut self, control: Control) {
        match control {
            Control::StopListening => self.stop_listening(),
            Control::CloseAll => self.close_all(CloseReason::Local),
            Control::Drain => self.drain(),
            Control::Stop => self.stop(),
            Control::Abort => self.abort(),
        }
    }

    /// The loop is over: what is still queued for it comes too late, is counted, and whoever waits
    /// for a completion learns it.
    pub(crate) fn refuse_posts(&mut self) {
        let (shared, home) = (self.state.shared.clone(), self.state.home.clone());
        home.close();
        while let Some(post) = home.inbox.pop() {
            let counters = &self.state.counters;
            match &post {
                Post::Send { .. } => counters.dropped_sends.add(1),
                Post::Broadcast { keys, .. } => counters.dropped_sends.add(keys.len() as u64),
                Post::Cast { channel, keys, .. } => {
                    channel.note_refused(self.state.index, keys.len() as u64);
                }
                Post::Adopt { .. } => {
                    counters.refused.add(1);
                    shared.release_connection(self.state.index);
                }
                _ => {}
            }
            // Dropping a send calls its completion, and dropping work drops what it has captured.
            let dropped = crate::panic::caught(|| drop(post));
            crate::panic::count(dropped, &self.state.counters, &"queued post");
        }
        while let Ok(work) = home.finished.pop() {
            let dropped = crate::panic::caught(|| drop(work));
            crate::panic::count(dropped, &self.state.counters, &"answer of the offload pool");
        }
    }

    fn drain(&mut self) {
        if self.state.life >= Life::Draining {
            return;
        }
        self.state.life = Life::Draining;
        self.stop_listening();
        self.close_datagrams();
        self.arm_drain_deadline();
        for host in 0..self.hosts.len() as u32 {
            self.call(host, &"on_drain", |hosted, state| hosted.drain(&mut Cx { state, host }));
        }
        for key in self.conns() {
            self.state.mark_dirty(key);
        }
    }

    fn stop(&mut self) {
        if self.state.life >= Life::Stopping {
            return;
        }
        if self.state.life < Life::Draining {
            self.arm_drain_deadline();
        }
        self.state.life = Life::Stopping;
        self.stop_listening();
        self.close_datagrams();
        self.close_all(CloseReason::Shutdown);
    }

    /// Ends everything as it is.
    fn abort(&mut self) {
        self.stop();
        self.cut();
    }

    /// The drain time is over: nothing is waited for any more.
    pub(crate) fn cut(&mut self) {
        let reason = match self.state.life {
            Life::Draining => CloseReason::DrainTimeout,
            _ => CloseReason::Shutdown,
        };
        self.state.life = Life::Cutting;
        for key in self.conns() {
            self.state.escalate(key, Stage::Aborting, reason);
        }
    }

    fn arm_drain_deadline(&mut self) {
        let deadline = self.state.tick_after(self.state.shared.drain);
        self.state.timers.arm(deadline, Alarm::DrainOver);
    }

    fn stop_listening(&mut self) {
        for nth in 0..self.state.listeners.len() {
            if let Some(key) = self.state.listeners[nth].key.take() {
                self.state.order(Order::CloseSocket { key });
            }
        }
    }

    fn close_datagrams(&mut self) {
        let sockets = self.state.slots.iter().filter(|(_, slot)| matches!(slot, Slot::Datagram(_)));
        let keys: Vec<Key> = sockets.map(|(key, _)| key).collect();
        keys.into_iter().for_each(|key| self.state.order(Order::CloseSocket { key }));
    }

    fn close_all(&mut self, reason: CloseReason) {
        for key in self.conns() {
            self.state.escalate(key, Stage::Closing, reason);
        }
    }

    fn conns(&self) -> Vec<Key> {
        let conns = self.state.slots.iter().filter(|(_, slot)| matches!(slot, Slot::Conn(_)));
        conns.map(|(key, _)| key).collect()
    }
}
