//! D9 for open sockets, and the ways in which a connection ends.

use crate::Bed;
use crate::harness::{Harness, Peer};
use mainspring_io::{Driver, Outbox, SendState};
use std::io::ErrorKind;

/// D9: "All failure is per key, `failed` and then `closed`".
pub fn d09_reset_is_failed_then_closed<H: Harness>() {
    let mut bed = Bed::<H>::new();
    let (key, mut peer) = bed.conn();
    bed.say(&mut peer, b"x");
    bed.until("data", |bed| bed.record.data(key) == b"x");
    peer.reset();
    bed.until_event(key, "closed");
    bed.settle();
    bed.assert_story(key, &["data", "failed", "closed"]);
    assert_eq!(bed.record.failure(key), Some(ErrorKind::ConnectionReset));
}

/// `connect`: "`connected`, or `failed` and `closed`, follows."
pub fn d09_a_refused_connection_is_failed_then_closed<H: Harness>() {
    let mut bed = Bed::<H>::new();
    let at = bed.harness.silent_address();
    let key = bed.connect(&at);
    bed.until_event(key, "closed");
    bed.settle();
    bed.assert_story(key, &["failed", "closed"]);
    assert_eq!(bed.record.failure(key), Some(ErrorKind::ConnectionRefused));
}

/// D9 found by a send: `Waiting`, and the end follows instead of `sent`.
pub fn d09_a_send_to_a_reset_peer_is_failed_then_closed<H: Harness>() {
    let mut bed = Bed::<H>::new();
    let (_, at) = bed.listen();
    let (key, peer) = bed.adopt_from(&at);
    peer.reset();
    let mut outbox = Outbox::new();
    let mut waits = 0;
    bed.until("closed", |bed| {
        let may_send = bed.record.count(key, "sent") == waits;
        if may_send && !bed.record.has(key, "closed") {
            outbox.discard();
            outbox.tail().extend_from_slice(&[1; 4096]);
            waits += usize::from(bed.driver().send(key, &mut outbox) == SendState::Waiting);
        }
        bed.record.has(key, "closed")
    });
    let story = bed.record.story(key);
    assert!(story.ends_with(&["failed", "closed"]), "{story:?}");
    assert_eq!(bed.record.count(key, "failed"), 1);
}

/// D9: what breaks one key does not reach another.
pub fn d09_one_failure_leaves_the_others_alone<H: Harness>() {
    let mut bed = Bed::<H>::new();
    let (listener, at) = bed.listen();
    let mut conns: Vec<_> = (0..6).map(|_| bed.adopt_from(&at)).collect();
    for (key, _) in &conns {
        bed.driver().recv_start(*key);
    }
    let (broken, peer) = conns.swap_remove(2);
    peer.reset();
    bed.until_event(broken, "closed");
    for (key, peer) in &mut conns {
        bed.say(peer, b"still here");
        bed.until("data", |bed| bed.record.data(*key) == b"still here");
    }
    bed.adopt_from(&at);
    assert!(!bed.record.has(listener, "closed"));
}

/// `close`: "Closes the socket in good order": what was sent arrives, and then the end.
pub fn close_delivers_what_was_sent_and_ends_the_stream<H: Harness>() {
    let mut bed = Bed::<H>::new();
    let (key, mut peer) = bed.conn();
    let mut outbox = Outbox::new();
    outbox.tail().extend_from_slice(&[6; 50_000]);
    let (mut heard, _) = bed.send_all(key, &mut outbox, &mut peer);
    bed.driver().close(key);
    bed.until("the peer sees the end", |_| {
        heard.extend(peer.receive());
        peer.eof()
    });
    heard.extend(peer.receive());
    assert!(heard == [6; 50_000], "{} bytes arrived", heard.len());
    bed.until_event(key, "closed");
    assert!(!bed.record.has(key, "failed"));
}

/// `abort`: "Closes the socket at once and resets the connection."
pub fn abort_resets<H: Harness>() {
    let mut bed = Bed::<H>::new();
    let (key, mut peer) = bed.conn();
    bed.turn();
    bed.driver().abort(key);
    bed.until("the peer sees the reset", |_| peer.reset_seen());
    bed.until_event(key, "closed");
    bed.assert_story(key, &["closed"]);
}

/// `shutdown`: "Sends the end of the stream; receiving goes on."
pub fn shutdown_ends_one_direction_only<H: Harness>() {
    let mut bed = Bed::<H>::new();
    let (key, mut peer) = bed.conn();
    bed.driver().shutdown(key);
    bed.until("the peer sees the end", |_| peer.eof());
    bed.say(&mut peer, b"last words");
    peer.shutdown_write();
    bed.until_event(key, "eof");
    bed.settle();
    assert_eq!(bed.record.data(key), b"last words");
    bed.assert_story(key, &["data", "eof"]);
    bed.driver().close(key);
    bed.until_event(key, "closed");
    bed.assert_story(key, &["data", "eof", "closed"]);
}

/// After `eof` the other direction is open: half-closed clients get their answer.
pub fn a_late_answer_follows_the_peers_eof<H: Harness>() {
    let mut bed = Bed::<H>::new();
    let (key, mut peer) = bed.conn();
    bed.say(&mut peer, b"request");
    peer.shutdown_write();
    bed.until_event(key, "eof");
    bed.settle();
    let mut outbox = Outbox::new();
    outbox.tail().extend_from_slice(b"answer");
    let (mut heard, _) = bed.send_all(key, &mut outbox, &mut peer);
    bed.driver().close(key);
    bed.until("the peer sees the end", |_| peer.eof());
    heard.extend(peer.receive());
    assert_eq!(heard, b"answer");
}
