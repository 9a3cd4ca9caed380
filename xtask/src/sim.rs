//! `cargo xtask sim`: the world test of the testkit.

use std::process::{Command, ExitCode};
use std::time::Duration;

use crate::flags::{Flag, Given, Usage, parse};
use crate::step::{Report, Step};
use crate::tree::cargo;

pub(crate) const HELP: &str = "\
A world is servers, clients and faults that follow from one seed: handlers of every make, layers,
frames, pools, tasks, broadcasts, links that are kept up, and the laws that they must keep.

flags:
  --seeds N         run the worlds of seeds 0 to N-1 (default 1000; on sockets 100)
  --seed S          run the world of one seed
  --log             with --seed: print every event
  --canary          plant one bug after the other that the checkers must find, between driver and loop, in
                    layers and in strategies; ends with exit code 1 and the seeds when they do
  --sockets DRIVER  in place of simulated networks: real sockets of this machine, and loops on this
                    driver (auto, ring, ready, portable)

examples:
  cargo xtask sim
  cargo xtask sim --seeds 10000
  cargo xtask sim --seed 4711 --log
  cargo xtask sim --canary
  cargo xtask sim --sockets ready --seeds 500
";

/// What the world prints beside the number when a seed fails.
const FINDING: &str = "seed";

const FLAGS: &[Flag] = &[
    Flag::Number("--seeds"),
    Flag::Number("--seed"),
    Flag::Switch("--log"),
    Flag::Switch("--canary"),
    Flag::Switch("--sockets"),
];

pub(crate) fn run(args: &[String]) -> Result<ExitCode, Usage> {
    let given = parse(args, FLAGS, Some("DRIVER"))?;
    let driver = driver(&given)?;
    if given.number("--seed").is_some() && given.number("--seeds").is_some() {
        return Err(Usage("--seed and --seeds exclude each other".to_owned()));
    }
    if given.has("--log") && given.number("--seed").is_none() {
        return Err(Usage("--log wants --seed S: a log of many worlds is of no use".to_owned()));
    }
    if given.has("--log") && driver.is_some() {
        return Err(Usage("--log is for simulated worlds: sockets keep no trace".to_owned()));
    }
    let mut flags: Vec<String> = Vec::new();
    for number in ["--seed", "--seeds"] {
        let value = given.number(number).map(|value| [number.to_owned(), value.to_string()]);
        flags.extend(value.into_iter().flatten());
    }
    flags.extend(driver.into_iter().flat_map(|driver| ["--sockets".to_owned(), driver]));
    for switch in ["--log", "--canary"] {
        flags.extend(given.has(switch).then(|| switch.to_owned()));
    }
    // The exit code of the world is ours: a planted bug that is found ends with 1.
    match world(&flags).status() {
        Ok(status) => {
            Ok(ExitCode::from(status.code().and_then(|code| code.try_into().ok()).unwrap_or(1)))
        }
        Err(error) => {
            eprintln!("error: cannot start cargo: {error}");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// The word after `--sockets`; which drivers there are the world knows.
fn driver(given: &Given) -> Result<Option<String>, Usage> {
    match (given.has("--sockets"), &given.words[..]) {
        (false, []) => Ok(None),
        (true, [driver]) => Ok(Some(driver.clone())),
        (true, _) => Err(Usage("--sockets wants one driver: ring, ready, portable".to_owned())),
        (false, [word, ..]) => Err(Usage(format!("unknown argument `{word}`"))),
    }
}

/// Runs the worlds of `seeds` seeds, and the planted bug, which has to be found.
pub(crate) fn steps(report: &mut Report, seeds: u64, limit: Duration) {
    let count = seeds.to_string();
    let flags = |extra: &[&str]| -> Vec<String> {
        ["--seeds", &count].iter().chain(extra).map(|flag| (*flag).to_owned()).collect()
    };
    report.run(Step::new("sim", world(&flags(&[])), limit));
    let canary = Step::new("sim, planted bug", world(&flags(&["--canary"])), limit);
    report.run(canary.must_find(FINDING));
}

fn world(flags: &[String]) -> Command {
    let mut command = cargo();
    command.args(["run", "--quiet", "--release", "--package", "mainspring-testkit"]);
    command.args(["--bin", "world", "--"]).args(flags);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_that_contradict_each_other_are_refused() {
        let lines: [&[&str]; 6] = [
            &["--seed", "1", "--seeds", "2"],
            &["--log"],
            &["--canary", "--log"],
            &["--sockets"],
            &["ready"],
            &["--sockets", "ready", "--seed", "1", "--log"],
        ];
        for line in lines {
            let args: Vec<String> = line.iter().map(|word| (*word).to_owned()).collect();
            assert!(run(&args).is_err(), "{line:?}");
        }
    }
}
