//! Runs the fuzz bodies of the crates for some seconds each: no coverage to guide them, but no
//! special toolchain either, so that every run of the tests can afford it.
//!
//! The crates make the inputs from a seed and print seed and iteration when a body panics; what is
//! kept here is the time, which they must not read.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_methods,
    reason = "keeps the time limit of the bodies; no loop runs in here"
)]

use std::process::ExitCode;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mainspring_layers::fuzz as layers;
use mainspring_testkit::fuzz as looped;
use mainspring_tls::fuzz as tls;
use mainspring_wire::fuzz as wire;

const USAGE: &str = "usage: smoke [--seconds S] [--seed N] [TARGET..]";
/// Inputs between two looks at the clock.
const BATCH: u64 = 500;
/// A body that is still busy this long after its time is taken to hang.
const HANG: Duration = Duration::from_secs(30);

struct Plan {
    seconds: u64,
    seed: u64,
    names: Vec<&'static str>,
}

fn main() -> ExitCode {
    let plan = match Plan::read(std::env::args().skip(1)) {
        Ok(plan) => plan,
        Err(message) => {
            eprintln!("error: {message}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    println!("seed {}, {} s for each target", plan.seed, plan.seconds);
    let mut failed = Vec::new();
    for &name in &plan.names {
        match fuzz(name, &plan) {
            Ok(inputs) => println!("{name}: {inputs} inputs"),
            Err(reason) => {
                println!("{name}: FAILED, {reason}");
                failed.push(name);
            }
        }
    }
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!(
        "failed: {}; again with: cargo xtask fuzz --seed {} {}",
        failed.join(" "),
        plan.seed,
        failed.join(" ")
    );
    ExitCode::FAILURE
}

impl Plan {
    fn read(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut plan = Self { seconds: 5, seed: seed_from_clock(), names: Vec::new() };
        while let Some(arg) = args.next() {
            let mut number = || {
                let value = args.next().unwrap_or_default();
                value.parse().map_err(|_| format!("{arg} wants a whole number, found `{value}`"))
            };
            match arg.as_str() {
                "--seconds" => plan.seconds = number()?,
                "--seed" => plan.seed = number()?,
                name => plan.names.push(known(name)?),
            }
        }
        if plan.names.is_empty() {
            plan.names = names();
        }
        Ok(plan)
    }
}

fn names() -> Vec<&'static str> {
    let crates = [wire::TARGETS, looped::TARGETS, tls::TARGETS, layers::TARGETS];
    crates.iter().flat_map(|targets| targets.iter()).map(|(name, _)| *name).collect()
}

/// Runs the body of that name, wherever it is.
fn run(name: &str, seed: u64, iterations: u64) -> bool {
    wire::run(name, seed, iterations)
        || looped::run(name, seed, iterations)
        || tls::run(name, seed, iterations)
        || layers::run(name, seed, iterations)
}

fn known(name: &str) -> Result<&'static str, String> {
    let names = names();
    let found = names.iter().find(|known| **known == name).copied();
    found.ok_or_else(|| format!("unknown target or flag `{name}`; targets: {}", names.join(", ")))
}

/// Another seed each time, so that many short runs cover what one long run would.
fn seed_from_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as u64
}

/// Runs one body until its time is over; the answer is the number of inputs made for it.
fn fuzz(name: &'static str, plan: &Plan) -> Result<u64, &'static str> {
    let time = Duration::from_secs(plan.seconds);
    let seed = plan.seed;
    let (done, answer) = channel();
    let worker = thread::spawn(move || {
        let deadline = Instant::now() + time;
        let mut batches = 0;
        while batches == 0 || Instant::now() < deadline {
            let seed = seed.wrapping_add(batches);
            assert!(run(name, seed, BATCH), "no target {name}");
            batches += 1;
        }
        // The receiver is gone only when we were given up for hanging.
        let _ = done.send(batches * BATCH);
    });
    match answer.recv_timeout(time + HANG) {
        Ok(inputs) => Ok(inputs),
        Err(RecvTimeoutError::Disconnected) => {
            let _ = worker.join();
            Err("a property does not hold; see the panic above")
        }
        Err(RecvTimeoutError::Timeout) => Err("an input takes for ever"),
    }
}
