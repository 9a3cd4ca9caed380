//! What the handlers of a world have seen, and the laws that each callback is held to.
//!
//! A panic in a callback would be caught by the loop, so a broken law is written down; the run
//! looks after every round.

use super::feed::Feed;
use super::links::LinkRecord;
use super::plan::{Kind, Plan};
use super::service::Service;
use mainspring_io::Addr;
use mainspring_loop::{
    BroadcastLimits, CloseReason, ConnId, FrameMeter, LinkChange, Remote, SlowPolicy, TimerId,
};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

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
    /// Those whom the feeds are for.
    pub(super) hall: Vec<ConnId>,
    pub(super) feeds: Vec<Feed>,
    pub(super) links: Vec<LinkRecord>,
    pub(super) frame_meters: Vec<FrameMeter>,
    pub(super) frames: u64,
    pub(super) frames_discarded: u64,
    /// Layers that opened in the middle of a connection.
    pub(super) layered: u64,
    pub(super) tasks: u64,
    /// What tasks wrote and their connections did not take, as their handlers count it.
    pub(super) task_bytes_dropped: u64,
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
    /// Bytes for the handler, and bytes from the socket.
    pub(super) bytes_in: u64,
    pub(super) wire_in: u64,
    /// A task has answered everything up to the peer's end.
    pub(super) served: bool,
    /// The client has read to the end of the stream.
    pub(super) read_to_end: bool,
    /// Sends of which a completion is to tell the end, and how many ended well.
    pub(super) notified: (u64, u64),
    /// A handler did something that excuses an answer cut short.
    pub(super) excused: bool,
    timers: Vec<(TimerId, Instant)>,
    /// The last delivery, from which an idle timeout may count at the earliest.
    active: Option<Instant>,
    idle: Option<Duration>,
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
        let links = plan.links.iter().map(LinkRecord::new).collect();
        Self {
            plan,
            conns: Vec::new(),
            remotes: BTreeMap::new(),
            living: BTreeMap::new(),
            by_peer: HashMap::new(),
            room: Vec::new(),
            hall: Vec::new(),
            feeds: Vec::new(),
            links,
            frame_meters: Vec::new(),
            frames: 0,
            frames_discarded: 0,
            layered: 0,
            tasks: 0,
            task_bytes_dropped: 0,
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
        now: Option<Instant>,
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
            wire_in: 0,
            served: false,
            read_to_end: false,
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

    /// The client of a connection has read to the end, or has not.
    pub(super) fn read_to_end(&mut self, listener: usize, peer: &Addr, has: bool) {
        if let Some(token) = self.by_peer.get(&(listener, peer.clone())) {
            self.conns[*token].read_to_end = has;
        }
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
            "on_data" if fresh && !std::mem::take(&mut record.held) => record.active = Some(now),
            "on_connected" => (record.up, record.active) = (true, Some(now)),
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

    /// A broadcaster has got bytes for a connection, which may come to it, and may be given up.
    pub(super) fn cast(&mut self, id: ConnId, bytes: usize) {
        if let Some(record) = self.record_of(id) {
            record.offered += bytes as u64;
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
        let (id, origin) = (record.id, record.origin);
        // What layers make of bytes may be more of them.
        let layered = record.dialled || !self.plan.coat(origin).is_empty();
        self.check(most > high || layered, || {
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

    pub(super) fn set_idle(&mut self, token: usize, idle: Option<Duration>) {
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
        let since = record.active.zip(now);
        let idle_for =
            since.map_or(Duration::MAX, |(since, now)| now.saturating_duration_since(since));
        self.living.remove(&id);
        self.room.retain(|member| *member != id);
        self.hall.retain(|member| *member != id);
        self.check(!twice, || format!("the end of {id} is told twice"));
        self.check(same && has_state, || format!("the end of {id} is told to another state"));
        if reason == Some(CloseReason::IdleTimeout) {
            // Whole milliseconds, and a tick may have begun before the callback.
            let least = idle.unwrap_or_default();
            let shown = format!("{:?}", self.conns[token]);
            let late = idle_for.saturating_add(MILLISECOND) >= least;
            self.check(idle.is_some() && late, || {
                format!("{id} is idle after {idle_for:?}, allowed are {idle:?}: {shown}")
            });
        }
        self.check_reason(token);
    }

    /// The connection of a task ends; the task is told next.
    pub(super) fn end_of_task(&mut self, id: ConnId, reason: CloseReason) {
        // A task that is done has told its own end before.
        let token = self.conns.iter().rposition(|record| record.id == id);
        let Some(token) = token else { return self.fail(format!("{id} ends, but had no task")) };
        let twice = self.conns[token].reason.replace(reason);
        self.check(twice.is_none(), || format!("the end of {id} is told twice"));
        self.check_reason(token);
    }

    /// The task of a connection is dropped.
    pub(super) fn end_task(&mut self, token: usize, id: ConnId, served: bool) {
        self.tasks += 1;
        let record = &mut self.conns[token];
        let twice = std::mem::replace(&mut record.ended, true);
        (record.served, record.eof) = (served, served);
        self.living.remove(&id);
        self.check(!twice, || format!("the task of {id} ends twice"));
    }

    /// A link is dialled.
    pub(super) fn dial_link(&mut self, number: usize, now: Instant) {
        let result = self.links[number].watch.dialled(now);
        self.judge_link(number, result);
    }

    /// Something has become of a link.
    pub(super) fn change_link(&mut self, number: usize, now: Instant, change: &LinkChange) {
        let is_ending = self.told_to_end || self.told_to_drain;
        let result = self.links[number].watch.changed(now, change, is_ending);
        self.judge_link(number, result);
    }

    fn judge_link(&mut self, number: usize, result: Result<(), String>) {
        if let Err(broken) = result {
            self.fail(format!("link {number}: {broken}"));
        }
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
            CloseReason::Peer => record.eof || chaotic || record.kind == Kind::Tasks,
            CloseReason::Local => {
                let closes =
                    matches!(record.kind, Kind::Proxy | Kind::Worker | Kind::Link | Kind::Tasks);
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
            CloseReason::SlowConsumer => {
                let disconnects =
                    |limits: &BroadcastLimits| limits.policy == SlowPolicy::Disconnect;
                plan.tight || (record.kind == Kind::Feed && plan.feeds.iter().any(disconnects))
            }
            CloseReason::Layer(_) => record.dialled || !plan.coat(record.origin).is_empty(),
            CloseReason::InputTooLong => false,
            CloseReason::Panicked => plan.panics && chaotic,
            CloseReason::Failed(_) => {
                let relays = plan.kinds.contains(&Kind::Proxy) || !plan.links.is_empty();
                let calm = plan.polite && !plan.stubborn && !plan.is_harmful() && !plan.tight;
                // Who closes when it has its answer may not have read what a layer says beside it.
                let layered = !plan.coat(record.origin).is_empty();
                !calm || relays || layered || plan.early.is_some()
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
const MILLISECOND: Duration = Duration::from_millis(1);
