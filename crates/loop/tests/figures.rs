//! Figures of servers and connections that are read from outside of the loops.
#![allow(clippy::disallowed_methods, reason = "tests run by the clock")]

mod support;

use mainspring_loop::{Action, ConnInfo, Loops, Server};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};
use support::*;

#[test]
fn a_peak_stays_when_its_connections_have_gone() {
    let _bound = bound(30);
    for loops in [1, 2] {
        let log = Log::new();
        let probe = log.clone();
        let builder = Server::builder().loops(Loops::Count(loops));
        let running = start_with(builder, &[TCP], move || Probe::echo(&probe));
        let handle = running.handle();
        let clients: Vec<Client> = (0..5).map(|_| Client::tcp(inet(&running))).collect();
        eventually_stats(&handle, "five", |stats| stats.total.connections == 5);
        assert_eq!(handle.stats().total.connections_peak, 5);
        drop(clients);
        eventually_stats(&handle, "none", |stats| stats.total.connections == 0);
        let mut late = Client::tcp(inet(&running));
        late.send(b"one");
        late.expect(b"one");
        let stats = handle.stats();
        assert_eq!(stats.total.connections_peak, 5);
        let of_loops: u64 = stats.loops.iter().map(|stats| stats.connections_peak).sum();
        assert!((5..=6).contains(&of_loops), "{stats:?}");
        stop(running);
    }
}

#[test]
fn connections_of_all_loops_are_listed_with_their_ends_and_bytes() {
    let _bound = bound(30);
    for loops in [1, 3] {
        let log = Log::new();
        let probe = log.clone();
        let builder = Server::builder().loops(Loops::Count(loops));
        let running = start_with(builder, &[TCP, TCP], move || Probe::echo(&probe));
        let handle = running.handle();
        let addr = |listener: usize| -> SocketAddr {
            running.addrs()[listener].to_string().parse().expect("an address and a port")
        };
        let mut clients: Vec<(usize, usize, Client)> = Vec::new();
        for nth in 0..3 {
            let (listener, count) = (nth % 2, 100 * (nth + 1));
            let mut client = Client::tcp(addr(listener));
            client.send(&vec![7; count]);
            client.expect(&vec![7; count]);
            clients.push((listener, count, client));
        }
        let list = || handle.connections(PATIENCE).expect("all loops answer");
        // A client may have its answer before the loop has heard that it has left.
        eventually("all has left", || {
            list().iter().all(|info| info.stats.bytes_out == info.stats.bytes_in)
        });
        let infos = list();
        let ids: HashSet<_> = infos.iter().map(|info| info.id).collect();
        assert_eq!((infos.len(), ids.len()), (3, 3));
        for (listener, count, _client) in &clients {
            let is_it = |info: &&ConnInfo| info.stats.bytes_in == *count as u64;
            let info = infos.iter().find(is_it).expect("a connection with these bytes");
            assert_eq!((info.listener, info.out_bytes), (Some(*listener), 0));
            assert_eq!(info.stats.bytes_out, *count as u64);
            assert_eq!(info.local, running.addrs()[*listener]);
            assert!(info.peer.to_string().starts_with("127.0.0.1:"));
        }
        drop(clients);
        eventually_stats(&handle, "none", |stats| stats.total.connections == 0);
        assert_eq!(handle.connections(PATIENCE).map(|infos| infos.len()), Some(0));
        stop(running);
        assert!(handle.connections(PATIENCE).is_some_and(|infos| infos.is_empty()));
    }
}

#[test]
fn a_loop_that_is_asked_for_its_own_answer_does_not_wait_for_ever() {
    let _bound = bound(30);
    let (tell, told) = std::sync::mpsc::channel();
    let running = start_with(Server::builder(), &[TCP], move || {
        let tell = tell.clone();
        move |conn: &mut mainspring_loop::Conn<'_>, input: &mut mainspring_loop::Input<'_>| {
            conn.out().extend_from_slice(input.take());
            let handle = conn.cx().handle();
            let own = conn.cx().connections().len();
            let _ = tell.send((handle.connections(Duration::from_millis(20)).is_none(), own));
            mainspring_loop::Action::Continue
        }
    });
    let mut client = Client::tcp(inet(&running));
    client.send(b"ask");
    client.expect(b"ask");
    assert_eq!(told.recv_timeout(PATIENCE), Ok((true, 1)));
    stop(running);
}

#[test]
fn a_connection_knows_since_when_it_is_there() {
    let _bound = bound(60);
    let log = Log::new();
    let (probe, told) = (log.clone(), log.clone());
    let running = start(move || {
        let told = told.clone();
        Probe::new(&probe).data(move |conn, input| {
            input.take();
            let now = conn.cx().now();
            told.add(format!("{}", (now - conn.since()).as_millis() >= 149));
            Action::Continue
        })
    });
    let before = Instant::now();
    let mut client = Client::tcp(inet(&running));
    thread::sleep(Duration::from_millis(150));
    client.send(b"x");
    let infos = loop {
        let infos = running.handle().connections(PATIENCE).expect("its loop answers");
        if infos.first().is_some_and(|info| info.stats.bytes_in == 1) {
            break infos;
        }
    };
    let after = Instant::now();
    let since = infos[0].since;
    assert!(since + Duration::from_millis(1) >= before && since <= after, "{:?}", since - before);
    assert_eq!(log.count("true"), 1, "{:?}", log.lines());
    stop(running);
}
