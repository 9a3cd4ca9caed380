//! Datagram sockets.
#![allow(clippy::disallowed_methods, reason = "tests run by the clock")]

mod support;

use mainspring_io::{Addr, Address, DriverKind};
use mainspring_loop::{Action, Balance, ConnId, Full, Limits, LoopStats, Loops, Running, Server};
use socket2::SockRef;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use support::*;

const UDP: &str = "udp://127.0.0.1:0";
/// The longest payload: 65,535 less the headers of IPv4 and UDP.
const LONGEST: usize = 65_507;

fn echo(log: &Log) -> Probe {
    Probe::new(log).datagram(|socket, _, bytes| {
        socket.reply(bytes).unwrap();
        Action::Continue
    })
}

fn socket() -> UdpSocket {
    socket_at("127.0.0.1:0")
}

fn socket_at(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).unwrap();
    // Some systems refuse datagrams that are longer than this buffer.
    SockRef::from(&socket).set_send_buffer_size(128 << 10).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Sends one datagram and receives one.
#[track_caller]
fn exchange(socket: &UdpSocket, to: SocketAddr, payload: &[u8]) -> (Vec<u8>, SocketAddr) {
    socket.send_to(payload, to).unwrap();
    receive(socket)
}

#[track_caller]
fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 1 << 16];
    let (length, from) = socket.recv_from(&mut buffer).expect("an answer");
    buffer.truncate(length);
    (buffer, from)
}

#[test]
fn datagrams_of_every_size_come_back() {
    let _bound = bound(120);
    for driver in [DriverKind::Auto, DriverKind::Ready, DriverKind::Portable] {
        let log = Log::new();
        let running = start_with(Server::builder().driver(driver), &[UDP], move || echo(&log));
        let (socket, to) = (socket(), inet(&running));
        let payload = random_bytes(&mut fastrand::Rng::with_seed(1), LONGEST);
        let sizes = (0..=2_048).chain((2_049..LONGEST).step_by(499)).chain(LONGEST - 8..=LONGEST);
        let mut count = 0;
        for size in sizes {
            let (back, from) = exchange(&socket, to, &payload[..size]);
            assert_same_bytes(&back, &payload[..size], &format!("{driver}, {size} bytes"));
            assert_eq!(from, to);
            count += 1;
        }
        let passed = |total: &LoopStats| (total.datagrams_in, total.datagrams_out);
        eventually_total(&running.handle(), passed, (count, count));
        let total = running.handle().stats().total;
        assert_eq!(total.dropped_datagrams_refused + total.dropped_datagrams_full, 0);
        stop(running);
    }
}

#[test]
fn many_datagrams_at_once_all_come_back() {
    let _bound = bound(60);
    for driver in [DriverKind::Auto, DriverKind::Ready, DriverKind::Portable] {
        let log = Log::new();
        let running = start_with(Server::builder().driver(driver), &[UDP], move || echo(&log));
        let (socket, to) = (socket(), inet(&running));
        for round in 0..50u8 {
            // Few enough for the kernel's buffers: none is lost on the way.
            for index in 0..64u8 {
                socket.send_to(&[round, index], to).unwrap();
            }
            let mut seen: Vec<Vec<u8>> = (0..64).map(|_| receive(&socket).0).collect();
            seen.sort();
            let wanted: Vec<Vec<u8>> = (0..64).map(|index| vec![round, index]).collect();
            assert_eq!(seen, wanted, "{driver}");
        }
        stop(running);
    }
}

#[test]
fn the_peers_address_is_the_one_it_sends_from() {
    let _bound = bound(30);
    // On the last two the kernel shows IPv4 peers as IPv6 ones.
    for (listen, from) in [
        (UDP, "127.0.0.1:0"),
        ("udp4://127.0.0.1:0", "127.0.0.1:0"),
        ("udp6://[::1]:0", "[::1]:0"),
        ("udp6://[::]:0", "[::1]:0"),
        ("udp://[::]:0", "127.0.0.1:0"),
    ] {
        let log = Log::new();
        let tell = log.clone();
        let running = start_with(Server::builder(), &[listen], move || {
            let tell = tell.clone();
            Probe::new(&tell.clone()).datagram(move |socket, from, bytes| {
                tell.add(format!("from {from} on {:?}", socket.listener()));
                socket.send_to(from, bytes).unwrap();
                Action::Continue
            })
        });
        let socket = socket_at(from);
        let to = (socket.local_addr().unwrap().ip(), inet(&running).port()).into();
        assert_eq!(exchange(&socket, to, b"hello").0, b"hello", "{listen}");
        let wanted = format!("from {} on Some(0)", socket.local_addr().unwrap());
        assert_eq!(log.wait_for(1, "from")[0], wanted, "{listen}");
        stop(running);
    }
}

#[test]
fn tcp_and_udp_are_served_side_by_side() {
    let _bound = bound(30);
    let log = Log::new();
    let running = start_with(Server::builder(), &[TCP, UDP], move || {
        Probe::echo(&log).datagram(|socket, _, bytes| {
            assert_eq!(socket.listener(), Some(1));
            socket.reply(bytes).unwrap();
            Action::Continue
        })
    });
    let mut client = Client::tcp(inet(&running));
    client.send(b"stream");
    client.expect(b"stream");
    let to = inet_of(&running.addrs()[1]);
    assert_eq!(exchange(&socket(), to, b"datagram").0, b"datagram");
    stop(running);
}

#[test]
fn several_loops_share_the_port() {
    let _bound = bound(60);
    for balance in [Balance::Kernel, Balance::RoundRobin] {
        let log = Log::new();
        let builder = Server::builder().loops(Loops::Count(3)).balance(balance);
        let running = start_with(builder, &[UDP], move || echo(&log));
        let to = inet(&running);
        for index in 0..60u8 {
            assert_eq!(exchange(&socket(), to, &[index]).0, [index]);
        }
        let stats = running.handle().stats();
        assert_eq!(stats.total.datagrams_in, 60);
        let serving = stats.loops.iter().filter(|stats| stats.datagrams_in > 0).count();
        // By the kernel's hash of sixty ports no loop of three is left out, or one in 10^10 times.
        let shared = balance == Balance::Kernel && cfg!(target_os = "linux");
        let wanted = if shared { 3 } else { 1 };
        assert_eq!(serving, wanted, "{balance}");
        stop(running);
    }
}

#[test]
fn datagrams_leave_from_outside_a_callback() {
    let _bound = bound(30);
    let ids = Arc::new(Mutex::new(None::<ConnId>));
    let (noted, log) = (ids.clone(), Log::new());
    let (give, given) = std::sync::mpsc::channel();
    let give = Mutex::new(give);
    let running = Server::builder()
        .start(move |shard| {
            let noted = noted.clone();
            let host = shard.host(Probe::new(&log).datagram(move |socket, _, _| {
                *noted.lock().unwrap() = Some(socket.id());
                Action::Continue
            }));
            shard.listen(host, UDP)?;
            give.lock().unwrap().send(shard.remote(host)).unwrap();
            Ok(())
        })
        .unwrap();
    let (socket, to) = (socket(), inet(&running));
    socket.send_to(b"here i am", to).unwrap();
    eventually("the socket's id", || ids.lock().unwrap().is_some());
    let (id, peer) = (ids.lock().unwrap().unwrap(), Addr::from(socket.local_addr().unwrap()));
    let remote = given.recv().unwrap();
    remote
        .post(move |_, cx| {
            let mut socket = cx.datagram(id).expect("the socket is open");
            socket.send_to(&peer, b"out of the blue").unwrap();
            socket.send_to(&peer, b"").unwrap();
        })
        .unwrap();
    assert_eq!(receive(&socket).0, b"out of the blue");
    assert_eq!(receive(&socket).0, b"");
    stop(running);
}

#[test]
fn datagrams_beyond_the_limit_are_refused_and_counted() {
    let _bound = bound(30);
    let log = Log::new();
    let limits = Limits { datagrams_max: 1_000, ..Limits::default() };
    let tell = log.clone();
    let running = start_with(Server::builder().limits(limits), &[UDP], move || {
        let tell = tell.clone();
        Probe::new(&tell.clone()).datagram(move |socket, _, _| {
            let taken = (0..15).filter(|_| socket.reply(&[0; 100]) != Err(Full)).count();
            tell.add(format!("taken {taken}"));
            Action::Continue
        })
    });
    let socket = socket();
    assert_eq!(exchange(&socket, inet(&running), b"flood").0.len(), 100);
    assert_eq!(log.wait_for(1, "taken")[0], "taken 10");
    for _ in 1..10 {
        receive(&socket);
    }
    let figures = |total: &LoopStats| (total.datagrams_out, total.dropped_datagrams_full);
    eventually_total(&running.handle(), figures, (10, 5));
    stop(running);
}

#[test]
fn a_datagram_that_is_too_long_is_dropped_alone_and_counted() {
    let _bound = bound(30);
    let log = Log::new();
    let running = start_with(Server::builder(), &[UDP], move || {
        Probe::new(&log).datagram(|socket, _, _| {
            socket.reply(b"before").unwrap();
            socket.reply(&[0; LONGEST + 1]).unwrap();
            socket.reply(b"after").unwrap();
            Action::Continue
        })
    });
    let socket = socket();
    assert_eq!(exchange(&socket, inet(&running), b"x").0, b"before");
    assert_eq!(receive(&socket).0, b"after");
    let handle = running.handle();
    eventually_stats(&handle, "counted", |stats| stats.total.dropped_datagrams_refused == 1);
    stop(running);
}

#[test]
fn a_handler_may_close_its_socket_or_the_server() {
    let _bound = bound(30);
    let log = Log::new();
    let running = start_with(Server::builder(), &[UDP, UDP], move || {
        Probe::new(&log).datagram(|socket, _, bytes| {
            socket.reply(b"bye").unwrap();
            if bytes == b"close" { Action::Close } else { Action::Shutdown }
        })
    });
    let addrs = running.addrs();
    let first = socket();
    assert_eq!(exchange(&first, inet_of(&addrs[0]), b"close").0, b"bye");
    eventually("the socket is closed", || UdpSocket::bind(inet_of(&addrs[0])).is_ok());
    assert_eq!(exchange(&socket(), inet_of(&addrs[1]), b"shutdown").0, b"bye");
    running.join().unwrap();
}

/// A server that talks to `peer` from a socket of its own and logs the answers.
fn dialling(log: &Log, peer: String, then_stop: bool) -> Running {
    let tell = log.clone();
    start_with(Server::builder(), &[], move || {
        let (peer, tell) = (peer.clone(), tell.clone());
        Probe::new(&tell.clone())
            .start(move |cx, _| {
                let address: Address = peer.as_str().try_into().unwrap();
                let this = cx.this::<Probe>();
                let id = cx.connect_datagram(this, &address).unwrap();
                let mut socket = cx.datagram(id).expect("it exists from the first");
                socket.reply(b"first").unwrap();
                socket.reply(b"second").unwrap();
                if then_stop { Action::Shutdown } else { Action::Continue }
            })
            .datagram(move |_, from, bytes| {
                tell.add(format!("got {} from {from}", String::from_utf8_lossy(bytes)));
                Action::Continue
            })
    })
}

#[test]
fn a_dialled_socket_talks_with_its_peer_also_by_name() {
    let _bound = bound(60);
    for host in ["127.0.0.1", "localhost"] {
        let log = Log::new();
        let name: SocketAddr = resolve_first(host);
        let peer = socket_at(&name.to_string());
        let at = peer.local_addr().unwrap();
        let running = dialling(&log, format!("udp://{host}:{}", at.port()), false);
        let (first, from) = receive(&peer);
        let (second, _) = receive(&peer);
        assert_eq!((&first[..], &second[..]), (&b"first"[..], &b"second"[..]), "{host}");
        peer.send_to(b"answer", from).unwrap();
        assert_eq!(log.wait_for(1, "got")[0], format!("got answer from {at}"), "{host}");
        // Nobody else is heard.
        let other = socket_at(&name.to_string());
        other.send_to(b"intruder", from).unwrap();
        peer.send_to(b"again", from).unwrap();
        assert_eq!(log.wait_for(2, "got")[1], format!("got again from {at}"), "{host}");
        stop(running);
    }
}

fn resolve_first(host: &str) -> SocketAddr {
    use std::net::ToSocketAddrs;
    (host, 0).to_socket_addrs().unwrap().next().unwrap()
}

#[test]
fn a_dialled_socket_that_is_not_open_yet_does_not_keep_the_server_up() {
    let _bound = bound(60);
    for host in ["127.0.0.1", "localhost"] {
        for _ in 0..20 {
            let peer = socket();
            let port = peer.local_addr().unwrap().port();
            let running = dialling(&Log::new(), format!("udp://{host}:{port}"), true);
            running.join().unwrap();
        }
    }
    // Time for answers of the offload pool that come after the end.
    thread::sleep(Duration::from_millis(20));
}
