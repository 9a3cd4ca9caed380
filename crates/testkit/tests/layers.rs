//! Layers in simulated worlds: both sides have the same, the network cuts and delays and breaks
//! off, handlers pause, yield and leave bytes. Whatever a seed brings, what comes out is a
//! beginning of what went in, all of it where nothing was lost, and every stream ends by its own
//! means. Bugs that a seam could have are planted, and found.

use fastrand::Rng;
use mainspring_io::Addr;
use mainspring_layers::Deflate;
use mainspring_loop::{
    Action, CloseReason, Conn, ConnId, Cx, Handler, Input, LayerFault, Layers, Limits, Opened,
    Server, TimerId, Unwired,
};
use mainspring_sim::{Faults, SimPeer, World, WorldOptions};
use mainspring_testkit::coat::{self, COATS, Flaw};
use mainspring_testkit::{Reached, SimServer};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

const SEEDS: u64 = 300;
const HOUR: Duration = Duration::from_secs(3600);
const BANNER: &[u8] = b"banner";

#[test]
fn whatever_happens_what_comes_out_is_what_went_in() {
    let mut met = BTreeMap::<&str, u64>::new();
    for seed in 0..SEEDS {
        if let Err(wrong) = run(seed, None, &mut met) {
            panic!("seed {seed}: {wrong}");
        }
    }
    for what in ["whole", "harmed", "paused", "yielded", "left", "shutdown"] {
        assert!(met.contains_key(what), "no world of {SEEDS} met `{what}`: {met:?}");
    }
}

#[test]
fn planted_bugs_are_found() {
    for bug in [Flaw::OpensEarly, Flaw::ForgetsLastWords, Flaw::LosesRest, Flaw::MissesEnd] {
        let found = (0..60).filter(|seed| run(*seed, Some(bug), &mut BTreeMap::new()).is_err());
        assert!(found.count() > 0, "{bug:?} was not found");
    }
}

#[test]
fn equal_seeds_run_alike() {
    let hash = |seed| {
        let mut run = Run::new(seed, None);
        run.play();
        run.world.trace_hash()
    };
    assert_eq!(hash(5), hash(5));
    assert_ne!(hash(5), hash(6));
}

/// A gibibyte of zeros in a mebibyte: it passes through in pieces, and whoever else is on the loop
/// is served meanwhile.
#[test]
fn a_bomb_is_delivered_within_bounds_and_holds_nobody_up() {
    const MEBIBYTES: usize = 1024;
    let zeros = vec![0; 1 << 20];
    let mut packer = unwired(Layers::new().above(Deflate::raw().level(9)));
    packer.receive(&mut []).unwrap();
    packer.send(&zeros).unwrap();
    let mut bomb = std::mem::take(packer.wire());
    packer.send(&zeros).unwrap();
    // From here on each mebibyte packs to the same, and ends on a byte.
    bomb.extend(packer.wire().repeat(MEBIBYTES - 1));
    assert!(bomb.len() < 2 << 20, "{} bytes", bomb.len());

    let world = World::new(1, WorldOptions::default());
    let mut server = SimServer::start(&world, 1, Server::builder(), |shard| {
        let sink = shard.host(|conn: &mut Conn<'_>, input: &mut Input<'_>| {
            let count = input.take().len();
            if count < 100 {
                conn.out().resize(count, b'.');
            }
            Action::Continue
        });
        let address = "tcp://127.0.0.1:0".try_into()?;
        let layers = || Layers::new().above(Deflate::raw());
        shard.listen_layered(sink, &address, &Default::default(), layers)?;
        shard.listen(sink, "tcp://127.0.0.1:0").map(drop)
    })
    .unwrap();
    let mut attacker = world.connect(&server.addr(0)).unwrap();
    let mut other = world.connect(&server.addr(1)).unwrap();
    let (mut sent, mut served, mut asked, mut before, mut most) = (0, 0, 0, 0, 0);
    let mut longest = 0;
    let total = (MEBIBYTES as u64) << 20;
    loop {
        sent += attacker.send(&bomb[sent..]);
        let answered = !other.take_received().is_empty();
        served += u64::from(answered);
        let turns = server.turns();
        if answered || asked == 0 {
            other.send(b"?");
            asked = turns;
        }
        longest = longest.max(turns - asked);
        // A loop that always has something to do would keep the clock of the world from going on.
        world.advance(Duration::from_millis(1));
        assert!(server.step(Some(HOUR)), "stuck after {before} bytes");
        let stats = server.handle().stats().total;
        most = most.max(server.buffered_bytes().sum());
        assert!(stats.layer_plain_in - before <= 512 << 10, "too much in one turn");
        before = stats.layer_plain_in;
        if before == total {
            break;
        }
    }
    assert!(most <= 1 << 20, "{most} bytes were buffered");
    assert!(longest < 100, "someone else has waited for {longest} turns");
    assert!(served > 500, "served {served} times meanwhile, at the longest {longest} turns");
}

fn layers(coat: &str, is_server: bool, flaw: Option<Flaw>) -> Layers {
    coat::coat(coat, is_server, move |occasion| flaw == Some(occasion))
}

fn unwired(layers: Layers) -> Unwired {
    let anywhere = Addr::Inet("127.0.0.1:1".parse().unwrap());
    #[expect(clippy::disallowed_methods, reason = "no layer here asks for the time")]
    let now = std::time::Instant::now();
    layers.unwired(anywhere.clone(), anywhere, now)
}

/// What the handlers have seen, all loops together.
#[derive(Default)]
struct Seen {
    opened: u64,
    closed: BTreeMap<String, u64>,
    bytes_in: u64,
    bytes_out: u64,
    met: BTreeMap<&'static str, u64>,
    wrong: Vec<String>,
}

/// Echoes, now and then with a pause, a yield, or some bytes left for later.
struct Echo {
    rng: Rng,
    seen: Rc<RefCell<Seen>>,
}

#[derive(Default)]
struct State {
    paused: bool,
}

impl Handler for Echo {
    type State = State;

    fn on_open(&mut self, conn: &mut Conn<'_>) -> Opened<State> {
        let mut seen = self.seen.borrow_mut();
        (seen.opened, seen.bytes_out) = (seen.opened + 1, seen.bytes_out + BANNER.len() as u64);
        conn.out().extend_from_slice(BANNER);
        Opened::Accept(State::default())
    }

    fn on_data(&mut self, state: &mut State, conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
        let mut seen = self.seen.borrow_mut();
        if state.paused {
            seen.wrong.push("data while paused".to_owned());
        }
        let next = self.rng.u8(..6);
        // Who leaves something has to see to it that it comes again: the end may be next.
        let leaves = next < 2 && self.rng.bool() && input.len() > 1;
        let count = if leaves { self.rng.usize(1..input.len()) } else { input.len() };
        conn.out().extend_from_slice(&input.bytes()[..count]);
        input.consume(count);
        seen.bytes_in += count as u64;
        seen.bytes_out += count as u64;
        let mut meet = |what| *seen.met.entry(what).or_default() += 1;
        if leaves {
            meet("left");
        }
        match next {
            0 => {
                meet("paused");
                state.paused = true;
                conn.set_timer(Duration::from_millis(self.rng.u64(0..5)));
                Action::Pause
            }
            1 => {
                meet("yielded");
                Action::Yield
            }
            _ => Action::Continue,
        }
    }

    fn on_timer(&mut self, state: &mut State, conn: &mut Conn<'_>, _: TimerId) -> Action {
        state.paused = false;
        let id = conn.id();
        conn.cx().resume(id);
        Action::Continue
    }

    fn on_close(&mut self, _: State, _: ConnId, _: &mut Cx<'_>, reason: CloseReason) {
        let reason = match reason {
            CloseReason::Failed(_) => "Failed".to_owned(),
            other => format!("{other:?}"),
        };
        *self.seen.borrow_mut().closed.entry(reason).or_default() += 1;
    }
}

/// The other side of a connection.
struct Client {
    peer: SimPeer,
    layers: Unwired,
    payload: Vec<u8>,
    /// How many of these have gone into the layers.
    said: usize,
    wire: Vec<u8>,
    got: Vec<u8>,
    finished: bool,
    fault: Option<&'static LayerFault>,
}

impl Client {
    fn new(peer: SimPeer, coat: &str, rng: &mut Rng) -> Self {
        let longest = 1 << rng.u32(4..=18);
        let length = rng.usize(0..=longest);
        let run = rng.usize(1..2_000);
        let payload = (0..length).map(|at| if at % run < run / 2 { 0 } else { rng.u8(..) });
        let (said, wire, got) = (0, Vec::new(), Vec::new());
        let payload = payload.collect();
        let layers = unwired(layers(coat, false, None));
        Self { peer, layers, payload, said, wire, got, finished: false, fault: None }
    }

    /// Does something of what there is to do.
    fn act(&mut self, rng: &mut Rng) {
        let mut fresh = self.peer.take_received();
        if self.fault.is_none() {
            self.fault = self.layers.receive(&mut fresh).err();
        }
        self.got.append(self.layers.plain());
        if self.said < self.payload.len() {
            let more = rng.usize(1..=self.payload.len() - self.said).min(40_000);
            self.layers.send(&self.payload[self.said..self.said + more]).expect("it wraps");
            self.said += more;
        } else if !self.finished && self.layers.is_open() {
            self.finished = true;
            self.layers.finish().expect("it ends");
        }
        self.wire.append(self.layers.wire());
        let count = self.peer.send(&self.wire[..self.wire.len().min(rng.usize(1..50_000))]);
        self.wire.drain(..count);
        if self.finished && self.wire.is_empty() && !self.peer.write_ended() {
            self.peer.shutdown_write();
        }
    }

    fn is_done(&self) -> bool {
        self.peer.eof() || self.peer.reset_seen() || self.peer.connect_error().is_some()
    }

    fn describe(&self, coat: &str) -> String {
        let Self { payload, said, wire, got, finished, fault, .. } = self;
        let (all, wire, got) = (payload.len(), wire.len(), got.len());
        format!("`{coat}` said {said} of {all}, {wire} to send, got {got}, {finished} {fault:?}")
    }

    /// What it may have got: the banner and a beginning of what it sent, or all of it.
    fn check(&mut self, coat: &str, whole: bool) -> Result<(), String> {
        let wanted = [BANNER, &self.payload].concat();
        let (got, all) = (self.got.len(), wanted.len());
        if !wanted.starts_with(&self.got) {
            return Err(format!("`{coat}`: other bytes than were sent, among {got} of {all}"));
        }
        if whole {
            let end = self.fault.map_or_else(|| self.layers.eof(), Err);
            if let Err(fault) = end {
                return Err(format!("`{coat}`: {fault} after {got} of {all} bytes"));
            }
            if got < all {
                return Err(format!("`{coat}`: {got} of {all} bytes"));
            }
        }
        Ok(())
    }
}

struct Run {
    rng: Rng,
    world: World,
    server: SimServer,
    seen: Rc<RefCell<Seen>>,
    clients: Vec<(&'static str, Client)>,
    harmless: bool,
    stops_early: bool,
}

impl Run {
    fn new(seed: u64, bug: Option<Flaw>) -> Self {
        let mut rng = Rng::with_seed(seed);
        let harmless = bug.is_some() || rng.u8(..3) > 0;
        let mut options = WorldOptions::default();
        options.faults = if harmless { Faults::harmless(seed) } else { Faults::swarm(seed) };
        options.pipe_bytes = 1 << rng.u32(8..=16);
        let world = World::new(seed, options);
        let mut limits = Limits { handshake_timeout: HOUR / 2, ..Limits::default() };
        limits.output_high = 1 << rng.u32(8..=16);
        limits.output_low = limits.output_high >> rng.u32(0..=3);
        limits.driver.read_buffer = 1 << rng.u32(6..=17);
        let seen = Rc::<RefCell<Seen>>::default();
        let builder = Server::builder().seed(seed).limits(limits).drain(Duration::from_secs(5));
        let server = SimServer::start(&world, rng.usize(1..=2), builder, |shard| {
            let rng = Rng::with_seed(seed ^ shard.loop_index() as u64);
            let host = shard.host(Echo { rng, seen: seen.clone() });
            for coat in COATS {
                let address = "tcp://127.0.0.1:0".try_into()?;
                let layers = move || layers(coat, true, bug);
                shard.listen_layered(host, &address, &Default::default(), layers)?;
            }
            Ok(())
        });
        let server = server.expect("free ports");
        let clients = (0..rng.usize(1..=6)).map(|_| {
            let listener = rng.usize(..COATS.len());
            let peer = world.connect(&server.addr(listener)).expect("an address");
            (COATS[listener], Client::new(peer, COATS[listener], &mut rng))
        });
        let clients = clients.collect();
        let stops_early = bug.is_none() && rng.u8(..5) == 0;
        Self { rng, world, server, seen, clients, harmless, stops_early }
    }

    fn play(&mut self) -> Reached {
        let (rng, clients) = (&mut self.rng, &mut self.clients);
        let mut acts = 0;
        let stop_at = if self.stops_early { rng.usize(1..300) } else { usize::MAX };
        let handle = self.server.handle().clone();
        self.server.run_until(HOUR, |_| {
            acts += 1;
            if acts == stop_at {
                if rng.bool() { handle.drain() } else { handle.stop() }
            }
            for (_, client) in clients.iter_mut() {
                // One that did nothing could be what all others wait for.
                client.act(rng);
            }
            clients.iter().all(|(_, client)| client.is_done())
        })
    }

    fn finish(mut self, reached: Reached, met: &mut BTreeMap<&str, u64>) -> Result<(), String> {
        let whole = self.harmless && !self.stops_early;
        if whole && reached != Reached::Condition {
            let waits = self.clients.iter().filter(|(_, client)| !client.is_done());
            let waits: Vec<String> = waits.map(|(coat, client)| client.describe(coat)).collect();
            let stats = self.server.handle().stats().total;
            return Err(format!("{reached:?}, and these wait: {waits:?}; {stats:?}"));
        }
        for (coat, client) in &mut self.clients {
            client.act(&mut self.rng);
            client.check(coat, whole)?;
        }
        self.server.handle().stop();
        self.clients.iter_mut().for_each(|(_, client)| client.peer.close());
        self.server.run_until(HOUR, |server| server.is_over());
        let stats = self.server.handle().stats().total;
        let seen = self.seen.borrow();
        if let Some(wrong) = seen.wrong.first() {
            return Err(wrong.clone());
        }
        let closed: u64 = seen.closed.values().sum();
        if (stats.connections, stats.panics, stats.buffered_bytes) != (0, 0, 0)
            || closed != seen.opened
            || stats.closed != closed
        {
            return Err(format!("{closed} of {} are closed: {stats:?}", seen.opened));
        }
        if whole {
            let passed = (stats.layer_plain_in, stats.layer_plain_out);
            if passed != (seen.bytes_in, seen.bytes_out) {
                let noted = (seen.bytes_in, seen.bytes_out);
                return Err(format!("the loop counts {passed:?}, the handlers {noted:?}"));
            }
            if stats.layer_wire_in != stats.bytes_in || stats.layer_wire_out != stats.bytes_out {
                return Err(format!("every byte passes layers: {stats:?}"));
            }
            if seen.closed.keys().any(|reason| reason != "Peer") {
                return Err(format!("all streams end in good order: {:?}", seen.closed));
            }
        }
        let kind = if self.stops_early {
            "shutdown"
        } else if self.harmless {
            "whole"
        } else {
            "harmed"
        };
        *met.entry(kind).or_default() += 1;
        seen.met.iter().for_each(|(what, count)| *met.entry(what).or_default() += count);
        Ok(())
    }
}

fn run(seed: u64, bug: Option<Flaw>, met: &mut BTreeMap<&str, u64>) -> Result<(), String> {
    let mut run = Run::new(seed, bug);
    let reached = run.play();
    run.finish(reached, met)
}
