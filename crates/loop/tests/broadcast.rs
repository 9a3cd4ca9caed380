//! The same bytes to many connections.

mod support;

use bytes::Bytes;
use mainspring_loop::{Action, Balance, ConnId, Limits, Loops, Server};
use std::sync::{Arc, Mutex};
use support::*;

#[test]
fn one_buffer_serves_all_connections_of_a_loop() {
    const CLIENTS: usize = 50;
    let _bound = bound(60);
    let server = Reached::new(Limits::default(), Probe::echo);
    let (mut clients, ids): (Vec<Client>, Vec<ConnId>) =
        (0..CLIENTS).map(|_| server.client()).unzip();
    let gone = {
        let (client, id) = server.client();
        drop(client);
        server.log.wait_for(1, "close");
        id
    };
    let payload = random_bytes(&mut fastrand::Rng::with_seed(1), 100_000);
    let shared = Bytes::from(payload.clone());
    let (given, log) = (shared.clone(), server.log.clone());
    server
        .remote
        .post(move |_, cx| {
            let mut to = ids;
            to.push(gone);
            // In order with what is queued otherwise, before and behind.
            for id in &to[..CLIENTS] {
                cx.conn(*id).unwrap().out().extend_from_slice(b"<");
            }
            let taken = cx.broadcast(&given, &to);
            for id in &to[..CLIENTS] {
                cx.conn(*id).unwrap().out().extend_from_slice(b">");
            }
            log.add(format!("taken {taken}, alone: {}", given.is_unique()));
        })
        .unwrap();
    // That the bytes have other owners while they wait says that they were not copied.
    assert_eq!(server.log.wait_for(1, "taken")[0], format!("taken {CLIENTS}, alone: false"));
    for client in &mut clients {
        client.expect(b"<");
        assert_same_bytes(&client.receive(payload.len()), &payload, "broadcast");
        client.expect(b">");
    }
    eventually("no connection keeps the bytes", || shared.is_unique());
    stop(server.running);
}

#[test]
fn a_remote_reaches_connections_on_every_loop() {
    let _bound = bound(60);
    let log = Log::new();
    let ids = Arc::new(Mutex::new(Vec::new()));
    let (give, given) = std::sync::mpsc::channel();
    let (give, probe, noted) = (Mutex::new(give), log.clone(), ids.clone());
    let running = Server::builder()
        .loops(Loops::Count(3))
        .balance(Balance::RoundRobin)
        .start(move |shard| {
            let noted = noted.clone();
            let host = shard.host(Probe::echo(&probe).open(move |conn| {
                noted.lock().unwrap().push(conn.id());
                Some(Action::Continue)
            }));
            shard.listen(host, TCP)?;
            if shard.loop_index() == 1 {
                give.lock().unwrap().send(shard.remote(host)).unwrap();
            }
            Ok(())
        })
        .unwrap();
    let mut clients: Vec<Client> = (0..9).map(|_| Client::tcp(inet(&running))).collect();
    eventually("all are open", || ids.lock().unwrap().len() == 9);
    let ids = ids.lock().unwrap().clone();
    let remote = given.recv().unwrap();
    let shared = Bytes::from(random_bytes(&mut fastrand::Rng::with_seed(2), 200_000));
    remote.broadcast(&shared, &ids).unwrap();
    for client in &mut clients {
        assert_same_bytes(&client.receive(shared.len()), &shared, "broadcast");
    }
    eventually("nobody keeps the bytes", || shared.is_unique());
    // To some only, and single sends and wakes to other loops.
    remote.broadcast(&Bytes::from_static(b"some"), &ids[..4]).unwrap();
    for id in &ids {
        remote.send(*id, Bytes::from_static(b" each")).unwrap();
        remote.wake(*id).unwrap();
    }
    let mut rest: Vec<Vec<u8>> = clients
        .iter_mut()
        .map(|client| {
            let mut bytes = client.receive(5);
            if bytes.starts_with(b"some") {
                bytes.extend(client.receive(4));
            }
            bytes
        })
        .collect();
    rest.sort();
    let wanted = [vec![b" each".to_vec(); 5], vec![b"some each".to_vec(); 4]].concat();
    assert_eq!(rest, wanted);
    log.wait_for(9, "wake");
    stop(running);
}

#[test]
fn a_slow_reader_does_not_hold_the_others_up() {
    let _bound = bound(60);
    let limits = Limits { output_max: 1 << 20, ..Limits::default() };
    let server = Reached::new(limits, Probe::echo);
    let (mut clients, ids): (Vec<Client>, Vec<ConnId>) = (0..4).map(|_| server.client()).unzip();
    let slow = clients.remove(0);
    let block = Bytes::from(random_bytes(&mut fastrand::Rng::with_seed(3), 500_000));
    let mut rounds = 0;
    while server.log.count("close 1 SlowConsumer") == 0 {
        server.remote.broadcast(&block, &ids).unwrap();
        for client in &mut clients {
            assert_same_bytes(&client.receive(block.len()), &block, "broadcast");
        }
        rounds += 1;
        assert!(rounds < 1_000, "the slow reader is not closed");
    }
    assert_eq!(server.log.count("close"), 1);
    eventually("nobody keeps the bytes", || block.is_unique());
    drop(slow);
    stop(server.running);
}
