//! D2 to D5: what is delivered, for how long, from when on, until when, and how much at once.

use crate::Bed;
use crate::harness::{DatagramPeer, Harness, Peer};
use mainspring_io::{Driver, DriverLimits, Kept, Outbox, SendState};
use std::time::Duration;

/// Longer than what drivers lend for the call only.
const LONG: usize = 64 * 1024;

/// D2: "what the callee keeps stays as it is until that is dropped, whatever becomes of the key and
/// the driver". And whoever keeps all that he can get does not starve anybody.
pub fn d02_what_is_kept_stays_as_it_is<H: Harness>() {
    let mut bed = Bed::<H>::new();
    let (key, mut peer) = bed.conn();
    let (other, mut other_peer) = bed.conn();
    bed.record.keeping = true;
    let mut said = 0;
    for round in 0..40u8 {
        let before = said;
        bed.until("a round", |bed| {
            if said < before + LONG {
                said += peer.send(&vec![round; before + LONG - said]);
            }
            bed.record.data(key).len() == before + LONG
        });
        bed.say(&mut other_peer, &[round; 100]);
    }
    bed.until("the other's", |bed| bed.record.data(other).len() == 4000);
    let kept = take_kept(&mut bed);
    assert!(!kept.is_empty(), "nothing could be kept");
    drop(kept);
    // The driver has all of its memory back.
    bed.until("something is kept again", |bed| {
        peer.send(&[99; LONG]);
        bed.record.kept.iter().any(|(copy, kept)| kept.is_some() && copy.contains(&99))
    });
    bed.driver().abort(key);
    bed.until_event(key, "closed");
    let kept = take_kept(&mut bed);
    drop(bed);
    assert!(kept.iter().all(|(copy, kept)| copy == kept.bytes()));
}

/// What was kept, if it is as it came.
fn take_kept<H: Harness>(bed: &mut Bed<H>) -> Vec<(Vec<u8>, Kept)> {
    let kept = std::mem::take(&mut bed.record.kept);
    let kept: Vec<_> = kept.into_iter().filter_map(|(copy, kept)| Some((copy, kept?))).collect();
    assert!(kept.iter().all(|(copy, kept)| copy == kept.bytes()));
    kept
}

/// D2: what is kept can be sent from where it lies, also to a peer that does not read for a while.
pub fn d02_what_is_kept_leaves_as_it_came<H: Harness>() {
    const BYTES: usize = 1 << 20;
    let mut bed = Bed::<H>::new();
    let (key, mut peer) = bed.conn();
    bed.record.keeping = true;
    let bytes: Vec<u8> = (0..BYTES).map(|at| (at / 3) as u8).collect();
    let (mut said, mut heard) = (0, Vec::new());
    let (mut outbox, mut waits, mut sents, mut landed) = (Outbox::new(), false, 0, 0);
    bed.until("the echo", |bed| {
        said += peer.send(&bytes[said..(said + LONG).min(BYTES)]);
        if said >= BYTES / 2 {
            heard.extend(peer.receive());
        }
        for (copy, kept) in bed.record.kept.drain(..) {
            match kept {
                Some(kept) => outbox.push_kept(kept),
                None => outbox.tail().extend_from_slice(&copy),
            }
        }
        let now_landed = bed.record.landed(key);
        outbox.landed(now_landed - std::mem::replace(&mut landed, now_landed));
        let now_sents = bed.record.count(key, "sent");
        waits &= std::mem::replace(&mut sents, now_sents) == now_sents;
        if !waits && outbox.queued() > 0 {
            waits = bed.driver().send(key, &mut outbox) == SendState::Waiting;
        }
        heard.len() >= BYTES
    });
    assert!(heard == bytes);
}

/// D3: "Nothing is delivered before the first `recv_start`", the end of the stream included.
pub fn d03_nothing_before_recv_start<H: Harness>() {
    let mut bed = Bed::<H>::new();
    let (_, at) = bed.listen();
    let (key, mut peer) = bed.adopt_from(&at);
    bed.say(&mut peer, b"early");
    peer.shutdown_write();
    bed.settle();
    bed.assert_story(key, &[]);
    bed.driver().recv_start(key);
    bed.until_event(key, "eof");
    bed.assert_story(key, &["data", "eof"]);
    assert_eq!(bed.record.data(key), b"early");
    // An end alone waits as well, and is told once.
    let (silent, mut peer) = bed.adopt_from(&at);
    peer.shutdown_write();
    bed.settle();
    bed.assert_story(silent, &[]);
    bed.driver().recv_start(silent);
    bed.until_event(silent, "eof");
    bed.settle();
    bed.assert_story(silent, &["eof"]);
}

/// D3: "After `recv_stop` a bounded amount may still be delivered".
pub fn d03_recv_stop_bounds_what_still_comes<H: Harness>() {
    let mut bed = Bed::<H>::new();
    let (key, mut peer) = bed.conn();
    bed.say(&mut peer, b"before");
    bed.until("data", |bed| bed.record.data(key) == b"before");
    bed.driver().recv_stop(key);
    let mut said = 0;
    for _ in 0..200 {
        said += peer.send(&[3; 64 * 1024]);
        bed.turn();
    }
    let late = bed.record.data(key).len() - 6;
    assert!(late <= 4 * 1024 * 1024 && late < said, "{late} of {said} bytes came after the stop");
    // Resuming gives the rest.
    bed.driver().recv_start(key);
    bed.until("the rest", |bed| bed.record.data(key).len() == 6 + said);
}

/// D3: stopping and starting at any time neither loses nor doubles nor reorders.
pub fn d03_stopping_and_starting_loses_nothing<H: Harness>() {
    let mut bed = Bed::<H>::new();
    let (key, mut peer) = bed.conn();
    let bytes: Vec<u8> = (0..400_000u32).map(|number| (number / 5) as u8).collect();
    let (mut said, mut turns) = (0, 0);
    bed.until("all data", |bed| {
        said += peer.send(&bytes[said..(said + 5000).min(bytes.len())]);
        turns += 1;
        match turns % 3 {
            0 => bed.driver().recv_start(key),
            1 => bed.driver().recv_stop(key),
            _ => {}
        }
        bed.record.data(key).len() >= bytes.len()
    });
    assert!(bed.record.data(key) == bytes);
}

/// D4: "`Flow::Pause` returned from `data` .. is a `recv_stop` that takes effect before the next
/// read that the driver itself would start."
pub fn d04_pause_from_data_stops_receiving<H: Harness>() {
    let limits = DriverLimits { read_buffer: 1024, ..DriverLimits::default() };
    let mut bed = Bed::<H>::with_limits(limits);
    let (_, at) = bed.listen();
    let (key, mut peer) = bed.adopt_from(&at);
    bed.record.pausing.insert(key);
    bed.say(&mut peer, &[9; 40_000]);
    bed.settle();
    bed.driver().recv_start(key);
    bed.until_event(key, "data");
    bed.say(&mut peer, &[9; 20_000]);
    bed.settle();
    let before = bed.record.data(key).len();
    assert!(before <= 40_000, "bytes that came after the pause were delivered");
    bed.record.pausing.clear();
    bed.driver().recv_start(key);
    bed.until("the rest", |bed| bed.record.data(key).len() == 60_000);
}

/// D4 for datagrams.
pub fn d04_pause_from_datagram_stops_receiving<H: Harness>() {
    let mut bed = Bed::<H>::new();
    let (key, at) = bed.bind();
    let (mut peer, _) = bed.harness.datagram_peer();
    bed.record.pausing.insert(key);
    for number in 0..5u8 {
        peer.send_to(&at, &[number]);
    }
    bed.settle();
    bed.driver().recv_start(key);
    bed.until_event(key, "datagram");
    for number in 5..10u8 {
        peer.send_to(&at, &[number]);
    }
    bed.settle();
    assert!(bed.record.count(key, "datagram") <= 5, "datagrams that came after the pause");
    bed.record.pausing.clear();
    bed.driver().recv_start(key);
    bed.until("the rest", |bed| bed.record.count(key, "datagram") == 10);
}

/// D5: "no event is lost because a budget ran out."
pub fn d05_no_event_is_lost_to_budgets<H: Harness>() {
    let mut bed = Bed::<H>::with_limits(narrow());
    let (_, at) = bed.listen();
    let mut conns: Vec<_> = (0..12).map(|_| bed.adopt_from(&at)).collect();
    for (key, peer) in &mut conns {
        bed.driver().recv_start(*key);
        assert_eq!(peer.send(&[4; 9_000]), 9_000);
        peer.shutdown_write();
    }
    for (key, _) in &conns {
        bed.until_event(*key, "eof");
        assert_eq!(bed.record.data(*key).len(), 9_000);
        bed.assert_story(*key, &["data", "eof"]);
    }
}

/// D5: "While something is remembered, `poll` does not sleep".
pub fn d05_no_sleep_while_something_is_remembered<H: Harness>() {
    let mut bed = Bed::<H>::with_limits(narrow());
    let (_, at) = bed.listen();
    let (key, mut peer) = bed.adopt_from(&at);
    assert_eq!(peer.send(&[4; 30_000]), 30_000);
    bed.settle();
    bed.driver().recv_start(key);
    let mut polls = 0;
    while bed.record.data(key).len() < 30_000 {
        let before = bed.record.data(key).len();
        let slept = bed.harness.sleep(Some(Duration::from_secs(20)), &mut bed.record);
        let got = bed.record.data(key).len() - before;
        assert!(slept < Duration::from_secs(5), "slept {slept:?} over bytes that had arrived");
        assert!(got <= 4096, "{got} bytes in one turn of 1024, read buffer 512");
        polls += 1;
        assert!(polls < 10_000, "no progress");
    }
}

/// D5: connections beyond `accepts_per_turn` are accepted in later turns, without a new one
/// arriving.
pub fn d05_accepts_beyond_the_budget_come_later<H: Harness>() {
    let mut bed = Bed::<H>::with_limits(narrow());
    let (listener, at) = bed.listen();
    let peers: Vec<_> = (0..9).map(|_| bed.harness.dial(&at)).collect();
    bed.until("all are accepted", |bed| bed.record.count(listener, "accepted") == peers.len());
}

/// D5: a turn's budget is shared: who says little is heard while another floods.
pub fn d05_a_flood_does_not_starve_the_others<H: Harness>() {
    let mut bed = Bed::<H>::with_limits(narrow());
    let (_, at) = bed.listen();
    let (loud, mut flood) = bed.adopt_from(&at);
    let (quiet, mut peer) = bed.adopt_from(&at);
    bed.driver().recv_start(loud);
    bed.driver().recv_start(quiet);
    let _ = flood.send(&[1; 60_000]);
    bed.say(&mut peer, b"excuse me");
    let mut turns = 0;
    bed.until("the quiet one is heard", |bed| {
        let _ = flood.send(&[1; 4096]);
        turns += 1;
        bed.record.data(quiet) == b"excuse me"
    });
    assert!(turns < 1_000, "heard only after {turns} turns");
}

fn narrow() -> DriverLimits {
    DriverLimits { events_per_turn: 2, bytes_per_turn: 1024, accepts_per_turn: 1, read_buffer: 512 }
}
