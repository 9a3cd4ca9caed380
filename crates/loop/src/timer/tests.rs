use std::collections::{BTreeMap, VecDeque};

use super::list::TimerList;
use super::*;

impl<T: Copy> TimerWheel<T> {
    /// Checks everything that the fields promise about each other.
    fn invariants(&self) {
        let mut timers = self.check_list(DUE, |entry| assert!(entry.deadline <= self.now));
        for half in 0..HALVES {
            assert_eq!(self.halves >> half & 1 == 1, self.occupied[half] != 0, "half {half}");
            for slot in 0..SLOTS {
                let head = (half * SLOTS + slot) as u32;
                let count = self.check_list(head, |entry| {
                    assert!(entry.deadline >= self.now);
                    assert!(self.may_hold(half / 2, entry.deadline), "half {half}");
                    assert_eq!(head_of(half / 2, entry.deadline), head);
                });
                assert_eq!(self.is_occupied(head), count > 0, "{half}/{slot}");
                timers += count;
            }
        }
        assert_eq!(timers, self.len);
        let mut free: Vec<u32> = self.free.iter().map(|free| free.index).collect();
        free.sort_unstable();
        free.dedup();
        assert_eq!(free.len(), self.free.len(), "an entry is free twice");
        for free in &self.free {
            let entry = self.entry(free.index);
            assert!(free.index >= HEADS && entry.payload.is_none());
            assert_eq!(free.generation, entry.generation);
        }
        assert_eq!(HEADS as usize + timers + free.len(), self.entries.len());
    }

    /// Whether a deadline belongs on a level, or may have come there ahead.
    fn may_hold(&self, level: usize, deadline: u64) -> bool {
        let above = |tick: u64| tick.checked_shr((level as u32 + 1) * SLOT_BITS).unwrap_or(0);
        let ahead = (OPENED - 1..LEVELS - 1).contains(&level);
        level == level_of(self.now, deadline) || ahead && above(deadline) == above(self.now) + 1
    }

    fn check_list(&self, head: u32, check: impl Fn(&Entry<T>)) -> usize {
        assert!(self.entry(head).payload.is_none());
        let (mut count, mut before, mut index) = (0, head, self.entry(head).next);
        while index != head {
            let entry = self.entry(index);
            assert_eq!(entry.prev, before);
            assert!(entry.payload.is_some());
            check(entry);
            (before, index) = (index, entry.next);
            count += 1;
        }
        assert_eq!(self.entry(head).prev, before);
        count
    }

    /// How many entries wait to be moved down from `level` and above when `tick` is entered.
    fn count_from(&self, level: usize, tick: u64) -> usize {
        let slots =
            |level| (self.now >> (level as u32 * SLOT_BITS), tick >> (level as u32 * SLOT_BITS));
        let entered = (level..LEVELS).filter(|level| slots(*level).0 != slots(*level).1);
        entered.map(|level| self.check_list(head_of(level, tick), |_| ())).sum()
    }

    /// Takes the timer of no list that is due first.
    fn pop_due(&mut self) -> Option<(TimerId, T)> {
        let (id, payload) = self.first_due()?;
        self.cancel(id).expect("what is due is armed");
        Some((id, payload))
    }

    fn pop_all(&mut self) -> Vec<T> {
        std::iter::from_fn(|| self.pop_due()).map(|(_, payload)| payload).collect()
    }
}

#[test]
fn fires_in_deadline_order_and_ties_in_arming_order() {
    let mut wheel = TimerWheel::new();
    for (deadline, name) in [(70, 'd'), (5, 'a'), (5000, 'f'), (70, 'e'), (6, 'b'), (69, 'c')] {
        wheel.arm(deadline, name);
    }
    wheel.advance(4);
    assert!(!wheel.has_due());
    wheel.advance(5);
    assert_eq!(wheel.pop_all(), ['a']);
    wheel.advance(1 << 20);
    assert_eq!(wheel.pop_all(), ['b', 'c', 'd', 'e', 'f']);
    assert_eq!(wheel.len(), 0);
    wheel.invariants();
}

/// One timer reaches the tick from an upper level, the other was armed near it: still first come,
/// first served.
#[test]
fn ties_keep_their_order_across_levels() {
    let mut wheel = TimerWheel::new();
    wheel.arm(100_000, 1);
    wheel.advance(96_000);
    wheel.arm(100_000, 2);
    wheel.advance(99_950);
    wheel.arm(100_000, 3);
    wheel.advance(99_999);
    wheel.arm(100_000, 4);
    assert_eq!(wheel.pop_all(), []);
    wheel.advance(100_000);
    assert_eq!(wheel.pop_all(), [1, 2, 3, 4]);
}

#[test]
fn a_past_deadline_fires_at_the_next_advance_and_not_before() {
    let mut wheel = TimerWheel::new();
    wheel.advance(1_000);
    wheel.arm(1_001, 'c');
    wheel.arm(1_000, 'a');
    wheel.arm(3, 'b');
    assert!(!wheel.has_due());
    assert_eq!(wheel.next_tick(), Some(1_000));
    wheel.advance(1_000);
    assert_eq!(wheel.pop_all(), ['a', 'b']);
    assert_eq!(wheel.next_tick(), Some(1_001));
}

#[test]
fn time_does_not_run_backwards() {
    let mut wheel = TimerWheel::new();
    wheel.advance(500);
    wheel.arm(500, 'a');
    wheel.advance(20);
    assert_eq!(wheel.pop_all(), ['a']);
    wheel.arm(510, 'b');
    wheel.advance(0);
    assert!(!wheel.has_due());
    wheel.invariants();
}

#[test]
fn cancels_waiting_and_due_timers_once() {
    let mut wheel = TimerWheel::new();
    let [a, b, c] = [10, 10, 5_000].map(|deadline| wheel.arm(deadline, deadline));
    wheel.advance(10);
    assert_eq!(wheel.cancel(a), Some(10));
    assert_eq!(wheel.cancel(a), None);
    assert_eq!(wheel.cancel(c), Some(5_000));
    assert_eq!(wheel.next_tick(), None);
    assert_eq!(wheel.pop_due(), Some((b, 10)));
    assert_eq!(wheel.cancel(b), None);
    assert_eq!(wheel.len(), 0);
    wheel.invariants();
}

#[test]
fn a_stale_id_does_not_touch_the_timer_in_its_place() {
    let mut wheel = TimerWheel::new();
    let old = wheel.arm(10, 'a');
    wheel.cancel(old);
    let new = wheel.arm(20, 'b');
    assert_eq!(old.index, new.index);
    assert_ne!(old, new);
    assert_eq!(wheel.cancel(old), None);
    assert_eq!(wheel.cancel(new), Some('b'));
}

#[test]
fn an_id_of_another_wheel_is_harmless() {
    let mut wheel = TimerWheel::<char>::new();
    for index in [1, DUE, HEADS, u32::MAX].map(|index| NonZeroU32::new(index).unwrap()) {
        assert_eq!(wheel.cancel(TimerId { index, generation: 0 }), None);
    }
    wheel.invariants();
}

#[test]
fn every_tick_has_a_place() {
    let mut wheel = TimerWheel::new();
    for bit in 0..64 {
        wheel.arm(1 << bit, 1u64 << bit);
    }
    wheel.arm(u64::MAX, u64::MAX);
    wheel.invariants();
    for bit in 0..64 {
        wheel.advance((1 << bit) - 1);
        assert!(!wheel.has_due(), "bit {bit}");
        wheel.advance(1 << bit);
        assert_eq!(wheel.pop_all(), [1 << bit]);
        wheel.invariants();
    }
    wheel.advance(u64::MAX);
    assert_eq!(wheel.pop_all(), [u64::MAX]);
    wheel.arm(u64::MAX, 0);
    wheel.advance(u64::MAX);
    assert_eq!(wheel.pop_all(), [0]);
}

/// A loop that sleeps until `next_tick` each time wakes at most once a level.
#[test]
fn following_next_tick_arrives_on_time_in_few_steps() {
    for deadline in [1, 63, 64, 65, 4_095, 4_096, 123_456_789, (1 << 40) + 12_345, u64::MAX] {
        let mut wheel = TimerWheel::new();
        wheel.arm(deadline, ());
        let mut steps = 0;
        while !wheel.has_due() {
            let tick = wheel.next_tick().expect("a timer waits");
            assert!(tick > wheel.now && tick <= deadline);
            wheel.advance(tick);
            steps += 1;
        }
        assert_eq!(wheel.now, deadline);
        assert!(steps <= LEVELS, "{steps} steps to {deadline}");
    }
}

#[test]
fn next_tick_is_exact_within_the_lowest_level() {
    let mut wheel = TimerWheel::new();
    wheel.advance(6_400);
    wheel.arm(6_463, ());
    assert_eq!(wheel.next_tick(), Some(6_463));
    wheel.arm(6_430, ());
    assert_eq!(wheel.next_tick(), Some(6_430));
    wheel.advance(6_430);
    assert_eq!(wheel.next_tick(), Some(6_463));
}

/// A loop that does nothing but sleep until `next_tick` does not have to move a crowd in one go, on
/// whichever level it waits; nor one that is late by a few ticks each time.
#[test]
fn a_crowd_comes_down_in_bounded_steps() {
    const CROWD: u64 = 30_000;
    for (level, late) in [(2, 0), (3, 0), (4, 0), (5, 0), (2, 3)] {
        let mut wheel = TimerWheel::new();
        let start: u64 = 3 << (level as u32 * SLOT_BITS);
        // All of it at once, in each slot below that is entered first.
        let mut expected: Vec<_> = (0..CROWD).map(|n| (start + 4_000 - n % 400 * 10, n)).collect();
        for (deadline, payload) in &expected {
            wheel.arm(*deadline, *payload);
        }
        expected.sort_unstable();
        let mut fired = Vec::new();
        let mut turns = 0;
        while let Some(tick) = wheel.next_tick() {
            let rest = wheel.count_from(OPENED, tick + late);
            assert!(
                rest <= late as usize * OPENED_A_TICK,
                "level {level}, {late} late: {rest} entries left to tick {tick}"
            );
            wheel.advance(tick + late);
            fired.extend(wheel.pop_all());
            turns += 1;
        }
        assert!(fired.iter().eq(expected.iter().map(|(_, payload)| payload)), "level {level}");
        let least = (level - 1) * CROWD as usize / OPENED_A_TICK;
        assert!((least..2 * least + 1_000).contains(&turns), "level {level}: {turns} turns");
        wheel.invariants();
    }
}

/// What is armed while its slot is being opened comes behind what has moved.
#[test]
fn an_opened_slot_keeps_the_order_of_arming() {
    let mut wheel = TimerWheel::new();
    wheel.arm(4_100, 1);
    wheel.advance(3_500);
    wheel.arm(4_100, 2);
    assert_eq!(wheel.next_tick(), Some(3_501), "for what came after the slot was opened");
    wheel.arm(4_099, 0);
    wheel.arm(4_100, 3);
    wheel.advance_and_open(3_501, 1);
    assert_eq!(wheel.next_tick(), Some(3_502), "it goes on");
    let last = wheel.arm(4_100, 4);
    wheel.advance_and_open(4_000, 1);
    wheel.arm(4_100, 5);
    assert_eq!(wheel.cancel(last), Some(4));
    wheel.invariants();
    wheel.advance(4_099);
    wheel.arm(4_100, 6);
    wheel.invariants();
    wheel.advance(4_100);
    assert_eq!(wheel.pop_all(), [0, 1, 2, 3, 5, 6]);
}

#[test]
fn a_warm_wheel_does_not_grow() {
    let mut wheel = TimerWheel::new();
    let arm_all = |wheel: &mut TimerWheel<u64>| -> Vec<_> {
        (0..1_000).map(|n| wheel.arm(wheel.now + n * 17, n)).collect()
    };
    let ids = arm_all(&mut wheel);
    let capacities = |wheel: &TimerWheel<u64>| (wheel.entries.capacity(), wheel.free.capacity());
    let capacity = capacities(&wheel);
    for id in ids {
        wheel.cancel(id);
    }
    for round in 0..50 {
        arm_all(&mut wheel);
        wheel.advance(wheel.now + 16_983 + round);
        assert_eq!(wheel.pop_all().len(), 1_000);
    }
    assert_eq!(capacities(&wheel), capacity);
}

#[test]
fn a_list_ends_as_a_whole() {
    let mut wheel = TimerWheel::new();
    let (mut one, mut other) = (TimerList::default(), TimerList::default());
    let ids = [5, 70, 5, 9_000].map(|deadline| wheel.arm_in(&mut one, deadline, deadline));
    let stays = wheel.arm_in(&mut other, 5, 0);
    wheel.advance(5);
    assert_eq!(wheel.cancel_in(&mut one, ids[2]), Some(5));
    assert_eq!(wheel.cancel_in(&mut one, ids[2]), None, "once");
    assert_eq!(wheel.ids_in(&one), [ids[3], ids[1], ids[0]]);
    wheel.cancel_all(&mut one);
    assert!(wheel.ids_in(&one).is_empty());
    assert!(ids.iter().all(|id| wheel.payload(*id).is_none()));
    assert_eq!(wheel.first_due(), Some((stays, 0)));
    assert_eq!(wheel.len(), 1);
    wheel.invariants();
}

/// A wheel in which a timer's payload tells its list: one of three, or none.
struct Listed {
    wheel: TimerWheel<u64>,
    lists: [TimerList; 3],
}

impl Listed {
    fn arm(&mut self, deadline: u64, payload: u64) -> TimerId {
        match self.lists.get_mut(payload as usize % 4) {
            Some(list) => self.wheel.arm_in(list, deadline, payload),
            None => self.wheel.arm(deadline, payload),
        }
    }

    /// A stale id is tried in a list and without one.
    fn cancel(&mut self, id: TimerId) -> Option<u64> {
        let list = self.wheel.payload(id).unwrap_or(u64::from(id.generation)) as usize % 4;
        match self.lists.get_mut(list) {
            Some(list) => self.wheel.cancel_in(list, id),
            None => self.wheel.cancel(id),
        }
    }

    fn pop_due(&mut self) -> Option<(TimerId, u64)> {
        let (id, payload) = self.wheel.first_due()?;
        assert_eq!(self.cancel(id), Some(payload));
        Some((id, payload))
    }
}

/// What the wheel promises, by the simplest means.
#[derive(Default)]
struct Model {
    now: u64,
    armed: u64,
    /// By deadline, then order of arming, which is also the payload.
    waiting: BTreeMap<(u64, u64), TimerId>,
    due: VecDeque<(u64, TimerId)>,
}

impl Model {
    fn advance(&mut self, tick: u64) {
        self.now = self.now.max(tick);
        while let Some(first) = self.waiting.first_entry().filter(|e| e.key().0 <= self.now) {
            let ((_, payload), id) = first.remove_entry();
            self.due.push_back((payload, id));
        }
    }

    fn cancel(&mut self, id: TimerId) -> Option<u64> {
        if let Some(at) = self.due.iter().position(|due| due.1 == id) {
            return self.due.remove(at).map(|due| due.0);
        }
        let key = self.waiting.iter().find(|waiting| *waiting.1 == id).map(|waiting| *waiting.0)?;
        self.waiting.remove(&key);
        Some(key.1)
    }

    /// The ids in a list, the one armed last first.
    fn ids_in(&self, list: usize) -> Vec<TimerId> {
        let waiting = self.waiting.iter().map(|(key, id)| (key.1, *id));
        let mut all: Vec<_> = waiting.chain(self.due.iter().copied()).collect();
        all.retain(|(payload, _)| *payload as usize % 4 == list);
        all.sort_by_key(|(payload, _)| std::cmp::Reverse(*payload));
        all.into_iter().map(|(_, id)| id).collect()
    }
}

/// A distance in ticks: often on or beside the border of a level.
fn distance(rng: &mut fastrand::Rng) -> u64 {
    match rng.u32(0..8) {
        0 => 0,
        1..=3 => rng.u64(0..200),
        4 => rng.u64(0..10_000),
        5 => (1 << (6 * rng.u32(1..7))) + rng.u64(0..3) - 1,
        6 => 1 << rng.u32(0..44),
        _ => rng.u64(..) >> rng.u32(0..64),
    }
}

/// A tick at some distance from `now`, at times the last before or the first of a block of an upper
/// level.
fn later(rng: &mut fastrand::Rng, now: u64) -> u64 {
    let tick = now.saturating_add(distance(rng));
    match rng.u32(0..8) {
        0 => tick | ((1 << (6 * rng.u32(1..5))) - 1),
        1 => (tick | ((1 << (6 * rng.u32(1..5))) - 1)).saturating_add(1),
        _ => tick,
    }
}

fn run_against_model(seed: u64, operations: usize) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut listed = Listed { wheel: TimerWheel::new(), lists: Default::default() };
    let mut model = Model::default();
    let mut ids = Vec::new();
    // Some runs start late, where the bits of the upper levels are set.
    let start = if rng.bool() { 0 } else { rng.u64(..) >> rng.u32(0..60) };
    listed.wheel.advance(start);
    model.advance(start);
    for operation in 0..operations {
        match rng.u32(0..200) {
            0 => {
                let list = rng.usize(0..3);
                listed.wheel.cancel_all(&mut listed.lists[list]);
                for id in model.ids_in(list) {
                    assert!(model.cancel(id).is_some());
                }
            }
            1..=79 => {
                let past = rng.u32(0..8) == 0;
                let tick = distance(&mut rng);
                let deadline = if past { tick } else { later(&mut rng, model.now) };
                let id = listed.arm(deadline, model.armed);
                model.waiting.insert((deadline.max(model.now), model.armed), id);
                model.armed += 1;
                ids.push(id);
            }
            80..=119 if !ids.is_empty() => {
                // Ids stay in the list after their end, so that stale ones are tried too.
                let id = ids[rng.usize(ids.len() - ids.len().min(40)..ids.len())];
                assert_eq!(listed.cancel(id), model.cancel(id), "cancel, operation {operation}");
            }
            120..=139 => {
                let back = rng.u64(0..100);
                let tick = model.now.saturating_sub(back);
                listed.wheel.advance_and_open(tick, rng.usize(1..4));
                model.advance(model.now.saturating_sub(back));
            }
            140..=179 => {
                let tick = match listed.wheel.next_tick() {
                    Some(tick) if rng.bool() => tick,
                    _ if rng.u32(0..4) == 0 => later(&mut rng, model.now),
                    _ => model.now.saturating_add(rng.u64(0..100)),
                };
                listed.wheel.advance_and_open(tick, rng.usize(1..4));
                model.advance(tick);
            }
            _ => {
                for _ in 0..rng.u32(0..6) {
                    let popped = model.due.pop_front().map(|(payload, id)| (id, payload));
                    assert_eq!(listed.pop_due(), popped, "pop, operation {operation}");
                }
            }
        }
        compare(&mut listed, &model);
        if operation % 16 == 0 {
            listed.wheel.invariants();
        }
    }
    let mut wheel = listed.wheel;
    wheel.advance(u64::MAX);
    model.advance(u64::MAX);
    let rest: Vec<_> = model.due.iter().map(|due| due.0).collect();
    assert_eq!(wheel.pop_all(), rest);
    wheel.invariants();
}

fn compare(Listed { wheel, lists }: &mut Listed, model: &Model) {
    for (number, list) in lists.iter().enumerate() {
        assert_eq!(wheel.ids_in(list), model.ids_in(number), "list {number}");
    }
    assert_eq!(wheel.len(), model.waiting.len() + model.due.len());
    assert_eq!(wheel.has_due(), !model.due.is_empty());
    let earliest = model.waiting.keys().next().map(|key| key.0);
    let known = wheel.next;
    let next = wheel.next_tick();
    assert_eq!(next.is_some(), earliest.is_some());
    assert!(known.is_none_or(|known| known == wheel.find_next_tick()), "{known:?} is out of date");
    if let (Some(next), Some(earliest)) = (next, earliest) {
        assert!(next >= model.now && next <= earliest, "{next} for {earliest}");
        if earliest >> SLOT_BITS == model.now >> SLOT_BITS {
            let opened = (OPENED..LEVELS).any(|level| wheel.opened_at(level) == Some(next));
            assert!(next == earliest || opened, "{next} for {earliest}");
        }
    }
}

#[test]
fn agrees_with_a_sorted_map() {
    for seed in 0..4_000 {
        let run = std::panic::catch_unwind(|| run_against_model(seed, 150));
        assert!(run.is_ok(), "seed {seed}");
    }
}
