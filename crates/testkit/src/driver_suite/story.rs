//! D1 and D2: what is told about one key, and in which order.

use crate::Bed;
use crate::harness::{Harness, Peer, PeerListener};
use mainspring_io::{DatagramOutbox, Driver, Key, ListenOptions, Outbox, SendState, SocketOptions};
use std::io::{Read as _, Write as _};

/// D1: "Events of one key arrive in order: `[connected] data* [eof] ... end`".
pub fn d01_events_of_one_key_arrive_in_order<H: Harness>() {
    let mut bed = Bed::<H>::new();
    let (mut listener, at) = bed.harness.peer_listener();
    let key = bed.connect(&at);
    let mut peer = None;
    bed.until("the peer accepts", |_| {
        peer = listener.accept();
        peer.is_some()
    });
    let mut peer = peer.expect("a connection");
    bed.until_event(key, "connected");
    bed.driver().recv_start(key);
    bed.say(&mut peer, b"one two three");
    peer.shutdown_write();
    bed.until_event(key, "eof");
    bed.driver().close(key);
    bed.until_event(key, "closed");
    bed.settle();
    bed.assert_story(key, &["connected", "data", "eof", "closed"]);
    assert_eq!(bed.record.data(key), b"one two three");
}

/// D1: a connection that breaks at any time has one end, and it is the last event.
pub fn d01_a_peer_that_is_reset_early_still_has_one_story<H: Harness>() {
    let mut bed = Bed::<H>::new();
    let (_, at) = bed.listen();
    for round in 0..10 {
        let (key, mut peer) = bed.adopt_from(&at);
        bed.driver().recv_start(key);
        let _ = peer.send(&[7; 3000]);
        if round % 2 == 0 {
            bed.turn();
        }
        peer.reset();
        bed.until_event(key, "closed");
        let story = bed.record.story(key);
        assert!(story.ends_with(&["failed", "closed"]), "{story:?}");
        assert_eq!(bed.record.count(key, "closed"), 1);
    }
}

/// D1: after `close`, the end comes although bytes stand unread, and nothing comes behind it.
pub fn d01_closed_is_last_even_with_data_waiting<H: Harness>() {
    let mut bed = Bed::<H>::new();
    let (_, at) = bed.listen();
    let (key, mut peer) = bed.adopt_from(&at);
    bed.say(&mut peer, &[1; 1000]);
    bed.settle();
    bed.driver().recv_start(key);
    bed.driver().close(key);
    bed.until_event(key, "closed");
    let _ = peer.send(&[2; 1000]);
    bed.settle();
    assert_eq!(bed.record.story(key).last(), Some(&"closed"));
    assert_eq!(bed.record.count(key, "closed"), 1);
}

/// D1: "A listener and a datagram socket end with `closed` too."
pub fn d01_listeners_and_datagram_sockets_end_with_closed<H: Harness>() {
    let mut bed = Bed::<H>::new();
    let ((listener, _), (socket, _)) = (bed.listen(), bed.bind());
    bed.driver().recv_start(socket);
    bed.turn();
    bed.driver().close(listener);
    bed.driver().abort(socket);
    bed.until_event(listener, "closed");
    bed.until_event(socket, "closed");
    bed.settle();
    bed.assert_story(listener, &["closed"]);
    bed.assert_story(socket, &["closed"]);
}

/// D1: "the end is exactly one of `closed` or `released`". The stream that was released lives on.
pub fn d01_released_comes_in_place_of_closed<H: Harness>() {
    let mut bed = Bed::<H>::new();
    let (key, mut peer) = bed.conn();
    bed.say(&mut peer, b"ping");
    bed.until("data", |bed| bed.record.data(key) == b"ping");
    bed.driver().release(key);
    bed.until_event(key, "released");
    bed.settle();
    bed.assert_story(key, &["data", "released"]);
    let mut stream = bed.record.released.pop_front().expect("the stream");
    stream.set_nonblocking(true).expect("an open socket");
    let mut written = 0;
    while written < 4 {
        written += stream.write(&b"pong"[written..]).expect("room");
    }
    assert_eq!(bed.hear(&mut peer, 4), b"pong");
    bed.say(&mut peer, b"more");
    let mut buffer = [0; 16];
    let mut read = 0;
    bed.until("the stream reads", |_| {
        read += stream.read(&mut buffer[read..]).unwrap_or(0);
        read == 4
    });
    assert_eq!(&buffer[..4], b"more");
    drop(stream);
    bed.until("the peer sees the end", |_| peer.eof());
}

/// D1: "The loop reuses the slot only then", and whatever is late for the old generation is
/// dropped.
pub fn d01_a_new_tenant_hears_nothing_of_the_old<H: Harness>() {
    let mut bed = Bed::<H>::new();
    let (_, at) = bed.listen();
    let (old, mut old_peer) = bed.adopt_from(&at);
    bed.driver().recv_start(old);
    bed.driver().close(old);
    bed.until_event(old, "closed");
    let mut peer = bed.harness.dial(&at);
    bed.until("a connection is accepted", |bed| !bed.record.accepted.is_empty());
    let new = Key::new(u32::try_from(old.index()).expect("a small number"), 1);
    let accepted = bed.record.accepted.pop_front().expect("a connection");
    bed.driver().adopt(new, accepted.stream).expect("to adopt");
    bed.driver().recv_start(new);
    let _ = old_peer.send(b"late");
    bed.driver().recv_stop(old);
    bed.driver().shutdown(old);
    bed.driver().abort(old);
    bed.say(&mut peer, b"new");
    bed.until("data", |bed| bed.record.data(new) == b"new");
    bed.settle();
    bed.assert_story(new, &["data"]);
    assert_eq!(bed.record.count(old, "closed"), 1);
}

/// "Orders for a key that the driver does not know, or knows in another generation, do nothing."
pub fn d01_orders_for_unknown_keys_do_nothing<H: Harness>() {
    let mut bed = Bed::<H>::new();
    let (known, _peer) = bed.conn();
    for key in [Key::new(900, 0), Key::new(u32::try_from(known.index()).expect("small"), 9)] {
        let driver = bed.driver();
        driver.recv_start(key);
        driver.recv_stop(key);
        let mut outbox = Outbox::new();
        assert_eq!(driver.send(key, &mut outbox), SendState::Done);
        outbox.tail().extend_from_slice(b"to nobody");
        let _ = driver.send(key, &mut outbox);
        assert_eq!(outbox.queued(), 9, "bytes for an unknown key were taken");
        let _ = driver.send_datagrams(key, &mut DatagramOutbox::new());
        let _ = driver.set_options(key, &SocketOptions::default());
        driver.shutdown(key);
        driver.release(key);
        driver.close(key);
        driver.abort(key);
        bed.settle();
        bed.assert_story(key, &[]);
    }
    bed.assert_story(known, &[]);
}

/// D1 on unix streams, which have their own system calls and no resets.
pub fn d01_the_same_on_unix_streams<H: Harness>() {
    let mut bed = Bed::<H>::new();
    let Some(at) = bed.harness.unix_address() else { return };
    let (listener, bound) = bed.listen_at(&at);
    assert_eq!(bound, at);
    let (key, mut peer) = bed.adopt_from(&at);
    bed.driver().recv_start(key);
    bed.say(&mut peer, &[5; 200_000]);
    peer.shutdown_write();
    bed.until_event(key, "eof");
    let mut outbox = Outbox::new();
    outbox.tail().extend_from_slice(&bed.record.data(key));
    let (mut heard, _) = bed.send_all(key, &mut outbox, &mut peer);
    let rest = 200_000 - heard.len();
    heard.extend(bed.hear(&mut peer, rest));
    assert!(heard == [5; 200_000]);
    let out = bed.connect(&at);
    bed.until_event(out, "connected");
    for key in [key, out, listener] {
        bed.driver().close(key);
        bed.until_event(key, "closed");
    }
    let mut story = bed.record.story(key);
    story.retain(|name| *name != "sent");
    assert_eq!(story, ["data", "eof", "closed"]);
    let again = bed.new_key();
    let options = ListenOptions::default();
    bed.driver().listen(again, &at, &options).expect("the path is free again");
    bed.driver().close(again);
    bed.until_event(again, "closed");
}

/// D2: "The driver does not look at them again; the callee may scribble".
pub fn d02_lent_bytes_may_be_scribbled_on<H: Harness>() {
    let mut bed = Bed::<H>::new();
    bed.record.scribbling = true;
    let bytes: Vec<u8> = (0..300_000u32).map(|number| (number * 7 / 3) as u8).collect();
    let (one, mut first) = bed.conn();
    let (other, mut second) = bed.conn();
    bed.say(&mut first, &bytes);
    bed.say(&mut second, &bytes);
    bed.until("all data", |bed| {
        [one, other].iter().all(|key| bed.record.data(*key).len() == bytes.len())
    });
    assert!(bed.record.data(one) == bytes && bed.record.data(other) == bytes);
}
