use super::*;
use crate::BroadcastLimits;
use std::collections::BTreeMap;

const HOME: u16 = 1;
const FOR_EVER: u64 = u64::MAX;
const NO_LIMIT: usize = usize::MAX;

fn channel(queue_bytes: usize, queue_messages: usize, policy: SlowPolicy) -> Arc<Channel> {
    let limits =
        BroadcastLimits { outbox_bytes: 100, queue_bytes, queue_messages, deadline: None, policy };
    Arc::new(Channel::new(limits, 2))
}

fn message(number: u8, len: usize) -> Bytes {
    Bytes::from(vec![number; len])
}

/// Takes out everything that waits: the numbers of the messages.
fn drain(lanes: &mut Lanes) -> Vec<u8> {
    let rest = std::iter::from_fn(|| lanes.take_next(0, NO_LIMIT, HOME));
    rest.map(|(_, bytes)| bytes[0]).collect()
}

#[test]
fn a_full_lane_gives_up_what_its_policy_says() {
    for (policy, kept, drops) in [
        (SlowPolicy::DropNewest, vec![0, 1, 2], (2, 0, 0)),
        (SlowPolicy::DropOldest, vec![2, 3, 4], (0, 2, 0)),
        (SlowPolicy::Disconnect, vec![0, 1, 2], (0, 0, 2)),
    ] {
        // Once by the number of messages, once by their bytes.
        for (bytes_max, messages_max) in [(1_000, 3), (30, 100)] {
            let channel = channel(bytes_max, messages_max, policy);
            let mut lanes = Lanes::default();
            let lane = lanes.of(&channel);
            let verdicts: Vec<Verdict> = (0..5)
                .map(|number| lane.queue(message(number, 10), FOR_EVER, NO_LIMIT, HOME))
                .collect();
            let at_the_mark = match policy {
                SlowPolicy::DropNewest => Verdict::Dropped,
                SlowPolicy::DropOldest => Verdict::Waits,
                SlowPolicy::Disconnect => Verdict::Disconnect,
            };
            assert_eq!(verdicts[..3], [Verdict::Waits; 3]);
            assert_eq!(verdicts[3..], [at_the_mark; 2], "{policy:?}");
            assert_eq!((lanes.waiting_bytes(), channel.stats().waiting), (30, 3));
            assert_eq!(drain(&mut lanes), kept, "{policy:?}");
            let dropped = channel.stats().dropped;
            assert_eq!((dropped.newest, dropped.oldest, dropped.disconnected), drops);
        }
    }
}

#[test]
fn a_message_that_can_never_wait_costs_no_other() {
    let channel = channel(30, 10, SlowPolicy::DropOldest);
    let mut lanes = Lanes::default();
    let lane = lanes.of(&channel);
    assert_eq!(lane.queue(message(1, 30), FOR_EVER, NO_LIMIT, HOME), Verdict::Waits);
    assert_eq!(lane.queue(message(2, 31), FOR_EVER, NO_LIMIT, HOME), Verdict::Dropped);
    assert_eq!(channel.stats().dropped.newest, 1);
    assert_eq!(drain(&mut lanes), [1]);
}

#[test]
fn a_loop_without_memory_lets_nothing_more_wait() {
    let channel = channel(1_000, 100, SlowPolicy::DropOldest);
    let mut lanes = Lanes::default();
    let lane = lanes.of(&channel);
    assert_eq!(lane.queue(message(1, 10), FOR_EVER, 9, HOME), Verdict::Dropped);
    assert_eq!(lane.queue(message(2, 10), FOR_EVER, 10, HOME), Verdict::Waits);
    // What the oldest gives free is enough for the next.
    assert_eq!(lane.queue(message(3, 10), FOR_EVER, 0, HOME), Verdict::Waits);
    let dropped = channel.stats().dropped;
    assert_eq!((dropped.newest, dropped.oldest), (1, 1));
    assert_eq!(drain(&mut lanes), [3]);
}

#[test]
fn what_is_late_is_dropped_and_nothing_else() {
    let channel = channel(1_000, 100, SlowPolicy::DropOldest);
    let mut lanes = Lanes::default();
    for late_at in [10, 10, 12, FOR_EVER] {
        lanes.of(&channel).queue(message(late_at as u8, 1), late_at, NO_LIMIT, HOME);
    }
    lanes.drop_late(9, HOME);
    assert_eq!((lanes.late_at(), channel.stats().dropped.late), (10, 0));
    lanes.drop_late(10, HOME);
    assert_eq!((lanes.late_at(), channel.stats().dropped.late), (12, 2));
    lanes.drop_late(1_000, HOME);
    assert_eq!((lanes.late_at(), channel.stats().dropped.late), (FOR_EVER, 3));
    assert_eq!(drain(&mut lanes), [255]);
}

#[test]
fn room_is_in_an_empty_outbox_or_below_the_mark() {
    let channel = channel(1_000, 100, SlowPolicy::DropOldest);
    let mut lanes = Lanes::default();
    let lane = lanes.of(&channel);
    assert!(lane.is_clear(5_000, 0, 200), "an empty outbox takes every message");
    assert!(lane.is_clear(50, 99, 200) && !lane.is_clear(50, 100, 200));
    assert!(!lane.is_clear(102, 99, 200), "one more than the connection may hold");
    lane.queue(message(1, 1), FOR_EVER, NO_LIMIT, HOME);
    assert!(!lane.is_clear(1, 0, 200), "one waits in front of it");
}

#[test]
fn broadcasters_take_turns() {
    let (first, second) =
        (channel(1_000, 100, SlowPolicy::DropOldest), channel(1_000, 100, SlowPolicy::DropOldest));
    let mut lanes = Lanes::default();
    for number in 0..3 {
        lanes.of(&first).queue(message(number, 1), FOR_EVER, NO_LIMIT, HOME);
        lanes.of(&second).queue(message(10 + number, 1), FOR_EVER, NO_LIMIT, HOME);
    }
    assert_eq!(drain(&mut lanes), [0, 10, 1, 11, 2, 12]);
}

#[test]
fn idle_lanes_make_way_and_busy_ones_stay() {
    let busy = channel(1_000, 100, SlowPolicy::DropOldest);
    let mut lanes = Lanes::default();
    lanes.of(&busy).queue(message(7, 1), FOR_EVER, NO_LIMIT, HOME);
    for _ in 0..100 {
        lanes.of(&channel(1, 1, SlowPolicy::DropNewest));
    }
    assert!(lanes.lanes.len() <= Lanes::KEPT + 1, "{} lanes", lanes.lanes.len());
    assert_eq!(drain(&mut lanes), [7]);
}

/// Random operations against a model: lists of numbers, and counts by what became of them.
#[test]
fn any_sequence_keeps_order_and_account() {
    for seed in 0..300 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let policy = [SlowPolicy::DropNewest, SlowPolicy::DropOldest][rng.usize(..2)];
        let channel = channel(rng.usize(1..60), rng.usize(1..8), policy);
        let mut lanes = Lanes::default();
        let (mut waiting, mut handed) = (VecDeque::new(), VecDeque::new());
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        let (mut queued, mut sent) = (0, 0);
        for number in 0..200u64 {
            match rng.u8(..4) {
                0 | 1 => {
                    let len = rng.usize(1..20);
                    let fits = |waiting: &VecDeque<(u64, usize)>| {
                        let bytes: usize = waiting.iter().map(|(_, len)| len).sum();
                        let limits = &channel.limits;
                        waiting.len() < limits.queue_messages && bytes + len <= limits.queue_bytes
                    };
                    if policy == SlowPolicy::DropOldest && len <= channel.limits.queue_bytes {
                        while !fits(&waiting) {
                            waiting.pop_front();
                            *counts.entry("oldest").or_default() += 1;
                        }
                    }
                    if fits(&waiting) {
                        waiting.push_back((number, len));
                    } else {
                        *counts.entry("newest").or_default() += 1;
                    }
                    lanes.of(&channel).queue(message(number as u8, len), FOR_EVER, NO_LIMIT, HOME);
                    channel.note_sent(1);
                }
                2 => {
                    let unsent = (queued - sent) as usize;
                    let next = lanes.take_next(unsent, NO_LIMIT, HOME);
                    let expected = waiting.front().filter(|_| unsent < 100).copied();
                    assert_eq!(
                        next.as_ref().map(|(_, bytes)| (bytes[0], bytes.len())),
                        expected.map(|(number, len)| (number as u8, len)),
                        "seed {seed}"
                    );
                    if let Some((lane, bytes)) = next {
                        waiting.pop_front();
                        queued += bytes.len() as u64;
                        lanes.note_handed(lane, queued, HOME);
                        handed.push_back(queued);
                    }
                }
                _ => {
                    sent += rng.u64(..=queued - sent);
                    lanes.land(sent, HOME);
                    while handed.front().is_some_and(|end| *end <= sent) {
                        handed.pop_front();
                        *counts.entry("delivered").or_default() += 1;
                    }
                }
            }
            check(&channel, &counts, waiting.len(), handed.len(), seed);
        }
        let slow = rng.bool();
        lanes.end(slow, HOME);
        let left = (waiting.len() + handed.len()) as u64;
        counts.insert(if slow { "disconnected" } else { "closed" }, left);
        check(&channel, &counts, 0, 0, seed);
    }
}

fn check(
    channel: &Channel,
    counts: &BTreeMap<&str, u64>,
    waiting: usize,
    handed: usize,
    seed: u64,
) {
    let stats = channel.stats();
    let of = |name| counts.get(name).copied().unwrap_or(0);
    assert!(stats.is_balanced(), "seed {seed}: {stats:?}");
    assert_eq!(stats.waiting, waiting as u64, "seed {seed}");
    assert_eq!(stats.queued, (waiting + handed) as u64, "seed {seed}");
    assert_eq!(stats.delivered, of("delivered"), "seed {seed}");
    let dropped = stats.dropped;
    let got = [dropped.newest, dropped.oldest, dropped.closed, dropped.disconnected];
    assert_eq!(got, ["newest", "oldest", "closed", "disconnected"].map(of), "seed {seed}");
}
