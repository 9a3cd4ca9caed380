//! Runs worlds from seeds: `world --seeds N | --seed S [--log] [--canary] [--sockets DRIVER]`. See
//! the `world` module of the test kit, and `cargo xtask sim`.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that reports")]

use mainspring_io::DriverKind;
use mainspring_testkit::world::{Bug, Failure, REGRESSIONS, SocketRun, WorldRun};
use std::collections::BTreeMap;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |flag: &str| {
        let place = args.iter().position(|arg| arg == flag)?;
        Some(args.get(place + 1).map_or("", String::as_str))
    };
    let number = |flag: &str| value(flag)?.parse::<u64>().ok();
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    let sockets = match value("--sockets").map(str::parse::<DriverKind>) {
        Some(Ok(driver)) => Some(driver),
        Some(Err(error)) => {
            eprintln!("--sockets: {error}");
            return ExitCode::from(2);
        }
        None => None,
    };
    let default = if sockets.is_some() { SOCKET_SEEDS } else { SEEDS };
    let seeds: Vec<u64> = match number("--seed") {
        Some(seed) => vec![seed],
        None => {
            let count = number("--seeds").unwrap_or(default);
            REGRESSIONS.iter().copied().filter(|seed| *seed >= count).chain(0..count).collect()
        }
    };
    match (sockets, has("--canary")) {
        (None, false) => run(&seeds, has("--log")),
        (None, true) => {
            canary(&seeds, |bug, seed| WorldRun { log: false, bug: Some(bug) }.seed(seed).err())
        }
        (Some(driver), false) => run_on_sockets(driver, &seeds),
        (Some(driver), true) => {
            canary(&seeds, |bug, seed| SocketRun { driver, bug: Some(bug) }.seed(seed).err())
        }
    }
}

fn run(seeds: &[u64], log: bool) -> ExitCode {
    let (mut hash, mut failed) = (0u64, 0);
    let mut met = BTreeMap::<String, u64>::new();
    for seed in seeds {
        match (WorldRun { log, bug: None }).seed(*seed) {
            Ok(passed) => {
                passed.log.iter().for_each(|line| println!("{line}"));
                add(&mut met, passed.met);
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
    report(failed, &met, &format!("{} seeds passed, trace hash {hash:016x}", seeds.len()))
}

fn run_on_sockets(driver: DriverKind, seeds: &[u64]) -> ExitCode {
    let mut failed = 0;
    let mut met = BTreeMap::<String, u64>::new();
    SocketRun { driver, bug: None }.seeds(seeds.iter().copied(), |result| match result {
        Ok(more) => add(&mut met, more),
        Err(failure) => {
            println!("{failure}");
            failed += 1;
        }
    });
    report(failed, &met, &format!("{} seeds passed on sockets of {driver}", seeds.len()))
}

fn add(met: &mut BTreeMap<String, u64>, more: BTreeMap<String, u64>) {
    more.into_iter().for_each(|(what, count)| *met.entry(what).or_default() += count);
}

fn report(failed: usize, met: &BTreeMap<String, u64>, passed: &str) -> ExitCode {
    if failed > 0 {
        println!("{failed} of the worlds failed");
        return ExitCode::FAILURE;
    }
    let met: Vec<String> = met.iter().map(|(what, count)| format!("{what} {count}")).collect();
    println!("met: {}", met.join(", "));
    println!("{passed}");
    ExitCode::SUCCESS
}

fn is_repeatable(seed: u64) -> bool {
    let hash = || WorldRun::default().seed(seed).map(|passed| passed.trace_hash).ok();
    hash() == hash()
}

/// Plants every bug. Exit code 1 says that all were found, as a failing seed does.
fn canary(seeds: &[u64], run: impl Fn(Bug, u64) -> Option<Failure>) -> ExitCode {
    let mut missed = 0;
    for bug in Bug::ALL {
        match seeds.iter().find_map(|seed| run(bug, *seed)) {
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

const SEEDS: u64 = 1000;
const SOCKET_SEEDS: u64 = 100;
const FAILURES_MAX: usize = 5;
const REPEATED_EVERY: u64 = 50;
