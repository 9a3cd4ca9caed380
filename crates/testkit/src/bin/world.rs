//! Runs worlds from seeds: `world --seeds N | --seed S [--log] [--canary]`. See the `world` module
//! of the test kit, and `cargo xtask sim`.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that reports")]

use mainspring_testkit::world::{Bug, REGRESSIONS, WorldRun};
use std::collections::BTreeMap;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |flag: &str| {
        let place = args.iter().position(|arg| arg == flag)?;
        args.get(place + 1)?.parse::<u64>().ok()
    };
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    let seeds: Vec<u64> = match number("--seed") {
        Some(seed) => vec![seed],
        None => {
            let count = number("--seeds").unwrap_or(1000);
            REGRESSIONS.iter().copied().filter(|seed| *seed >= count).chain(0..count).collect()
        }
    };
    if has("--canary") {
        return canary(&seeds);
    }
    run(&seeds, has("--log"))
}

fn run(seeds: &[u64], log: bool) -> ExitCode {
    let (mut hash, mut failed) = (0u64, 0);
    let mut met = BTreeMap::<String, u64>::new();
    for seed in seeds {
        match (WorldRun { log, bug: None }).seed(*seed) {
            Ok(passed) => {
                passed.log.iter().for_each(|line| println!("{line}"));
                passed.met.iter().for_each(|(what, count)| {
                    *met.entry(what.clone()).or_default() += count;
                });
                hash = hash.rotate_left(1) ^ passed.trace_hash;
            }
            Err(failure) => {
                failure.log.iter().for_each(|line| println!("{line}"));
                // Once more for the last events, which are not kept while all goes well.
                let again = WorldRun { log: true, bug: None }.seed(*seed);
                println!("{}", again.err().unwrap_or(failure));
                failed += 1;
            }
        }
        if seed % REPEATED_EVERY == 0 && !is_repeatable(*seed) {
            println!("FAILED seed {seed}: it gives another trace each time");
            failed += 1;
        }
        if failed == FAILURES_MAX {
            break;
        }
    }
    if failed > 0 {
        println!("{failed} of the worlds failed");
        return ExitCode::FAILURE;
    }
    let met: Vec<String> = met.iter().map(|(what, count)| format!("{what} {count}")).collect();
    println!("met: {}", met.join(", "));
    println!("{} seeds passed, trace hash {hash:016x}", seeds.len());
    ExitCode::SUCCESS
}

fn is_repeatable(seed: u64) -> bool {
    let hash = || WorldRun::default().seed(seed).map(|passed| passed.trace_hash).ok();
    hash() == hash()
}

/// Plants every bug. Exit code 1 says that all were found, as a failing seed does.
fn canary(seeds: &[u64]) -> ExitCode {
    let mut missed = 0;
    for bug in Bug::ALL {
        let run = WorldRun { log: false, bug: Some(bug) };
        match seeds.iter().find_map(|seed| run.seed(*seed).err()) {
            Some(failure) => {
                let first = failure.broken.first().map_or("", String::as_str);
                println!("{bug:?} found by seed {}: {first}", failure.seed);
            }
            None => {
                println!("{bug:?} NOT found by {} worlds", seeds.len());
                missed += 1;
            }
        }
    }
    if missed == 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

const FAILURES_MAX: usize = 5;
const REPEATED_EVERY: u64 = 50;
