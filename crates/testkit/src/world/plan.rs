//! What a seed decides before a world begins.

use super::feed;
use super::frames::Framing;
use super::links::{self, LinkPlan};
use super::planted::{Bug, Trap};
use super::stage::Tempo;
use crate::coat::COATS;
use fastrand::Rng;
use mainspring_io::DriverKind;
use mainspring_loop::{
    Balance, BroadcastLimits, LayerIo, Limits, PoolLimits, Server, ServerBuilder,
};
use mainspring_sim::Faults;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

/// What a handler of the world does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Answers with what it got.
    Echo,
    /// Answers line by line; leaves lines unread while choked.
    Lines,
    /// Echo that pauses after each delivery and resumes by a timer.
    Pausing,
    /// Echo in shared bytes and owned bytes by turns.
    Shared,
    /// Sends every message to every connection of the kind, on all loops.
    Room,
    /// Dials the echo listener for each connection and relays both ways.
    Proxy,
    /// Echo of length-prefixed frames.
    Frames,
    /// Takes one byte, then hands the connection to the echo handler.
    Handoff,
    /// Echoes a few bytes, then takes the connection out of the loop, where the echo goes on.
    Detach,
    /// Echo whose answers come from elsewhere: posts, sends of a remote, the offload pool.
    Worker,
    /// Refuses, closes, aborts, panics, detaches, hands off; its answers are a beginning of an
    /// echo.
    Chaos,
    /// Echo of frames that a `Framed` takes apart, by itself or in a pool.
    Framed,
    /// Echo in the portions of a pool.
    Pool,
    /// Echo by a task.
    Tasks,
    /// As a room, but through broadcasters.
    Feed,
    /// Answers one byte, then puts layers on the connection.
    Upgrade,
    /// Has no listener: connections that are kept up to those of other kinds.
    Link,
}

impl Kind {
    /// Those that listen.
    pub(super) const ALL: [Self; 16] = [
        Self::Echo,
        Self::Lines,
        Self::Pausing,
        Self::Shared,
        Self::Room,
        Self::Proxy,
        Self::Frames,
        Self::Handoff,
        Self::Detach,
        Self::Worker,
        Self::Chaos,
        Self::Framed,
        Self::Pool,
        Self::Tasks,
        Self::Feed,
        Self::Upgrade,
    ];
}

/// Which faults a world has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Profile {
    Calm,
    Harmless,
    All,
    Swarm,
    /// None but what real sockets bring.
    Sockets,
}

/// How the server is told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Stop,
    Drain,
    /// `stop_listening`, `close_all`, and later `stop`.
    CloseAll,
    /// `drain`, and shortly after it `stop`.
    DrainThenStop,
}

/// Everything about a world that is not left to its dice.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) profile: Profile,
    pub(super) faults: Faults,
    pub(super) loops: usize,
    pub(super) balance: Balance,
    pub(super) limits: Limits,
    pub(super) drain: Duration,
    pub(super) tempo: Tempo,
    pub(super) kinds: Vec<Kind>,
    /// The layers of each kind's connections, by the names of [`COATS`]; none for most.
    pub(super) coats: Vec<&'static str>,
    pub(super) framing: Framing,
    pub(super) pool: PoolLimits,
    pub(super) feeds: Vec<BroadcastLimits>,
    pub(super) links: Vec<LinkPlan>,
    /// The loop that keeps them up.
    pub(super) link_loop: usize,
    /// Where the planted bug strikes.
    pub(super) trap: Trap,
    /// Where each kind listens, and where the echo of datagrams is.
    pub(super) listen_at: Vec<String>,
    pub(super) datagrams_at: String,
    pub(super) clients: usize,
    /// Connections that end as soon as they are begun.
    pub(super) hit_and_run: usize,
    pub(super) datagram_peers: usize,
    pub(super) ending: Ending,
    /// The server is told to end at this age, though clients are at work. Else when they are done.
    pub(super) early: Option<Duration>,
    /// Limits are so small that slow peers are cut.
    pub(super) tight: bool,
    /// Some clients never read.
    pub(super) stubborn: bool,
    /// Clients end their connections in good order and read everything.
    pub(super) polite: bool,
    /// Messages of rooms and workers have this many bytes.
    pub(super) message_bytes: usize,
    pub(super) payload_max: usize,
    pub(super) pipe_bytes: usize,
    /// Sockets have the smallest buffers that the system gives.
    pub(super) tiny_buffers: bool,
    pub(super) panics: bool,
    /// The handlers tick, those of the first kind on every loop: a loop that ticks makes up for a
    /// lost wake.
    pub(super) ticks: bool,
}

impl Plan {
    pub(super) fn of(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed ^ 0x706c_616e);
        let profile = match rng.u8(..10) {
            0 | 1 => Profile::Calm,
            2..=5 => Profile::Harmless,
            6 | 7 => Profile::All,
            _ => Profile::Swarm,
        };
        let faults = match profile {
            Profile::Calm | Profile::Sockets => Faults::none(),
            Profile::Harmless => Faults::harmless(rng.u64(..)),
            Profile::All => Faults::all(rng.u64(..)),
            Profile::Swarm => Faults::swarm(rng.u64(..)),
        };
        let loops = rng.usize(1..=4);
        let mut kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|_| rng.u8(..10) < 4).collect();
        if !kinds.contains(&Kind::Echo) {
            // Proxies dial it, and connections are handed to it.
            kinds.insert(0, Kind::Echo);
        }
        let tight = rng.u8(..5) == 0;
        let stubborn = rng.u8(..4) == 0;
        let balances = [
            Balance::Kernel,
            Balance::Random,
            Balance::RoundRobin,
            Balance::LeastConnections,
            Balance::SourceHash,
        ];
        let mut more = Rng::with_seed(seed ^ 0x6d6f_7265);
        let has_links = more.u8(..4) == 0;
        let mut plan = Self {
            seed,
            coats: kinds.iter().map(|kind| coat_of(*kind, &mut more)).collect(),
            framing: Framing::of(&mut more),
            pool: pool(&mut more),
            feeds: feed::limits(&mut more),
            links: if has_links { links::links(&mut more, &kinds) } else { Vec::new() },
            link_loop: more.usize(..loops),
            trap: Trap::new(None, seed),
            profile,
            faults,
            loops,
            balance: *rng.choice(&balances).expect("not empty"),
            limits: Limits::default(),
            drain: Duration::from_millis(rng.u64(1..=2_000)),
            tempo: Tempo::SIMULATED,
            listen_at: vec!["tcp://127.0.0.1:0".to_owned(); kinds.len()],
            datagrams_at: "udp://127.0.0.1:0".to_owned(),
            kinds,
            clients: if rng.u8(..8) == 0 { rng.usize(20..=40) } else { rng.usize(1..=10) },
            hit_and_run: 0,
            datagram_peers: if rng.u8(..3) == 0 { rng.usize(1..=3) } else { 0 },
            ending: *rng
                .choice(&[Ending::Stop, Ending::Drain, Ending::CloseAll, Ending::DrainThenStop])
                .expect("not empty"),
            early: (rng.u8(..3) == 0).then(|| Duration::from_micros(rng.u64(1..=100_000))),
            tight,
            stubborn,
            polite: rng.u8(..2) == 0,
            message_bytes: rng.usize(16..=400),
            payload_max: 1 << rng.u32(6..=15),
            pipe_bytes: 1 << rng.u32(9..=16),
            tiny_buffers: false,
            panics: rng.u8(..3) == 0,
            ticks: rng.bool(),
        };
        plan.limits = limits(&mut rng, &plan);
        plan
    }

    /// The same plan with a bug in it.
    pub(super) fn planted(mut self, bug: Option<Bug>) -> Self {
        self.trap = Trap::new(bug, self.seed);
        self
    }

    /// The same plan for real sockets: the faults are those of sockets, and times that every world
    /// waits for are in milliseconds.
    pub(super) fn on_sockets(mut self, driver: DriverKind, dir: &Path) -> Self {
        let mut rng = Rng::with_seed(self.seed ^ 0x736f_636b);
        (self.profile, self.faults) = (Profile::Sockets, Faults::none());
        self.loops = self.loops.min(3);
        self.link_loop %= self.loops;
        self.tempo = Tempo::SOCKETS;
        self.drain /= SPED_UP;
        // Where peers are to be felt, a payload has to be more than kernels hold.
        self.tiny_buffers = self.stubborn || self.tight || rng.u8(..3) == 0;
        if self.stubborn || self.tight {
            self.payload_max = self.payload_max.max(128 << 10);
        }
        if !self.polite && rng.bool() {
            self.hit_and_run = rng.usize(1..=40);
        }
        self.listen_at = (0..self.kinds.len())
            .map(|number| listen_at(&mut rng, self.tiny_buffers, dir, number))
            .collect();
        if rng.u8(..3) == 0 {
            self.datagrams_at.push_str("?gso=true&gro=true");
        }
        if !matches!(driver, DriverKind::Ready | DriverKind::Portable) {
            // D3: what a ring had taken before it was told to stop is still delivered, and that may
            // be all that a client sends.
            self.pipe_bytes = self.pipe_bytes.max(self.payload_max + 4096);
        }
        for LinkPlan { retry, .. } in &mut self.links {
            retry.delay_min /= SPED_UP;
            retry.delay_max /= SPED_UP;
            retry.steady /= SPED_UP;
        }
        let limits = &mut self.limits;
        limits.input_max = self.pipe_bytes + limits.driver.read_buffer + 8192;
        limits.linger /= SPED_UP;
        // It is counted in whole milliseconds.
        let idle = limits.idle_timeout.map(|idle| idle.as_millis() as u64 / 4);
        limits.idle_timeout = idle.map(Duration::from_millis);
        // Where everybody reads it must not strike, however busy the machine is.
        let write_timeout = limits.write_timeout.map(|timeout| timeout / SPED_UP);
        limits.write_timeout =
            if self.stubborn { write_timeout } else { Some(self.tempo.patience * 2) };
        // Answers of a worker come in their order: one thread makes them. Real threads fall behind
        // the loop, so that more of them wait than in simulation.
        (limits.offload_threads, limits.offload_max) = (1, 1 << 17);
        if !self.tight {
            limits.inbox_max = 1 << 15;
        }
        self
    }

    /// The server to be.
    pub(super) fn builder(&self) -> ServerBuilder {
        Server::builder()
            .balance(self.balance)
            .limits(self.limits.clone())
            .drain(self.drain)
            .seed(self.seed)
    }

    /// Whether the network may end a connection, or a peer's direction, by itself.
    pub(super) fn is_harmful(&self) -> bool {
        self.faults.reset > 0.0 || self.faults.half_close > 0.0 || self.faults.connect_failure > 0.0
    }

    /// What one callback may put on a connection at most, beyond what stands there already.
    pub(super) fn one_delivery(&self) -> usize {
        // Late data piles up to a full pipe, is joined to what was left, and room messages come in
        // from every member in one turn.
        let input = self.pipe_bytes + self.limits.driver.read_buffer + self.limits.input_max;
        // A few bytes on the wire may be many above a layer.
        let risen = if self.has_layers() { 2 * LayerIo::PLAIN_MAX } else { 0 };
        2 * input + 64 * self.message_bytes + risen
    }

    pub(super) fn has_layers(&self) -> bool {
        self.coats.iter().any(|coat| !coat.is_empty())
    }

    /// The layers of the connections that a kind accepts.
    pub(super) fn coat(&self, kind: Kind) -> &'static str {
        let place = self.kinds.iter().position(|other| *other == kind);
        place.map_or("", |place| self.coats[place])
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, profile, loops, balance, clients, ending, .. } = self;
        write!(
            f,
            "seed {seed}: faults {profile:?}, {loops} loops ({balance}), {clients} clients, \
             {} datagram peers, ending {ending:?} {}, drain {:?}{}{}{}{}{}, handlers {:?}",
            self.datagram_peers,
            self.early.map_or("when all is done".to_owned(), |at| format!("at {at:?}")),
            self.drain,
            if self.tight { ", tight limits" } else { "" },
            if self.stubborn { ", peers that never read" } else { "" },
            if self.polite { ", polite peers" } else { "" },
            if self.panics { ", panics" } else { "" },
            if self.tiny_buffers { ", tiny buffers" } else { "" },
            self.kinds,
        )?;
        if self.has_layers() {
            write!(f, ", layers {:?}", self.coats)?;
        }
        if !self.links.is_empty() {
            write!(f, ", on loop {} links {:?}", self.link_loop, self.links)?;
        }
        Ok(())
    }
}

/// Layers for less than half of the kinds.
fn coat_of(kind: Kind, rng: &mut Rng) -> &'static str {
    let coat = *rng.choice(&COATS).expect("not empty");
    match kind {
        Kind::Upgrade => coat,
        // A socket cannot be taken out from under its layers.
        Kind::Detach => "",
        _ if rng.u8(..10) < 4 => coat,
        _ => "",
    }
}

fn pool(rng: &mut Rng) -> PoolLimits {
    let read_chunk = rng.usize(1..=1_000);
    PoolLimits {
        connections_max: if rng.u8(..4) == 0 { rng.usize(1..=4) } else { usize::MAX },
        read_chunk,
        fair_quantum: read_chunk + rng.usize(0..=4_000),
    }
}

/// A TCP port or a unix socket, with or without small buffers.
fn listen_at(rng: &mut Rng, tiny: bool, dir: &Path, number: usize) -> String {
    let place = match rng.u8(..3) {
        0 if cfg!(unix) => format!("unix://{}", dir.join(format!("listener{number}")).display()),
        _ => "tcp://127.0.0.1:0".to_owned(),
    };
    let shift = if tiny { TINY_SHIFT } else { WIDE_SHIFT };
    let (receive, send) = (1 << (rng.u32(shift.clone()) + 3), 1 << rng.u32(shift));
    format!("{place}?rcvbuf={receive}&sndbuf={send}")
}

fn limits(rng: &mut Rng, plan: &Plan) -> Limits {
    let output_high = 1 << rng.u32(8..=16);
    let output_low = output_high >> rng.u32(0..=4);
    let mut limits = Limits { output_high, output_low, ..Limits::default() };
    limits.driver.read_buffer = 1 << rng.u32(6..=16);
    limits.driver.bytes_per_turn = 1 << rng.u32(8..=18);
    limits.driver.events_per_turn = rng.usize(1..=64);
    limits.driver.accepts_per_turn = rng.usize(1..=8);
    limits.posts_per_turn = rng.usize(1..=64);
    limits.input_max = plan.pipe_bytes + limits.driver.read_buffer + 8192;
    limits.write_timeout = Some(Duration::from_millis(rng.u64(2_000..=5_000)));
    limits.linger = Duration::from_millis(rng.u64(1..=2_000));
    if plan.tight {
        limits.output_max = limits.output_high + rng.usize(0..=2 << 10);
        limits.memory_max = limits.output_max + rng.usize(0..=64 << 10);
        limits.inbox_max = rng.usize(1..=64);
        limits.inbox_bytes_max = rng.usize(1 << 10..=1 << 16);
        limits.datagrams_max = rng.usize(1..=1 << 12);
        limits.connections_max = rng.usize(1..=plan.clients * 2);
        if rng.bool() {
            limits.idle_timeout = Some(Duration::from_millis(rng.u64(20..=500)));
        }
    }
    limits
}

/// Times of a simulated world become those of a real one.
const SPED_UP: u32 = 20;

/// Sizes of buffers as powers of two. Of receiving they are larger: with a window under the
/// smallest segment TCP waits a fifth of a second for each.
pub(super) const TINY_SHIFT: RangeInclusive<u32> = 10..=12;
const WIDE_SHIFT: RangeInclusive<u32> = 15..=17;
