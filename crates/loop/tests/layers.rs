//! Layers between the socket and the handler, over real sockets.
#![allow(clippy::disallowed_methods, reason = "tests run by the clock")]

mod support;

use mainspring_io::Address;
use mainspring_loop::{
    Action, Conn, Input, LayerFault, LayerIo, Layers, Limits, Running, Server, ServerBuilder,
};
use std::net::TcpListener;
use std::time::Duration;
use support::*;

fn start_layered(
    builder: ServerBuilder,
    probe: impl Fn() -> Probe + Send + Sync + 'static,
    layers: impl Fn() -> Layers + Clone + Send + Sync + 'static,
) -> Running {
    let started = builder.start(move |shard| {
        let host = shard.host(probe());
        let address: Address = TCP.try_into()?;
        let options = address.listen_options().clone();
        shard.listen_layered(host, &address, &options, layers.clone())?;
        Ok(())
    });
    started.expect("the server starts")
}

/// What handlers heard of connections.
fn heard(log: &Log) -> Vec<String> {
    log.lines().into_iter().filter(|line| line != "start" && line != "tick").collect()
}

fn sealed_echo(log: &Log) -> Running {
    let log = log.clone();
    start_layered(
        Server::builder(),
        move || Probe::echo(&log),
        || Layers::new().above(Seal::server()),
    )
}

/// A client that seals by hand.
struct Sealed {
    client: Client,
    wire: Vec<u8>,
    plain: Vec<u8>,
    ended: bool,
}

impl Sealed {
    fn connect(running: &Running) -> Self {
        let mut client = Client::tcp(inet(running));
        client.send(b"SEAL");
        client.expect(b"SEAL");
        Self { client, wire: Vec::new(), plain: Vec::new(), ended: false }
    }

    fn send(&mut self, plain: &[u8]) {
        let mut wire = Vec::new();
        seal(plain, &mut wire);
        self.client.send(&wire);
    }

    fn receive(&mut self, count: usize) -> Vec<u8> {
        while self.plain.len() < count && !self.ended {
            let byte = self.client.receive(1);
            self.wire.extend(byte);
            self.ended = unseal(&mut self.wire, &mut self.plain);
        }
        self.plain.drain(..count).collect()
    }
}

#[test]
fn a_handler_sees_plain_bytes_and_the_wire_does_not() {
    let _bound = bound(60);
    let log = Log::new();
    let running = sealed_echo(&log);
    let mut peer = Sealed::connect(&running);
    for message in [&b"hello"[..], b"", &[7; 50_000]] {
        peer.send(message);
        assert_same_bytes(&peer.receive(message.len()), message, "echo");
    }
    let (bytes, wire) = (50_005, 50_005 + 6 * 2 + 4);
    eventually_total(
        &running.handle(),
        |stats| (stats.layer_plain_in, stats.layer_wire_in, stats.bytes_in, stats.layer_plain_out),
        (bytes, wire, wire, bytes),
    );
    stop(running);
}

#[test]
fn the_handler_hears_of_a_connection_when_its_layers_are_open() {
    let _bound = bound(60);
    let log = Log::new();
    let running = sealed_echo(&log);
    let mut client = Client::tcp(inet(&running));
    client.send(b"SE");
    assert!(client.is_silent_for(Duration::from_millis(50)));
    assert_eq!(log.count("open"), 0);
    // The rest of the handshake and the first record in one piece.
    client.send(b"AL\0\x02\x97\x96");
    client.expect(b"SEAL\0\x02\x97\x96");
    assert_eq!(heard(&log), ["open 1", "data 1 \"hi\""]);
    stop(running);
}

#[test]
fn the_layers_own_end_is_an_end_and_is_answered() {
    let _bound = bound(60);
    let log = Log::new();
    let running = sealed_echo(&log);
    let mut peer = Sealed::connect(&running);
    peer.send(b"last");
    peer.client.send(&[0, 0]);
    assert_eq!(peer.receive(4), b"last");
    peer.client.expect(&[0, 0]);
    peer.client.expect_end();
    assert_eq!(log.wait_for(1, "close"), ["close 1 Peer"]);
    assert_eq!(log.count("eof"), 1);
    stop(running);
}

#[test]
fn an_end_without_the_layers_mark_is_a_fault() {
    let _bound = bound(60);
    let log = Log::new();
    let running = sealed_echo(&log);
    let mut peer = Sealed::connect(&running);
    peer.send(b"x");
    assert_eq!(peer.receive(1), b"x");
    peer.client.finish();
    peer.client.expect_end();
    assert_eq!(log.wait_for(1, "close"), [format!("close 1 Layer({CUT:?})")]);
    assert_eq!(log.count("eof"), 0);
    stop(running);
}

#[test]
fn a_failed_handshake_is_answered_and_counted_and_no_handler_hears_of_it() {
    let _bound = bound(60);
    let log = Log::new();
    let running = sealed_echo(&log);
    let mut client = Client::tcp(inet(&running));
    client.send(b"GET / HTTP/1.1\r\n\r\n");
    client.expect(b"BAD!");
    client.finish();
    client.expect_end();
    let mut early = Client::tcp(inet(&running));
    early.send(b"SEA");
    early.finish();
    early.expect_end();
    eventually_total(
        &running.handle(),
        |stats| (stats.handshakes_failed, stats.accepted, stats.closed, stats.connections),
        (2, 0, 0, 0),
    );
    assert_eq!(heard(&log), [""; 0]);
    stop(running);
}

#[test]
fn a_handshake_has_its_time() {
    let _bound = bound(60);
    let log = Log::new();
    let limits = Limits { handshake_timeout: Duration::from_millis(100), ..Limits::default() };
    let running = {
        let log = log.clone();
        let server = Server::builder().limits(limits);
        start_layered(server, move || Probe::echo(&log), || Layers::new().above(Seal::server()))
    };
    let mut slow = Client::tcp(inet(&running));
    slow.send(b"S");
    slow.expect_gone();
    let mut peer = Sealed::connect(&running);
    std::thread::sleep(Duration::from_millis(200));
    peer.send(b"later");
    assert_eq!(peer.receive(5), b"later");
    eventually_total(&running.handle(), |stats| stats.handshakes_failed, 1);
    stop(running);
}

const SHUT: LayerFault = LayerFault::refusal("gate", "shut");

/// Layers that have their say at the start.
fn open(_: &mut LayerIo<'_>) -> Result<(), &'static LayerFault> {
    Ok(())
}

fn shut(_: &mut LayerIo<'_>) -> Result<(), &'static LayerFault> {
    Err(&SHUT)
}

#[test]
fn a_refusing_layer_closes_at_once_and_one_that_is_done_costs_nothing() {
    let _bound = bound(60);
    let log = Log::new();
    let running = {
        let log = log.clone();
        let probe = move || Probe::echo(&log);
        start_layered(Server::builder(), probe, || Layers::new().above(open))
    };
    let mut client = Client::tcp(inet(&running));
    client.send(b"as it is");
    client.expect(b"as it is");
    eventually_total(&running.handle(), |stats| (stats.layer_wire_in, stats.bytes_in), (0, 8));
    stop(running);

    let log = Log::new();
    let running = {
        let log = log.clone();
        let probe = move || Probe::echo(&log);
        start_layered(Server::builder(), probe, || {
            Layers::new().above(open).above(shut).above(Seal::server())
        })
    };
    Client::tcp(inet(&running)).expect_gone();
    eventually_total(
        &running.handle(),
        |stats| (stats.refused, stats.handshakes_failed, stats.connections),
        (1, 0, 0),
    );
    assert_eq!(heard(&log), [""; 0]);
    stop(running);
}

fn upgrade(conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
    if conn.layer_info::<SealInfo>().is_some() {
        conn.out().extend_from_slice(input.take());
    } else if input.bytes().starts_with(b"STARTSEAL\n") {
        input.consume(10);
        conn.out().extend_from_slice(b"GO\n");
        conn.add_layer(Seal::server());
        conn.out().extend_from_slice(b"sealed");
    }
    Action::Continue
}

#[test]
fn a_layer_can_be_put_on_in_the_middle() {
    let _bound = bound(60);
    let log = Log::new();
    let running = {
        let log = log.clone();
        start(move || Probe::new(&log).data(upgrade))
    };
    // Command, handshake and first record in one piece, and byte by byte.
    let wire = b"STARTSEAL\nSEAL\0\x02\x97\x96\0\0";
    for chunk in [wire.len(), 1] {
        let mut client = Client::tcp(inet(&running));
        for part in wire.chunks(chunk) {
            client.send(part);
            if chunk == 1 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        client.expect(b"GO\nSEAL");
        let mut plain = Vec::new();
        assert!(unseal(&mut client.receive_to_end(), &mut plain));
        assert_eq!(plain, b"sealedhi");
    }
    log.wait_for(2, "close");
    assert_eq!((log.count("layered"), log.count("eof")), (2, 2));
    let bytes = (wire.len() - 10) as u64;
    eventually_total(&running.handle(), |stats| stats.layer_wire_in, 2 * bytes);
    stop(running);
}

#[test]
fn a_dialled_connection_is_told_when_its_layers_are_open() {
    let _bound = bound(60);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = format!("tcp://{}", listener.local_addr().unwrap());
    let log = Log::new();
    let running = {
        let log = log.clone();
        start_with(Server::builder(), &[], move || {
            let (tags, to) = (log.clone(), to.clone());
            let probe = Probe::new(&log).start(move |cx, _| {
                let this = cx.this::<Probe>();
                let to: Address = to.as_str().try_into().unwrap();
                let layers = Layers::new().above(Seal::client());
                let id = cx.connect_layered(this, &to, Tag::new(&tags), layers).unwrap();
                cx.conn(id).unwrap().out().extend_from_slice(b"hi");
                Action::Continue
            });
            probe.connected(|conn| {
                assert_eq!(conn.layer_info(), Some(&SealInfo("client")));
                Action::Continue
            })
        })
    };
    let (stream, _) = listener.accept().unwrap();
    let mut peer = Client::over(mainspring_io::OwnedStream::Tcp(stream));
    peer.expect(b"SEAL");
    assert!(peer.is_silent_for(Duration::from_millis(50)), "nothing leaves before the layer opens");
    assert_eq!(log.count("connected"), 0);
    peer.send(b"SEAL");
    peer.expect(b"\0\x02\x97\x96");
    assert_eq!(log.wait_for(1, "connected"), ["connected 1"]);
    stop(running);
}

#[test]
fn layers_stack() {
    let _bound = bound(60);
    let log = Log::new();
    let running = {
        let log = log.clone();
        let probe = move || Probe::echo(&log);
        start_layered(Server::builder(), probe, || {
            Layers::new().above(Seal::server()).above(Seal::server())
        })
    };
    let mut peer = Sealed::connect(&running);
    peer.send(b"SEAL");
    assert_eq!(peer.receive(4), b"SEAL");
    let mut inner = Vec::new();
    seal(b"twice", &mut inner);
    peer.send(&inner);
    assert_eq!(peer.receive(inner.len()), inner);
    // Both sides end both layers.
    peer.send(&[0, 0]);
    assert_eq!(peer.receive(2), [0, 0]);
    peer.client.expect(&[0, 0]);
    stop(running);
    assert_eq!(log.count("close 1 Peer"), 1);
}

/// A peer that sends a lot and reads slowly: everything arrives, in order, within bounds.
#[test]
fn water_marks_hold_through_layers() {
    let _bound = bound(120);
    let log = Log::new();
    let limits = Limits { output_high: 64 << 10, output_low: 16 << 10, ..Limits::default() };
    let running = {
        let log = log.clone();
        let server = Server::builder().limits(limits);
        start_layered(server, move || Probe::echo(&log), || Layers::new().above(Seal::server()))
    };
    let mut peer = Sealed::connect(&running);
    let sent = random_bytes(&mut fastrand::Rng::with_seed(3), 8 << 20);
    let mut writer = peer.client.try_clone();
    let mut wire = Vec::new();
    seal(&sent, &mut wire);
    let writes = std::thread::spawn(move || writer.send(&wire));
    std::thread::sleep(Duration::from_millis(300));
    let buffered = running.handle().stats().total.buffered_bytes;
    assert!(buffered < 1 << 20, "{buffered} bytes are buffered for a peer that does not read");
    let mut got = Vec::new();
    while got.len() < sent.len() {
        let missing = sent.len() - got.len() - peer.wire.len().min(sent.len() - got.len());
        peer.wire.extend(peer.client.receive(missing.clamp(1, 4096)));
        assert!(!unseal(&mut peer.wire, &mut got));
    }
    assert_same_bytes(&got, &sent, "echo");
    writes.join().unwrap();
    stop(running);
}
