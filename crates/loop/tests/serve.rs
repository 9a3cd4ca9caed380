//! Servers over real sockets: starting, the events of a connection and their order, ending.
#![allow(clippy::disallowed_methods, reason = "tests run by the clock")]

mod support;

use mainspring_loop::{
    Action, Balance, CloseReason, Error, Limits, LoopStats, Loops, Server, ServerBuilder, Tick,
    serve,
};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use support::*;

fn many_loops(balance: Balance) -> ServerBuilder {
    Server::builder().loops(Loops::Count(3)).balance(balance)
}

#[test]
fn a_busy_port_is_an_error_that_names_the_address() {
    let _bound = bound(30);
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", busy.local_addr().unwrap());
    for builder in [Server::builder(), many_loops(Balance::Kernel), many_loops(Balance::Random)] {
        let (log, address) = (Log::new(), address.clone());
        let wanted = format!("cannot listen on {address}: ");
        let error = builder
            .start(move |shard| {
                let host = shard.host(Probe::echo(&log));
                shard.listen(host, &address)?;
                Ok(())
            })
            .expect_err("the port is taken");
        assert!(error.to_string().starts_with(&wanted), "{error}");
        let Error::Bind { cause, .. } = error else { panic!("{error:?}") };
        assert_eq!(cause.kind(), ErrorKind::AddrInUse);
    }
}

#[test]
fn a_tls_address_without_its_layer_says_what_to_call() {
    let log = Log::new();
    let error = Server::builder()
        .start(move |shard| {
            let host = shard.host(Probe::echo(&log));
            shard.listen(host, "tls://127.0.0.1:0?cert=a.pem&key=a.key").map(drop)
        })
        .expect_err("no plain listener may stand in for an encrypted one");
    assert!(error.to_string().contains("mainspring_tls::listen"), "{error}");
}

#[test]
fn the_first_error_closes_what_had_been_bound() {
    let _bound = bound(30);
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    for balance in [Balance::Kernel, Balance::RoundRobin] {
        let free = Arc::new(Mutex::new(None));
        let (tell, log) = (free.clone(), Log::new());
        let address = format!("tcp://{}", busy.local_addr().unwrap());
        let result = many_loops(balance).start(move |shard| {
            let host = shard.host(Probe::echo(&log));
            *tell.lock().unwrap() = Some(inet_of(&shard.listen(host, TCP)?));
            shard.listen(host, &address)?;
            Ok(())
        });
        assert!(result.is_err());
        let free = free.lock().unwrap().expect("the first address was bound");
        TcpListener::bind(free).expect("and is free again");
    }
}

#[test]
fn the_shortest_server_reports_a_bad_address_and_a_busy_port() {
    let _bound = bound(30);
    let echo = |conn: &mut mainspring_loop::Conn<'_>, input: &mut mainspring_loop::Input<'_>| {
        conn.out().extend_from_slice(input.take());
        Action::Continue
    };
    let error = serve("tulip://127.0.0.1:0", echo).unwrap_err();
    assert!(matches!(error, Error::Address(_)), "{error}");
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let error = serve(format!("tcp://{}", busy.local_addr().unwrap()), echo).unwrap_err();
    assert!(matches!(error, Error::Bind { .. }), "{error}");
}

#[test]
fn the_shortest_server_echoes_until_it_is_shut_down() {
    let _bound = bound(30);
    let probe = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = probe.local_addr().unwrap();
    drop(probe);
    let server = thread::spawn(move || {
        serve(format!("tcp://{at}"), |conn, input| {
            let bytes = input.take();
            conn.out().extend_from_slice(bytes);
            if bytes == b"shutdown" { Action::Shutdown } else { Action::Continue }
        })
    });
    eventually("the server listens", || TcpStream::connect(at).is_ok());
    let mut client = Client::tcp(at);
    client.send(b"hello");
    client.expect(b"hello");
    client.send(b"shutdown");
    client.expect(b"shutdown");
    client.expect_end();
    server.join().unwrap().expect("a shutdown is no error");
}

#[test]
fn a_stop_ends_the_server_without_error_and_frees_the_port() {
    let _bound = bound(30);
    for builder in [Server::builder(), many_loops(Balance::Kernel), many_loops(Balance::Random)] {
        let log = Log::new();
        let running = start_with(builder, &[TCP], move || Probe::echo(&log));
        let at = inet(&running);
        let mut client = Client::tcp(at);
        client.send(b"x");
        client.expect(b"x");
        stop(running);
        client.expect_end();
        TcpListener::bind(at).expect("the port is free again");
    }
}

#[test]
fn a_server_without_addresses_ticks_and_ends() {
    let _bound = bound(30);
    let log = Log::new();
    let probe = log.clone();
    let running = start_with(Server::builder(), &[], move || {
        let mut ticks = 0;
        Probe::new(&probe).tick(move |cx| {
            ticks += 1;
            if ticks == 3 {
                cx.shutdown();
            }
            Tick::After(Duration::from_millis(1))
        })
    });
    running.join().unwrap();
    assert!(log.count("tick") >= 3);
}

#[test]
fn every_connection_knows_its_listener_and_both_ends() {
    let _bound = bound(30);
    let dir = TempDir::new();
    let unix = dir.unix("socket");
    let log = Log::new();
    let tell = log.clone();
    let running = start_with(Server::builder(), &each_kind(&unix), move || {
        let tell = tell.clone();
        Probe::echo(&tell.clone()).open(move |conn| {
            let (peer, local) = (conn.peer(), conn.local());
            tell.add(format!("on {:?} from {peer} to {local}", conn.listener().unwrap()));
            Some(Action::Continue)
        })
    });
    let addrs = running.addrs();
    let tcp = Client::connect(&addrs[0]);
    let line = log.wait_for(1, "on 0")[0].clone();
    let (from, to) = (tcp.tcp_stream().local_addr().unwrap(), inet_of(&addrs[0]));
    assert_eq!(line, format!("on 0 from {from} to {to}"));
    for unix in &addrs[1..] {
        let _unix = Client::connect(unix);
        let line = log.wait_for(1, "on 1")[0].clone();
        assert!(line.ends_with(&format!("to {unix}")), "{line}");
    }
    stop(running);
    assert!(!dir.path("socket").exists(), "the path is removed with the listener");
}

#[test]
fn the_local_address_is_the_one_connected_to_not_the_wildcard() {
    let _bound = bound(30);
    let log = Log::new();
    let tell = log.clone();
    let running = start_with(Server::builder(), &["tcp4://0.0.0.0:0"], move || {
        let tell = tell.clone();
        Probe::echo(&tell.clone()).open(move |conn| {
            tell.add(format!("to {}", conn.local()));
            Some(Action::Continue)
        })
    });
    let port = inet(&running).port();
    let _client = Client::tcp(([127, 0, 0, 1], port).into());
    assert_eq!(log.wait_for(1, "to")[0], format!("to 127.0.0.1:{port}"));
    stop(running);
}

#[test]
fn the_start_is_told_addresses_and_loops() {
    let _bound = bound(30);
    let log = Log::new();
    let tell = log.clone();
    let running = start_with(many_loops(Balance::Kernel), &[TCP, TCP], move || {
        let tell = tell.clone();
        Probe::new(&tell.clone()).start(move |cx, server| {
            assert_eq!(cx.loop_index(), server.loop_index);
            let addrs: Vec<String> = server.addrs.iter().map(ToString::to_string).collect();
            tell.add(format!(
                "loop {} of {}: {}",
                server.loop_index,
                server.loops,
                addrs.join(" ")
            ));
            Action::Continue
        })
    });
    let mut lines = log.wait_for(3, "loop");
    lines.sort();
    let addrs: Vec<String> = running.addrs().iter().map(ToString::to_string).collect();
    let wanted: Vec<String> =
        (0..3).map(|index| format!("loop {index} of 3: {}", addrs.join(" "))).collect();
    assert_eq!(lines, wanted);
    stop(running);
}

#[test]
fn events_come_in_their_golden_order() {
    let _bound = bound(30);
    let log = Log::new();
    let tell = log.clone();
    let running = start(move || {
        let tell = tell.clone();
        Probe::echo(&tell.clone()).turn_end(move |_| tell.add("turn end"))
    });
    log.wait_for(1, "tick");
    let mut client = Client::tcp(inet(&running));
    log.wait_for(1, "open");
    for text in [b"one", b"two"] {
        client.send(text);
        client.expect(text);
    }
    client.finish();
    client.expect_end();
    log.wait_for(1, "close");
    let last = Client::tcp(inet(&running));
    log.wait_for(2, "open");
    stop(running);
    drop(last);
    let golden = [
        "start",
        "tick",
        "open 1",
        "data 1 \"one\"",
        "turn end",
        "data 1 \"two\"",
        "turn end",
        "eof 1",
        "close 1 Peer",
        "open 2",
        "close 2 Shutdown",
    ];
    assert_eq!(log.lines(), golden);
    assert_eq!(log.tags(), 0);
}

#[test]
fn a_shutdown_from_the_start_ends_the_server_at_once() {
    let _bound = bound(30);
    for builder in [Server::builder(), many_loops(Balance::Kernel)] {
        let log = Log::new();
        let probe = log.clone();
        let running =
            start_with(builder, &[TCP], move || Probe::new(&probe).start(|_, _| Action::Shutdown));
        let at = inet(&running);
        running.join().expect("a shutdown is no error");
        TcpListener::bind(at).expect("the port is free again");
        assert_eq!(log.count("open"), 0);
    }
}

#[test]
fn a_banner_arrives_whole_before_the_close() {
    let _bound = bound(30);
    let banner = random_bytes(&mut fastrand::Rng::with_seed(7), 300_000);
    let log = Log::new();
    let (probe, sent) = (log.clone(), banner.clone());
    let running = start(move || {
        let sent = sent.clone();
        Probe::new(&probe).open(move |conn| {
            conn.out().extend_from_slice(&sent);
            Some(Action::Close)
        })
    });
    for _ in 0..3 {
        let mut client = Client::tcp(inet(&running));
        assert_same_bytes(&client.receive_to_end(), &banner, "banner");
    }
    log.wait_for(3, "close");
    assert_eq!(log.count("data"), 0);
    stop(running);
}

#[test]
fn a_mebibyte_comes_back_unchanged() {
    let _bound = bound(60);
    let log = Log::new();
    let running = start(move || Probe::echo(&log));
    let payload = random_bytes(&mut fastrand::Rng::with_seed(1), 1 << 20);
    let mut client = Client::tcp(inet(&running));
    let mut sender = client.try_clone();
    let sent = payload.clone();
    let sending = thread::spawn(move || sender.send(&sent));
    assert_same_bytes(&client.receive(payload.len()), &payload, "echo");
    sending.join().unwrap();
    stop(running);
}

#[test]
fn a_reply_with_close_arrives_whole_also_while_the_client_still_sends() {
    let _bound = bound(60);
    let payload = random_bytes(&mut fastrand::Rng::with_seed(2), 1 << 20);
    let log = Log::new();
    let (probe, reply) = (log.clone(), payload.clone());
    let running = start(move || {
        let reply = reply.clone();
        Probe::new(&probe).data(move |conn, input| {
            input.consume(1);
            conn.out().extend_from_slice(&reply);
            Action::Close
        })
    });
    let mut client = Client::tcp(inet(&running));
    let mut sender = client.try_clone();
    client.send(b"go");
    let sending = thread::spawn(move || {
        // More than the server ever reads; a reset in answer to it could overtake the reply.
        use std::io::Write;
        let _ = sender.stream.write_all(&vec![0; 200_000]);
    });
    thread::sleep(Duration::from_millis(50));
    assert_same_bytes(&client.receive_to_end(), &payload, "reply");
    sending.join().unwrap();
    client.finish();
    log.wait_for(1, "close 1 Local");
    assert_eq!(log.count("data"), 1, "nothing is delivered after a close");
    stop(running);
}

#[test]
fn the_reason_tells_a_reset_from_an_end() {
    let _bound = bound(30);
    let log = Log::new();
    let probe = log.clone();
    let running = start(move || Probe::echo(&probe));
    let mut ends = Client::tcp(inet(&running));
    log.wait_for(1, "open");
    ends.finish();
    log.wait_for(1, "close 1 Peer");
    let resets = Client::tcp(inet(&running));
    log.wait_for(2, "open");
    resets.reset();
    log.wait_for(1, "close 2 Failed(ConnectionReset)");
    assert_eq!(log.tags(), 0);
    stop(running);
}

#[test]
fn a_shutdown_reply_arrives_before_the_end_on_every_connection() {
    let _bound = bound(30);
    let log = Log::new();
    let probe = log.clone();
    let running = start_with(many_loops(Balance::RoundRobin), &[TCP], move || {
        Probe::new(&probe).data(|conn, input| {
            let stops = input.take() == b"SHUTDOWN";
            conn.out().extend_from_slice(b"+OK");
            if stops { Action::Shutdown } else { Action::Continue }
        })
    });
    let mut clients: Vec<Client> = (0..9).map(|_| Client::tcp(inet(&running))).collect();
    for client in &mut clients {
        client.send(b"PING");
    }
    log.wait_for(9, "data");
    clients[4].send(b"SHUTDOWN");
    for (index, client) in clients.iter_mut().enumerate() {
        let wanted: &[u8] = if index == 4 { b"+OK+OK" } else { b"+OK" };
        assert_eq!(client.receive_to_end(), wanted, "client {index}");
    }
    running.join().unwrap();
    assert_eq!(log.count("close"), 9);
    assert_eq!(log.tags(), 0);
}

#[test]
fn output_that_is_waiting_elsewhere_survives_a_shutdown() {
    let _bound = bound(60);
    let payload = random_bytes(&mut fastrand::Rng::with_seed(3), 8 << 20);
    let log = Log::new();
    let (probe, reply) = (log.clone(), payload.clone());
    let running = start(move || {
        let reply = reply.clone();
        Probe::new(&probe).data(move |conn, input| match &*input.take() {
            b"big" => {
                conn.out().extend_from_slice(&reply);
                Action::Continue
            }
            _ => Action::Shutdown,
        })
    });
    let mut reader = Client::tcp(inet(&running));
    reader.send(b"big");
    log.wait_for(1, "data");
    let mut other = Client::tcp(inet(&running));
    other.send(b"stop");
    other.expect_end();
    assert_same_bytes(&reader.receive_to_end(), &payload, "waiting output");
    running.join().unwrap();
}

#[test]
fn the_state_made_in_open_is_the_one_seen_in_close() {
    let _bound = bound(30);
    let log = Log::new();
    let probe = log.clone();
    let running = start(move || Probe::echo(&probe));
    let mut clients: Vec<Option<Client>> =
        (0..20).map(|_| Some(Client::tcp(inet(&running)))).collect();
    log.wait_for(20, "open");
    let mut rng = fastrand::Rng::with_seed(4);
    let mut order: Vec<usize> = (0..20).collect();
    rng.shuffle(&mut order);
    for (closed, index) in order.into_iter().enumerate() {
        let mut client = clients[index].take().unwrap();
        let word = format!("i am {index}");
        client.send(word.as_bytes());
        client.expect(word.as_bytes());
        let line = log.wait_for(closed + 1, "data").pop().unwrap();
        let number = line.split(' ').nth(1).unwrap().to_owned();
        drop(client);
        log.wait_for(1, &format!("close {number} Peer"));
    }
    assert_eq!((log.count("close"), log.tags()), (20, 0));
    stop(running);
}

#[test]
fn thousands_of_connections_are_each_accepted_once() {
    const ROUNDS: usize = 20;
    const AT_ONCE: usize = 500;
    let _bound = bound(120);
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = accepted.clone();
    let running = start_with(Server::builder(), &[TCP], move || {
        let (count, log) = (count.clone(), Log::new());
        Probe::new(&log).open(move |conn| {
            count.fetch_add(1, Ordering::Relaxed);
            conn.out().push(b'!');
            Some(Action::Continue)
        })
    });
    let handle = running.handle();
    for _ in 0..ROUNDS {
        let mut clients: Vec<Client> = (0..AT_ONCE).map(|_| Client::tcp(inet(&running))).collect();
        clients.iter_mut().for_each(|client| client.expect(b"!"));
        // A reset leaves no port behind in TIME_WAIT.
        clients.into_iter().for_each(Client::reset);
    }
    let total = (ROUNDS * AT_ONCE) as u64;
    let figures = |it: &LoopStats| (it.closed, it.accepted, it.connections);
    eventually_total(&handle, figures, (total, total, 0));
    assert_eq!(accepted.load(Ordering::Relaxed) as u64, total);
    let stats = handle.stats();
    assert_eq!((stats.total.refused, stats.total.panics, stats.total.stale_events), (0, 0, 0));
    stop(running);
}

#[test]
fn a_connection_that_is_closed_as_it_opens_is_counted_in_and_out() {
    let _bound = bound(30);
    let log = Log::new();
    let probe = log.clone();
    let running = start(move || Probe::new(&probe).open(|_| Some(Action::Close)));
    for _ in 0..5 {
        Client::tcp(inet(&running)).expect_end();
    }
    log.wait_for(5, "close");
    let stats = running.handle().stats().total;
    assert_eq!((stats.accepted, stats.closed), (5, 5));
    stop(running);
}

#[test]
fn a_close_by_this_side_waits_for_the_peer_but_not_for_ever() {
    let _bound = bound(30);
    let log = Log::new();
    let probe = log.clone();
    let limits = Limits { linger: Duration::from_millis(100), ..Limits::default() };
    let running = start_with(Server::builder().limits(limits), &[TCP], move || {
        Probe::new(&probe).open(|conn| {
            conn.out().extend_from_slice(b"bye");
            Some(Action::Close)
        })
    });
    let mut client = Client::tcp(inet(&running));
    client.expect(b"bye");
    client.expect_end();
    // The client keeps its side open.
    log.wait_for(1, &format!("close 1 {:?}", CloseReason::Local));
    stop(running);
}

#[cfg(unix)]
#[test]
fn a_stale_unix_socket_is_replaced_and_nothing_else_is() {
    let _bound = bound(30);
    let dir = TempDir::new();
    let (stale, file) = (dir.path("stale"), dir.path("file"));
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    assert!(stale.exists());
    let running = start_with(Server::builder(), &[&dir.unix("stale")], || Probe::echo(&Log::new()));
    let mut client = Client::connect(&running.addrs()[0]);
    client.send(b"x");
    client.expect(b"x");
    stop(running);
    std::fs::write(&file, "precious").unwrap();
    std::fs::create_dir(dir.path("directory")).unwrap();
    for name in ["file", "directory"] {
        let address = dir.unix(name);
        let error = Server::builder().start(move |shard| {
            let host = shard.host(Probe::echo(&Log::new()));
            shard.listen(host, &address).map(drop)
        });
        let error = error.expect_err(name).to_string();
        assert!(error.contains(&dir.unix(name)), "{error}");
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    assert!(dir.path("directory").is_dir());
}

#[test]
fn every_scheme_of_tcp_serves_its_family() {
    let _bound = bound(30);
    let all = ["tcp://localhost:0", "tcp4://127.0.0.1:0", "tcp6://[::1]:0", "tcp://"];
    let log = Log::new();
    let running = start_with(Server::builder(), &all, move || Probe::echo(&log));
    let addrs: Vec<SocketAddr> = running.addrs().iter().map(inet_of).collect();
    assert!(addrs[1].is_ipv4() && addrs[2].is_ipv6());
    for addr in addrs {
        let host: std::net::IpAddr = match addr {
            SocketAddr::V6(v6) if !v6.ip().is_unspecified() => addr.ip(),
            SocketAddr::V4(v4) if !v4.ip().is_unspecified() => addr.ip(),
            // The wildcard serves both families where there are two.
            _ => std::net::Ipv4Addr::LOCALHOST.into(),
        };
        let mut client = Client::tcp(SocketAddr::new(host, addr.port()));
        client.send(b"hello");
        client.expect(b"hello");
    }
    stop(running);
}
