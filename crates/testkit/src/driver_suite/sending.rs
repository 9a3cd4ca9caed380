//! D6 and D7: how bytes leave.

use crate::Bed;
use crate::harness::{Harness, Peer, PeerListener};
use bytes::Bytes;
use mainspring_io::{Driver, Outbox, SendState};

/// D6: "`SendState::Done`: the outbox is empty and nothing is in flight."
pub fn d06_done_means_gone<H: Harness>() {
    let mut bed = Bed::<H>::new();
    let (key, mut peer) = bed.conn();
    let mut outbox = Outbox::new();
    outbox.tail().extend_from_slice(b"hello");
    let (mut heard, _) = bed.send_all(key, &mut outbox, &mut peer);
    assert_eq!((outbox.len(), outbox.in_flight()), (0, 0));
    let rest = 5 - heard.len();
    heard.extend(bed.hear(&mut peer, rest));
    assert_eq!(heard, b"hello");
}

/// D6: "`SendState::Waiting`: exactly one `sent` will follow", and "Order is kept."
pub fn d06_send_waits_once_and_keeps_order<H: Harness>() {
    let mut bed = Bed::<H>::new();
    let (key, mut peer) = bed.conn();
    peer.stop_reading();
    let bytes: Vec<u8> = (0..12_000_000u32).map(|number| (number / 11) as u8).collect();
    let mut outbox = Outbox::new();
    outbox.tail().extend_from_slice(&bytes);
    assert_eq!(bed.driver().send(key, &mut outbox), SendState::Waiting);
    bed.settle();
    let early = bed.record.count(key, "sent");
    assert!(early <= 1, "{early} `sent` for one `Waiting`");
    if early == 1 {
        outbox.landed(bed.record.landed(key));
    } else {
        let mut kept = Vec::new();
        bed.await_sent(key, &mut outbox, |_| kept.extend(peer.receive()));
        return finish(bed, key, outbox, peer, kept, &bytes);
    }
    finish(bed, key, outbox, peer, Vec::new(), &bytes);
}

fn finish<H: Harness>(
    mut bed: Bed<H>,
    key: mainspring_io::Key,
    mut outbox: Outbox,
    mut peer: H::Peer,
    mut heard: Vec<u8>,
    bytes: &[u8],
) {
    let (more, waits) = bed.send_all(key, &mut outbox, &mut peer);
    heard.extend(more);
    let rest = bytes.len() - heard.len();
    heard.extend(bed.hear(&mut peer, rest));
    bed.settle();
    assert!(heard == bytes, "the peer got other bytes than were sent");
    assert_eq!(bed.record.count(key, "sent"), waits + 1);
}

/// D6: order is kept between bytes of the connection's own and shared ones.
pub fn d06_shared_and_owned_chunks_keep_their_order<H: Harness>() {
    let mut bed = Bed::<H>::new();
    let (key, mut peer) = bed.conn();
    let (mut outbox, mut model) = (Outbox::new(), Vec::new());
    for number in 0..300u32 {
        let own = vec![number as u8; (number % 7) as usize * 100];
        let shared = Bytes::from(vec![!(number as u8); (number % 5) as usize * 1000]);
        outbox.tail().extend_from_slice(&own);
        outbox.push_shared(shared.clone());
        model.extend_from_slice(&own);
        model.extend_from_slice(&shared);
    }
    let (mut heard, _) = bed.send_all(key, &mut outbox, &mut peer);
    let rest = model.len() - heard.len();
    heard.extend(bed.hear(&mut peer, rest));
    assert!(heard == model);
}

/// D6 before the handshake is done: the bytes wait for it, and `sent` tells.
pub fn d06_a_send_while_connecting_waits_for_the_connection<H: Harness>() {
    let mut bed = Bed::<H>::new();
    let (mut listener, at) = bed.harness.peer_listener();
    let key = bed.connect(&at);
    let mut outbox = Outbox::new();
    outbox.tail().extend_from_slice(b"eager");
    assert_eq!(bed.driver().send(key, &mut outbox), SendState::Waiting);
    bed.await_sent(key, &mut outbox, |_| {});
    let story = bed.record.story(key);
    assert_eq!(story[..2], ["connected", "sent"], "{story:?}");
    let mut peer = None;
    bed.until("the peer accepts", |_| {
        peer = listener.accept();
        peer.is_some()
    });
    let mut peer = peer.expect("a connection");
    let (mut heard, _) = bed.send_all(key, &mut outbox, &mut peer);
    let rest = 5 - heard.len();
    heard.extend(bed.hear(&mut peer, rest));
    assert_eq!(heard, b"eager");
}

/// D6: "Bytes taken out of the outbox but not yet gone are counted in flight until `sent` reports
/// them".
pub fn d06_bytes_in_flight_land<H: Harness>() {
    let mut bed = Bed::<H>::new();
    let (key, mut peer) = bed.conn();
    let mut outbox = Outbox::new();
    for _ in 0..20 {
        outbox.tail().extend_from_slice(&[8; 30_000]);
        let before = outbox.len();
        if bed.driver().send(key, &mut outbox) == SendState::Waiting {
            assert!(outbox.queued() + outbox.in_flight() <= before);
            bed.await_sent(key, &mut outbox, |_| drop(peer.receive()));
            assert_eq!(outbox.in_flight(), 0, "what is in flight lands in one `sent`");
        }
    }
    bed.send_all(key, &mut outbox, &mut peer);
}

/// D6 with both directions busy at once.
pub fn d06_two_directions_do_not_disturb_each_other<H: Harness>() {
    let mut bed = Bed::<H>::new();
    let (key, mut peer) = bed.conn();
    let bytes: Vec<u8> = (0..700_000u32).map(|number| (number / 3) as u8).collect();
    let mut outbox = Outbox::new();
    outbox.tail().extend_from_slice(&bytes);
    let (mut said, mut heard) = (0, Vec::new());
    let mut waiting_since = None;
    bed.until("both are done", |bed| {
        said += peer.send(&bytes[said..]);
        heard.extend(peer.receive());
        let (count, landed) = (bed.record.count(key, "sent"), bed.record.landed(key));
        if waiting_since.is_some_and(|(before, _)| count > before) {
            let (_, before) = waiting_since.take().unwrap_or_default();
            outbox.landed(landed - before);
        }
        if waiting_since.is_none() && bed.driver().send(key, &mut outbox) == SendState::Waiting {
            waiting_since = Some((count, landed));
        }
        heard.len() == bytes.len() && bed.record.data(key).len() == bytes.len()
    });
    assert!(heard == bytes && bed.record.data(key) == bytes);
}

/// D7: "waits for writability only after a short write": what is `Done` is not announced again.
pub fn d07_no_sent_without_waiting<H: Harness>() {
    let mut bed = Bed::<H>::new();
    let (key, mut peer) = bed.conn();
    let mut outbox = Outbox::new();
    let mut waits = 0;
    for _ in 0..50 {
        outbox.tail().extend_from_slice(b"ping");
        waits += bed.send_all(key, &mut outbox, &mut peer).1;
        bed.turn();
        drop(peer.receive());
    }
    bed.settle();
    assert_eq!(bed.record.count(key, "sent"), waits);
}

/// D6: nothing to send is `Done`, and no `sent` follows.
pub fn d07_an_empty_outbox_is_done<H: Harness>() {
    let mut bed = Bed::<H>::new();
    let (key, _peer) = bed.conn();
    assert_eq!(bed.driver().send(key, &mut Outbox::new()), SendState::Done);
    bed.settle();
    bed.assert_story(key, &[]);
}
