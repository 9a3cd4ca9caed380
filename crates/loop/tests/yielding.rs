//! Handlers that share the loop with other connections by yielding.

mod support;

use mainspring_loop::{Action, Server};
use std::sync::{Arc, Mutex};
use support::*;

/// Takes one byte a call, echoes it and yields.
fn byte_by_byte(log: &Log, turns: &Arc<Mutex<Vec<u64>>>) -> Probe {
    let turns = turns.clone();
    Probe::new(log).data(move |conn, input| {
        turns.lock().unwrap().push(conn.cx().turn());
        let byte = input.bytes()[0];
        input.consume(1);
        conn.out().push(byte);
        if input.is_empty() { Action::Continue } else { Action::Yield }
    })
}

#[test]
fn a_handler_that_yields_is_called_once_a_turn_until_nothing_is_left() {
    let _bound = bound(60);
    let (log, turns) = (Log::new(), Arc::new(Mutex::new(Vec::new())));
    let (log_there, turns_there) = (log.clone(), turns.clone());
    let running =
        start_with(Server::builder(), &[TCP], move || byte_by_byte(&log_there, &turns_there));
    let mut client = Client::tcp(inet(&running));
    let sent: Vec<u8> = (0..500u32).map(|number| number as u8).collect();
    client.send(&sent);
    assert_same_bytes(&client.receive(sent.len()), &sent, "echo");
    // Reading went on after the last yield, and the end of the stream comes after all input.
    client.send(b"xy");
    client.expect(b"xy");
    client.send(b"ab");
    client.finish();
    assert_eq!(client.receive_to_end(), b"ab");
    stop(running);
    let turns = turns.lock().unwrap();
    assert_eq!(turns.len(), sent.len() + 4);
    assert!(turns.windows(2).all(|pair| pair[0] < pair[1]), "twice in one turn: {turns:?}");
    assert_eq!(log.wait_for(1, "close"), ["close 1 Peer"]);
}

#[test]
fn a_connection_that_ends_while_it_yields_is_closed_once() {
    let _bound = bound(60);
    let log = Log::new();
    let there = log.clone();
    let running = start_with(Server::builder(), &[TCP], move || {
        Probe::new(&there).data(|conn, _input| {
            let id = conn.id();
            conn.cx().close(id);
            Action::Yield
        })
    });
    let mut client = Client::tcp(inet(&running));
    client.send(b"abc");
    client.expect_gone();
    assert_eq!(log.wait_for(1, "close"), ["close 1 Local"]);
    stop(running);
    assert_eq!((log.count("data"), log.tags()), (1, 0));
}
