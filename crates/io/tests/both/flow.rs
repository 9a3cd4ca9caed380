//! Many connections that stop and go at random: every byte arrives, in order, and every end is
//! seen. A lost edge shows as a connection that waits for ever.

use super::recorder::{PATIENCE, Rig, Told};
use crate::under_test;
use bytes::Bytes;
use mainspring_io::{Driver, DriverLimits, Key, ListenOptions, Outbox, SendState, SocketOptions};
use std::time::{Duration, Instant};

const PAIRS: usize = 12;

/// One end of a connection, and what the loop would know of it.
struct End {
    key: Key,
    peer: Key,
    outbox: Outbox,
    queued: usize,
    goal: usize,
    sents_seen: usize,
    waiting: bool,
    receiving: bool,
    finished: bool,
}

/// Byte number `at` of the stream that `key` sends.
fn pattern(key: Key, at: usize) -> u8 {
    ((at as u64 ^ key.to_bits()).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8
}

#[test]
fn stop_and_go_loses_nothing() {
    for (seed, open) in (0..24).flat_map(|seed| under_test::OPENERS.map(|open| (seed, open))) {
        let rng = fastrand::Rng::with_seed(seed);
        let limits = DriverLimits {
            read_buffer: [512, 700, 4096, 65_536][seed as usize % 4],
            bytes_per_turn: [600, 10_000, 262_144][seed as usize % 3],
            events_per_turn: [1, 3, 256][seed as usize / 2 % 3],
            ..DriverLimits::default()
        };
        // Small kernel buffers make short writes, large ones long bursts.
        let buffer = [None, Some(8 << 10)][seed as usize / 3 % 2];
        let socket =
            SocketOptions { recv_buffer: buffer, send_buffer: buffer, ..Default::default() };
        let options = ListenOptions { socket, ..Default::default() };
        run(Rig::on(open(limits).unwrap()), &options, rng, seed);
    }
}

fn run(mut rig: Rig, options: &ListenOptions, mut rng: fastrand::Rng, seed: u64) {
    let mut ends = connect_pairs(&mut rig, options, &mut rng);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let open = ends.iter().filter(|end| !is_done(end, &rig)).count();
        if open == 0 {
            break;
        }
        assert!(Instant::now() < deadline, "seed {seed}: {open} ends wait for ever");
        for end in &mut ends {
            step(end, &mut rig, &mut rng);
        }
        rig.turn(Duration::from_millis(1));
    }
    for end in &ends {
        let got = rig.seen.received(end.key);
        let goal = ends.iter().find(|other| other.key == end.peer).map(|peer| peer.goal);
        assert_eq!(Some(got.len()), goal, "seed {seed}: bytes of {:?}", end.key);
        let wrong = (0..got.len()).find(|at| got[*at] != pattern(end.peer, *at));
        assert_eq!(wrong, None, "seed {seed}: a wrong byte in {:?}", end.key);
        rig.driver.close(end.key);
    }
    rig.until("all closed", |seen| ends.iter().all(|end| seen.has(end.key, Told::Closed)));
    let failures: Vec<_> = ends.iter().filter_map(|end| rig.seen.failure(end.key)).collect();
    assert!(failures.is_empty(), "seed {seed}: {failures:?}");
}

fn connect_pairs(rig: &mut Rig, options: &ListenOptions, rng: &mut fastrand::Rng) -> Vec<End> {
    let (_, at) = rig.listen_at("127.0.0.1:0".parse().unwrap(), options);
    let mut ends = Vec::new();
    for _ in 0..PAIRS {
        let client = rig.key();
        rig.driver.connect(client, &at.into(), &options.socket).unwrap();
        rig.until("connected", |seen| seen.has(client, Told::Connected));
        let server = rig.accept_paused();
        for (key, peer) in [(client, server), (server, client)] {
            ends.push(End {
                key,
                peer,
                outbox: Outbox::new(),
                queued: 0,
                goal: [0, 1, 5000, 100_000, 600_000][rng.usize(..5)],
                sents_seen: 0,
                waiting: false,
                receiving: false,
                finished: false,
            });
        }
    }
    ends
}

/// Both directions have ended, and this end has seen it.
fn is_done(end: &End, rig: &Rig) -> bool {
    end.finished && rig.seen.has(end.key, Told::Eof)
}

fn step(end: &mut End, rig: &mut Rig, rng: &mut fastrand::Rng) {
    if rng.u8(..4) == 0 {
        end.receiving = !end.receiving;
        if end.receiving {
            rig.driver.recv_start(end.key);
        } else {
            rig.driver.recv_stop(end.key);
        }
    }
    let sents = rig.sents(end.key);
    assert!(sents <= end.sents_seen + usize::from(end.waiting), "a `sent` that nobody waits for");
    if sents > end.sents_seen {
        (end.sents_seen, end.waiting) = (sents, false);
        rig.land(end.key, &mut end.outbox);
    }
    if end.waiting || end.finished {
        return;
    }
    let more = rng.usize(0..=200_000).min(end.goal - end.queued);
    let bytes: Vec<u8> = (end.queued..end.queued + more).map(|at| pattern(end.key, at)).collect();
    end.queued += more;
    if rng.bool() {
        end.outbox.push_shared(Bytes::from(bytes));
    } else {
        end.outbox.tail().extend_from_slice(&bytes);
    }
    end.waiting = rig.driver.send(end.key, &mut end.outbox) == SendState::Waiting;
    if !end.waiting && end.queued == end.goal {
        rig.driver.shutdown(end.key);
        end.finished = true;
    }
}
