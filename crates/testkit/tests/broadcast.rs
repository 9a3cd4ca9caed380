//! Broadcasts in simulated worlds: peers that read, that stall, and that break off, in networks
//! that cut every write short. Whatever a seed brings, a stream holds whole messages in their
//! order, and between any two turns every message to every target is accounted for.

use bytes::{BufMut, Bytes, BytesMut};
use fastrand::Rng;
use mainspring_io::Address;
use mainspring_loop::{
    Action, BroadcastDrops, BroadcastLimits, Broadcaster, CloseReason, Conn, ConnId, Cx, Handler,
    Input, Layer, LayerFault, LayerIo, LayerState, Layers, Limits, Opened, Server, SlowPolicy,
};
use mainspring_sim::{Faults, SimPeer, World, WorldOptions};
use mainspring_testkit::{Reached, SimServer};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const SEEDS: u64 = 300;
const HOUR: Duration = Duration::from_secs(3600);
/// Head of a message: broadcaster, number, length of the body.
const HEAD: usize = 9;

#[test]
fn whatever_happens_messages_stay_whole_and_accounted_for() {
    let mut met = BTreeMap::<&str, u64>::new();
    for seed in 0..SEEDS {
        let mut run = Run::new(seed);
        run.play();
        run.finish(&mut met);
    }
    for (what, count) in &met {
        assert!(*count > 0, "no world of {SEEDS} met {what}: {met:?}");
    }
}

#[test]
fn equal_seeds_broadcast_alike() {
    let hash = |seed| {
        let mut run = Run::new(seed);
        run.play();
        run.world.trace_hash()
    };
    assert_eq!(hash(3), hash(3));
    assert_ne!(hash(3), hash(4));
}

/// Notes who is there, and answers nothing.
struct Hall {
    members: Arc<Mutex<Members>>,
}

#[derive(Default)]
struct Members {
    /// All there ever were.
    ids: Vec<ConnId>,
    /// How many ended otherwise than by the server's end.
    cut: u64,
}

impl Handler for Hall {
    type State = ();

    fn on_open(&mut self, conn: &mut Conn<'_>) -> Opened<()> {
        self.members.lock().expect("no panic").ids.push(conn.id());
        Opened::Accept(())
    }

    fn on_data(&mut self, (): &mut (), _: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
        input.take();
        Action::Continue
    }

    fn on_close(&mut self, (): (), _: ConnId, _: &mut Cx<'_>, reason: CloseReason) {
        if reason != CloseReason::Shutdown {
            self.members.lock().expect("no panic").cut += 1;
        }
    }
}

/// A cipher: nothing on the wire is as it was.
struct Flip;

impl Flip {
    const MASK: u8 = 0xa7;
}

impl Layer for Flip {
    fn receive(
        &mut self,
        input: &mut Input<'_>,
        io: &mut LayerIo<'_>,
    ) -> Result<LayerState, &'static LayerFault> {
        io.plain.extend(input.take().iter().map(|byte| byte ^ Self::MASK));
        Ok(LayerState::Open)
    }

    fn send(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), &'static LayerFault> {
        wire.extend(plain.iter().map(|byte| byte ^ Self::MASK));
        Ok(())
    }
}

/// One peer and what it has understood so far.
struct Listener {
    peer: SimPeer,
    manner: Manner,
    /// What undoes the layer of the other side.
    mask: u8,
    unread: Vec<u8>,
    /// The last number of each broadcaster.
    last: Vec<Option<u32>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Reads,
    /// Reads nothing until the end.
    Stalls,
    /// Reads at times.
    Dozes,
    /// Breaks off at some time.
    Resets,
}

struct Run {
    seed: u64,
    rng: Rng,
    world: World,
    server: SimServer,
    members: Arc<Mutex<Members>>,
    listeners: Vec<Listener>,
    channels: Vec<Broadcaster>,
    /// The next number of each broadcaster.
    next: Vec<u32>,
    /// Whether the network loses nothing, no peer breaks off, and every peer reads in the end.
    harmless: bool,
    received: Vec<u64>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let harmless = rng.bool();
        let faults = if harmless { Faults::harmless(seed) } else { Faults::swarm(seed) };
        let pipe_bytes = 1 << rng.u32(6..=13);
        let mut options = WorldOptions::default();
        (options.faults, options.pipe_bytes) = (faults, pipe_bytes);
        let world = World::new(seed, options);
        let limits = limits(&mut rng, harmless);
        let builder = Server::builder().seed(seed).limits(limits).drain(HOUR / 2);
        let layered = rng.u8(..3) == 0;
        let (members, made) = (Arc::<Mutex<Members>>::default(), Mutex::new(Vec::new()));
        let channel_limits: Vec<BroadcastLimits> =
            (0..rng.usize(1..=3)).map(|_| broadcast_limits(&mut rng)).collect();
        let server = SimServer::start(&world, rng.usize(1..=3), builder, |shard| {
            let host = shard.host(Hall { members: members.clone() });
            if shard.loop_index() == 0 {
                let channels =
                    channel_limits.iter().map(|limits| shard.broadcaster(limits.clone()));
                made.lock().expect("no panic").extend(channels);
            }
            let address: Address = "tcp://127.0.0.1:0".try_into()?;
            if !layered {
                return shard.listen(host, address).map(drop);
            }
            let options = address.listen_options().clone();
            shard.listen_layered(host, &address, &options, || Layers::new().above(Flip)).map(drop)
        })
        .expect("a free port");
        let channels: Vec<Broadcaster> = made.into_inner().expect("no panic");
        let peers = rng.usize(1..=8);
        let listeners = (0..peers)
            .map(|_| Listener::new(&world, &server, &mut rng, channels.len(), layered))
            .collect();
        let (next, received) = (vec![0; channels.len()], vec![0; channels.len()]);
        Self { seed, rng, world, server, members, listeners, channels, next, harmless, received }
    }

    /// Sends at random while the loops turn and the peers do as they are.
    fn play(&mut self) {
        for _ in 0..self.rng.usize(100..=1_500) {
            match self.rng.u8(..4) {
                0 => self.send(),
                1 => self.act(),
                _ => drop(self.server.step(None)),
            }
            self.check_accounts();
        }
    }

    fn send(&mut self) {
        let channel = self.rng.usize(..self.channels.len());
        let ids = self.members.lock().expect("no panic").ids.clone();
        let targets: Vec<ConnId> = ids.into_iter().filter(|_| self.rng.u8(..10) > 0).collect();
        let message = message(channel, self.next[channel], &mut self.rng);
        self.next[channel] += 1;
        let broadcaster = &self.channels[channel];
        if self.rng.bool() {
            // Refused by some loops: counted there.
            let _ = broadcaster.send(message, &targets);
        } else {
            let _ = broadcaster.send_to(message, &broadcaster.targets(&targets));
        }
    }

    fn act(&mut self) {
        let index = self.rng.usize(..self.listeners.len());
        let listener = &mut self.listeners[index];
        match listener.manner {
            Manner::Reads => {}
            Manner::Stalls => listener.peer.stop_reading(),
            Manner::Dozes if self.rng.bool() => listener.peer.stop_reading(),
            Manner::Dozes => listener.peer.resume_reading(),
            Manner::Resets if self.rng.u8(..20) == 0 => {
                self.harmless = false;
                listener.peer.reset();
            }
            Manner::Resets => {}
        }
        listener.understand(&mut self.received, self.seed);
    }

    /// Ends the server, in one way or the other, and draws the balance.
    fn finish(mut self, met: &mut BTreeMap<&str, u64>) {
        if self.harmless {
            self.listeners.iter_mut().for_each(|listener| listener.peer.resume_reading());
        }
        if self.rng.bool() {
            self.server.handle().stop();
        } else {
            self.server.handle().drain();
        }
        let (channels, seed) = (self.channels.clone(), self.seed);
        let reached = self.server.run_until(HOUR, |server| {
            for channel in &channels {
                assert!(channel.stats().is_balanced(), "seed {seed}: {:?}", channel.stats());
            }
            server.is_over()
        });
        assert_eq!(reached, Reached::Condition, "seed {seed}: the server does not end");
        while self.world.advance_to_next() {}
        for listener in &mut self.listeners {
            listener.understand(&mut self.received, seed);
        }
        self.check_accounts();
        self.check_end();
        self.note_met(met);
    }

    #[track_caller]
    fn check_accounts(&self) {
        for (index, channel) in self.channels.iter().enumerate() {
            let stats = channel.stats();
            assert!(stats.is_balanced(), "seed {}, broadcaster {index}: {stats:?}", self.seed);
            assert!(stats.waiting <= stats.queued, "seed {}: {stats:?}", self.seed);
        }
    }

    fn check_end(&self) {
        let cut = self.members.lock().expect("no panic").cut;
        for (index, channel) in self.channels.iter().enumerate() {
            let stats = channel.stats();
            let about = format!("seed {}, broadcaster {index}: {stats:?}", self.seed);
            assert_eq!((stats.queued, stats.waiting), (0, 0), "{about}");
            let received = self.received[index];
            // What was under way when its connection was cut may have arrived.
            let cut_short = stats.dropped.closed + stats.dropped.disconnected;
            let most = stats.delivered + cut_short;
            assert!(received <= most, "{about}, but {received} received");
            if self.harmless && cut == 0 {
                // What the kernel was given has arrived, and a stop sends what waits.
                assert_eq!(received, stats.delivered, "{about}");
                assert_eq!(stats.dropped.closed, 0, "{about}");
                let whole = self.listeners.iter().all(|listener| listener.unread.is_empty());
                assert!(whole, "{about}: half a message");
            }
        }
        let total = self.server.handle().stats().total;
        assert_eq!((total.panics, total.buffered_bytes), (0, 0), "seed {}", self.seed);
    }

    fn note_met(&self, met: &mut BTreeMap<&str, u64>) {
        for channel in &self.channels {
            let stats = channel.stats();
            let BroadcastDrops {
                newest, oldest, late, closed, disconnected, unknown, refused, ..
            } = stats.dropped;
            for (what, count) in [
                ("delivered", stats.delivered),
                ("newest", newest),
                ("oldest", oldest),
                ("late", late),
                ("closed", closed),
                ("disconnected", disconnected),
                ("unknown", unknown),
                ("refused", refused),
            ] {
                *met.entry(what).or_default() += count;
            }
        }
        let cut = self.members.lock().expect("no panic").cut;
        let faults = self.world.fault_counts();
        *met.entry("partial writes").or_default() += faults.partial_writes;
        *met.entry("completions").or_default() += faults.completion_sends;
        *met.entry("late wakes").or_default() += faults.delayed_wakes;
        *met.entry("resets").or_default() += faults.resets;
        *met.entry("all arrived").or_default() += u64::from(self.harmless && cut == 0);
    }
}

impl Listener {
    fn new(
        world: &World,
        server: &SimServer,
        rng: &mut Rng,
        channels: usize,
        layered: bool,
    ) -> Self {
        let peer = world.connect(&server.addr(0)).expect("an address to connect to");
        let manner = [Manner::Reads, Manner::Stalls, Manner::Dozes, Manner::Resets][rng.usize(..4)];
        let mask = if layered { Flip::MASK } else { 0 };
        Self { peer, manner, mask, unread: Vec::new(), last: vec![None; channels] }
    }

    /// Takes what has arrived apart: every byte of it has to be that of a message that comes after
    /// the one before.
    fn understand(&mut self, received: &mut [u64], seed: u64) {
        let wire = self.peer.take_received();
        self.unread.extend(wire.iter().map(|byte| byte ^ self.mask));
        while let Some((channel, number, used)) = first_message(&self.unread, seed) {
            let last = &mut self.last[channel];
            assert!(last.is_none_or(|last| last < number), "seed {seed}: {number} after {last:?}");
            *last = Some(number);
            received[channel] += 1;
            self.unread.drain(..used);
        }
    }
}

fn message(channel: usize, number: u32, rng: &mut Rng) -> Bytes {
    let body = if rng.u8(..8) == 0 { rng.usize(..3_000) } else { rng.usize(..200) };
    let mut message = BytesMut::with_capacity(HEAD + body);
    message.put_u8(channel as u8);
    message.put_u32(number);
    message.put_u32(body as u32);
    message.put_bytes(number as u8 ^ 0x5a, body);
    message.freeze()
}

/// Broadcaster, number and length of the message that `bytes` begin with, if it is there.
fn first_message(bytes: &[u8], seed: u64) -> Option<(usize, u32, usize)> {
    let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
    let number = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    let length = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) as usize;
    assert!(head[0] < 3 && length < 3_000, "seed {seed}: not a head: {head:?}");
    let body = rest.get(..length)?;
    let intact = body.iter().all(|byte| *byte == number as u8 ^ 0x5a);
    assert!(intact, "seed {seed}: message {number} is mangled");
    Some((head[0].into(), number, HEAD + length))
}

fn limits(rng: &mut Rng, harmless: bool) -> Limits {
    let mut limits = Limits { output_low: 1 << 10, output_high: 4 << 10, ..Limits::default() };
    limits.posts_per_turn = rng.usize(1..=64);
    if harmless {
        limits.write_timeout = None;
    } else {
        limits.write_timeout = Some(Duration::from_millis(rng.u64(100..=5_000)));
        limits.output_max = rng.usize((4 << 10)..=(16 << 10));
        limits.memory_max = limits.output_max + rng.usize(0..=32 << 10);
    }
    if rng.bool() {
        limits.inbox_max = rng.usize(1..=8);
    }
    limits
}

fn broadcast_limits(rng: &mut Rng) -> BroadcastLimits {
    BroadcastLimits {
        outbox_bytes: rng.usize(0..=2_000),
        queue_bytes: if rng.bool() { rng.usize(..4_000) } else { 1 << 20 },
        queue_messages: if rng.bool() { rng.usize(..20) } else { 1 << 20 },
        deadline: rng.bool().then(|| Duration::from_millis(rng.u64(..200))),
        policy: [SlowPolicy::DropNewest, SlowPolicy::DropOldest, SlowPolicy::Disconnect]
            [rng.usize(..3)],
    }
}
