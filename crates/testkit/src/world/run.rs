//! One world from its beginning to its end.

use super::check;
use super::client::{Client, PATIENCE};
use super::ledger::Book;
use super::plan::{Ending, Kind, Plan};
use super::planted::{Bug, Planted, Trap};
use super::service::{DetachedSockets, Service};
use crate::SimServer;
use fastrand::Rng;
use mainspring_io::{Addr, Address};
use mainspring_loop::{Error, Server, Shard};
use mainspring_sim::{SimDatagramPeer, World, WorldOptions};
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// How to run a world.
#[derive(Clone, Copy, Debug, Default)]
pub struct WorldRun {
    /// Keep the trace as text.
    pub log: bool,
    /// Plant this bug.
    pub bug: Option<Bug>,
}

/// A world that kept all laws.
#[derive(Clone, Debug)]
pub struct Passed {
    /// The hash over every order and event.
    pub trace_hash: u64,
    /// How often the world met what, by name: a world that meets nothing proves nothing.
    pub met: BTreeMap<String, u64>,
    /// The trace, if it was asked for.
    pub log: Vec<String>,
}

/// A world that broke a law.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// What the world was like.
    pub plan: String,
    /// The laws that were broken.
    pub broken: Vec<String>,
    /// The trace, if it was asked for.
    pub log: Vec<String>,
}

impl WorldRun {
    /// Runs the world of a seed.
    ///
    /// # Errors
    ///
    /// The laws that were broken.
    pub fn seed(self, seed: u64) -> Result<Passed, Failure> {
        let plan = Arc::new(Plan::of(seed));
        let world = World::new(seed, world_options(&plan, self.log));
        let trap = Trap::new(self.bug, seed);
        let result = catch_unwind(AssertUnwindSafe(|| {
            let mut life = Life::begin(&world, &plan, &trap);
            life.live();
            life.end();
            let book = life.book.open();
            (book.failures().to_vec(), check::met(&book, &life.server))
        }));
        let (broken, met) = result.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            (vec![format!("panic: {}", text.unwrap_or_default())], BTreeMap::new())
        });
        let log = world.take_log();
        if broken.is_empty() {
            return Ok(Passed { trace_hash: world.trace_hash(), met, log });
        }
        Err(Failure { seed, plan: plan.to_string(), broken, log })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "FAILED {}", self.plan)?;
        for broken in &self.broken {
            writeln!(f, "  {broken}")?;
        }
        if !self.log.is_empty() {
            writeln!(f, "  the last events:")?;
            for line in &self.log[self.log.len().saturating_sub(LAST_EVENTS)..] {
                writeln!(f, "  {line}")?;
            }
        }
        write!(f, "  to repeat it: cargo xtask sim --seed {} --log", self.seed)
    }
}

/// A world on its way.
struct Life {
    plan: Arc<Plan>,
    book: Book,
    world: World,
    server: SimServer<Planted>,
    clients: Vec<Client>,
    datagrams: Vec<DatagramClient>,
    detached: DetachedSockets,
    rng: Rng,
    /// When the server was told to end, and by when it must have.
    told_at: Option<Duration>,
    /// The second word of endings that have two.
    second_word_at: Option<Duration>,
}

/// A peer that sends datagrams and checks the echoes.
pub(super) struct DatagramClient {
    peer: SimDatagramPeer,
    to: Addr,
    sent: u32,
    most: u32,
    next_at: Duration,
    pub(super) heard: u64,
}

impl Life {
    fn begin(world: &World, plan: &Arc<Plan>, trap: &Trap) -> Self {
        let mut rng = Rng::with_seed(plan.seed ^ 0x6c69_6665);
        let book = Book::new(plan.clone());
        let detached = DetachedSockets::default();
        let builder = Server::builder()
            .balance(plan.balance)
            .limits(plan.limits.clone())
            .drain(plan.drain)
            .seed(plan.seed);
        let setup = |shard: &mut Shard<'_>| set_up(shard, plan, &book, &detached);
        let wrap = |driver| Planted::new(driver, trap);
        let server = SimServer::start_over(world, plan.loops, wrap, builder, setup)
            .expect("the world has free ports");
        let clients = (0..plan.clients).map(|number| {
            let service = rng.usize(..plan.kinds.len());
            let at = server.addr(service);
            Client::new(world, plan, number, plan.kinds[service], &at, &mut rng)
        });
        let clients = clients.collect();
        let datagrams = (0..plan.datagram_peers)
            .map(|_| DatagramClient::new(world, server.addr(plan.kinds.len()), &mut rng))
            .collect();
        Self {
            plan: plan.clone(),
            book,
            world: world.clone(),
            server,
            clients,
            datagrams,
            detached,
            rng,
            told_at: None,
            second_word_at: None,
        }
    }

    /// Until the server is over.
    fn live(&mut self) {
        let latest = PATIENCE * 2;
        while !self.server.is_over() && self.is_sound() {
            let now = self.world.elapsed();
            self.script(now);
            if !self.server.turn_due() {
                let next = self.next_script_time(now);
                self.world.advance_to_next_by(next);
            }
            check::buffers(&self.plan, &self.book, &self.server);
            if now > latest {
                self.book.open().fail(format!("the world does not end within {latest:?}"));
            }
        }
    }

    /// The clients see the end of the server, and the books are closed.
    fn end(&mut self) {
        if !self.is_sound() {
            return;
        }
        self.detached.borrow_mut().retain_mut(|echo| echo.broke(&self.book));
        self.clients.iter_mut().for_each(Client::wind_up);
        let latest = self.world.elapsed() + AFTERLIFE;
        while self.clients.iter().any(|client| !client.is_done()) && self.world.elapsed() < latest {
            let now = self.world.elapsed();
            for client in &mut self.clients {
                client.act(now, &self.book);
            }
            let next = self.clients.iter().filter(|client| !client.is_done());
            let next = next.map(|client| client.next_at).min();
            self.world.advance_to_next_by(next);
        }
        for client in &mut self.clients {
            let mut book = self.book.open();
            let result = client.finish(&self.plan, book.record_of_port(client.port));
            if let Err(broken) = result {
                book.fail(broken);
            }
        }
        check::end(&self.plan, &self.book, &self.server, &self.datagrams);
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
        self.detached.borrow_mut().retain_mut(|echo| echo.work(&self.book));
        if self.rng.u16(..2048) == 0 {
            let driver = self.rng.usize(..self.plan.loops);
            self.world.wake_later(driver, Duration::from_micros(self.rng.u64(..10_000)));
        }
        self.operate(now);
    }

    /// Tells the server to end when its time has come, and sees that it does.
    fn operate(&mut self, now: Duration) {
        let told_by_handler = self.book.open().told_to_end;
        match self.told_at {
            None if told_by_handler => self.told_at = Some(now),
            None if self.end_is_due(now) => {
                self.told_at = Some(now);
                self.tell_first_word(now);
            }
            None => {}
            Some(told) => {
                if self.second_word_at.is_some_and(|at| now >= at) {
                    self.second_word_at = None;
                    self.book.open().told_to_end = true;
                    self.server.handle().stop();
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
        GRACE + if self.plan.ending == Ending::CloseAll { SECOND_WORD } else { Duration::ZERO }
    }

    fn end_is_due(&self, now: Duration) -> bool {
        match self.plan.early {
            Some(at) => now >= at,
            None => self.clients.iter().all(Client::is_content),
        }
    }

    fn tell_first_word(&mut self, now: Duration) {
        let handle = self.server.handle();
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
                self.second_word_at = Some(now + Duration::from_micros(self.rng.u64(..500_000)));
            }
            Ending::CloseAll => {
                book.told_to_close_all = true;
                drop(book);
                handle.stop_listening();
                handle.close_all();
                let after = Duration::from_micros(self.rng.u64(..SECOND_WORD.as_micros() as u64));
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
        let detached = (!self.detached.borrow().is_empty()).then(|| now + DETACHED_STEP);
        // While nothing else happens the operator looks at the deadline now and then.
        let watch = Some(now + WATCH);
        let others = [early, self.second_word_at, detached, watch].into_iter().flatten();
        clients.chain(datagrams).chain(others).min()
    }
}

impl DatagramClient {
    fn new(world: &World, to: Addr, rng: &mut Rng) -> Self {
        let at = Addr::Inet("127.0.0.1:0".parse().expect("an address"));
        let peer = world.bind(&at).expect("a free port");
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

/// The same on every loop: a handler and a listener for each kind, and the datagram echo.
fn set_up(
    shard: &mut Shard<'_>,
    plan: &Arc<Plan>,
    book: &Book,
    detached: &DetachedSockets,
) -> Result<(), Error> {
    let loop_index = shard.loop_index();
    let (mut echo, mut echo_at) = (None, None);
    for kind in &plan.kinds {
        let mut service = Service::new(*kind, plan, book, loop_index, detached);
        (service.echo, service.echo_at) = (echo, echo_at.clone());
        // A remote names a handler that has moved in, so that it cannot be given along.
        let host = shard.host(service);
        let remote = shard.remote(host);
        book.open().remotes.insert((loop_index, *kind), remote);
        if plan.kinds.first() == Some(kind) {
            shard.tick_on_every_loop(host);
        }
        let at = shard.listen(host, "tcp://127.0.0.1:0")?;
        if *kind == Kind::Echo {
            echo = Some(host);
            if let Addr::Inet(at) = at {
                echo_at = Some(Address::tcp(at));
            }
        }
    }
    if plan.datagram_peers > 0 {
        let host = shard.host(Service::new(Kind::Echo, plan, book, loop_index, detached));
        shard.listen(host, "udp://127.0.0.1:0")?;
    }
    Ok(())
}

fn world_options(plan: &Plan, log: bool) -> WorldOptions {
    let mut options = WorldOptions::default();
    options.pipe_bytes = plan.pipe_bytes;
    options.limits = plan.limits.driver.clone();
    options.faults = plan.faults.clone();
    options.datagrams_leaving = 4;
    options.log = log;
    options
}

const LAST_EVENTS: usize = 30;
const GRACE: Duration = Duration::from_secs(1);
const SECOND_WORD: Duration = Duration::from_secs(3);
const AFTERLIFE: Duration = Duration::from_secs(60);
const DETACHED_STEP: Duration = Duration::from_millis(1);
const WATCH: Duration = Duration::from_millis(100);
