//! Worlds from seeds: the laws hold, the same seed gives the same trace, and planted bugs are
//! found.

use mainspring_testkit::world::{Bug, Passed, REGRESSIONS, WorldRun};
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn two_hundred_seeds_pass() {
    for seed in REGRESSIONS.iter().copied().chain(0..200) {
        passed(seed);
    }
}

#[test]
fn worlds_meet_what_they_are_for() {
    let mut met = BTreeMap::<String, u64>::new();
    for seed in 200..SEEDS {
        for (what, count) in passed(seed).met {
            *met.entry(what).or_default() += count;
        }
    }
    // A law about what never happens proves nothing.
    let wanted = [
        "accept errors",
        "accepted",
        "cast: all heard",
        "cast: closed",
        "cast: disconnected",
        "cast: late",
        "cast: newest",
        "cast: oldest",
        "cast: refused",
        "cast: unknown",
        "closed: Aborted",
        "closed: DrainTimeout",
        "closed: Failed",
        "closed: IdleTimeout",
        "closed: Layer",
        "closed: Local",
        "closed: Panicked",
        "closed: Peer",
        "closed: Shutdown",
        "closed: SlowConsumer",
        "closed: WriteTimeout",
        "completions closed",
        "completions sent",
        "datagrams out",
        "detached",
        "dialled",
        "drained",
        "dropped as slow",
        "dropped at closing",
        "dropped input",
        "dropped sends",
        "frames",
        "frames discarded",
        "full",
        "handshakes failed",
        "layered bytes in",
        "layered bytes out",
        "layered midway",
        "links: answered",
        "links: connected",
        "links: given up",
        "panics",
        "refused",
        "tasks",
        "ticks",
        "turned away",
    ];
    let missing: Vec<&str> =
        wanted.into_iter().filter(|what| met.get(*what).is_none_or(|count| *count == 0)).collect();
    assert!(missing.is_empty(), "no world of {SEEDS} met {missing:?}: {met:?}");
}

#[test]
fn equal_seeds_give_equal_traces_and_others_do_not() {
    let mut hashes = BTreeSet::new();
    for seed in 0..REPEATED {
        let first = passed(seed).trace_hash;
        assert_eq!(first, passed(seed).trace_hash, "seed {seed} is not repeatable");
        hashes.insert(first);
    }
    assert_eq!(hashes.len() as u64, REPEATED, "two seeds gave the same trace");
}

#[test]
fn every_planted_bug_is_found() {
    for bug in Bug::ALL {
        let run = WorldRun { log: false, bug: Some(bug) };
        let found = (0..SEEDS_FOR_BUG).find(|seed| run.seed(*seed).is_err());
        assert!(found.is_some(), "{bug:?} was not found by {SEEDS_FOR_BUG} worlds");
    }
}

#[test]
fn a_failure_says_how_to_repeat_it() {
    let run = WorldRun { log: true, bug: Some(Bug::ClosedTwice) };
    let failure = (0..SEEDS_FOR_BUG).find_map(|seed| run.seed(seed).err()).expect("it is found");
    let text = failure.to_string();
    let command = format!("cargo xtask sim --seed {} --log", failure.seed);
    for part in [command.as_str(), "stale events", "faults", "the last events"] {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
}

fn passed(seed: u64) -> Passed {
    WorldRun::default().seed(seed).unwrap_or_else(|failure| panic!("{failure}"))
}

const SEEDS: u64 = 800;
const REPEATED: u64 = 40;
const SEEDS_FOR_BUG: u64 = 200;
