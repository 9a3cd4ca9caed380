//! Links over real sockets: a server that goes away and comes back, and callbacks that panic. What
//! chance and faults do to them is in the simulated worlds of the test kit.
#![allow(clippy::disallowed_methods, reason = "tests run by the clock")]

mod support;

use mainspring_io::Address;
use mainspring_loop::{
    Action, Conn, Cx, Input, Link, LinkChange, Reconnect, Retry, Running, Server,
};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{bound, stop};

const LONG: Duration = Duration::from_secs(20);

fn echo(conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
    conn.out().extend_from_slice(input.take());
    Action::Continue
}

/// An echo that keeps a link up, and what happens to it. `make` is called for each dial.
fn keep_up(to: SocketAddr, make: fn(u32)) -> (Running, Receiver<LinkChange>) {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let dials = Arc::new(AtomicU32::new(0));
    let running = Server::builder().start(move |shard| {
        let (tell, dials) = (tell.lock().unwrap().clone(), dials.clone());
        let retry = Retry { delay_min: Duration::from_millis(20), ..Retry::default() };
        let state = move |_: &mut _, _: &mut Cx<'_>| make(dials.fetch_add(1, Ordering::Relaxed));
        let link =
            Link::new(Address::tcp(to), state).retry(retry).on_change(move |_, _, change| {
                // The test may have ended.
                let _ = tell.send(change);
            });
        shard.host(Reconnect::new(echo).link(link));
        Ok(())
    });
    (running.unwrap(), told)
}

fn next(told: &Receiver<LinkChange>) -> LinkChange {
    told.recv_timeout(LONG).expect("a change")
}

/// Waits for a change, over those that may come before it.
fn wait_for(told: &Receiver<LinkChange>, what: fn(&LinkChange) -> bool) -> LinkChange {
    loop {
        let change = next(told);
        if what(&change) {
            return change;
        }
    }
}

fn exchange(stream: &mut TcpStream) {
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.write_all(b"hello").unwrap();
    let mut echoed = [0; 5];
    stream.read_exact(&mut echoed).unwrap();
    assert_eq!(&echoed, b"hello");
}

#[test]
fn a_server_that_was_away_is_found_again() {
    let _bound = bound(60);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let (running, told) = keep_up(to, |_| ());
    let (mut stream, _) = listener.accept().unwrap();
    exchange(&mut stream);
    assert!(matches!(next(&told), LinkChange::Connected { dials: 1, .. }));
    drop((listener, stream));
    assert!(matches!(next(&told), LinkChange::Lost { retry: Some(_), .. }));
    assert!(matches!(next(&told), LinkChange::Failed { retry: Some(_), .. }));
    let listener = TcpListener::bind(to).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    exchange(&mut stream);
    let change = wait_for(&told, |change| !matches!(change, LinkChange::Failed { .. }));
    assert!(matches!(change, LinkChange::Connected { dials: 3.., .. }), "{change:?}");
    stop(running);
    assert!(matches!(next(&told), LinkChange::Lost { retry: None, .. }));
    assert_eq!(told.recv(), Err(std::sync::mpsc::RecvError), "nothing after the end");
}

#[test]
fn a_state_that_cannot_be_made_is_tried_again() {
    let _bound = bound(60);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    // Not the first one: a panic in the start ends the server.
    let (running, told) = keep_up(to, |dial| assert!(dial != 1, "a panic on purpose"));
    drop(listener.accept().unwrap());
    assert!(matches!(next(&told), LinkChange::Connected { .. }));
    let (mut stream, _) = listener.accept().unwrap();
    exchange(&mut stream);
    assert!(matches!(next(&told), LinkChange::Lost { .. }));
    assert!(matches!(next(&told), LinkChange::Connected { .. }));
    assert_eq!(running.handle().stats().total.panics, 1);
    stop(running);
}
