//! What tinytcp's own tests ask of its sockets and its list of them, asked of ours.

mod support;

use mainspring_loop::{Action, Limits, Server, ThreadLimits, Threads};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::channel;
use support::*;

#[test]
fn what_is_sent_is_read_and_what_is_written_arrives() {
    let _bound = bound(60);
    let log = Log::new();
    let there = log.clone();
    let running = start(move || {
        Probe::new(&there).data(|conn, input| {
            assert_eq!(input.take(), b"ping");
            conn.out().extend_from_slice(b"pong");
            Action::Continue
        })
    });
    let mut client = Client::tcp(inet(&running));
    client.send(b"ping");
    client.expect(b"pong");
    stop(running);
}

#[test]
fn the_end_of_a_peer_is_told_once_as_the_peers() {
    let _bound = bound(60);
    let log = Log::new();
    let there = log.clone();
    let running = start(move || Probe::echo(&there));
    let mut client = Client::tcp(inet(&running));
    client.send(b"x");
    client.expect(b"x");
    drop(client);
    assert_eq!(log.wait_for(1, "close"), ["close 1 Peer"]);
    stop(running);
    assert_eq!(log.count("close"), 1);
}

/// Without a reader, writing fails in the end, and the connection is closed for it, once.
#[test]
fn writing_to_a_peer_that_has_gone_ends_the_connection() {
    let _bound = bound(60);
    let log = Log::new();
    let there = log.clone();
    let running = start(move || {
        Probe::new(&there)
            .data(|conn, input| {
                input.take();
                conn.set_timer(std::time::Duration::from_millis(1));
                Action::Continue
            })
            .eof(|_| Action::Continue)
            .timer(|conn, _| {
                conn.out().extend_from_slice(&[b'x'; 4096]);
                conn.set_timer(std::time::Duration::from_millis(1));
                Action::Continue
            })
    });
    let mut client = Client::tcp(inet(&running));
    client.send(b"x");
    drop(client);
    let told = log.wait_for(1, "close");
    assert!(told[0].starts_with("close 1 Failed("), "{told:?}");
    stop(running);
    assert_eq!(log.count("close"), 1);
}

/// The same for blocking code.
#[test]
fn a_blocking_read_sees_the_end_and_a_blocking_write_fails() {
    let _bound = bound(60);
    let (tell, told) = channel();
    let threads = Threads::serve(ThreadLimits::default(), move |mut stream: TcpStream| {
        let mut buffer = [0; 16];
        let count = stream.read(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], b"x");
        let end = stream.read(&mut buffer).unwrap_or(0);
        let error = loop {
            if let Err(error) = stream.write_all(&[b'y'; 4096]) {
                break error.kind();
            }
        };
        tell.send((end, error)).unwrap();
    });
    let running = start(move || threads.clone());
    let mut client = Client::tcp(inet(&running));
    client.send(b"x");
    drop(client);
    let (end, error) = told.recv_timeout(PATIENCE).unwrap();
    assert_eq!(end, 0);
    let gone = [std::io::ErrorKind::BrokenPipe, std::io::ErrorKind::ConnectionReset];
    assert!(gone.contains(&error), "{error:?}");
    stop(running);
}

#[test]
fn three_connections_are_listed_and_one_that_has_gone_is_not() {
    let _bound = bound(60);
    let log = Log::new();
    let there = log.clone();
    let running = start(move || {
        Probe::new(&there).data(|conn, input| {
            input.take();
            let (own, listed) = (conn.id(), conn.cx().connections());
            assert!(listed.contains(&own));
            conn.out().extend_from_slice(listed.len().to_string().as_bytes());
            Action::Continue
        })
    });
    let mut clients: Vec<Client> = (0..3).map(|_| Client::tcp(inet(&running))).collect();
    log.wait_for(3, "open");
    for client in &mut clients {
        client.send(b"?");
        client.expect(b"3");
    }
    drop(clients.remove(1));
    log.wait_for(1, "close");
    for client in &mut clients {
        client.send(b"?");
        client.expect(b"2");
    }
    stop(running);
}

#[test]
fn where_no_connection_is_allowed_nobody_is_let_in() {
    let _bound = bound(60);
    let log = Log::new();
    let there = log.clone();
    let limits = Limits { connections_max: 0, ..Limits::default() };
    let running = start_with(Server::builder().limits(limits), &[TCP], move || Probe::echo(&there));
    for _ in 0..3 {
        Client::tcp(inet(&running)).expect_gone();
    }
    eventually_total(&running.handle(), |total| (total.refused, total.accepted), (3, 0));
    assert_eq!(log.count("open"), 0);
    stop(running);
}
