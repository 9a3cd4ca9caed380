//! D13: datagrams keep their boundaries.

use crate::harness::{DatagramPeer, Harness};
use crate::{Bed, Event};
use mainspring_io::{Addr, DatagramOutbox, Driver, Key, ListenOptions, SendState};
use std::io::ErrorKind;

/// D13: "Each datagram is one `datagram` call, empty ones included."
pub fn d13_datagrams_keep_boundaries_zero_length_included<H: Harness>() {
    let mut bed = Bed::<H>::new();
    let (key, at) = bed.bind();
    bed.driver().recv_start(key);
    let (mut peer, from) = bed.harness.datagram_peer();
    let payloads = [&b"one"[..], b"", b"three", &[7; 1400], b""];
    for payload in payloads {
        peer.send_to(&at, payload);
    }
    bed.until("all datagrams", |bed| bed.record.count(key, "datagram") == payloads.len());
    let mut got = bed.record.datagrams(key);
    let mut expected: Vec<_> =
        payloads.iter().map(|payload| (from.clone(), payload.to_vec())).collect();
    // Datagrams may overtake each other.
    got.sort_by(|one, other| one.1.cmp(&other.1));
    expected.sort_by(|one, other| one.1.cmp(&other.1));
    assert_eq!(got, expected);
    // One that comes alone has nobody to be noticed with.
    peer.send_to(&at, b"");
    bed.until("the empty one", |bed| bed.record.count(key, "datagram") == payloads.len() + 1);
}

/// D13: "Queued datagrams leave in one system call where the kernel can", of mixed lengths and none
/// lost.
pub fn d13_a_batch_arrives_whole_and_in_order<H: Harness>() {
    let mut bed = Bed::<H>::new();
    let (key, _) = bed.bind();
    let (mut peer, to) = bed.harness.datagram_peer();
    let mut outbox = DatagramOutbox::new();
    let payload = |number: u8| vec![number; usize::from(number) * 37 % 900];
    for number in 0..100 {
        outbox.push(Some(to.clone()), &payload(number));
    }
    let got = send_and_receive(&mut bed, key, &mut outbox, &mut peer, 100);
    let expected: Vec<_> = (0..100).map(payload).collect();
    let sorted = |mut all: Vec<Vec<u8>>| {
        all.sort();
        all
    };
    assert_eq!(sorted(got), sorted(expected));
}

/// D13: `from` is where an answer reaches the sender.
pub fn d13_replies_go_where_the_datagram_came_from<H: Harness>() {
    let mut bed = Bed::<H>::new();
    let any = Addr::Inet("0.0.0.0:0".parse().expect("an address"));
    let key = bed.new_key();
    let bound = bed.driver().bind(key, &any, &ListenOptions::default()).expect("to bind");
    let Addr::Inet(bound) = bound else { panic!("not an inet address: {bound:?}") };
    let at = Addr::Inet(([127, 0, 0, 1], bound.port()).into());
    bed.driver().recv_start(key);
    let (mut peer, _) = bed.harness.datagram_peer();
    peer.send_to(&at, b"ping");
    bed.until_event(key, "datagram");
    let (from, _) = bed.record.datagrams(key).remove(0);
    let mut outbox = DatagramOutbox::new();
    outbox.push(Some(from), b"pong");
    let got = send_and_receive(&mut bed, key, &mut outbox, &mut peer, 1);
    assert_eq!(got, [b"pong"]);
}

/// `send_datagrams`: "One that the system refuses for itself (too long, unreachable) is dropped and
/// reported".
pub fn d13_a_datagram_too_long_is_dropped_alone<H: Harness>() {
    let mut bed = Bed::<H>::new();
    let (key, _) = bed.bind();
    let (mut peer, to) = bed.harness.datagram_peer();
    let mut outbox = DatagramOutbox::new();
    outbox.push(Some(to.clone()), b"before");
    outbox.push(Some(to.clone()), &[0; 65_530]);
    outbox.push(Some(to), b"behind");
    let mut got = send_and_receive(&mut bed, key, &mut outbox, &mut peer, 2);
    got.sort();
    assert_eq!(got, [b"before", b"behind"]);
    bed.until_event(key, "datagram_dropped");
    bed.settle();
    let dropped = bed.record.events.iter().filter_map(|event| match event {
        Event::DatagramDropped { count, .. } => Some(*count),
        _ => None,
    });
    assert_eq!(dropped.sum::<usize>(), 1);
    assert!(!bed.record.has(key, "failed") && !bed.record.has(key, "closed"));
}

/// `connect_datagram`: "a datagram socket that talks with one peer only".
pub fn d13_a_connected_socket_hears_its_peer_only<H: Harness>() {
    let mut bed = Bed::<H>::new();
    let (mut peer, to) = bed.harness.datagram_peer();
    let (mut stranger, _) = bed.harness.datagram_peer();
    let key = bed.new_key();
    let options = ListenOptions::default();
    let at = bed.driver().connect_datagram(key, &to, &options).expect("to connect");
    bed.driver().recv_start(key);
    stranger.send_to(&at, b"psst");
    let mut outbox = DatagramOutbox::new();
    outbox.push(None, b"hello");
    let got = send_and_receive(&mut bed, key, &mut outbox, &mut peer, 1);
    assert_eq!(got, [b"hello"]);
    peer.send_to(&at, b"hello yourself");
    bed.until_event(key, "datagram");
    bed.settle();
    assert_eq!(bed.record.datagrams(key), [(to, b"hello yourself".to_vec())]);
}

/// `bind`: "It delivers after `recv_start`."
pub fn d13_nothing_before_recv_start<H: Harness>() {
    let mut bed = Bed::<H>::new();
    let (key, at) = bed.bind();
    let (mut peer, _) = bed.harness.datagram_peer();
    peer.send_to(&at, b"early");
    bed.settle();
    bed.assert_story(key, &[]);
    bed.driver().recv_start(key);
    bed.until_event(key, "datagram");
}

/// `multicast`: "`NotFound` for an unknown key".
pub fn multicast_needs_a_datagram_socket<H: Harness>() {
    let mut bed = Bed::<H>::new();
    let group = "239.1.2.3".parse().expect("a group");
    let unknown = bed.new_key();
    let error = bed.driver().multicast(unknown, group, true).expect_err("no socket");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

fn send_and_receive<H: Harness>(
    bed: &mut Bed<H>,
    key: Key,
    outbox: &mut DatagramOutbox,
    peer: &mut H::DatagramPeer,
    count: usize,
) -> Vec<Vec<u8>> {
    let mut got = Vec::new();
    while bed.driver().send_datagrams(key, outbox) == SendState::Waiting {
        let before = bed.record.count(key, "sent");
        bed.until("sent", |bed| {
            got.extend(std::iter::from_fn(|| peer.receive()).map(|(_, payload)| payload));
            bed.record.count(key, "sent") > before
        });
    }
    assert!(outbox.is_empty(), "D6: Done with {} datagrams left", outbox.len());
    bed.until("the peer has all datagrams", |_| {
        got.extend(std::iter::from_fn(|| peer.receive()).map(|(_, payload)| payload));
        got.len() >= count
    });
    got
}
