//! Layers and everything else that a connection can do: panics, hand-offs, pauses, ends, limits.
#![allow(clippy::disallowed_methods, reason = "tests run by the clock")]

mod support;

use bytes::Bytes;
use mainspring_io::Address;
use mainspring_loop::{
    Action, BroadcastLimits, Conn, ConnId, HostId, Input, Layer, LayerFault, LayerIo, LayerState,
    Layers, Limits, Remote, Running, SendOutcome, Server,
};
use std::io::Write;
use std::net::Shutdown;
use std::num::NonZeroUsize;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::*;

/// A server whose connections all have the layers that `layers` makes, and the way to it.
struct Layered {
    running: Running,
    remote: Remote<Probe>,
    ids: Arc<Mutex<Vec<ConnId>>>,
    log: Log,
}

impl Layered {
    fn new(
        limits: Limits,
        probe: impl Fn(&Log) -> Probe + Send + Sync + 'static,
        layers: impl Fn() -> Layers + Clone + Send + Sync + 'static,
    ) -> Self {
        Self::at(TCP, limits, probe, layers)
    }

    fn at(
        address: &str,
        limits: Limits,
        probe: impl Fn(&Log) -> Probe + Send + Sync + 'static,
        layers: impl Fn() -> Layers + Clone + Send + Sync + 'static,
    ) -> Self {
        let (log, ids) = (Log::new(), Arc::new(Mutex::new(Vec::new())));
        let (give, given) = channel();
        let (give, told, noted) = (Mutex::new(give), log.clone(), ids.clone());
        let address: Address = address.try_into().unwrap();
        let running = Server::builder().limits(limits).start(move |shard| {
            let noted = noted.clone();
            let host = shard.host(probe(&told).open(move |conn| {
                noted.lock().unwrap().push(conn.id());
                Some(Action::Continue)
            }));
            let options = address.listen_options().clone();
            shard.listen_layered(host, &address, &options, layers.clone())?;
            give.lock().unwrap().send(shard.remote(host)).unwrap();
            Ok(())
        });
        let running = running.unwrap();
        Self { running, remote: given.recv().unwrap(), ids, log }
    }

    fn sealed(probe: impl Fn(&Log) -> Probe + Send + Sync + 'static) -> Self {
        Self::new(Limits::default(), probe, || Layers::new().above(Seal::server()))
    }

    /// A client that has agreed with the outermost seal, and its connection's id.
    fn client(&self) -> (Client, ConnId) {
        let mut client = Client::connect(&self.running.addrs()[0]);
        client.send(b"SEAL");
        client.expect(b"SEAL");
        self.log.wait_for(1, "open");
        (client, *self.ids.lock().unwrap().last().unwrap())
    }
}

fn sealed(plain: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    seal(plain, &mut wire);
    wire
}

fn echo(conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
    conn.out().extend_from_slice(input.take());
    Action::Continue
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    Start,
    Receive,
    Send,
    Eof,
    Finish,
    Drop,
}

/// Passes bytes on, and panics at one of its calls; of `receive` and `send` where there is a `!`.
struct Brittle(At);

impl Brittle {
    fn at(&self, at: At) {
        assert!(self.0 != at, "planned");
    }
}

impl Layer for Brittle {
    fn start(&mut self, _: &mut LayerIo<'_>) -> Result<LayerState, &'static LayerFault> {
        self.at(At::Start);
        Ok(LayerState::Open)
    }

    fn receive(
        &mut self,
        input: &mut Input<'_>,
        io: &mut LayerIo<'_>,
    ) -> Result<LayerState, &'static LayerFault> {
        let bytes = input.take();
        io.plain.extend_from_slice(bytes);
        if bytes.contains(&b'!') {
            self.at(At::Receive);
        }
        Ok(LayerState::Open)
    }

    fn send(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), &'static LayerFault> {
        wire.extend_from_slice(plain);
        if plain.contains(&b'!') {
            self.at(At::Send);
        }
        Ok(())
    }

    fn eof(&mut self) -> Result<(), &'static LayerFault> {
        self.at(At::Eof);
        Ok(())
    }

    fn finish(&mut self, _: &mut Vec<u8>) {
        self.at(At::Finish);
    }
}

impl Drop for Brittle {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.at(At::Drop);
        }
    }
}

#[test]
fn a_panic_of_a_layer_closes_its_connection_and_no_other() {
    let _bound = bound(60);
    for at in [At::Start, At::Receive, At::Send, At::Eof, At::Finish, At::Drop] {
        let next = Arc::new(Mutex::new(None));
        let given = next.clone();
        // What is not a whole line stays unconsumed, under what the panic leaves.
        let lines = |conn: &mut Conn<'_>, input: &mut Input<'_>| {
            while let Some(end) = input.bytes().iter().position(|byte| *byte == b'\n') {
                conn.out().extend_from_slice(&input.bytes()[..=end]);
                input.consume(end + 1);
            }
            Action::Continue
        };
        let server = Layered::new(
            Limits::default(),
            move |log| Probe::new(log).data(lines),
            move || match given.lock().unwrap().take() {
                Some(at) => Layers::new().above(Brittle(at)),
                None => Layers::new().above(gate),
            },
        );
        let mut other = Client::tcp(inet(&server.running));
        other.send(b"one\n");
        other.expect(b"one\n");
        *next.lock().unwrap() = Some(at);
        let mut client = Client::tcp(inet(&server.running));
        if at != At::Start {
            client.send(b"left");
            server.log.wait_for(1, "data 2 \"left\"");
            // The panic of the first may have ended the connection before the others leave.
            let mut stream = client.tcp_stream();
            stream.write_all(b"!").unwrap();
            let _ = stream.write_all(b"\n!\n");
            if at != At::Send {
                let _ = stream.shutdown(Shutdown::Write);
            }
        }
        client.expect_gone();
        // What panics on the way out has another reason already.
        let panicked = usize::from(!matches!(at, At::Start | At::Finish | At::Drop));
        if at != At::Start {
            server.log.wait_for(1, "close 2");
        }
        assert_eq!(server.log.count("close 2 Panicked"), panicked, "{at:?}");
        let handle = server.running.handle();
        eventually_total(&handle, |stats| (stats.panics, stats.connections), (1, 1));
        other.send(b"two\n");
        other.expect(b"two\n");
        stop(server.running);
        assert_eq!(server.log.tags(), 0);
    }
}

/// Takes no part.
fn gate(_: &mut LayerIo<'_>) -> Result<(), &'static LayerFault> {
    Ok(())
}

const UNSENDABLE: LayerFault = LayerFault::new("picky", "will not send that");

/// Passes bytes on, but sends none that begin with `!`.
struct Picky;

impl Layer for Picky {
    fn receive(
        &mut self,
        input: &mut Input<'_>,
        io: &mut LayerIo<'_>,
    ) -> Result<LayerState, &'static LayerFault> {
        io.plain.extend_from_slice(input.take());
        Ok(LayerState::Open)
    }

    fn send(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), &'static LayerFault> {
        if plain.starts_with(b"!") {
            return Err(&UNSENDABLE);
        }
        wire.extend_from_slice(plain);
        Ok(())
    }
}

#[test]
fn a_fault_in_sending_resets_the_connection_and_is_the_reason() {
    let _bound = bound(60);
    let server = Layered::new(Limits::default(), Probe::echo, || Layers::new().above(Picky));
    let mut client = Client::tcp(inet(&server.running));
    client.send(b"good");
    client.expect(b"good");
    client.send(b"!bad");
    client.expect_gone();
    assert_eq!(server.log.wait_for(1, "close"), [format!("close 1 Layer({UNSENDABLE:?})")]);
    eventually_total(&server.running.handle(), |stats| stats.dropped_closed_bytes, 4);
    stop(server.running);
}

#[test]
fn a_layered_connection_can_be_handed_to_another_handler() {
    let _bound = bound(60);
    let (first, second) = (Log::new(), Log::new());
    let running = {
        let (first, second) = (first.clone(), second.clone());
        Server::builder().start(move |shard| {
            let to: HostId<Probe> = shard.host(Probe::echo(&second));
            let second = second.clone();
            let host = shard.host(Probe::new(&first).data(move |conn, input| {
                input.consume(2);
                conn.out().extend_from_slice(b"101 ");
                conn.handoff(to, Tag::new(&second));
                Action::Continue
            }));
            let address: Address = TCP.try_into()?;
            let layers = || Layers::new().above(Seal::server());
            shard.listen_layered(host, &address, &Default::default(), layers)?;
            Ok(())
        })
    };
    let running = running.unwrap();
    let mut client = Client::tcp(inet(&running));
    client.send(&[&b"SEAL"[..], &sealed(b"upearly")].concat());
    client.expect(&[&b"SEAL"[..], &sealed(b"101 early")].concat());
    client.send(&sealed(b"late"));
    client.expect(&sealed(b"late"));
    client.send(&[0, 0]);
    client.expect(&[0, 0]);
    client.expect_end();
    stop(running);
    assert_eq!((first.tags(), second.tags()), (0, 0));
    assert_eq!(second.count("close 1 Peer"), 1);
}

#[test]
fn a_paused_connection_gets_nothing_until_it_is_resumed_and_then_everything() {
    let _bound = bound(60);
    let server = Layered::sealed(|log| {
        Probe::new(log).data(|conn, input| {
            conn.out().extend_from_slice(input.take());
            Action::Pause
        })
    });
    let (mut client, id) = server.client();
    client.send(&sealed(b"one"));
    client.expect(&sealed(b"one"));
    let record = sealed(b"two");
    client.send(&record[..3]);
    client.send(&[&record[3..], &sealed(b"three"), &[0, 0]].concat());
    assert!(client.is_silent_for(Duration::from_millis(50)));
    server.remote.resume(id).unwrap();
    let mut plain = Vec::new();
    let mut wire = Vec::new();
    while plain.len() < 3 {
        wire.extend(client.receive(1));
        unseal(&mut wire, &mut plain);
    }
    assert!(plain.starts_with(b"two"), "{plain:?}");
    // However much one delivery brought, resuming brings the rest and the end.
    eventually("the end", || {
        server.remote.resume(id).unwrap();
        server.log.count("close") == 1
    });
    wire.extend(client.receive_to_end());
    assert!(unseal(&mut wire, &mut plain), "{:?}", server.log.lines());
    assert_eq!(plain, b"twothree");
    stop(server.running);
}

#[test]
fn a_handler_that_yields_goes_on_in_the_next_turn() {
    let _bound = bound(60);
    let server = Layered::sealed(|log| {
        Probe::new(log).data(|conn, input| {
            conn.out().push(input.bytes()[0]);
            input.consume(1);
            if input.is_empty() { Action::Continue } else { Action::Yield }
        })
    });
    let (mut client, _) = server.client();
    client.send(&[sealed(b"abc"), sealed(b"de"), vec![0, 0]].concat());
    let mut plain = Vec::new();
    assert!(unseal(&mut client.receive_to_end(), &mut plain));
    assert_eq!(plain, b"abcde");
    stop(server.running);
}

/// A frame of far more than a layer may unwrap ahead.
#[test]
fn a_handler_may_wait_for_more_than_layers_unwrap_at_once() {
    let _bound = bound(60);
    const FRAME: usize = 700_000;
    let server = Layered::sealed(|log| {
        Probe::new(log).data(|conn, input| {
            if let Some(more) = NonZeroUsize::new(FRAME.saturating_sub(input.len())) {
                input.need(more);
                return Action::Continue;
            }
            conn.out().extend_from_slice(&input.take().len().to_be_bytes());
            Action::Continue
        })
    });
    let (mut client, _) = server.client();
    client.send(&sealed(&vec![5; FRAME]));
    client.expect(&sealed(&FRAME.to_be_bytes()));
    assert_eq!(server.log.count("data"), 2, "once for what came first, and once for the frame");
    stop(server.running);
}

/// Wants a kilobyte more than it will ever get.
struct Greedy;

impl Layer for Greedy {
    fn receive(
        &mut self,
        input: &mut Input<'_>,
        _: &mut LayerIo<'_>,
    ) -> Result<LayerState, &'static LayerFault> {
        input.need(NonZeroUsize::new(1 << 10).unwrap());
        Ok(LayerState::Open)
    }

    fn send(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), &'static LayerFault> {
        wire.extend_from_slice(plain);
        Ok(())
    }
}

#[test]
fn what_a_layer_leaves_unconsumed_is_bounded_like_what_a_handler_leaves() {
    let _bound = bound(60);
    let limits = Limits { input_max: 100 << 10, ..Limits::default() };
    let server = Layered::new(limits, Probe::echo, || Layers::new().above(Greedy));
    let client = Client::tcp(inet(&server.running));
    let mut writer = client.try_clone();
    let writes = std::thread::spawn(move || {
        let mut sent = 0;
        while sent < 64 << 20
            && std::io::Write::write(&mut writer.tcp_stream(), &[1; 1 << 16]).is_ok()
        {
            sent += 1 << 16;
        }
        let _ = &mut writer;
    });
    assert_eq!(server.log.wait_for(1, "close"), ["close 1 InputTooLong"]);
    drop(client);
    writes.join().unwrap();
    stop(server.running);
}

fn upgrade_twice(conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
    if conn.layer_info::<SealInfo>().is_some() {
        return echo(conn, input);
    }
    if input.len() < 6 {
        return Action::Continue;
    }
    input.consume(6);
    conn.out().extend_from_slice(b"GO\n");
    conn.add_layer(Seal::server());
    conn.out().extend_from_slice(b"under one");
    conn.add_layer(Seal::server());
    conn.out().extend_from_slice(b"under two");
    Action::Continue
}

#[test]
fn of_two_layers_put_on_at_once_each_gets_its_own() {
    let _bound = bound(60);
    let log = Log::new();
    let running = {
        let log = log.clone();
        start(move || Probe::new(&log).data(upgrade_twice))
    };
    let inner = [&b"SEAL"[..], &sealed(b"hi"), &[0, 0]].concat();
    let wire = [&b"TWICE\nSEAL"[..], &sealed(&inner), &[0, 0]].concat();
    for chunk in [wire.len(), 7, 1] {
        let mut client = Client::tcp(inet(&running));
        for part in wire.chunks(chunk) {
            client.send(part);
            std::thread::sleep(Duration::from_millis(1));
        }
        client.expect(b"GO\nSEAL");
        let (mut middle, mut plain) = (Vec::new(), Vec::new());
        assert!(unseal(&mut client.receive_to_end(), &mut middle));
        assert!(middle.starts_with(b"under oneSEAL"), "{}", middle.escape_ascii());
        assert!(unseal(&mut middle.split_off(13), &mut plain));
        assert_eq!(plain, b"under twohi");
    }
    log.wait_for(3, "close");
    assert_eq!(log.count("layered"), 3, "each of them once, when both are open: {:?}", log.lines());
    stop(running);
}

#[test]
fn a_layer_goes_above_those_of_the_listener_and_above_ones_that_are_done() {
    let _bound = bound(60);
    let upgrade = |log: &Log| {
        Probe::new(log).data(|conn, input| {
            if !input.bytes().starts_with(b"SECOND\n") {
                return echo(conn, input);
            }
            input.consume(7);
            conn.out().extend_from_slice(b"GO\n");
            conn.add_layer(Seal::server());
            Action::Continue
        })
    };
    let server = Layered::sealed(upgrade);
    let (mut client, _) = server.client();
    // The inner handshake begins in the record of the command, and more records follow at once.
    let wire = [sealed(b"SECOND\nSE"), sealed(b"AL"), sealed(&sealed(b"deep"))].concat();
    client.send(&wire);
    client.expect(&[sealed(b"GO\n"), sealed(b"SEAL"), sealed(&sealed(b"deep"))].concat());
    let handle = server.running.handle();
    eventually_total(&handle, |stats| stats.layer_wire_in, 4 + wire.len() as u64);
    stop(server.running);

    let server = Layered::new(Limits::default(), upgrade, || Layers::new().above(gate));
    let mut client = Client::tcp(inet(&server.running));
    client.send(b"bare");
    client.expect(b"bare");
    client.send(&[&b"SECOND\nSEAL"[..], &sealed(b"deep")].concat());
    client.expect(&[&b"GO\nSEAL"[..], &sealed(b"deep")].concat());
    eventually_total(&server.running.handle(), |stats| stats.layer_wire_in, 4 + 6);
    stop(server.running);
}

#[test]
fn more_output_than_the_high_mark_does_not_hold_the_handshake_up() {
    let _bound = bound(60);
    const LONG: usize = 300_000;
    let limits = Limits { output_high: 10_000, output_low: 1_000, ..Limits::default() };
    let log = Log::new();
    let running = {
        let log = log.clone();
        start_with(Server::builder().limits(limits), &[TCP], move || {
            Probe::new(&log).data(|conn, input| {
                if input.take() == b"GO" {
                    conn.add_layer(Seal::server());
                    conn.out().resize(LONG, b'x');
                    // The end, too, waits for what is to go before it.
                    conn.finish();
                }
                Action::Continue
            })
        })
    };
    let mut client = Client::tcp(inet(&running));
    client.send(b"GO");
    log.wait_for(1, "data");
    assert!(client.is_silent_for(Duration::from_millis(30)));
    client.send(b"SEAL");
    client.expect(b"SEAL");
    let mut plain = Vec::new();
    assert!(unseal(&mut client.receive_to_end(), &mut plain));
    assert_eq!(plain.len(), LONG);
    client.send(&[sealed(b"still heard"), vec![0, 0]].concat());
    log.wait_for(1, "data 1 \"still heard\"");
    assert_eq!(log.wait_for(1, "close"), ["close 1 Peer"]);
    stop(running);
}

#[test]
fn an_end_in_the_middle_of_a_later_handshake_is_a_fault() {
    let _bound = bound(60);
    let log = Log::new();
    let running = {
        let log = log.clone();
        start(move || {
            Probe::new(&log).data(|conn, input| {
                input.take();
                conn.add_layer(Seal::server());
                Action::Continue
            })
        })
    };
    let mut client = Client::tcp(inet(&running));
    client.send(b"x");
    client.send(b"SE");
    client.finish();
    client.expect_gone();
    let closed = log.wait_for(1, "close").remove(0);
    assert!(closed.contains("the stream ended before they were open"), "{closed}");
    assert_eq!((log.count("layered"), log.count("eof")), (0, 0));
    eventually_total(&running.handle(), |stats| (stats.closed, stats.handshakes_failed), (1, 0));
    stop(running);
}

#[test]
fn a_drain_and_a_stop_do_not_wait_for_handshakes() {
    let _bound = bound(60);
    for drains in [true, false] {
        let server = Layered::sealed(Probe::echo);
        let (mut open, _) = server.client();
        let mut under_way = Client::tcp(inet(&server.running));
        under_way.send(b"SE");
        eventually_total(&server.running.handle(), |stats| stats.connections, 2);
        let handle = server.running.handle();
        if drains {
            handle.drain()
        } else {
            handle.stop()
        }
        under_way.expect_gone();
        // The one that was open is told so by its layer.
        open.expect(&[0, 0]);
        open.expect_end();
        server.running.join().unwrap();
        assert_eq!(server.log.count("close 1 Shutdown"), 1);
    }
}

#[test]
fn completions_and_broadcasts_count_plain_bytes() {
    let _bound = bound(60);
    let server = Layered::sealed(Probe::echo);
    let (mut client, id) = server.client();
    let (tell, told) = channel();
    for message in [&b"first"[..], b"", &[3; 50_000]] {
        let tell = tell.clone();
        let bytes = Bytes::copy_from_slice(message);
        server.remote.send_notify(id, bytes, move |outcome| tell.send(outcome).unwrap()).unwrap();
        client.expect(&sealed(message));
        assert_eq!(told.recv_timeout(Duration::from_secs(10)), Ok(SendOutcome::Sent));
    }
    let broadcaster = server.remote.broadcaster(BroadcastLimits {
        outbox_bytes: 4 << 10,
        queue_bytes: 64 << 20,
        queue_messages: 1_000,
        deadline: None,
        ..BroadcastLimits::default()
    });
    let wire = sealed(&[7; 900]);
    for _ in 0..500 {
        broadcaster.send(Bytes::from_static(&[7; 900]), &[id]).unwrap();
    }
    let (mut plain, mut got) = (Vec::new(), Vec::new());
    while plain.len() < 500 * 900 {
        let missing = (500 * 900 - plain.len()).saturating_sub(got.len());
        got.extend(client.receive(missing.clamp(1, wire.len())));
        unseal(&mut got, &mut plain);
    }
    assert!(plain.iter().all(|byte| *byte == 7));
    eventually("all are delivered", || broadcaster.stats().delivered == 500);
    let stats = broadcaster.stats();
    assert!(stats.is_balanced() && stats.queued == 0, "{stats:?}");
    // One that is under way when the connection ends is not delivered.
    let tell = tell.clone();
    drop(client);
    server.log.wait_for(1, "close");
    let done = move |outcome| tell.send(outcome).unwrap();
    server.remote.send_notify(id, Bytes::from_static(b"late"), done).unwrap();
    assert_eq!(told.recv_timeout(Duration::from_secs(10)), Ok(SendOutcome::Closed));
    stop(server.running);
}

#[test]
fn a_socket_is_not_given_away_from_under_its_layers() {
    let _bound = bound(60);
    let detach = |log: &Log| {
        Probe::new(log).data(|_, input| {
            input.take();
            Action::Detach
        })
    };
    let server = Layered::sealed(detach);
    let (mut client, _) = server.client();
    client.send(&sealed(b"x"));
    client.finish();
    client.expect_end();
    let closed = server.log.wait_for(1, "close").remove(0);
    assert!(closed.contains("a connection with layers cannot be detached"), "{closed}");
    stop(server.running);
    // When they are done they are in nobody's way.
    let server = Layered::new(Limits::default(), detach, || Layers::new().above(gate));
    let mut client = Client::tcp(inet(&server.running));
    client.send(b"x");
    server.log.wait_for(1, "detach");
    stop(server.running);
}

#[test]
fn silence_and_writes_without_progress_time_out_through_layers() {
    let _bound = bound(60);
    let short = Duration::from_millis(150);
    let idle = Limits { idle_timeout: Some(short), ..Limits::default() };
    let server = Layered::new(idle, Probe::echo, || Layers::new().above(Seal::server()));
    let (mut client, _) = server.client();
    client.send(&sealed(b"x"));
    client.expect(&sealed(b"x"));
    client.expect(&[0, 0]);
    client.expect_gone();
    assert_eq!(server.log.wait_for(1, "close"), ["close 1 IdleTimeout"]);
    stop(server.running);

    let write = Limits { write_timeout: Some(short), ..Limits::default() };
    let flood = |log: &Log| {
        Probe::new(log).data(|conn, input| {
            input.take();
            conn.out().resize(32 << 20, b'x');
            Action::Continue
        })
    };
    let server = Layered::new(write, flood, || Layers::new().above(Seal::server()));
    let (mut client, _) = server.client();
    client.send(&sealed(b"x"));
    assert_eq!(server.log.wait_for(1, "close"), ["close 1 WriteTimeout"]);
    stop(server.running);
}

#[test]
fn a_connection_knows_what_passed_on_both_sides_of_its_layers() {
    let _bound = bound(60);
    let seen = Arc::new(Mutex::new(None));
    let tell = seen.clone();
    let log = Log::new();
    let running = {
        let log = log.clone();
        start(move || {
            let tell = tell.clone();
            Probe::new(&log)
                .data(|conn, input| {
                    if input.bytes().starts_with(b"UP") {
                        input.consume(2);
                        conn.add_layer(Seal::server());
                        return Action::Continue;
                    }
                    echo(conn, input)
                })
                .eof(|conn| {
                    // By then the echo has been sent.
                    conn.set_timer(Duration::from_millis(50));
                    Action::Continue
                })
                .timer(move |conn, _| {
                    *tell.lock().unwrap() = Some(conn.stats());
                    conn.finish();
                    Action::Continue
                })
        })
    };
    let mut client = Client::tcp(inet(&running));
    client.send(b"bare");
    client.expect(b"bare");
    client.send(&[&b"UPSEAL"[..], &sealed(b"hello"), &sealed(&[1; 20_000]), &[0, 0]].concat());
    client.expect(b"SEAL");
    let mut plain = Vec::new();
    let mut wire = client.receive_to_end();
    let back = wire.len() as u64;
    assert!(unseal(&mut wire, &mut plain));
    assert_eq!(plain.len(), 20_005);
    let stats = seen.lock().unwrap().unwrap();
    // Six plain bytes went before the layer; each record has a head of two, and so has the end.
    assert_eq!(stats.plain_in, 4 + 2 + 5 + 20_000);
    assert_eq!(stats.bytes_in, 4 + 2 + 4 + 7 + 20_000 + 2 * 2 + 2);
    assert_eq!(stats.plain_out, 4 + 5 + 20_000);
    assert!(stats.bytes_out <= 4 + 4 + back, "{stats:?}");
    stop(running);
}

#[cfg(unix)]
#[test]
fn unix_sockets_have_layers_like_others() {
    let _bound = bound(60);
    let dir = TempDir::new();
    let address = dir.unix("sealed");
    let layers = || Layers::new().above(Seal::server());
    let server = Layered::at(&address, Limits::default(), Probe::echo, layers);
    let (mut client, _) = server.client();
    assert!(matches!(server.running.addrs()[0], mainspring_io::Addr::Unix(_)));
    client.send(&[sealed(b"over a file"), vec![0, 0]].concat());
    client.expect(&[sealed(b"over a file"), vec![0, 0]].concat());
    client.expect_end();
    stop(server.running);
}
