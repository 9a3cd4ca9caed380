//! Guards in front of a server, over sockets and in simulation.

use crate::stage::{
    TCP, connect, echo, eventually, eventually_sim, inet, say, simulated, start, stop,
};
use mainspring_app::guard::{Guard, GuardLimits, Rate, Refusal};
use mainspring_io::Address;
use mainspring_loop::{Balance, Error, Layers, Loops, Server, Shard};
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
