//! Links that are kept up to the world's own listeners, whatever happens to them.

use super::ledger::Book;
use super::plan::{Kind, Plan};
use super::planted::Bug;
use super::service::{Service, Tracked};
use crate::coat::coat;
use crate::link_watch::LinkWatch;
use fastrand::Rng;
use mainspring_io::Address;
use mainspring_loop::{Action, Conn, Cx, Input, Link, LinkChange, Reconnect, Retry};
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

/// One link of a world.
#[derive(Clone, Debug)]
pub(super) struct LinkPlan {
    /// Which listener it is for.
    pub(super) listener: usize,
    pub(super) retry: Retry,
    /// Nobody listens at its first address.
    pub(super) is_astray: bool,
}

/// A link as the ledger knows it.
#[derive(Debug)]
pub(super) struct LinkRecord {
    pub(super) watch: LinkWatch,
    /// Answers that have come back whole.
    pub(super) answered: u64,
    /// What it had done when the network became calm.
    answered_before_calm: u64,
    connected_before_calm: u64,
}

impl LinkRecord {
    pub(super) fn new(plan: &LinkPlan) -> Self {
        let addresses = 1 + u32::from(plan.is_astray);
        let watch = LinkWatch::new(plan.retry.clone(), addresses);
        Self { watch, answered: 0, answered_before_calm: 0, connected_before_calm: 0 }
    }

    /// Whether it has come back since the network is calm.
    fn is_back(&self, plan: &Plan, listener: usize) -> bool {
        // Chaos may leave anything unanswered.
        let is_chaos = plan.kinds[listener] == Kind::Chaos;
        let is_up = self.watch.is_up() || self.watch.connected() > self.connected_before_calm;
        self.watch.is_over()
            || if is_chaos { is_up } else { self.answered > self.answered_before_calm }
    }
}

/// Links to some of the kinds that echo.
pub(super) fn links(rng: &mut Rng, kinds: &[Kind]) -> Vec<LinkPlan> {
    let echoes = [Kind::Echo, Kind::Pausing, Kind::Shared, Kind::Tasks, Kind::Chaos];
    let targets: Vec<usize> =
        (0..kinds.len()).filter(|listener| echoes.contains(&kinds[*listener])).collect();
    let milliseconds = |count: u32| Duration::from_millis(count.into());
    let one = |rng: &mut Rng| LinkPlan {
        listener: *rng.choice(&targets).expect("an echo listens"),
        retry: Retry {
            delay_min: milliseconds(rng.u32(20..200)),
            delay_max: milliseconds(rng.u32(200..2_000)),
            attempts_max: (rng.u8(..4) == 0).then(|| rng.u32(2..10)),
            steady: milliseconds(rng.u32(1..3_000)),
            dial_timeout: rng.bool().then(|| Duration::from_millis(500)),
        },
        is_astray: rng.u8(..3) == 0,
    };
    (0..rng.usize(1..=4)).map(|_| one(rng)).collect()
}

/// A handler that keeps the links of the plan up. `at` are the addresses of its listeners.
pub(super) fn handler(service: Service, at: &[Address]) -> Reconnect<Service> {
    let (plan, book) = (service.plan.clone(), service.book.clone());
    let links = (0..plan.links.len()).map(|number| link(number, &plan, &book, at));
    links.fold(Reconnect::new(service), Reconnect::link)
}

fn link(number: usize, plan: &Arc<Plan>, book: &Book, at: &[Address]) -> Link<Service> {
    let LinkPlan { listener, retry, is_astray } = plan.links[number].clone();
    let nowhere = is_astray.then(|| Address::tcp(([127, 0, 0, 1], 1).into()));
    let addresses = nowhere.into_iter().chain([at[listener].clone()]).collect();
    let make = move |service: &mut Service, cx: &mut Cx<'_>| {
        service.book.open().dial_link(number, cx.now());
        Tracked::of_link(number)
    };
    let (dial_plan, dial_book) = (plan.clone(), book.clone());
    let dial = move |cx: &mut Cx<'_>, host, address: &Address, mut state: Tracked| {
        let (name, trap) = (dial_plan.coats[listener], dial_plan.trap.clone());
        let layers = coat(name, false, move |flaw| trap.strikes(Bug::Seam(flaw)));
        // The token is that of the record made below; no other loop may come between.
        let mut book = dial_book.open();
        state.token = book.conns.len();
        let id = cx.connect_layered(host, address, state, layers);
        let id = id.map_err(|_| std::io::Error::from(ErrorKind::QuotaExceeded))?;
        let added = book.add(id, Kind::Link, None, Some(cx.now()));
        book.conns[added].has_state = true;
        Ok(id)
    };
    let watched = plan.clone();
    let change = move |service: &mut Service, cx: &mut Cx<'_>, change: LinkChange| {
        service.book.open().change_link(number, cx.now(), &change);
        if let LinkChange::Failed { retry: Some(delay), .. } = change
            && !delay.is_zero()
            && watched.trap.strikes(Bug::EagerLink)
        {
            dial_at_once(cx, number);
        }
    };
    Link::to_any(addresses, make).retry(retry).dial_with(dial).on_change(change)
}

/// What a back-off that does not wait would do.
fn dial_at_once(cx: &mut Cx<'_>, number: usize) {
    let remote = cx.remote(cx.this::<Reconnect<Service>>());
    let _ = remote.post(move |links: &mut Reconnect<Service>, cx| {
        let id = links.links().nth(number).expect("links stay");
        links.stop(cx, id);
        links.start(cx, id);
    });
}

impl Service {
    /// Says something through a link.
    pub(super) fn say_on_link(&mut self, state: &mut Tracked, conn: &mut Conn<'_>) {
        let count = self.rng.usize(1..=300);
        let bytes: Vec<u8> = (0..count).map(|place| link_byte(state.said + place)).collect();
        state.said += count;
        self.say(conn, &bytes);
    }

    /// Holds the answer against what was said; then waits, or ends the connection.
    pub(super) fn hear_on_link(
        &mut self,
        state: &mut Tracked,
        conn: &mut Conn<'_>,
        input: &mut Input<'_>,
    ) -> Action {
        let number = state.link.expect("a link's connection");
        let bytes = input.take();
        state.turned_away |= state.seen == 0 && bytes.first() == Some(&TURNED_AWAY);
        let mut answer = (state.seen..state.said).map(link_byte);
        let is_right = bytes.iter().all(|byte| answer.next() == Some(*byte));
        state.seen += bytes.len();
        let mut book = self.book.open();
        book.check(is_right || state.turned_away, || {
            format!("{} of link {number} has got wrong bytes before {}", conn.id(), state.seen)
        });
        if state.seen != state.said || state.turned_away {
            return Action::Continue;
        }
        book.links[number].answered += 1;
        drop(book);
        if self.rng.u8(..4) == 0 {
            return Action::Close;
        }
        let after = Duration::from_millis(self.rng.u64(1..=300));
        self.arm(state, conn, after);
        Action::Continue
    }
}

/// From now on the network is calm.
pub(super) fn note_calm(book: &Book) {
    for link in &mut book.open().links {
        link.answered_before_calm = link.answered;
        link.connected_before_calm = link.watch.connected();
    }
}

/// The links that have not come back since then, though they may.
pub(super) fn still_down(book: &Book) -> Vec<usize> {
    let book = book.open();
    let is_down = |number: &usize| {
        let listener = book.plan.links[*number].listener;
        !book.links[*number].is_back(&book.plan, listener)
    };
    (0..book.links.len()).filter(is_down).collect()
}

fn link_byte(place: usize) -> u8 {
    (place * 31 % 251) as u8
}

/// The first byte of what chaos says when it refuses, which no link says.
const TURNED_AWAY: u8 = super::client::BUSY[0];
