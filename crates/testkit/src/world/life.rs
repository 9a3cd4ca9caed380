//! The course of one world: clients, detached connections and the operator act, the server goes
//! on, and at the end the books are closed.

use super::check;
use super::client::Client;
use super::feed::{self, Feed};
use super::ledger::Book;
use super::plan::{Ending, Kind, Plan};
use super::planted::Bug;
use super::served_tasks::ServedTasks;
use super::service::{DetachedSockets, Service};
use super::stage::{Played, PlayedDatagrams, Stage, Tempo};
use super::{frames, links};
use crate::coat::coat;
use fastrand::Rng;
use mainspring_io::{Addr, Address, UnixAddr};
use mainspring_loop::{Error, Handler, HostId, Pool, Shard};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A world on its way.
pub(super) struct Life<S: Stage> {
    plan: Arc<Plan>,
    book: Book,
    stage: S,
    clients: Vec<Client<S::Peer>>,
    datagrams: Vec<DatagramClient<S::Datagrams>>,
    detached: DetachedSockets,
    rng: Rng,
    /// When the network became calm, for links to come back.
    calm_at: Option<Duration>,
    /// When the server was told to end, and by when it must have.
    told_at: Option<Duration>,
    /// The second word of endings that have two.
    second_word_at: Option<Duration>,
}

/// A peer that sends datagrams and checks the echoes.
struct DatagramClient<P> {
    peer: P,
    to: Addr,
    sent: u32,
    most: u32,
    next_at: Duration,
    heard: u64,
}

impl<S: Stage> Life<S> {
    /// `start` sets up a server whose handlers write into the book.
    pub(super) fn begin(
        plan: &Arc<Plan>,
        start: impl FnOnce(&Book, &DetachedSockets) -> S,
    ) -> Self {
        let mut rng = Rng::with_seed(plan.seed ^ 0x6c69_6665);
        let book = Book::new(plan.clone());
        let detached = DetachedSockets::default();
        let mut stage = start(&book, &detached);
        let clients = (0..plan.clients).map(|number| {
            let service = rng.usize(..plan.kinds.len());
            let at = &stage.handle().addrs()[service];
            let peer = stage.connect(at);
            Client::new(peer, plan, number, service, stage.now(), &mut rng)
        });
        let clients = clients.collect();
        let datagrams = (0..plan.datagram_peers).map(|_| {
            let to = stage.handle().addrs()[plan.kinds.len()].clone();
            DatagramClient::new(stage.bind(), to, &mut rng)
        });
        let datagrams = datagrams.collect();
        for _ in 0..plan.hit_and_run {
            let at = &stage.handle().addrs()[rng.usize(..plan.kinds.len())];
            let mut peer = stage.connect(at);
            if rng.bool() { peer.reset() } else { peer.close() }
        }
        Self {
            plan: plan.clone(),
            book,
            stage,
            clients,
            datagrams,
            detached,
            rng,
            calm_at: None,
            told_at: None,
            second_word_at: None,
        }
    }

    /// The laws that were broken.
    pub(super) fn broken(&self) -> Vec<String> {
        self.book.open().failures().to_vec()
    }

    /// What the world met.
    pub(super) fn met(&self) -> BTreeMap<String, u64> {
        check::met(&self.book.open(), self.stage.handle())
    }

    /// Until the server is over.
    pub(super) fn live(&mut self) {
        let latest = self.plan.tempo.patience * 2;
        while !self.stage.is_over() && self.is_sound() {
            let now = self.stage.now();
            self.script(now);
            if !self.stage.turn() {
                let next = self.next_script_time(now);
                self.stage.wait(next);
            }
            check::buffers(&self.plan, &self.book, &self.stage);
            if S::STANDS_STILL {
                feed::balances(&self.book);
            }
            if now > latest {
                self.book.open().fail(format!("the world does not end within {latest:?}"));
            }
        }
    }

    /// The clients see the end of the server, and the books are closed.
    pub(super) fn end(&mut self) {
        if !self.is_sound() {
            return;
        }
        self.detached.open().retain_mut(|echo| echo.broke(&self.book));
        self.clients.iter_mut().for_each(Client::wind_up);
        let latest = self.stage.now() + self.plan.tempo.afterlife;
        while self.clients.iter().any(|client| !client.is_done()) && self.stage.now() < latest {
            let now = self.stage.now();
            for client in &mut self.clients {
                client.act(now, &self.book);
            }
            let next = self.clients.iter().filter(|client| !client.is_done());
            let next = next.map(|client| client.next_at).min();
            self.stage.wait(next);
        }
        for client in &mut self.clients {
            let mut book = self.book.open();
            feed::heard(&mut book, &client.heard_from);
            book.read_to_end(client.listener, &client.local, client.has_read_to_end());
            let result =
                client.finish(&self.plan, book.record_of_peer(client.listener, &client.local));
            if let Err(broken) = result {
                book.fail(broken);
            }
        }
        let heard = self.datagrams.iter().map(|peer| peer.heard).sum();
        check::end(&self.plan, &self.book, self.stage.handle(), heard);
    }

    fn is_sound(&self) -> bool {
        self.book.open().failures().is_empty()
    }

    /// What clients, detached connections and the operator do now.
    fn script(&mut self, now: Duration) {
        for client in &mut self.clients {
            client.act(now, &self.book);
        }
        for peer in &mut self.datagrams {
            peer.act(now, &mut self.rng, &self.book);
        }
        self.detached.open().retain_mut(|echo| echo.work(&self.book));
        self.stage.jog(&mut self.rng);
        self.operate(now);
    }

    /// Tells the server to end when its time has come, and sees that it does.
    fn operate(&mut self, now: Duration) {
        let told_by_handler = self.book.open().told_to_end;
        match self.told_at {
            None if told_by_handler => self.told_at = Some(now),
            None => {
                if self.end_is_due(now) && self.links_are_back(now) {
                    self.told_at = Some(now);
                    self.tell_first_word(now);
                }
            }
            Some(told) => {
                if self.second_word_at.is_some_and(|at| now >= at) {
                    self.second_word_at = None;
                    self.book.open().told_to_end = true;
                    self.stage.handle().stop();
                }
                let latest = told + self.plan.drain + self.grace();
                self.book.open().check(now <= latest, || {
                    format!("told to end at {told:?}, the server has not ended by {now:?}")
                });
            }
        }
    }

    /// What faults may add to the drain time: late wakes, and time that leaps.
    fn grace(&self) -> Duration {
        let Tempo { grace, close_to_stop, .. } = self.plan.tempo;
        grace + if self.plan.ending == Ending::CloseAll { close_to_stop } else { Duration::ZERO }
    }

    fn end_is_due(&self, now: Duration) -> bool {
        match self.plan.early {
            Some(at) => now >= at,
            None => self.clients.iter().all(Client::is_content),
        }
    }

    /// Whether every link has come back since the network is calm. Where connections are few, one
    /// may have to wait for another.
    fn links_are_back(&mut self, now: Duration) -> bool {
        if self.plan.links.is_empty() || self.plan.tight || self.plan.early.is_some() {
            return true;
        }
        let calm_at = *self.calm_at.get_or_insert_with(|| {
            self.stage.calm();
            links::note_calm(&self.book);
            now
        });
        let down = links::still_down(&self.book);
        let in_time = now < calm_at + self.plan.tempo.patience / 2;
        self.book.open().check(in_time || down.is_empty(), || {
            format!("the links {down:?} have not come back in a calm network since {calm_at:?}")
        });
        down.is_empty()
    }

    fn tell_first_word(&mut self, now: Duration) {
        let handle = self.stage.handle();
        let mut below = |most: Duration| self.rng.u64(..most.as_micros() as u64);
        let mut book = self.book.open();
        match self.plan.ending {
            Ending::Stop => {
                book.told_to_end = true;
                drop(book);
                handle.stop();
            }
            Ending::Drain => {
                book.told_to_drain = true;
                drop(book);
                handle.drain();
            }
            Ending::DrainThenStop => {
                book.told_to_drain = true;
                drop(book);
                handle.drain();
                self.second_word_at =
                    Some(now + Duration::from_micros(below(self.plan.tempo.drain_to_stop)));
            }
            Ending::CloseAll => {
                book.told_to_close_all = true;
                drop(book);
                handle.stop_listening();
                handle.close_all();
                let after = Duration::from_micros(below(self.plan.tempo.close_to_stop));
                self.second_word_at = Some(now + after);
            }
        }
    }

    fn next_script_time(&self, now: Duration) -> Option<Duration> {
        let clients = self.clients.iter().filter(|client| !client.is_done());
        let clients = clients.map(|client| client.next_at);
        let datagrams = self.datagrams.iter().filter(|peer| peer.sent < peer.most);
        let datagrams = datagrams.map(|peer| peer.next_at);
        let early = self.plan.early.filter(|_| self.told_at.is_none());
        let detached = (!self.detached.open().is_empty()).then(|| now + DETACHED_STEP);
        // While nothing else happens the operator looks at the deadline now and then.
        let step = if self.calm_at.is_some() { CALM_STEP } else { WATCH };
        let watch = Some(now + step);
        let others = [early, self.second_word_at, detached, watch].into_iter().flatten();
        clients.chain(datagrams).chain(others).min()
    }
}

impl<P: PlayedDatagrams> DatagramClient<P> {
    fn new(peer: P, to: Addr, rng: &mut Rng) -> Self {
        Self { peer, to, sent: 0, most: rng.u32(1..=50), next_at: Duration::ZERO, heard: 0 }
    }

    fn act(&mut self, now: Duration, rng: &mut Rng, book: &Book) {
        while let Some((from, payload)) = self.peer.receive() {
            self.heard += 1;
            let number = payload.get(..4).and_then(|bytes| bytes.try_into().ok());
            let right = number.map(u32::from_le_bytes).is_some_and(|number| {
                number < self.sent && payload == datagram(number) && from == self.to
            });
            book.open().check(right, || format!("a wrong datagram: {payload:?}"));
        }
        if self.sent < self.most && now >= self.next_at {
            self.peer.send_to(&self.to, &datagram(self.sent));
            self.sent += 1;
            self.next_at = now + Duration::from_micros(rng.u64(0..=10_000));
        }
    }
}

fn datagram(number: u32) -> Vec<u8> {
    let mut payload = number.to_le_bytes().to_vec();
    payload.extend((0..number % 97).map(|place| (place + number) as u8));
    payload
}

/// The same on every loop: a handler and a listener for each kind, the links, and the echo of
/// datagrams.
pub(super) fn set_up(
    shard: &mut Shard<'_>,
    plan: &Arc<Plan>,
    book: &Book,
    detached: &DetachedSockets,
) -> Result<(), Error> {
    let loop_index = shard.loop_index();
    set_up_feeds(shard, plan, book);
    let service = |kind| Service::new(kind, plan, book, loop_index, detached);
    let mut echo = None;
    let mut addresses: Vec<Address> = Vec::new();
    for (number, kind) in plan.kinds.iter().enumerate() {
        let at = match kind {
            Kind::Framed if plan.framing.pooled => {
                let framed = frames::handler(plan, service(*kind));
                let host = shard.host(Pool::new(plan.pool.clone(), framed));
                listen(shard, host, plan, number)?
            }
            Kind::Framed => {
                let host = shard.host(frames::handler(plan, service(*kind)));
                listen(shard, host, plan, number)?
            }
            Kind::Pool => {
                let host = shard.host(Pool::new(plan.pool.clone(), service(*kind)));
                listen(shard, host, plan, number)?
            }
            Kind::Tasks => {
                let host = shard.host(ServedTasks::new(plan, book, loop_index));
                listen(shard, host, plan, number)?
            }
            _ => {
                let mut service = service(*kind);
                (service.echo, service.echo_at) = (echo, addresses.first().cloned());
                // A remote names a handler that has moved in, so that it cannot be given along.
                let host = shard.host(service);
                let remote = shard.remote(host);
                book.open().remotes.insert((loop_index, *kind), remote);
                echo = echo.or(Some(host));
                if number == 0 {
                    shard.tick_on_every_loop(host);
                }
                listen(shard, host, plan, number)?
            }
        };
        addresses.push(at);
    }
    if loop_index == plan.link_loop && !plan.links.is_empty() {
        shard.host(links::handler(service(Kind::Link), &addresses));
    }
    if plan.datagram_peers > 0 {
        let host = shard.host(service(Kind::Echo));
        shard.listen(host, plan.datagrams_at.as_str())?;
    }
    Ok(())
}

/// The broadcasters, of which all loops have the same.
fn set_up_feeds(shard: &Shard<'_>, plan: &Plan, book: &Book) {
    let mut book = book.open();
    if book.feeds.is_empty() && plan.kinds.contains(&Kind::Feed) {
        let feeds = plan.feeds.iter().map(|limits| Feed::new(shard.broadcaster(limits.clone())));
        book.feeds = feeds.collect();
    }
}

/// The listener of that number, with its layers.
fn listen<H: Handler>(
    shard: &mut Shard<'_>,
    host: HostId<H>,
    plan: &Arc<Plan>,
    number: usize,
) -> Result<Address, Error> {
    let at = plan.listen_at[number].as_str();
    let name = plan.coats[number];
    let bound = if name.is_empty() || plan.kinds[number] == Kind::Upgrade {
        shard.listen(host, at)?
    } else {
        let address = Address::try_from(at)?;
        let trap = plan.trap.clone();
        let strikes = move |flaw| trap.strikes(Bug::Seam(flaw));
        let layers = move || coat(name, true, strikes.clone());
        shard.listen_layered(host, &address, address.listen_options(), layers)?
    };
    Ok(match bound {
        Addr::Inet(at) => Address::tcp(at),
        Addr::Unix(UnixAddr::Path(path)) => Address::unix(path),
        Addr::Unix(_) => unreachable!("the world gives its unix sockets paths"),
    })
}

const DETACHED_STEP: Duration = Duration::from_millis(1);
const CALM_STEP: Duration = Duration::from_millis(10);
const WATCH: Duration = Duration::from_millis(100);
