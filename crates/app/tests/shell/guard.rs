//! Guards in front of a server, over sockets and in simulation.

use crate::stage::{
    TCP, connect, echo, eventually, eventually_sim, inet, say, simulated, simulated_over, start,
    stop,
};
use mainspring_app::guard::{Guard, GuardLimits, NetworkSet, Rate, Refusal};
use mainspring_app::proxy::Inbound;
use mainspring_io::Address;
use mainspring_loop::{Balance, Error, Layers, Loops, Server, Shard};
use mainspring_sim::{Faults, SimPeer};
use mainspring_testkit::{Reached, SimServer};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

fn guarded(shard: &mut Shard<'_>, guard: &Guard, address: &str) -> Result<(), Error> {
    let host = shard.host(echo);
    let address: Address = address.parse()?;
    let options = address.listen_options().clone();
    let guard = guard.clone();
    let layers = move || Layers::new().above(guard.layer());
    shard.listen_layered(host, &address, &options, layers).map(drop)
}

/// Whether the connection is served.
fn is_served(stream: &mut TcpStream) -> bool {
    // One that is refused may be reset before or after it has said anything.
    stream.write_all(b"?").is_ok() && matches!(stream.read(&mut [0; 1]), Ok(1))
}

#[test]
fn connections_of_one_client_are_limited_over_all_loops_and_counted() {
    for loops in [1, 3] {
        let guard = Guard::new(GuardLimits {
            client_connections_max: Some(2.try_into().unwrap()),
            ..GuardLimits::default()
        });
        let judge = guard.clone();
        let builder = Server::builder().loops(Loops::Count(loops)).balance(Balance::RoundRobin);
        let running = start(builder, move |shard| guarded(shard, &judge, TCP));
        let addr = inet(&running.addrs()[0]);
        let mut clients = [connect(addr), connect(addr)];
        assert!(clients.iter_mut().all(is_served));
        assert!(!is_served(&mut connect(addr)), "a third");
        assert!(clients.iter_mut().all(is_served), "the first two go on");
        let stats = guard.stats();
        assert_eq!((stats.admitted, stats.open, stats.clients), (2, 2, 1));
        assert_eq!(stats.refused(Refusal::ClientConnections), 1);
        let [first, _second] = clients;
        drop(first);
        eventually("its permit is back", || guard.stats().open == 1);
        assert!(is_served(&mut connect(addr)));
        eventually("the server has counted", || {
            let total = running.handle().stats().total;
            (total.accepted, total.refused) == (3, 1)
        });
        stop(running);
        assert_eq!(guard.stats().open, 0, "a stop gives all permits back");
    }
}

#[test]
fn networks_can_be_replaced_while_the_server_runs() {
    let guard = Guard::new(GuardLimits::default());
    let judge = guard.clone();
    let running = start(Server::builder(), move |shard| guarded(shard, &judge, TCP));
    let addr = inet(&running.addrs()[0]);
    let mut before = connect(addr);
    assert!(is_served(&mut before));
    guard.set_networks(Some("10.0.0.0/8".parse().unwrap()), Default::default());
    assert!(!is_served(&mut connect(addr)));
    assert!(is_served(&mut before), "who is in stays in");
    guard.set_networks(Some("10.0.0.0/8, 127.0.0.1".parse().unwrap()), Default::default());
    assert!(is_served(&mut connect(addr)));
    guard.set_networks(None, "127.0.0.0/8".parse().unwrap());
    assert!(!is_served(&mut connect(addr)));
    let stats = guard.stats();
    assert_eq!((stats.refused(Refusal::NotAllowed), stats.refused(Refusal::Denied)), (1, 1));
    stop(running);
}

/// The rate is of the loop's clock: in simulation a minute passes at once.
#[test]
fn who_connects_too_often_waits_for_his_next_token() {
    let guard = Guard::new(GuardLimits {
        client_rate: Some(Rate::per_minute(1).burst(3)),
        ..GuardLimits::default()
    });
    let judge = guard.clone();
    let mut server = simulated(move |shard| guarded(shard, &judge, "tcp://127.0.0.1:7000"));
    let addr = server.addr(0);
    let mut burst: Vec<_> =
        (0..5).map(|_| server.world().connect(&addr).expect("it listens")).collect();
    let stats = guard.clone();
    eventually_sim(&mut server, Duration::from_secs(5), || {
        stats.stats().admitted + stats.stats().refused_total() == 5
    });
    assert_eq!((guard.stats().admitted, guard.stats().refused(Refusal::ClientRate)), (3, 2));
    burst.clear();
    server.world().advance(Duration::from_secs(60));
    let mut late = server.world().connect(&addr).expect("it listens");
    say(&mut server, &mut late, b"x");
    eventually_sim(&mut server, Duration::from_secs(5), || !late.take_received().is_empty());
    assert_eq!((guard.stats().admitted, guard.stats().open), (4, 1));
}

/// Connections that end in every way there is, before and after the header, the guard and the
/// handler: each permit comes back, and everybody was either let in or turned away.
#[test]
fn every_permit_comes_back_under_faults() {
    let mut met = (0, 0, 0);
    for seed in 0..80 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let guard = Guard::new(GuardLimits {
            client_connections_max: Some(3.try_into().unwrap()),
            clients_max: 4,
            ..GuardLimits::default()
        });
        let (judge, inbound) = (guard.clone(), Inbound::optional(NetworkSet::everything()));
        let mut server = simulated_over(seed, Faults::all(seed), move |shard| {
            let host = shard.host(echo);
            let address: Address = "tcp://127.0.0.1:7000".parse()?;
            let (judge, inbound) = (judge.clone(), inbound.clone());
            let layers = move || Layers::new().above(inbound.layer()).above(judge.layer());
            let options = address.listen_options().clone();
            shard.listen_layered(host, &address, &options, layers).map(drop)
        });
        let addr = server.addr(0);
        // Each with what it has not been able to say yet.
        let mut peers: Vec<(SimPeer, Vec<u8>)> = Vec::new();
        for _ in 0..rng.usize(20..60) {
            if rng.u8(0..3) > 0 {
                let client = rng.u8(0..6);
                let header = format!("PROXY TCP4 192.0.2.{client} 198.51.100.1 1 2\r\nhello");
                let mut bytes = if rng.u8(0..8) > 0 { header } else { "plain".to_owned() };
                if rng.u8(0..8) == 0 {
                    bytes.truncate(rng.usize(0..bytes.len()));
                }
                let peer = server.world().connect(&addr);
                peers.extend(peer.map(|peer| (peer, bytes.into_bytes())).ok());
            } else if !peers.is_empty() {
                let (mut peer, _) = peers.swap_remove(rng.usize(0..peers.len()));
                if rng.bool() { peer.reset() } else { peer.close() }
            }
            for _ in 0..rng.usize(0..60) {
                server.step(None);
                for (peer, unsaid) in &mut peers {
                    let said = peer.send(unsaid);
                    unsaid.drain(..said);
                }
            }
        }
        let let_in = guard.stats();
        assert!(let_in.clients <= 4, "seed {seed}: {let_in:?}");
        server.handle().stop();
        drop(peers);
        let ended = server.run_until(Duration::from_secs(3600), SimServer::is_over);
        assert_eq!(ended, Reached::Condition, "seed {seed}");
        let (stats, total) = (guard.stats(), server.handle().stats().total);
        assert_eq!(stats.open, 0, "seed {seed}: {stats:?}");
        assert_eq!(stats.admitted, total.accepted, "seed {seed}: {stats:?} {total:?}");
        assert!(stats.refused_total() <= total.refused, "seed {seed}: {stats:?} {total:?}");
        met.0 += stats.admitted;
        met.1 += stats.refused(Refusal::ClientConnections);
        met.2 += stats.refused(Refusal::TableFull);
    }
    assert!(met.0 > 100 && met.1 > 10 && met.2 > 0, "too little was met: {met:?}");
}
