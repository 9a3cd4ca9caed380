//! Connections that start on the loop.
#![allow(clippy::disallowed_methods, reason = "tests run by the clock")]

mod support;

use mainspring_io::{Addr, Address};
use mainspring_loop::{
    Action, CloseReason, Conn, ConnId, Cx, Full, Handler, HostId, Input, Limits, LoopStats, Opened,
    Running, Server, ServerInfo,
};
use socket2::{Domain, SockAddr, Socket, Type};
use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use support::*;

fn address(text: &str) -> Address {
    text.try_into().unwrap_or_else(|error| panic!("{error}"))
}

/// A server that does nothing but dial, once, at its start.
fn dialling(
    log: &Log,
    to: &str,
    limits: Limits,
    probe: impl Fn(Probe) -> Probe + Send + Sync + 'static,
) -> Running {
    let (log, to) = (log.clone(), address(to));
    start_with(Server::builder().limits(limits), &[], move || {
        let (tags, to) = (log.clone(), to.clone());
        probe(Probe::new(&log)).start(move |cx, _| {
            let this = cx.this::<Probe>();
            let id = cx.connect(this, &to, Tag::new(&tags)).unwrap();
            // Queued before the connection is up.
            cx.conn(id).expect("it exists from the first").out().extend_from_slice(b"early ");
            Action::Continue
        })
    })
}

fn greet(probe: Probe) -> Probe {
    probe.connected(|conn| {
        assert_eq!(conn.listener(), None);
        conn.out().extend_from_slice(b"hello");
        Action::Continue
    })
}

#[test]
fn a_tcp_connection_comes_up_and_early_output_leaves_first() {
    let _bound = bound(30);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let log = Log::new();
    let tell = log.clone();
    let running = dialling(&log, &format!("tcp://{at}"), Limits::default(), move |probe| {
        let tell = tell.clone();
        greet(probe).data(move |conn, input| {
            tell.add(format!("{} to {}", conn.local(), conn.peer()));
            let reply = input.take().to_ascii_uppercase();
            conn.out().extend_from_slice(&reply);
            Action::Continue
        })
    });
    let (stream, peer) = listener.accept().unwrap();
    let mut accepted = Client::over(mainspring_io::OwnedStream::Tcp(stream));
    accepted.expect(b"early hello");
    accepted.send(b"echo");
    accepted.expect(b"ECHO");
    drop(accepted);
    log.wait_for(1, "close 1 Peer");
    assert_eq!(log.count(&format!("{peer} to {at}")), 1);
    let mut golden = log.lines();
    golden.retain(|line| !line.contains(" to ") && line != "tick");
    assert_eq!(golden, ["start", "connected 1", "data 1 \"echo\"", "eof 1", "close 1 Peer"]);
    let figures = |it: &LoopStats| (it.dialled, it.closed, it.accepted, it.connections);
    eventually_total(&running.handle(), figures, (1, 1, 0, 0));
    stop(running);
    assert_eq!(log.tags(), 0);
}

#[cfg(unix)]
#[test]
fn a_unix_connection_comes_up() {
    let _bound = bound(30);
    let dir = TempDir::new();
    let listener = std::os::unix::net::UnixListener::bind(dir.path("up")).unwrap();
    let log = Log::new();
    let running = dialling(&log, &dir.unix("up"), Limits::default(), greet);
    let (stream, _) = listener.accept().unwrap();
    let mut accepted = Client::over(mainspring_io::OwnedStream::Unix(stream));
    accepted.expect(b"early hello");
    stop(running);
    accepted.expect_end();
    assert_eq!((log.count("close 1 Shutdown"), log.tags()), (1, 0));
}

#[test]
fn a_refused_connection_is_closed_once_with_the_error() {
    let _bound = bound(30);
    let dir = TempDir::new();
    // Nobody listens on tcpmux, and no parallel test can be given its port.
    let tcp = ("tcp://127.0.0.1:1".to_owned(), "Failed(ConnectionRefused)");
    let unix = cfg!(unix).then(|| (dir.unix("nobody"), "Failed(NotFound)"));
    for (to, reason) in [tcp].into_iter().chain(unix) {
        let log = Log::new();
        let running = dialling(&log, &to, Limits::default(), greet);
        assert_eq!(log.wait_for(1, "close")[0], format!("close 1 {reason}"));
        // The six bytes are the early output.
        let figures = |it: &LoopStats| (it.dialled, it.connections, it.dropped_closed_bytes);
        eventually_total(&running.handle(), figures, (0, 0, 6));
        stop(running);
        assert_eq!((log.count("close"), log.count("connected"), log.tags()), (1, 0, 0));
    }
}

#[test]
fn every_address_of_a_name_is_tried() {
    let _bound = bound(30);
    // Whichever comes last is the only one that listens.
    let last = ("localhost", 0).to_socket_addrs().unwrap().last().unwrap();
    let listener = TcpListener::bind(last).unwrap();
    let port = listener.local_addr().unwrap().port();
    let log = Log::new();
    let running = dialling(&log, &format!("tcp://localhost:{port}"), Limits::default(), greet);
    let (stream, _) = listener.accept().unwrap();
    Client::over(mainspring_io::OwnedStream::Tcp(stream)).expect(b"early hello");
    stop(running);
    assert_eq!((log.count("connected"), log.count("close"), log.tags()), (1, 1, 0));
}

#[test]
fn a_name_of_which_no_address_answers_fails_once() {
    let _bound = bound(30);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let log = Log::new();
    let running = dialling(&log, &format!("tcp://localhost:{port}"), Limits::default(), greet);
    log.wait_for(1, "close 1 Failed(ConnectionRefused)");
    stop(running);
    assert_eq!((log.count("close"), log.tags()), (1, 0));
}

#[test]
fn a_handshake_that_takes_too_long_is_given_up() {
    let _bound = bound(60);
    let (_full, at, _fillers) = full_listener();
    let log = Log::new();
    let limits = Limits { dial_timeout: Duration::from_millis(300), ..Limits::default() };
    let began = Instant::now();
    let running = dialling(&log, &format!("tcp://{at}"), limits, greet);
    log.wait_for(1, "close");
    let took = began.elapsed();
    assert_eq!(log.count("close 1 DialTimeout"), 1, "{:?}", log.lines());
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(5), "{took:?}");
    stop(running);
    assert_eq!((log.count("connected"), log.tags()), (0, 0));
}

/// A listener whose queue is full, so that handshakes with it do not end: Linux drops what comes
/// when the queue of listen(2) is full.
fn full_listener() -> (Socket, SocketAddr, Vec<Socket>) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    listener.bind(&SockAddr::from(any)).unwrap();
    listener.listen(0).unwrap();
    let at = listener.local_addr().unwrap().as_socket().unwrap();
    let fillers = (0..8)
        .map(|_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            let _ = socket.connect(&SockAddr::from(at));
            socket
        })
        .collect();
    thread::sleep(Duration::from_millis(50));
    (listener, at, fillers)
}

#[test]
fn a_dial_may_be_called_off_before_it_is_up() {
    let _bound = bound(60);
    let (_full, at, _fillers) = full_listener();
    for (abort, reason) in [(false, CloseReason::Local), (true, CloseReason::Aborted)] {
        for host in [at.to_string(), format!("localhost:{}", at.port())] {
            let log = Log::new();
            let (tags, to) = (log.clone(), address(&format!("tcp://{host}")));
            let running = start_with(Server::builder(), &[], move || {
                let (tags, to) = (tags.clone(), to.clone());
                Probe::new(&tags.clone()).start(move |cx, _| {
                    let this = cx.this::<Probe>();
                    let id = cx.connect(this, &to, Tag::new(&tags)).unwrap();
                    assert!(if abort { cx.abort(id) } else { cx.close(id) });
                    Action::Continue
                })
            });
            log.wait_for(1, &format!("close 1 {reason:?}"));
            thread::sleep(Duration::from_millis(20));
            stop(running);
            assert_eq!((log.count("close"), log.count("connected"), log.tags()), (1, 0, 0));
        }
    }
}

#[test]
fn a_stop_calls_dials_off() {
    let _bound = bound(60);
    let (_full, at, _fillers) = full_listener();
    let log = Log::new();
    let running = dialling(&log, &format!("tcp://{at}"), Limits::default(), greet);
    log.wait_for(1, "start");
    stop(running);
    assert_eq!((log.count("close 1 Shutdown"), log.tags()), (1, 0));
}

#[test]
fn dials_count_against_the_connections_and_end_with_the_server() {
    let _bound = bound(30);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = address(&format!("tcp://{}", listener.local_addr().unwrap()));
    let log = Log::new();
    let limits = Limits { connections_max: 2, ..Limits::default() };
    let (tags, dials) = (log.clone(), Arc::new(Mutex::new(Vec::new())));
    let noted = dials.clone();
    let running = start_with(Server::builder().limits(limits), &[], move || {
        let (tags, to, noted) = (tags.clone(), to.clone(), noted.clone());
        let (again, other) = (tags.clone(), to.clone());
        let late = noted.clone();
        Probe::new(&tags.clone())
            .start(move |cx, _| {
                let this = cx.this::<Probe>();
                for _ in 0..3 {
                    let dialled = cx.connect(this, &to, Tag::new(&tags)).map(drop);
                    noted.lock().unwrap().push(dialled);
                }
                Action::Continue
            })
            .close(move |cx, _, _| {
                let this = cx.this::<Probe>();
                let dialled = cx.connect(this, &other, Tag::new(&again)).map(drop);
                late.lock().unwrap().push(dialled);
            })
    });
    log.wait_for(2, "connected");
    assert_eq!(*dials.lock().unwrap(), [Ok(()), Ok(()), Err(Full)]);
    stop(running);
    assert_eq!(dials.lock().unwrap()[3..], [Err(Full), Err(Full)], "no dials while stopping");
    assert_eq!(log.tags(), 0);
}

/// Passes bytes between each client and a connection of its own to an upstream server.
struct Proxy {
    upstream: Address,
    this: Option<HostId<Self>>,
    partners: HashMap<ConnId, ConnId>,
}

impl Proxy {
    fn pass(&mut self, conn: &mut Conn<'_>, bytes: &[u8]) -> Action {
        let partner = self.partners.get(&conn.id()).copied();
        match partner
            .and_then(|id| conn.cx().conn(id).map(|mut to| to.out().extend_from_slice(bytes)))
        {
            Some(()) => Action::Continue,
            None => Action::Close,
        }
    }
}

impl Handler for Proxy {
    type State = ();

    fn on_start(&mut self, cx: &mut Cx<'_>, _server: &ServerInfo) -> Action {
        self.this = Some(cx.this());
        Action::Continue
    }

    fn on_open(&mut self, conn: &mut Conn<'_>) -> Opened<()> {
        let (client, this) = (conn.id(), self.this.unwrap());
        let Ok(upstream) = conn.cx().connect(this, &self.upstream, ()) else {
            return Opened::Refuse;
        };
        self.partners.insert(client, upstream);
        self.partners.insert(upstream, client);
        Opened::Accept(())
    }

    fn on_data(&mut self, (): &mut (), conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
        self.pass(conn, input.take())
    }

    fn on_close(&mut self, (): (), id: ConnId, cx: &mut Cx<'_>, _reason: CloseReason) {
        if let Some(partner) = self.partners.remove(&id) {
            cx.close(partner);
        }
    }
}

#[test]
fn a_proxy_passes_bytes_between_client_and_upstream_on_one_loop() {
    let _bound = bound(60);
    let dir = TempDir::new();
    let log = Log::new();
    let probe = log.clone();
    let unix = dir.unix("up");
    let upstream = start_with(Server::builder(), &each_kind(&unix), move || Probe::echo(&probe));
    let addrs = upstream.addrs();
    for to in &addrs {
        let to = match to {
            Addr::Inet(at) => Address::tcp(*at),
            Addr::Unix(_) => Address::unix(dir.path("up")),
        };
        let running = start_with(Server::builder(), &[TCP], move || Proxy {
            upstream: to.clone(),
            this: None,
            partners: HashMap::new(),
        });
        let mut clients: Vec<Client> = (0..5).map(|_| Client::tcp(inet(&running))).collect();
        let mut rng = fastrand::Rng::with_seed(3);
        for round in 0..5 {
            for client in &mut clients {
                let length = rng.usize(1..50_000);
                let bytes = random_bytes(&mut rng, length);
                client.send(&bytes);
                assert_same_bytes(&client.receive(bytes.len()), &bytes, &format!("round {round}"));
            }
        }
        drop(clients);
        let handle = running.handle();
        eventually_stats(&handle, "both sides closed", |stats| stats.total.closed == 10);
        stop(running);
    }
    stop(upstream);
    assert_eq!(log.count("close"), 5 * addrs.len());
}
