//! D8, and D9 for what can fail before a socket is open.

use crate::Bed;
use crate::harness::{Harness, Peer};
use mainspring_io::{Addr, Driver, ListenOptions};
use std::io::ErrorKind;

/// D8: "or dropped, which closes it."
pub fn d08_a_dropped_connection_is_closed<H: Harness>() {
    let mut bed = Bed::<H>::new();
    let (_, at) = bed.listen();
    let mut peer = bed.harness.dial(&at);
    bed.until("a connection is accepted", |bed| !bed.record.accepted.is_empty());
    bed.record.accepted.clear();
    bed.until("the peer sees the end", |_| peer.eof() || peer.reset_seen());
}

/// D8: "It is adopted by this or another loop's driver". What arrived meanwhile is there.
pub fn d08_an_accepted_connection_may_go_to_another_loop<H: Harness>() {
    let mut bed = Bed::<H>::new();
    let (_, at) = bed.listen();
    let mut peer = bed.harness.dial(&at);
    bed.until("a connection is accepted", |bed| !bed.record.accepted.is_empty());
    bed.say(&mut peer, b"hello, whoever");
    bed.settle();
    bed.harness.swap_loops();
    let (key, accepted) = (bed.new_key(), bed.record.accepted.pop_front().expect("a connection"));
    bed.driver().adopt(key, accepted.stream).expect("to adopt");
    bed.driver().recv_start(key);
    bed.until("data", |bed| bed.record.data(key) == b"hello, whoever");
}

/// D8: a released connection moves on like an accepted one, nothing lost between.
pub fn d08_a_released_connection_may_go_to_another_loop<H: Harness>() {
    let mut bed = Bed::<H>::new();
    let (first, mut peer) = bed.conn();
    bed.say(&mut peer, b"one ");
    bed.until("data", |bed| bed.record.data(first) == b"one ");
    bed.driver().recv_stop(first);
    bed.say(&mut peer, b"two ");
    bed.settle();
    bed.driver().release(first);
    bed.until_event(first, "released");
    let stream = bed.record.released.pop_front().expect("the stream");
    bed.harness.swap_loops();
    let second = bed.new_key();
    bed.driver().adopt(second, stream).expect("to adopt");
    bed.driver().recv_start(second);
    bed.say(&mut peer, b"three");
    let all = |bed: &Bed<H>| [bed.record.data(first), bed.record.data(second)].concat();
    bed.until("all data", |bed| all(bed).len() >= 13);
    assert_eq!(all(&bed), b"one two three");
    bed.driver().close(second);
    bed.until_event(second, "closed");
}

/// `Accepted` tells the peer's address, and the address that the peer dialled, not the wildcard.
pub fn d08_accepted_tells_both_addresses<H: Harness>() {
    let mut bed = Bed::<H>::new();
    let (_, at) = bed.listen_at(&Addr::Inet("0.0.0.0:0".parse().expect("an address")));
    let Addr::Inet(bound) = at else { panic!("not an inet address: {at:?}") };
    assert_ne!(bound.port(), 0, "the bound address names the port");
    let dialled = Addr::Inet(([127, 0, 0, 1], bound.port()).into());
    let key = bed.connect(&dialled);
    bed.until_event(key, "connected");
    bed.until("a connection is accepted", |bed| !bed.record.accepted.is_empty());
    let accepted = bed.record.accepted.pop_front().expect("a connection");
    assert_eq!(accepted.local, dialled);
    let local = bed.record.events.iter().find_map(|event| match event {
        crate::Event::Connected { local, .. } => Some(local.clone()),
        _ => None,
    });
    assert_eq!(Some(accepted.peer), local);
}

/// A closed listener accepts nothing more, and its address is free.
pub fn d08_nothing_is_accepted_after_close<H: Harness>() {
    let mut bed = Bed::<H>::new();
    let (listener, at) = bed.listen();
    bed.driver().close(listener);
    bed.until_event(listener, "closed");
    let key = bed.connect(&at);
    bed.until_event(key, "closed");
    bed.assert_story(key, &["failed", "closed"]);
    bed.assert_story(listener, &["closed"]);
    bed.listen_at(&at);
}

/// `listen`: "Nothing is left half open": the key of a failed order is free.
pub fn d09_a_taken_address_is_an_error_and_leaves_nothing<H: Harness>() {
    let mut bed = Bed::<H>::new();
    let (_listener, at) = bed.harness.peer_listener();
    let key = bed.new_key();
    let options = ListenOptions::default();
    let error = bed.driver().listen(key, &at, &options).expect_err("the address is taken");
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    bed.settle();
    bed.assert_story(key, &[]);
    let free = Addr::Inet("127.0.0.1:0".parse().expect("an address"));
    bed.driver().listen(key, &free, &options).expect("the key is free");
}

/// "At a unix path a stale *socket* is replaced": one that is alive is not.
pub fn d09_a_taken_unix_path_is_an_error<H: Harness>() {
    let mut bed = Bed::<H>::new();
    let Some(at) = bed.harness.unix_address() else { return };
    let (listener, _) = bed.listen_at(&at);
    let key = bed.new_key();
    let error = bed.driver().listen(key, &at, &ListenOptions::default());
    assert_eq!(error.expect_err("the path is taken").kind(), ErrorKind::AddrInUse);
    let (conn, _peer) = bed.adopt_from(&at);
    bed.driver().close(conn);
    bed.driver().close(listener);
    bed.until_event(listener, "closed");
    let out = bed.new_key();
    let refused = match bed.driver().connect(out, &at, &Default::default()) {
        Err(_) => true,
        Ok(()) => {
            bed.until_event(out, "closed");
            bed.record.has(out, "failed")
        }
    };
    assert!(refused, "somebody answers at the path of a closed listener");
}
