//! Workers that share themselves out, in simulation.

use mainspring_loop::{
    Action, CloseReason, Conn, ConnId, Cx, Framed, Handler, Input, Limits, Opened, Pool,
    PoolLimits, Server,
};
use mainspring_sim::{Faults, SimPeer, World, WorldOptions};
use mainspring_testkit::{Reached, SimServer};
use mainspring_wire::Separator;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One call of the handler.
#[derive(Clone, Copy, Debug)]
struct Call {
    turn: u64,
    conn: ConnId,
    bytes: usize,
    time: Duration,
}

type Calls = Arc<Mutex<Vec<Call>>>;

/// Echoes, and tells who was served when.
struct Echo {
    calls: Calls,
    world: World,
}

impl Handler for Echo {
    type State = ();

    fn on_open(&mut self, _: &mut Conn<'_>) -> Opened<()> {
        Opened::Accept(())
    }

    fn on_data(&mut self, (): &mut (), conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
        let turn = conn.cx().turn();
        let time = self.world.elapsed();
        let bytes = input.len();
        self.calls.lock().unwrap().push(Call { turn, conn: conn.id(), bytes, time });
        conn.out().extend_from_slice(input.take());
        Action::Continue
    }
}

const CHUNK: usize = 1000;
const QUANTUM: usize = 4000;
const HOUR: Duration = Duration::from_secs(3600);

fn pool_limits(connections_max: usize) -> PoolLimits {
    PoolLimits { connections_max, read_chunk: CHUNK, fair_quantum: QUANTUM }
}

fn echo_pool(world: &World, loops: usize, connections_max: usize, calls: &Calls) -> SimServer {
    let limits = Limits { output_high: 1 << 24, output_max: 1 << 26, ..Limits::default() };
    let builder = Server::builder().seed(3).limits(limits);
    SimServer::start(world, loops, builder, |shard| {
        let echo = Echo { calls: calls.clone(), world: world.clone() };
        let host = shard.host(Pool::new(pool_limits(connections_max), echo));
        shard.listen(host, "tcp://127.0.0.1:0").map(drop)
    })
    .unwrap()
}

/// Sends `text` as fast as it is taken, and gathers what comes back.
struct Talker {
    peer: SimPeer,
    text: Vec<u8>,
    sent: usize,
    got: Vec<u8>,
}

impl Talker {
    fn new(peer: SimPeer, text: Vec<u8>) -> Self {
        Self { peer, text, sent: 0, got: Vec::new() }
    }

    fn talk(&mut self) {
        if self.peer.is_connected() {
            self.sent += self.peer.send(&self.text[self.sent..]);
        }
        self.got.extend(self.peer.take_received());
    }
}

/// Eight connections that say little and one that never stops: the eight are answered at once, and
/// the ninth never has more than its share of a turn.
#[test]
fn eight_quiet_connections_and_a_chatty_one_share_a_worker() {
    let world = World::new(11, WorldOptions::default());
    let calls = Calls::default();
    let mut server = echo_pool(&world, 1, 9, &calls);
    let at = server.addr(0);
    let connect = |text: Vec<u8>| Talker::new(world.connect(&at).unwrap(), text);
    let mut chatty = connect(vec![b'c'; 4 << 20]);
    let mut quiet: Vec<Talker> = (0..8).map(|_| connect(Vec::new())).collect();
    let (mut asked_at, mut waits, mut asked) = (world.elapsed(), Vec::new(), 0);
    let reached = server.run_until(HOUR, |_| {
        chatty.talk();
        for talker in &mut quiet {
            talker.talk();
        }
        // One after the other asks, and waits for its answer, while the chatty one goes on.
        let talker = &mut quiet[asked % 8];
        if talker.got.len() == talker.text.len() && talker.peer.is_connected() {
            if asked > 0 {
                waits.push(world.elapsed() - asked_at);
            }
            asked += 1;
            let next = &mut quiet[asked % 8];
            next.text.extend_from_slice(b"ping");
            next.talk();
            asked_at = world.elapsed();
        }
        chatty.got.len() == chatty.text.len()
    });
    assert_eq!(reached, Reached::Condition);
    assert!(chatty.got == chatty.text, "every byte comes back");
    let calls = calls.lock().unwrap();
    let mut most = 0;
    for turn in calls.chunk_by(|one, other| one.turn == other.turn) {
        for call in turn {
            let of_one = turn.iter().filter(|other| other.conn == call.conn);
            most = most.max(of_one.map(|call| call.bytes).sum());
        }
    }
    assert_eq!(most, QUANTUM, "bytes of one connection in a turn");
    assert!(calls.iter().all(|call| call.bytes <= CHUNK));
    // The way there and back takes twice the latency of the network; nobody waits for the flood.
    let longest = *waits.iter().max().unwrap();
    assert!(waits.len() > 50 && longest < Duration::from_millis(1), "{longest:?} of {waits:?}");
}

/// Between two calls of a connection whose bytes have come, every other one has at most its quantum.
#[test]
fn nobody_is_served_twice_while_another_waits() {
    let world = World::new(12, WorldOptions::default());
    let calls = Calls::default();
    let mut server = echo_pool(&world, 1, 9, &calls);
    let at = server.addr(0);
    let mut talkers: Vec<Talker> = (0..4)
        .map(|_| Talker::new(world.connect(&at).unwrap(), vec![b'x'; 30 * QUANTUM]))
        .collect();
    let reached = server.run_until(HOUR, |_| {
        talkers.iter_mut().for_each(Talker::talk);
        talkers.iter().all(|talker| talker.got.len() == talker.text.len())
    });
    assert_eq!(reached, Reached::Condition);
    let calls = calls.lock().unwrap();
    let first = calls[0].conn;
    let mut rival_bytes = 0;
    for call in calls.iter().take_while(|call| call.time == calls[0].time) {
        if call.conn == first {
            rival_bytes = 0;
        } else {
            rival_bytes += call.bytes;
            assert!(rival_bytes <= 2 * 3 * QUANTUM, "{rival_bytes} bytes of others");
        }
    }
}

#[test]
fn one_connection_more_than_a_worker_takes_is_refused_and_a_free_place_is_taken_again() {
    let world = World::new(13, WorldOptions::default());
    let calls = Calls::default();
    let mut server = echo_pool(&world, 1, 2, &calls);
    let at = server.addr(0);
    let mut first = world.connect(&at).unwrap();
    server.run_until(HOUR, |_| first.is_connected());
    let second = world.connect(&at).unwrap();
    server.run_until(HOUR, |_| second.is_connected());
    let third = world.connect(&at).unwrap();
    server.run_until(HOUR, |_| third.eof() || third.reset_seen());
    assert!(third.eof());
    assert_eq!(server.handle().stats().total.refused, 1);
    first.close();
    server.run_until(HOUR, |server| server.handle().stats().total.closed == 1);
    let fourth = world.connect(&at).unwrap();
    server.run_until(HOUR, |_| fourth.is_connected());
    assert!(fourth.is_connected() && second.is_connected());
    assert_eq!(server.handle().stats().total.accepted, 3);
    assert_eq!(server.handle().stats().total.refused, 1);
}

/// Takes blocks of a fixed length, by asking for what is missing; a rest at the end is told.
struct Blocks {
    told: Arc<Mutex<Vec<usize>>>,
}

const BLOCK: usize = 2500;

impl Handler for Blocks {
    type State = ();

    fn on_open(&mut self, _: &mut Conn<'_>) -> Opened<()> {
        Opened::Accept(())
    }

    fn on_data(&mut self, (): &mut (), _: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
        let mut told = self.told.lock().unwrap();
        told.push(input.len());
        while input.len() >= BLOCK {
            input.consume(BLOCK);
        }
        input.need(NonZeroUsize::new(BLOCK - input.len()).unwrap());
        Action::Continue
    }

    fn on_close(&mut self, (): (), _: ConnId, _: &mut Cx<'_>, reason: CloseReason) {
        assert_eq!(reason, CloseReason::Peer);
        self.told.lock().unwrap().push(0);
    }
}

#[test]
fn what_a_handler_needs_comes_together_and_the_rest_at_the_end() {
    let world = World::new(14, WorldOptions::default());
    let told = Arc::new(Mutex::new(Vec::new()));
    let mut server = SimServer::start(&world, 1, Server::builder().seed(1), |shard| {
        let host = shard.host(Pool::new(pool_limits(9), Blocks { told: told.clone() }));
        shard.listen(host, "tcp://127.0.0.1:0").map(drop)
    })
    .unwrap();
    let mut peer = world.connect(&server.addr(0)).unwrap();
    let mut sent = false;
    let reached = server.run_until(HOUR, |_| {
        if peer.is_connected() && !sent {
            sent = true;
            assert_eq!(peer.send(&[b'b'; 3 * BLOCK + 700]), 3 * BLOCK + 700);
            peer.shutdown_write();
        }
        told.lock().unwrap().last() == Some(&0)
    });
    assert_eq!(reached, Reached::Condition);
    // As many portions as it takes to have a block; then the rest, once it is the last.
    assert_eq!(*told.lock().unwrap(), [1000, 3000, 2500, 3000, 700, 0]);
}

/// Pools of frames, under every fault after which all bytes arrive.
#[test]
fn frames_in_a_pool_survive_rough_weather() {
    for seed in 0..200 {
        let mut options = WorldOptions::default();
        options.faults = Faults::harmless(seed);
        let world = World::new(seed, options);
        let mut server = SimServer::start(&world, 2, Server::builder().seed(seed), |shard| {
            let framed = Framed::new(Separator::new("\r\n"), |conn, frame| {
                conn.send(&*frame).map_or(Action::Close, |()| Action::Continue)
            });
            let host = shard.host(Pool::new(pool_limits(9), framed));
            shard.listen(host, "tcp://127.0.0.1:0").map(drop)
        })
        .unwrap();
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut talkers: Vec<Talker> = (0..rng.usize(1..6))
            .map(|_| {
                let mut text = Vec::new();
                for _ in 0..rng.usize(1..60) {
                    text.extend(std::iter::repeat_n(b'a', rng.usize(..3000)));
                    text.extend_from_slice(b"\r\n");
                }
                Talker::new(world.connect(&server.addr(0)).unwrap(), text)
            })
            .collect();
        let reached = server.run_until(HOUR, |_| {
            talkers.iter_mut().for_each(Talker::talk);
            talkers.iter().all(|talker| {
                talker.got.len() == talker.text.len() || talker.peer.connect_error().is_some()
            })
        });
        assert_eq!(reached, Reached::Condition, "seed {seed}");
        for talker in &talkers {
            let unborn = talker.peer.connect_error().is_some();
            assert!(unborn || talker.got == talker.text, "seed {seed}: other bytes");
        }
        drop(talkers);
        server.handle().stop();
        assert_eq!(server.run_until(HOUR, SimServer::is_over), Reached::Condition, "seed {seed}");
        assert_eq!(server.handle().stats().total.panics, 0, "seed {seed}");
    }
}

#[test]
fn a_panic_of_the_handler_inside_frees_its_place() {
    let world = World::new(15, WorldOptions::default());
    let mut server = SimServer::start(&world, 1, Server::builder().seed(1), |shard| {
        let boom =
            |_: &mut Conn<'_>, input: &mut Input<'_>| -> Action { panic!("{} bytes", input.len()) };
        let host = shard.host(Pool::new(pool_limits(1), boom));
        shard.listen(host, "tcp://127.0.0.1:0").map(drop)
    })
    .unwrap();
    for round in 1..=3 {
        let mut peer = world.connect(&server.addr(0)).unwrap();
        let reached = server.run_until(HOUR, |server| {
            if peer.is_connected() {
                peer.send(b"x");
            }
            server.handle().stats().total.panics == round
                && server.handle().stats().total.connections == 0
        });
        assert_eq!(reached, Reached::Condition, "round {round}");
    }
    assert_eq!(server.handle().stats().total.refused, 0);
}
