//! The ways in which a server ends, and in which it does not.
#![allow(clippy::disallowed_methods, reason = "tests run by the clock")]

mod support;

use mainspring_loop::{Action, Balance, Cx, Error, Full, Loops, Running, Server, Tick};
use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::*;

const LONG: Duration = Duration::from_secs(3600);

/// Three loops, an hour to drain.
fn patient_server(log: &Log, probe: impl Fn(&Log) -> Probe + Send + Sync + 'static) -> Running {
    let log = log.clone();
    let builder = Server::builder().loops(Loops::Count(3)).balance(Balance::RoundRobin).drain(LONG);
    start_with(builder, &[TCP], move || probe(&log))
}

fn clients(count: usize, running: &Running, log: &Log) -> Vec<Client> {
    let clients = (0..count).map(|_| Client::tcp(inet(running))).collect();
    log.wait_for(count, "open");
    clients
}

/// Ticks until a connection is open, and then ends the server in a turn whose beginning it tells:
/// the deadline of an end counts from the beginning of the turn that hears of it, which nobody knows
/// from outside.
fn end_when_open(
    log: &Log,
    began: &Arc<Mutex<Option<Instant>>>,
    end: fn(&mut Cx<'_>),
) -> impl FnMut(&mut Cx<'_>) -> Tick + use<> {
    let (opened, began) = (log.clone(), began.clone());
    move |cx| {
        if opened.count("open") == 0 {
            return Tick::After(Duration::from_millis(1));
        }
        *began.lock().unwrap() = Some(cx.now());
        end(cx);
        Tick::Stop
    }
}

#[track_caller]
fn assert_lasted(began: &Mutex<Option<Instant>>, deadline: Duration) {
    let took = began.lock().unwrap().expect("the end has begun").elapsed();
    assert!(took >= deadline && took < deadline + PATIENCE, "took {took:?}");
}

#[track_caller]
fn assert_refused(running: &Running) {
    let error = TcpStream::connect(inet(running)).expect_err("nobody listens");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn a_shutdown_from_a_tick_closes_ten_idle_clients() {
    let _bound = bound(30);
    let log = Log::new();
    let probe = log.clone();
    let running = start(move || {
        let opened = probe.clone();
        Probe::new(&probe).tick(move |cx| {
            if opened.count("open") == 10 {
                cx.shutdown();
            }
            Tick::After(Duration::from_millis(1))
        })
    });
    let mut clients: Vec<Client> = (0..10).map(|_| Client::tcp(inet(&running))).collect();
    clients.iter_mut().for_each(Client::expect_end);
    running.join().unwrap();
    assert_eq!(log.count("close"), 10);
    assert!((1..=10).all(|number| log.count(&format!("close {number} Shutdown")) == 1));
    assert_eq!(log.tags(), 0);
}

#[test]
fn a_stop_by_the_handle_closes_idle_clients_on_every_loop() {
    let _bound = bound(30);
    let log = Log::new();
    let running = patient_server(&log, Probe::echo);
    let mut clients = clients(10, &running, &log);
    let began = Instant::now();
    stop(running);
    clients.iter_mut().for_each(Client::expect_end);
    assert_eq!((log.count("close"), log.tags()), (10, 0));
    assert!(began.elapsed() < Duration::from_secs(5), "took {:?}", began.elapsed());
}

#[test]
fn dropping_a_running_server_stops_it() {
    let _bound = bound(30);
    let log = Log::new();
    let running = patient_server(&log, Probe::echo);
    let mut clients = clients(6, &running, &log);
    let at = inet(&running);
    drop(running);
    assert_eq!((log.count("close"), log.tags()), (6, 0));
    clients.iter_mut().for_each(Client::expect_end);
    assert!(TcpStream::connect(at).is_err());
}

#[test]
fn a_server_may_be_dropped_by_a_handler_of_its_own() {
    let _bound = bound(30);
    let log = Log::new();
    let own: Arc<Mutex<Option<Running>>> = Arc::default();
    let owned = own.clone();
    let running = patient_server(&log, move |log| {
        let owned = owned.clone();
        Probe::new(log).data(move |_, _| {
            drop(owned.lock().unwrap().take());
            Action::Continue
        })
    });
    let handle = running.handle();
    let mut clients = clients(6, &running, &log);
    *own.lock().unwrap() = Some(running);
    clients[0].send(b"x");
    clients.iter_mut().for_each(Client::expect_end);
    // The end is seen by the clients before it is told to the handler.
    log.wait_for(6, "close");
    assert!((1..=6).all(|number| log.count(&format!("close {number} Shutdown")) == 1));
    eventually("the states are gone", || log.tags() == 0);
    assert_eq!((log.tags(), handle.stats().total.panics), (0, 0));
}

#[test]
fn no_datagram_socket_is_opened_that_a_drain_would_wait_for() {
    let _bound = bound(30);
    let log = Log::new();
    let probe = log.clone();
    let running = start_with(Server::builder().drain(LONG), &[TCP], move || {
        Probe::new(&probe).drain(|cx| {
            let this = cx.this::<Probe>();
            let peer = "udp://127.0.0.1:9".parse().unwrap();
            assert_eq!(cx.connect_datagram(this, &peer), Err(Full));
        })
    });
    running.handle().drain();
    let handle = running.handle();
    running.join().unwrap();
    assert_eq!((log.count("drain"), handle.stats().total.panics), (1, 0));
}

#[test]
fn set_ups_that_differ_from_loop_to_loop_do_not_start() {
    let _bound = bound(30);
    for balance in [Balance::Kernel, Balance::RoundRobin] {
        for odd in [0, 1] {
            let builder = Server::builder().loops(Loops::Count(2)).balance(balance);
            let started = builder.start(move |shard| {
                let host = shard.host(Probe::echo(&Log::new()));
                shard.listen(host, TCP)?;
                if shard.loop_index() == odd {
                    shard.listen(host, TCP)?;
                }
                Ok(())
            });
            let error = started.expect_err("the set-ups differ");
            assert!(matches!(error, Error::Misuse(_)), "{balance}, loop {odd}: {error}");
        }
    }
}

#[test]
fn a_handle_outlives_its_server_harmlessly() {
    let _bound = bound(30);
    let log = Log::new();
    let running = patient_server(&log, Probe::echo);
    let (handle, addrs) = (running.handle(), running.addrs());
    let mut client = clients(1, &running, &log).remove(0);
    client.send(b"12345");
    client.expect(b"12345");
    stop(running);
    for _ in 0..3 {
        handle.drain();
        handle.stop_listening();
        handle.close_all();
        handle.stop();
    }
    assert_eq!(handle.addrs(), addrs);
    let total = handle.stats().total;
    assert_eq!((total.accepted, total.closed, total.connections), (1, 1, 0));
    assert_eq!((total.bytes_in, total.bytes_out), (5, 5));
}

#[test]
fn a_server_that_stops_listening_serves_those_it_has() {
    let _bound = bound(30);
    let log = Log::new();
    let running = patient_server(&log, Probe::echo);
    let mut clients = clients(3, &running, &log);
    running.handle().stop_listening();
    eventually("nobody listens", || TcpStream::connect(inet(&running)).is_err());
    assert_refused(&running);
    for client in &mut clients {
        client.send(b"still here");
        client.expect(b"still here");
    }
    assert_eq!(log.count("close 1"), 0);
    stop(running);
}

#[test]
fn close_all_closes_connections_and_the_server_goes_on() {
    let _bound = bound(30);
    let log = Log::new();
    let running = patient_server(&log, Probe::echo);
    let mut before = clients(6, &running, &log);
    running.handle().close_all();
    before.iter_mut().for_each(Client::expect_end);
    drop(before);
    log.wait_for(6, "close");
    assert!((1..=6).all(|number| log.count(&format!("close {number} Local")) == 1));
    let mut after = Client::tcp(inet(&running));
    after.send(b"hello");
    after.expect(b"hello");
    stop(running);
}

#[test]
fn a_drain_closes_quiet_connections_at_once_and_waits_for_busy_ones() {
    let _bound = bound(30);
    let log = Log::new();
    let running = patient_server(&log, |log| {
        Probe::new(log).data(|conn, input| {
            match &*input.take() {
                b"begin" => conn.set_busy(true),
                b"end" => {
                    conn.out().extend_from_slice(b"done");
                    conn.set_busy(false);
                }
                other => panic!("{other:?}"),
            }
            Action::Continue
        })
    });
    let mut clients = clients(6, &running, &log);
    let mut busy = clients.split_off(4);
    busy.iter_mut().for_each(|client| client.send(b"begin"));
    log.wait_for(2, "data");
    running.handle().drain();
    log.wait_for(3, "drain");
    clients.iter_mut().for_each(Client::expect_end);
    log.wait_for(4, "close");
    assert_refused(&running);
    for client in &mut busy {
        client.send(b"end");
        assert_eq!(client.receive_to_end(), b"done");
    }
    let began = Instant::now();
    running.join().expect("a drain ends the server in good order");
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!((log.count("drain"), log.tags()), (3, 0));
    assert!((1..=6).all(|number| log.count(&format!("close {number} Shutdown")) == 1));
}

#[test]
fn a_drain_waits_for_unsent_output() {
    let _bound = bound(60);
    let log = Log::new();
    let payload = random_bytes(&mut fastrand::Rng::with_seed(1), 16 << 20);
    let reply = payload.clone();
    let running = patient_server(&log, move |log| {
        let reply = reply.clone();
        Probe::new(log).data(move |conn, input| {
            input.take();
            conn.out().extend_from_slice(&reply);
            Action::Continue
        })
    });
    let mut client = clients(1, &running, &log).remove(0);
    client.send(b"go");
    log.wait_for(1, "data");
    running.handle().drain();
    log.wait_for(3, "drain");
    assert_same_bytes(&client.receive_to_end(), &payload, "reply during the drain");
    running.join().unwrap();
    assert_eq!(log.count("close 1 Shutdown"), 1);
}

#[test]
fn a_drain_waits_for_a_request_of_which_a_part_has_arrived() {
    let _bound = bound(30);
    let log = Log::new();
    let running = patient_server(&log, |log| {
        // A request is five bytes; the even ones are answered.
        Probe::new(log).data(|conn, input| {
            while input.len() >= 5 {
                let answered = input.bytes()[0] % 2 == 0;
                input.consume(5);
                if answered {
                    conn.out().push(b'!');
                }
            }
            Action::Continue
        })
    });
    let mut clients = clients(2, &running, &log);
    clients[0].send(&[0, 0]);
    clients[1].send(&[1, 1]);
    log.wait_for(2, "data");
    running.handle().drain();
    log.wait_for(3, "drain");
    assert_eq!(log.count("close"), 0);
    clients[0].send(&[0, 0, 0]);
    clients[1].send(&[1, 1, 1]);
    assert_eq!(clients[0].receive_to_end(), b"!");
    clients[1].expect_end();
    running.join().unwrap();
    assert_eq!(log.tags(), 0);
}

#[test]
fn a_drain_cuts_what_is_left_at_its_deadline() {
    const DEADLINE: Duration = Duration::from_millis(200);
    let _bound = bound(30);
    let log = Log::new();
    let (probe, began) = (log.clone(), Arc::default());
    let told = Arc::clone(&began);
    let running = start_with(Server::builder().drain(DEADLINE), &[TCP], move || {
        let probe = Probe::new(&probe).tick(end_when_open(&probe, &told, |cx| cx.drain()));
        probe.open(|conn| {
            conn.set_busy(true);
            Some(Action::Continue)
        })
    });
    let mut client = clients(1, &running, &log).remove(0);
    running.join().unwrap();
    assert_lasted(&began, DEADLINE);
    client.expect_gone();
    assert_eq!(log.lines().last().unwrap(), "close 1 DrainTimeout");
    assert_eq!(log.tags(), 0);
}

#[test]
fn a_stop_waits_for_a_peer_that_does_not_read_only_until_the_deadline() {
    const DEADLINE: Duration = Duration::from_millis(200);
    let _bound = bound(30);
    let log = Log::new();
    let (probe, began) = (log.clone(), Arc::default());
    let told = Arc::clone(&began);
    let running = start_with(Server::builder().drain(DEADLINE), &[TCP], move || {
        let probe = Probe::new(&probe).tick(end_when_open(&probe, &told, |cx| cx.shutdown()));
        probe.open(|conn| {
            conn.out().resize(32 << 20, b'x');
            Some(Action::Continue)
        })
    });
    let _client = clients(1, &running, &log).remove(0);
    let handle = running.handle();
    running.join().unwrap();
    assert_lasted(&began, DEADLINE);
    assert_eq!(log.count("close 1 Shutdown"), 1);
    let total = handle.stats().total;
    assert_eq!(
        total.bytes_out + total.dropped_closed_bytes,
        32 << 20,
        "all bytes are accounted for"
    );
}

#[test]
fn a_stop_during_a_drain_does_not_wait_for_the_busy() {
    let _bound = bound(30);
    let log = Log::new();
    let running = patient_server(&log, |log| {
        Probe::new(log).open(|conn| {
            conn.set_busy(true);
            Some(Action::Continue)
        })
    });
    let mut clients = clients(3, &running, &log);
    running.handle().drain();
    log.wait_for(3, "drain");
    assert!(clients[0].is_silent_for(Duration::from_millis(50)));
    stop(running);
    clients.iter_mut().for_each(Client::expect_end);
    assert_eq!((log.count("close"), log.tags()), (3, 0));
}

#[test]
fn a_handler_may_drain_and_stop_listening_itself() {
    let _bound = bound(30);
    let log = Log::new();
    let running = patient_server(&log, |log| {
        Probe::echo(log).data(|conn, input| {
            match &*input.take() {
                b"deaf" => conn.cx().stop_listening(),
                _ => conn.cx().drain(),
            }
            conn.out().extend_from_slice(b"ok");
            Action::Continue
        })
    });
    let mut client = clients(1, &running, &log).remove(0);
    client.send(b"deaf");
    client.expect(b"ok");
    eventually("nobody listens", || TcpStream::connect(inet(&running)).is_err());
    client.send(b"drain");
    assert_eq!(client.receive_to_end(), b"ok");
    running.join().unwrap();
}

#[test]
fn an_abort_resets_every_connection_and_its_first_cause_is_the_end() {
    let _bound = bound(60);
    let log = Log::new();
    let running = {
        let log = log.clone();
        let builder = Server::builder().loops(Loops::Count(2)).balance(Balance::RoundRobin);
        start_with(builder, &[TCP], move || Probe::echo(&log))
    };
    let mut clients: Vec<Client> = (0..100).map(|_| Client::tcp(inet(&running))).collect();
    for client in &mut clients {
        client.send(b"x");
        client.expect(b"x");
    }
    running.handle().abort("the disk is gone");
    running.handle().abort("and so is the other one");
    for client in &mut clients {
        let error = client.stream.read(&mut [0]).expect_err("a reset, not an end");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    let error = running.join().expect_err("it was aborted");
    assert!(matches!(error, Error::Aborted(_)), "{error:?}");
    assert_eq!(error.to_string(), "aborted: the disk is gone");
    assert_eq!((log.count("close"), log.tags()), (100, 0));
}

#[test]
fn a_loop_on_the_thread_that_calls_tells_why_it_was_aborted() {
    let _bound = bound(30);
    let ended = Server::builder().run(|shard| {
        let log = Log::new();
        let host = shard.host(Probe::new(&log).tick(|cx| {
            cx.handle().abort("the disk is gone");
            Tick::Stop
        }));
        shard.listen(host, TCP).map(drop)
    });
    assert_eq!(ended.expect_err("it was aborted").to_string(), "aborted: the disk is gone");
}
