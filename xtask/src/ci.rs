//! `cargo xtask ci`: all of `test`, and what is too slow to wait for at a desk.

use std::process::{Command, ExitCode};
use std::time::Duration;

use crate::flags::{Flag, Usage, parse};
use crate::step::{Report, Step};
use crate::test::{self, BUILD_LIMIT, in_root};
use crate::tree::{Scope, Workspace};
use crate::{counts, portable};

pub(crate) const HELP: &str = "\
All of `cargo xtask test` with 10,000 seeds and longer fuzzing, then the suite under AddressSanitizer and
LeakSanitizer (x86-64 Linux), the loom models of the inbox, a broadcast beside a thousand peers that never
read, the code as macOS and Windows compile it (Debian, see `cargo xtask portable`), cargo-deny (installed below
target/tools), and the instruction counts (Linux, see `cargo xtask counts`).

flags:
  --advisories  have cargo-deny look for known vulnerabilities too; wants github.com, where their database is
  STEP..        only these: tests, asan, loom, stalled, portable, deny, counts (default: all)

examples:
  cargo xtask ci
  cargo xtask ci --advisories
  cargo xtask ci asan loom
";

const STEPS: [&str; 7] = ["tests", "asan", "loom", "stalled", "portable", "deny", "counts"];
const ADVISORIES: Flag = Flag::Switch("--advisories");

const LIMIT: Duration = Duration::from_secs(110 * 60);
const SLOW_LIMIT: Duration = Duration::from_secs(30 * 60);
const SEEDS: u64 = 10_000;
const FUZZ_SECONDS: u64 = 30;
/// The standard library ships with sanitizer runtimes for few targets; this is the one we run.
const ASAN_TARGET: &str = "x86_64-unknown-linux-gnu";
/// Pinned, so that a new release cannot turn a green tree red over night.
const CARGO_DENY_VERSION: &str = "0.20.2";

pub(crate) fn run(args: &[String]) -> Result<ExitCode, Usage> {
    let given = parse(args, &[ADVISORIES], Some("STEP"))?;
    if let Some(word) = given.words.iter().find(|word| !STEPS.contains(&word.as_str())) {
        return Err(Usage(format!("no step `{word}`; there are {}", STEPS.join(", "))));
    }
    let wanted = |step: &str| given.words.is_empty() || given.words.iter().any(|word| word == step);
    let workspace = match Workspace::load(Scope::Members) {
        Ok(workspace) => workspace,
        Err(error) => {
            eprintln!("error: {error}");
            return Ok(ExitCode::FAILURE);
        }
    };
    let mut report = Report::new(LIMIT);
    if wanted("tests") {
        test::steps(&mut report, &workspace, SEEDS, FUZZ_SECONDS);
    }
    if wanted("asan") {
        address_sanitizer(&mut report, &workspace);
    }
    if wanted("loom") {
        loom(&mut report, &workspace);
    }
    if wanted("stalled") {
        stalled(&mut report, &workspace);
    }
    if wanted("portable") {
        portable::steps(&mut report, &workspace);
    }
    if wanted("deny") {
        cargo_deny(&mut report, &workspace, given.has("--advisories"));
    }
    // Last: it is what a change breaks on purpose, and then mends with `--write`.
    if wanted("counts") {
        counts::step(&mut report, &workspace);
    }
    Ok(if report.finish() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The suite and the program that its clients talk to, both instrumented. Doc tests are left out:
/// they run the same code, each linked anew.
fn address_sanitizer(report: &mut Report, workspace: &Workspace) {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        println!("address sanitizer: not run, wants {ASAN_TARGET}");
        return;
    }
    if !test::install(report, workspace) {
        return;
    }
    let target = workspace.target.join("asan");
    let instrumented = |args: &[&str]| -> Command {
        let mut command = in_root(workspace, args);
        command.args(["--target", ASAN_TARGET, "--target-dir"]).arg(&target);
        // Sanitizers are unstable flags of rustc; the bootstrap switch lets the stable one take
        // them, so that what is tested is what the released compiler makes.
        command.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", "-Zsanitizer=address");
        command.env("ASAN_OPTIONS", "detect_leaks=1:detect_stack_use_after_return=1");
        command
    };
    // The programs that the tests start. Named targets do not have cargo build examples by itself.
    let mut programs = instrumented(&["build", "--package", "mainspring-cli", "--bins"]);
    programs.args(["--package", "mainspring-examples", "--examples"]);
    if !report.run(Step::new("address sanitizer, programs", programs, BUILD_LIMIT)) {
        return;
    }
    let mut tests = instrumented(&["test", "--workspace", "--exclude", "xtask", "--no-fail-fast"]);
    tests.args(["--lib", "--bins", "--tests"]);
    tests.env("MAINSPRING_PEERS", test::peers(workspace));
    tests.env("MAINSPRING_BIN", target.join(ASAN_TARGET).join("debug").join("mainspring"));
    // The sanitizer's own memory beside each allocation is not what those tests are about, and what
    // they weigh is left to the end of its process.
    tests.arg("--");
    for weighing in ["an_idle_connection_costs", "one_side_alone_tells", "stalled_peers_cost"] {
        tests.args(["--skip", weighing]);
    }
    report.run(Step::new("address sanitizer, tests", tests, SLOW_LIMIT));
}

/// Every interleaving of the inbox and the wake flag that loom's bounds let through.
fn loom(report: &mut Report, workspace: &Workspace) {
    let mut models = in_root(workspace, &["test", "--release", "--package", "mainspring-loop"]);
    models.args(["--test", "loom", "--target-dir"]).arg(workspace.target.join("loom"));
    models.env("RUSTFLAGS", "--cfg loom").env("LOOM_MAX_PREEMPTIONS", "3");
    report.run(Step::new("loom", models, SLOW_LIMIT));
}

/// A broadcast at full size: what a thousand peers that never read cost in memory, and a thousand
/// others in time. Alone, because it measures.
fn stalled(report: &mut Report, workspace: &Workspace) {
    if !cfg!(target_os = "linux") {
        println!("stalled peers: not run, wants Linux");
        return;
    }
    for driver in ["ready", "ring"] {
        let test = ["test", "--release", "--package", "mainspring-loop", "--test", "stalled"];
        let mut test = in_root(workspace, &test);
        test.args(["--", "--ignored", "--nocapture"]).env("MAINSPRING_DRIVER", driver);
        report.run(Step::new(format!("stalled peers, {driver}"), test, BUILD_LIMIT));
    }
}

/// Whether a crate that we use has a known vulnerability changes without a change of ours, and asks a
/// machine that a closed network may not reach: hence only when wished.
fn cargo_deny(report: &mut Report, workspace: &Workspace, advisories: bool) {
    let tools = workspace.target.join("tools");
    let mut install = in_root(workspace, &["install", "--locked", "--debug", "cargo-deny"]);
    install.args(["--version", CARGO_DENY_VERSION, "--root"]).arg(&tools);
    // `cargo install` does nothing when this version is there already.
    if !report.run(Step::new("cargo-deny, install", install, BUILD_LIMIT)) {
        return;
    }
    let mut check = |name: &str, of: &[&str]| {
        let mut deny = Command::new(tools.join("bin").join("cargo-deny"));
        deny.current_dir(&workspace.root).arg("check").args(of);
        report.run(Step::new(name, deny, BUILD_LIMIT));
    };
    check("cargo-deny", &["licenses", "bans", "sources"]);
    if advisories {
        check("cargo-deny, advisories", &["advisories"]);
    } else {
        println!("cargo-deny, advisories: not run, as it asks github.com; `--advisories` runs it");
    }
}
