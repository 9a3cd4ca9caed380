//! What the handlers of a world have seen, and the laws that each callback is held to.
//!
//! A panic in a callback would be caught by the loop, so a broken law is written down; the run
//! looks after every round.

use super::plan::{Kind, Plan};
use super::service::Service;
use mainspring_io::Addr;
use mainspring_loop::{CloseReason, ConnId, Remote, TimerId};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The ledger as handlers, scripts and completion callbacks share it, on whichever threads.
#[derive(Clone)]
pub(super) struct Book(Arc<Mutex<Ledger>>);

/// Everything that was seen.
pub(super) struct Ledger {
    pub(super) plan: Arc<Plan>,
    pub(super) conns: Vec<Record>,
    /// The way to each handler, by loop.
    pub(super) remotes: BTreeMap<(usize, Kind), Remote<Service>>,
    living: BTreeMap<ConnId, usize>,
    by_peer: HashMap<(usize, Addr), usize>,
    /// Members of the room.
    pub(super) room: Vec<ConnId>,
    /// Bytes that handlers gave to connections, in whichever way, and that were accepted.
    pub(super) offered: u64,
    pub(super) panics: u64,
    pub(super) refused: u64,
    /// Sends to the connection of the callback that came too late: counted as dropped, by number.
    pub(super) shared_lost: u64,
    pub(super) completions_owed: u64,
    pub(super) completions: u64,
    pub(super) completions_sent: u64,
    /// Posts, sends and wakes answered with `Full`.
    pub(super) full: u64,
    pub(super) callbacks: u64,
    pub(super) ticks: u64,
    /// Calls of `on_drained`.
    pub(super) drained: u64,
    pub(super) datagram_replies: u64,
    /// The server was told to end, by the script or by a handler.
    pub(super) told_to_end: bool,
    pub(super) told_to_drain: bool,
    pub(super) told_to_close_all: bool,
    failures: Vec<String>,
}

/// One connection of the server.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) id: ConnId,
    pub(super) kind: Kind,
    /// The kind that accepted it, before any hand-off.
    pub(super) origin: Kind,
    pub(super) dialled: bool,
    pub(super) up: bool,
    /// It has a state, for which one end must be told.
    pub(super) has_state: bool,
    pub(super) paused: bool,
    /// Input may be held back since the last delivery.
    pub(super) held: bool,
    /// Somebody else resumes it at a time of chance: nothing can be said about pauses.
    pub(super) resumed_by_others: bool,
    pub(super) eof: bool,
    pub(super) ended: bool,
    pub(super) detached: bool,
    pub(super) reason: Option<CloseReason>,
    pub(super) offered: u64,
    /// Of those, bytes that reach the connection at a time of chance.
    offered_later: u64,
    /// What was offered and unsent at the last call of `on_drained`.
    offered_at_drained: u64,
    unsent_at_drained: u64,
    pub(super) bytes_in: u64,
    /// Sends of which a completion is to tell the end, and how many ended well.
    pub(super) notified: (u64, u64),
    /// A handler did something that excuses an answer cut short.
    pub(super) excused: bool,
    timers: Vec<(TimerId, Instant)>,
    /// The last delivery, from which an idle timeout may count at the earliest.
    active: Instant,
    idle: Option<std::time::Duration>,
}

impl Book {
    pub(super) fn new(plan: Arc<Plan>) -> Self {
        Self(Arc::new(Mutex::new(Ledger::new(plan))))
    }

    pub(super) fn open(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    fn new(plan: Arc<Plan>) -> Self {
        Self {
            plan,
            conns: Vec::new(),
            remotes: BTreeMap::new(),
            living: BTreeMap::new(),
            by_peer: HashMap::new(),
            room: Vec::new(),
            offered: 0,
            panics: 0,
            refused: 0,
            shared_lost: 0,
            completions_owed: 0,
            completions: 0,
            completions_sent: 0,
            full: 0,
            callbacks: 0,
            ticks: 0,
            drained: 0,
            datagram_replies: 0,
            told_to_end: false,
            told_to_drain: false,
            told_to_close_all: false,
            failures: Vec::new(),
        }
    }

    pub(super) fn fail(&mut self, what: impl Into<String>) {
        if self.failures.len() < FAILURES_KEPT {
            self.failures.push(what.into());
        }
    }

    pub(super) fn check(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            let what = what();
            self.fail(what);
        }
    }

    pub(super) fn failures(&self) -> &[String] {
        &self.failures
    }

    /// A connection was accepted, by which listener and from whom, or is being dialled. Returns its
    /// token.
    pub(super) fn add(
        &mut self,
        id: ConnId,
        kind: Kind,
        accepted: Option<(usize, Addr)>,
        now: Instant,
    ) -> usize {
        let token = self.conns.len();
        let known = self.living.insert(id, token);
        self.check(known.is_none(), || format!("the id {id} names two living connections"));
        self.conns.push(Record {
            id,
            kind,
            origin: kind,
            dialled: accepted.is_none(),
            up: accepted.is_some(),
            has_state: false,
            paused: false,
            held: false,
            resumed_by_others: false,
            eof: false,
            ended: false,
            detached: false,
            reason: None,
            offered: 0,
            offered_later: 0,
            offered_at_drained: 0,
            unsent_at_drained: 0,
            bytes_in: 0,
            notified: (0, 0),
            excused: false,
            timers: Vec::new(),
            active: now,
            idle: self.plan.limits.idle_timeout,
        });
        if let Some(peer) = accepted {
            // Clients come first: an address that is used again is that of a connection from
            // elsewhere.
            self.by_peer.entry(peer).or_insert(token);
        }
        token
    }

    /// The connection that a listener accepted from this peer.
    pub(super) fn record_of_peer(&self, listener: usize, peer: &Addr) -> Option<&Record> {
        self.by_peer.get(&(listener, peer.clone())).map(|token| &self.conns[*token])
    }

    pub(super) fn record_of(&mut self, id: ConnId) -> Option<&mut Record> {
        self.living.get(&id).map(|token| &mut self.conns[*token])
    }

    /// A callback about a connection begins.
    pub(super) fn enter(
        &mut self,
        token: usize,
        id: ConnId,
        what: &'static str,
        now: Instant,
        bytes_in: u64,
    ) {
        self.callbacks += 1;
        let record = &mut self.conns[token];
        let fresh = bytes_in > record.bytes_in;
        let of_input = matches!(what, "on_data" | "on_eof");
        let paused = record.paused && !record.resumed_by_others;
        let broken = [
            (record.id == id, "its state is at another connection"),
            (!record.ended, "its end has been told"),
            (record.has_state, "it has no state"),
            (record.up || what == "on_connected", "it is not up"),
            (!(paused && of_input), "it is paused"),
            (!(record.eof && of_input), "its end of stream was told"),
        ];
        match what {
            // What was held back may have come long ago.
            "on_data" if fresh && !std::mem::take(&mut record.held) => record.active = now,
            "on_connected" => (record.up, record.active) = (true, now),
            "on_eof" => record.eof = true,
            _ => {}
        }
        if let Some((_, why)) = broken.iter().find(|(holds, _)| !holds) {
            let text = format!("{what} for {id} ({:?}), but {why}", record.kind);
            self.fail(text);
        }
    }

    /// Bytes were accepted for a connection.
    pub(super) fn offer(&mut self, id: ConnId, bytes: usize) {
        self.offered += bytes as u64;
        if let Some(record) = self.record_of(id) {
            record.offered += bytes as u64;
        }
    }

    /// Bytes were accepted for a connection, which has them when its loop has looked at its inbox.
    pub(super) fn offer_later(&mut self, id: ConnId, bytes: usize) {
        self.offer(id, bytes);
        if let Some(record) = self.record_of(id) {
            record.offered_later += bytes as u64;
        }
    }

    /// `on_drained` was called, with so much unsent.
    pub(super) fn drained(&mut self, token: usize, unsent: usize) {
        self.drained += 1;
        let high = self.plan.limits.output_high as u64;
        let record = &mut self.conns[token];
        let fresh = record.offered - record.offered_at_drained;
        let most = fresh + record.unsent_at_drained + record.offered_later;
        record.offered_at_drained = record.offered;
        record.unsent_at_drained = unsent as u64;
        let id = record.id;
        self.check(most > high, || {
            format!("on_drained for {id}, which cannot have been over {high} bytes, but {most}")
        });
    }

    pub(super) fn arm(&mut self, token: usize, id: TimerId, due: Instant) {
        self.conns[token].timers.push((id, due));
    }

    /// A timer was cancelled; `taken` says that it had not fired.
    pub(super) fn disarm(&mut self, token: usize, id: TimerId, taken: bool) {
        let timers = &mut self.conns[token].timers;
        let place = timers.iter().position(|(timer, _)| *timer == id);
        if let Some(place) = place {
            timers.swap_remove(place);
        }
        self.check(taken == place.is_some(), || format!("cancelling {id:?} says {taken}"));
    }

    pub(super) fn timer(&mut self, token: usize, id: TimerId, now: Instant) {
        let timers = &mut self.conns[token].timers;
        let place = timers.iter().position(|(timer, _)| *timer == id);
        match place.map(|place| timers.swap_remove(place).1) {
            Some(due) => self.check(now >= due, || format!("{id:?} is early by {:?}", due - now)),
            None => self.fail(format!("{id:?} fired, but is not armed")),
        }
    }

    /// A timer of the connection that may be cancelled.
    pub(super) fn some_timer(&self, token: usize) -> Option<TimerId> {
        self.conns[token].timers.first().map(|(id, _)| *id)
    }

    pub(super) fn set_idle(&mut self, token: usize, idle: Option<std::time::Duration>) {
        self.conns[token].idle = idle;
    }

    /// The end of a connection with a state is told.
    pub(super) fn end(
        &mut self,
        token: usize,
        id: ConnId,
        reason: Option<CloseReason>,
        now: Option<Instant>,
    ) {
        self.callbacks += 1;
        let record = &mut self.conns[token];
        let twice = std::mem::replace(&mut record.ended, true);
        let (same, has_state, idle) = (record.id == id, record.has_state, record.idle);
        record.detached = reason.is_none();
        record.reason = reason;
        let now = now.unwrap_or(record.active);
        let idle_for = now.saturating_duration_since(record.active);
        self.living.remove(&id);
        self.room.retain(|member| *member != id);
        self.check(!twice, || format!("the end of {id} is told twice"));
        self.check(same && has_state, || format!("the end of {id} is told to another state"));
        if reason == Some(CloseReason::IdleTimeout) {
            // Whole milliseconds, and a tick may have begun before the callback.
            let least = idle.unwrap_or_default();
            let shown = format!("{:?}", self.conns[token]);
            self.check(idle.is_some() && idle_for + MILLISECOND >= least, || {
                format!("{id} is idle after {idle_for:?}, allowed are {idle:?}: {shown}")
            });
        }
        self.check_reason(token);
    }

    /// A connection that never got a state is forgotten: no end will be told.
    pub(super) fn stateless(&mut self, token: usize) {
        let record = &mut self.conns[token];
        record.ended = true;
        let id = record.id;
        self.living.remove(&id);
    }

    /// Whether the world can have been a reason to end the connection so.
    fn check_reason(&mut self, token: usize) {
        let plan = self.plan.clone();
        let record = &self.conns[token];
        let Some(reason) = record.reason else { return };
        let chaotic = record.origin == Kind::Chaos;
        let possible = match reason {
            CloseReason::Peer => record.eof || chaotic,
            CloseReason::Local => {
                let closes = matches!(record.kind, Kind::Proxy | Kind::Worker);
                chaotic || closes || self.told_to_close_all
            }
            CloseReason::Aborted => {
                chaotic || (plan.tight && matches!(record.kind, Kind::Worker | Kind::Proxy))
            }
            CloseReason::Shutdown => self.told_to_end || self.told_to_drain,
            CloseReason::DrainTimeout => self.told_to_drain,
            CloseReason::IdleTimeout => record.idle.is_some(),
            CloseReason::WriteTimeout => plan.stubborn,
            CloseReason::DialTimeout => record.dialled,
            CloseReason::SlowConsumer => plan.tight,
            CloseReason::InputTooLong => false,
            CloseReason::Panicked => plan.panics && chaotic,
            CloseReason::Failed(_) => {
                let relays = plan.kinds.contains(&Kind::Proxy);
                let calm = plan.polite && !plan.stubborn && !plan.is_harmful() && !plan.tight;
                !calm || relays || plan.early.is_some()
            }
            _ => true,
        };
        if !possible {
            let text =
                format!("{} ended by {reason:?}, which nothing explains: {record:?}", record.id);
            self.fail(text);
        }
    }
}

const FAILURES_KEPT: usize = 8;
const MILLISECOND: std::time::Duration = std::time::Duration::from_millis(1);
