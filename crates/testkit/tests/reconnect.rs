//! Links that are kept up, in worlds where their server is refused, silent, reset and restarted.
#![forbid(unsafe_code)]

use mainspring_io::{Addr, Address};
use mainspring_loop::{
    Action, CloseReason, Conn, ConnId, Cx, Handler, Input, Layer, LayerFault, LayerIo, LayerState,
    Layers, Limits, Link, LinkChange, LinkStatus, Opened, Reconnect, Remote, Retry, Server,
    ServerInfo,
};
use mainspring_sim::{Faults, SimListener, SimPeer, World, WorldOptions};
use mainspring_testkit::link_watch::LinkWatch;
use mainspring_testkit::{Reached, SimServer};
use std::cell::RefCell;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(3600);
/// A turn, a step of the wheel, and a leap of the clock.
const SLACK: Duration = Duration::from_millis(5);

/// What happened, in its order.
#[derive(Default)]
struct Log {
    changes: Vec<(Instant, usize, LinkChange)>,
    /// When each link was dialled.
    dials: Vec<(Instant, usize)>,
    /// States that were made, and those that `on_close` has got.
    made: usize,
    closed: usize,
    remote: Option<Remote<Reconnect<Client>>>,
}

type Shared = Rc<RefCell<Log>>;

/// What all links are for: it echoes.
struct Client {
    log: Shared,
}

impl Handler for Client {
    type State = usize;

    fn on_start(&mut self, cx: &mut Cx<'_>, _server: &ServerInfo) -> Action {
        self.log.borrow_mut().remote = Some(cx.remote(cx.this::<Reconnect<Self>>()));
        Action::Continue
    }

    fn on_open(&mut self, _conn: &mut Conn<'_>) -> Opened<usize> {
        Opened::Refuse
    }

    fn on_data(&mut self, _: &mut usize, conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
        conn.out().extend_from_slice(input.take());
        Action::Continue
    }

    fn on_close(&mut self, _: usize, _id: ConnId, _cx: &mut Cx<'_>, _reason: CloseReason) {
        self.log.borrow_mut().closed += 1;
    }
}

fn link(log: &Shared, number: usize, addresses: Vec<Address>, retry: Retry) -> Link<Client> {
    let told = log.clone();
    Link::to_any(addresses, move |client: &mut Client, cx: &mut Cx<'_>| {
        let mut log = client.log.borrow_mut();
        log.made += 1;
        log.dials.push((cx.now(), number));
        number
    })
    .retry(retry)
    .on_change(move |_, cx, change| told.borrow_mut().changes.push((cx.now(), number, change)))
}

fn at(port: u16) -> Addr {
    Addr::Inet(([127, 0, 0, 1], port).into())
}

fn address(port: u16) -> Address {
    Address::tcp(([127, 0, 0, 1], port).into())
}

/// A server with these links, and what it tells.
fn start(
    world: &World,
    limits: Limits,
    links: impl Fn(&Shared) -> Vec<Link<Client>>,
) -> (SimServer, Shared) {
    let log = Shared::default();
    let builder = Server::builder().seed(world.draw()).limits(limits);
    let server = SimServer::start(world, 1, builder, |shard| {
        let client = Reconnect::new(Client { log: log.clone() });
        shard.host(links(&log).into_iter().fold(client, Reconnect::link));
        Ok(())
    });
    (server.unwrap(), log)
}

fn one(world: &World, retry: &Retry) -> (SimServer, Shared) {
    start(world, Limits::default(), |log| vec![link(log, 0, vec![address(7000)], retry.clone())])
}

fn until(server: &mut SimServer, log: &Shared, mut what: impl FnMut(&Log) -> bool) {
    let reached = server.run_until(LONG, |_| what(&log.borrow()));
    assert_eq!(reached, Reached::Condition, "{:?}", log.borrow().changes);
}

/// Runs for some time.
fn pass(server: &mut SimServer, time: Duration) {
    let until = server.world().elapsed() + time;
    while server.world().elapsed() < until {
        server.step(Some(until));
    }
}

fn stop(mut server: SimServer, log: &Shared) {
    server.handle().stop();
    let reached = server.run_until(LONG, SimServer::is_over);
    assert_eq!(reached, Reached::Condition);
    let log = log.borrow();
    // A dial that comes when the server is stopping is refused, and its state dropped.
    let is_refused = |change: &LinkChange| match change {
        LinkChange::Failed { reason: CloseReason::Failed(error), .. } => {
            error.kind() == ErrorKind::QuotaExceeded
        }
        _ => false,
    };
    let refused = log.changes.iter().filter(|(.., change)| is_refused(change)).count();
    assert_eq!(log.made, log.closed + refused, "each state ends once");
}

fn is_connected(change: &LinkChange) -> bool {
    matches!(change, LinkChange::Connected { .. })
}

fn connected(log: &Log) -> usize {
    log.changes.iter().filter(|(.., change)| is_connected(change)).count()
}

/// The delays told, each checked against the dial that followed.
fn delays(log: &Log) -> Vec<Duration> {
    let retry = |(at, _, change): &(Instant, usize, LinkChange)| match change {
        LinkChange::Lost { retry, .. } | LinkChange::Failed { retry, .. } => {
            retry.map(|delay| (*at, delay))
        }
        _ => None,
    };
    let told: Vec<(Instant, Duration)> = log.changes.iter().filter_map(retry).collect();
    for (at, delay) in &told {
        let dialled = log.dials.iter().find(|(dialled, _)| dialled > at);
        let waited = dialled.map(|(dialled, _)| dialled.duration_since(*at));
        if let Some(waited) = waited {
            assert!(waited >= *delay && waited < *delay + SLACK, "{waited:?} for {delay:?}");
        }
    }
    told.into_iter().map(|(_, delay)| delay).collect()
}

/// Whether the delays are a back-off's from its `first`-th step on.
fn assert_steps(delays: &[Duration], retry: &Retry, first: u32) {
    for (step, delay) in (first..).zip(delays) {
        let most = (retry.delay_min * 2_u32.pow(step.min(20))).min(retry.delay_max);
        let least = (most / 2).max(retry.delay_min);
        assert!(*delay >= least && *delay <= most, "step {step}: {delay:?} in {delays:?}");
    }
}

fn refused() -> CloseReason {
    CloseReason::Failed((&std::io::Error::from(ErrorKind::ConnectionRefused)).into())
}

#[test]
fn refusals_are_waited_for_longer_each_time_and_then_given_up() {
    for seed in 0..20 {
        let world = World::new(seed, WorldOptions::default());
        let retry = Retry { attempts_max: Some(8), delay_max: 3000 * MS, ..Retry::default() };
        let (mut server, log) = one(&world, &retry);
        until(&mut server, &log, |log| log.changes.len() >= 9);
        pass(&mut server, LONG);
        let seen = log.borrow();
        let delays = delays(&seen);
        assert_eq!(delays.len(), 7, "seed {seed}: {:?}", seen.changes);
        assert_steps(&delays, &retry, 1);
        let is_refused = |change: &LinkChange| match change {
            LinkChange::Failed { reason, .. } => reason.to_string().contains("refused"),
            _ => false,
        };
        assert!(
            seen.changes[..8].iter().all(|(.., change)| is_refused(change)),
            "{:?}",
            seen.changes
        );
        assert_eq!(seen.changes[8].2, LinkChange::GaveUp { attempts: 8 }, "seed {seed}");
        assert_eq!((seen.changes.len(), seen.dials.len()), (9, 8), "nothing after the end");
        drop(seen);
        stop(server, &log);
    }
}

#[test]
fn another_seed_is_another_sequence_and_the_same_seed_the_same() {
    let run = |seed| {
        let world = World::new(seed, WorldOptions::default());
        let retry = Retry { attempts_max: Some(5), ..Retry::default() };
        let (mut server, log) = one(&world, &retry);
        until(&mut server, &log, |log| log.changes.len() >= 6);
        let delays = delays(&log.borrow());
        (delays, world.trace_hash())
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3).0, run(4).0);
}

/// Accepts what waits.
fn accept(listener: &mut SimListener, into: &mut Vec<SimPeer>) {
    while let Some(peer) = listener.accept() {
        into.push(peer);
    }
}

/// Up, and known to the link.
fn come_up(server: &mut SimServer, log: &Shared, listener: &mut SimListener) -> SimPeer {
    let (before, mut peers) = (connected(&log.borrow()), Vec::new());
    until(server, log, |log| {
        accept(listener, &mut peers);
        connected(log) > before
    });
    pass(server, MS);
    accept(listener, &mut peers);
    peers.pop().expect("an accepted connection")
}

#[test]
fn a_server_that_restarts_is_found_again_and_bytes_pass() {
    let world = World::new(11, WorldOptions::default());
    let retry = Retry::default();
    let (mut server, log) = one(&world, &retry);
    for round in 0..5 {
        let mut listener = world.listen(&at(7000)).unwrap();
        let mut peer = come_up(&mut server, &log, &mut listener);
        peer.send(b"hello");
        let reached = server.run_until(LONG, |_| peer.take_received() == b"hello");
        assert_eq!(reached, Reached::Condition, "round {round}");
        pass(&mut server, retry.steady);
        drop(listener);
        if round % 2 == 0 {
            peer.close()
        } else {
            peer.reset()
        }
        let lost = |log: &Log| matches!(log.changes.last(), Some((.., LinkChange::Failed { .. })));
        until(&mut server, &log, lost);
    }
    let seen = log.borrow();
    assert_eq!(connected(&seen), 5);
    let lost: Vec<&LinkChange> = seen
        .changes
        .iter()
        .map(|(.., change)| change)
        .filter(|change| matches!(change, LinkChange::Lost { .. }))
        .collect();
    for (round, lost) in lost.iter().enumerate() {
        let LinkChange::Lost { reason, up, retry: Some(delay) } = lost else { panic!("{lost:?}") };
        assert_eq!(*reason == CloseReason::Peer, round % 2 == 0, "{lost:?}");
        assert!(*up >= retry.steady, "{lost:?}");
        assert_steps(&[*delay], &retry, 1);
    }
    drop(seen);
    stop(server, &log);
}

#[test]
fn connections_that_do_not_last_are_failures_and_one_that_does_is_a_new_beginning() {
    let world = World::new(5, WorldOptions::default());
    let retry = Retry { steady: 2000 * MS, attempts_max: Some(20), ..Retry::default() };
    let (mut server, log) = one(&world, &retry);
    let mut listener = world.listen(&at(7000)).unwrap();
    for _ in 0..4 {
        come_up(&mut server, &log, &mut listener).reset();
    }
    let peer = come_up(&mut server, &log, &mut listener);
    pass(&mut server, retry.steady);
    drop(peer);
    for _ in 0..3 {
        come_up(&mut server, &log, &mut listener).reset();
    }
    let peer = come_up(&mut server, &log, &mut listener);
    let seen = log.borrow();
    let delays = delays(&seen);
    assert_steps(&delays[..4], &retry, 1);
    assert_steps(&delays[4..5], &retry, 1);
    assert_steps(&delays[5..], &retry, 1);
    assert_eq!(delays.len(), 8);
    let dials = |(.., change): &(Instant, usize, LinkChange)| match change {
        LinkChange::Connected { dials, .. } => Some(*dials),
        _ => None,
    };
    let dials: Vec<u32> = seen.changes.iter().filter_map(dials).collect();
    assert_eq!(dials, [1, 2, 3, 4, 5, 1, 2, 3, 4]);
    drop(seen);
    stop(server, &log);
    drop(peer);
}

#[test]
fn a_dial_that_is_not_answered_ends_by_the_links_own_deadline() {
    let options = WorldOptions::default();
    let backlog = options.backlog;
    let world = World::new(2, options);
    let _full = world.listen(&at(7000)).unwrap();
    let fillers: Vec<SimPeer> = (0..backlog).map(|_| world.connect(&at(7000)).unwrap()).collect();
    world.advance(10 * MS);
    assert!(fillers.iter().all(SimPeer::is_connected));
    let retry = Retry { dial_timeout: Some(250 * MS), attempts_max: Some(3), ..Retry::default() };
    let (mut server, log) = one(&world, &retry);
    until(&mut server, &log, |log| log.changes.len() >= 4);
    let seen = log.borrow();
    let times = seen.changes[..3].iter().zip(&seen.dials);
    for ((told, _, change), (dialled, _)) in times {
        let LinkChange::Failed { reason, .. } = change else { panic!("{change:?}") };
        assert_eq!(*reason, CloseReason::DialTimeout);
        let took = told.duration_since(*dialled);
        assert!(took >= 250 * MS && took < 250 * MS + SLACK, "{took:?}");
    }
    assert_eq!(seen.changes[3].2, LinkChange::GaveUp { attempts: 3 });
    drop(seen);
    stop(server, &log);
}

#[test]
fn of_several_addresses_each_is_tried_before_the_delay() {
    let world = World::new(8, WorldOptions::default());
    let retry = Retry { attempts_max: Some(3), ..Retry::default() };
    let three = vec![address(7001), address(7002), address(7003)];
    let build = |log: &Shared| vec![link(log, 0, three.clone(), retry.clone())];
    let (mut server, log) = start(&world, Limits::default(), build);
    until(&mut server, &log, |log| log.changes.len() >= 10);
    let seen = delays(&log.borrow());
    assert_eq!(seen.len(), 8);
    assert!([0, 1, 3, 4, 6, 7].iter().all(|at| seen[*at] == Duration::ZERO), "{seen:?}");
    assert_steps(&[seen[2], seen[5]], &retry, 1);
    assert_eq!(log.borrow().dials.len(), 9);
    stop(server, &log);

    let mut second = world.listen(&at(7002)).unwrap();
    let (mut server, log) = start(&world, Limits::default(), build);
    let peer = come_up(&mut server, &log, &mut second);
    assert_eq!(log.borrow().dials.len(), 2);
    let mut first = world.listen(&at(7001)).unwrap();
    drop(peer);
    come_up(&mut server, &log, &mut first);
    assert_eq!(log.borrow().dials.len(), 3, "each attempt begins with the first");
    stop(server, &log);
}

#[test]
fn what_one_event_has_thrown_off_does_not_come_back_at_once() {
    const LINKS: usize = 300;
    let mut options = WorldOptions::default();
    options.backlog = 2 * LINKS;
    let world = World::new(21, options);
    let retry = Retry { delay_min: 500 * MS, ..Retry::default() };
    let mut listener = world.listen(&at(7000)).unwrap();
    let links = |log: &Shared| {
        (0..LINKS).map(|number| link(log, number, vec![address(7000)], retry.clone())).collect()
    };
    let (mut server, log) = start(&world, Limits::default(), links);
    let mut peers = Vec::new();
    until(&mut server, &log, |log| {
        accept(&mut listener, &mut peers);
        connected(log) == LINKS
    });
    pass(&mut server, MS);
    accept(&mut listener, &mut peers);
    log.borrow_mut().dials.clear();
    peers.drain(..).for_each(|mut peer| peer.reset());
    until(&mut server, &log, |log| connected(log) == 2 * LINKS);
    let dials: Vec<Instant> = log.borrow().dials.iter().map(|(at, _)| *at).collect();
    assert_eq!(dials.len(), LINKS, "one dial each");
    let window = 50 * MS;
    let crowd = dials.iter().map(|from| {
        dials.iter().filter(|at| **at >= *from && at.duration_since(*from) < window).count()
    });
    // Spread evenly over half a second, a tenth of them falls into a window.
    let most = crowd.max().unwrap();
    assert!(most < LINKS / 5, "{most} of {LINKS} within {window:?}");
    stop(server, &log);
}

/// Runs `work` on the handler, from outside.
fn post(log: &Shared, work: impl FnOnce(&mut Reconnect<Client>, &mut Cx<'_>) + Send + 'static) {
    let remote = log.borrow().remote.clone();
    remote.expect("it has started").post(work).unwrap();
}

#[test]
fn a_link_is_stopped_and_started_in_every_state() {
    let world = World::new(13, WorldOptions::default());
    let (mut server, log) = one(&world, &Retry::default());
    let mut listener = world.listen(&at(7000)).unwrap();
    let mut peer = come_up(&mut server, &log, &mut listener);
    // Up: closed in good order, and not dialled again.
    post(&log, |client, cx| {
        let id = client.links().next().unwrap();
        client.stop(cx, id);
        assert!(matches!(client.status(id), LinkStatus::Stopping(_)));
    });
    pass(&mut server, 2 * MS);
    assert!(peer.eof());
    peer.close();
    pass(&mut server, LONG / 10);
    let last = log.borrow().changes.last().unwrap().2;
    let LinkChange::Lost { reason: CloseReason::Local, retry: None, .. } = last else {
        panic!("{last:?}");
    };
    assert_eq!(log.borrow().dials.len(), 1);
    // Idle: started.
    post(&log, |client, cx| {
        let id = client.links().next().unwrap();
        assert_eq!(client.status(id), LinkStatus::Idle);
        client.start(cx, id);
        client.start(cx, id);
    });
    let _peer = come_up(&mut server, &log, &mut listener);
    // Stopped and started at once: the old connection goes first.
    post(&log, |client, cx| {
        let id = client.links().next().unwrap();
        client.stop(cx, id);
        client.start(cx, id);
        assert!(matches!(client.status(id), LinkStatus::Stopping(_)));
    });
    pass(&mut server, LONG / 10);
    let peer = listener.accept().expect("a new one");
    assert_eq!(log.borrow().dials.len(), 3);
    // Waiting.
    drop((listener, peer));
    until(&mut server, &log, |log| {
        matches!(log.changes.last(), Some((.., LinkChange::Failed { retry: Some(_), .. })))
    });
    let dials = log.borrow().dials.len();
    post(&log, |client, cx| {
        let id = client.links().next().unwrap();
        assert_eq!(client.status(id), LinkStatus::Waiting);
        client.stop(cx, id);
        assert_eq!(client.status(id), LinkStatus::Idle);
    });
    pass(&mut server, LONG / 10);
    assert_eq!(log.borrow().dials.len(), dials);
    stop(server, &log);
}

#[test]
fn a_reason_that_is_judged_final_ends_the_link() {
    let world = World::new(1, WorldOptions::default());
    let (mut server, log) = start(&world, Limits::default(), |log| {
        let link = link(log, 0, vec![address(7000)], Retry::default());
        vec![link.stop_if(|reason| matches!(reason, CloseReason::Failed(_)))]
    });
    pass(&mut server, LONG / 10);
    assert_eq!(log.borrow().dials.len(), 1);
    let last = log.borrow().changes.last().unwrap().2;
    let LinkChange::Failed { retry: None, .. } = last else { panic!("{last:?}") };
    stop(server, &log);
}

#[test]
fn without_room_for_a_connection_a_link_waits_too() {
    let world = World::new(1, WorldOptions::default());
    let _listener = world.listen(&at(7000)).unwrap();
    let limits = Limits { connections_max: 1, ..Limits::default() };
    let retry = Retry { attempts_max: Some(4), ..Retry::default() };
    let (mut server, log) = start(&world, limits, |log| {
        (0..2).map(|number| link(log, number, vec![address(7000)], retry.clone())).collect()
    });
    until(&mut server, &log, |log| log.changes.len() >= 6);
    let seen = log.borrow();
    assert_eq!(connected(&seen), 1);
    assert_eq!(seen.changes[5].2, LinkChange::GaveUp { attempts: 4 });
    drop(seen);
    server.handle().stop();
    assert_eq!(server.run_until(LONG, SimServer::is_over), Reached::Condition);
    let seen = log.borrow();
    assert_eq!((seen.made, seen.closed), (5, 1), "a refused dial drops its state");
}

/// Flips every bit; up when the peer has said so.
struct Greeted {
    is_open: bool,
}

impl Layer for Greeted {
    fn start(&mut self, io: &mut LayerIo<'_>) -> Result<LayerState, &'static LayerFault> {
        io.wire.push(b'?');
        Ok(LayerState::Handshake)
    }

    fn receive(
        &mut self,
        input: &mut Input<'_>,
        io: &mut LayerIo<'_>,
    ) -> Result<LayerState, &'static LayerFault> {
        const NO: LayerFault = LayerFault::new("greeting", "the peer says no");
        if !self.is_open {
            if input.bytes()[0] != b'!' {
                return Err(&NO);
            }
            input.consume(1);
            self.is_open = true;
        }
        io.plain.extend(input.take().iter().map(|byte| !byte));
        Ok(LayerState::Open)
    }

    fn send(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), &'static LayerFault> {
        wire.extend(plain.iter().map(|byte| !byte));
        Ok(())
    }
}

#[test]
fn every_connection_of_a_link_gets_layers_of_its_own() {
    let world = World::new(17, WorldOptions::default());
    let mut listener = world.listen(&at(7000)).unwrap();
    let retry = Retry { dial_timeout: Some(1000 * MS), ..Retry::default() };
    let (mut server, log) = start(&world, Limits::default(), |log| {
        let link = link(log, 0, vec![address(7000)], retry.clone());
        vec![link.layers(|_| Layers::new().above(Greeted { is_open: false }))]
    });
    let mut accepted = |server: &mut SimServer| {
        let mut peer = None;
        let reached = server.run_until(LONG, |_| {
            peer = peer.take().or_else(|| listener.accept());
            peer.as_mut().is_some_and(|peer| peer.take_received() == b"?")
        });
        assert_eq!(reached, Reached::Condition);
        peer.unwrap()
    };
    // Refused in the layer, not answered at all, and at last greeted.
    accepted(&mut server).send(b"x");
    until(&mut server, &log, |log| log.changes.len() == 1);
    let LinkChange::Failed { reason: CloseReason::Layer(fault), .. } = log.borrow().changes[0].2
    else {
        panic!("{:?}", log.borrow().changes);
    };
    assert_eq!(fault.reason(), "the peer says no");
    let silent = accepted(&mut server);
    until(&mut server, &log, |log| log.changes.len() == 2);
    assert!(matches!(log.borrow().changes[1].2, LinkChange::Failed { .. }));
    drop(silent);
    let mut peer = accepted(&mut server);
    peer.send(&[b'!', !b'a']);
    let reached = server.run_until(LONG, |_| peer.take_received() == [!b'a']);
    assert_eq!((reached, connected(&log.borrow())), (Reached::Condition, 1));
    stop(server, &log);
}

#[test]
fn a_dial_of_ones_own_may_refuse() {
    let world = World::new(17, WorldOptions::default());
    let _listener = world.listen(&at(7000)).unwrap();
    let (mut server, log) = start(&world, Limits::default(), |log| {
        let mut calls = 0;
        let link = link(log, 0, vec![address(7000)], Retry::default());
        vec![link.dial_with(move |cx, host, address, state| {
            calls += 1;
            if calls < 3 {
                return Err(ErrorKind::InvalidInput.into());
            }
            cx.connect(host, address, state).map_err(|_| ErrorKind::QuotaExceeded.into())
        })]
    });
    until(&mut server, &log, |log| connected(log) == 1);
    let seen = log.borrow();
    assert_eq!((seen.changes.len(), seen.dials.len()), (3, 3));
    assert_steps(&delays(&seen), &Retry::default(), 1);
    drop(seen);
    // The two that were refused dropped their states.
    server.handle().stop();
    assert_eq!(server.run_until(LONG, SimServer::is_over), Reached::Condition);
    assert_eq!((log.borrow().made, log.borrow().closed), (3, 1));
}

#[test]
fn a_drain_dials_nothing_more() {
    let world = World::new(1, WorldOptions::default());
    let (mut server, log) = one(&world, &Retry::default());
    until(&mut server, &log, |log| log.changes.len() >= 3);
    let dials = log.borrow().dials.len();
    server.handle().drain();
    assert_eq!(server.run_until(LONG, SimServer::is_over), Reached::Condition);
    assert_eq!(log.borrow().dials.len(), dials);
}

/// A server that comes and goes, by chance, while everything that may go wrong does.
fn storm(seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut options = WorldOptions::default();
    options.faults = Faults::swarm(seed);
    options.faults.connect_failure = rng.f64() * 0.5;
    options.faults.reset = rng.f64() * 0.2;
    let world = World::new(seed, options);
    let retry = Retry {
        delay_min: MS * rng.u32(5..200),
        delay_max: MS * rng.u32(200..2000),
        attempts_max: rng.bool().then(|| rng.u32(2..10)),
        steady: MS * rng.u32(1..3000),
        dial_timeout: Some(500 * MS),
    };
    let count = rng.usize(1..6);
    let links = |log: &Shared| {
        (0..count).map(|number| link(log, number, vec![address(7000)], retry.clone())).collect()
    };
    let (mut server, log) = start(&world, Limits::default(), links);
    let (mut listener, mut peers) = (None, Vec::new());
    for _ in 0..200 {
        match rng.u8(0..6) {
            0 => listener = None,
            1 if listener.is_none() => listener = world.listen(&at(7000)).ok(),
            2 if !peers.is_empty() => {
                let mut peer: SimPeer = peers.swap_remove(rng.usize(..peers.len()));
                if rng.bool() { peer.reset() } else { peer.close() }
            }
            3 => {
                for peer in &mut peers {
                    peer.send(b"something");
                }
            }
            _ => {}
        }
        if let Some(listener) = &mut listener {
            accept(listener, &mut peers);
        }
        pass(&mut server, MS * rng.u32(1..300));
    }
    check(&log.borrow(), &retry, seed);
    // Beyond the longest drain nothing may hold the server.
    stop(server, &log);
}

/// Each link by itself, its dials and changes in their order.
fn check(log: &Log, retry: &Retry, seed: u64) {
    let links = log.dials.iter().map(|(_, number)| number + 1).max().unwrap_or(0);
    for number in 0..links {
        let mut watch = LinkWatch::new(retry.clone(), 1);
        let mut dials = log.dials.iter().filter(|(_, of)| *of == number).peekable();
        let mut dialled = |watch: &mut LinkWatch| {
            let (at, _) = dials.next().expect("a change follows from a dial");
            watch.dialled(*at).unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
        };
        for (at, _, change) in log.changes.iter().filter(|(_, of, _)| *of == number) {
            if matches!(change, LinkChange::Connected { .. } | LinkChange::Failed { .. }) {
                dialled(&mut watch);
            }
            let result = watch.changed(*at, change, false);
            result.unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
        }
        // One may be under way.
        if dials.peek().is_some() {
            let (at, _) = dials.next().expect("seen");
            watch.dialled(*at).unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
        }
        assert!(dials.next().is_none(), "seed {seed}: dials without a change");
    }
}

#[test]
fn links_keep_their_promises_in_every_storm() {
    for seed in 0..200 {
        storm(seed);
    }
}

#[test]
fn the_reason_of_a_refusal_is_the_systems() {
    let world = World::new(0, WorldOptions::default());
    let (mut server, log) = one(&world, &Retry::default());
    until(&mut server, &log, |log| !log.changes.is_empty());
    let LinkChange::Failed { reason, .. } = log.borrow().changes[0].2 else { panic!("it fails") };
    let (CloseReason::Failed(seen), CloseReason::Failed(wanted)) = (reason, refused()) else {
        panic!("{reason:?}");
    };
    assert_eq!(seen.kind(), wanted.kind());
    stop(server, &log);
}
