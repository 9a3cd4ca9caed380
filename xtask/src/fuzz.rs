//! `cargo xtask fuzz`: the fuzz bodies of the crates under random bytes, on a stable toolchain.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use crate::flags::{Flag, Usage, parse};
use crate::step::{Report, Step};
use crate::tree::{Scope, Workspace, cargo};

pub(crate) const HELP: &str = "\
flags:
  --seconds S   seconds for each target (default 5)
  --seed N      where the random bytes start (default: another one each time; printed)
  TARGET..      names of fuzz bodies (default: all)

examples:
  cargo xtask fuzz
  cargo xtask fuzz --seconds 60 resp_commands
  cargo xtask fuzz --seed 17 resp_commands

For coverage-guided fuzzing through the night: cd fuzz && cargo +nightly fuzz run TARGET
";

const FLAGS: &[Flag] = &[Flag::Number("--seconds"), Flag::Number("--seed")];

pub(crate) fn run(args: &[String]) -> Result<ExitCode, Usage> {
    let given = parse(args, FLAGS, Some("TARGET"))?;
    let workspace = match Workspace::load(Scope::Members) {
        Ok(workspace) => workspace,
        Err(error) => {
            eprintln!("error: {error}");
            return Ok(ExitCode::FAILURE);
        }
    };
    let mut command = smoke(&workspace, given.number("--seconds").unwrap_or(5));
    if let Some(seed) = given.number("--seed") {
        command.args(["--seed", &seed.to_string()]);
    }
    command.args(&given.words);
    match command.status() {
        Ok(status) => {
            Ok(ExitCode::from(status.code().and_then(|code| code.try_into().ok()).unwrap_or(1)))
        }
        Err(error) => {
            eprintln!("error: cannot start cargo: {error}");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Runs every body for `seconds`.
pub(crate) fn steps(report: &mut Report, workspace: &Workspace, seconds: u64, limit: Duration) {
    report.run(Step::new("fuzz", smoke(workspace, seconds), limit));
}

/// The manifest of the program that runs the bodies, in a workspace of its own.
pub(crate) fn manifest(root: &Path) -> std::path::PathBuf {
    root.join("fuzz").join("smoke").join("Cargo.toml")
}

fn smoke(workspace: &Workspace, seconds: u64) -> Command {
    let mut command = cargo();
    command.args(["run", "--quiet", "--release", "--locked", "--manifest-path"]);
    command.arg(manifest(&workspace.root));
    command.arg("--target-dir").arg(workspace.target.join("fuzz"));
    command.args(["--", "--seconds", &seconds.to_string()]);
    command
}
