//! `cargo xtask test`: everything that must pass before a change is merged.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use crate::flags::{Usage, parse};
use crate::step::{Report, Step};
use crate::tree::{Scope, Workspace, cargo};
use crate::{fuzz, install, license, sim, tidy};

pub(crate) const HELP: &str = "\
Installs what the tests need (on Debian as root; elsewhere it says what is missing), then runs format,
lints, documentation, tidy, licenses, all tests, a simulation with its planted bug, and the fuzz bodies.
The last line is the sum of the tests: `N passed, N failed`.

examples:
  cargo xtask test
";

/// From cold on two cores it is a quarter of an hour, from warm a few minutes; five times that is for
/// machines whose cores are taken by others.
const LIMIT: Duration = Duration::from_secs(75 * 60);
/// For a step that compiles the workspace from cold.
pub(crate) const BUILD_LIMIT: Duration = Duration::from_secs(30 * 60);
const TESTS_LIMIT: Duration = Duration::from_secs(40 * 60);
const SEEDS: u64 = 1000;
const FUZZ_SECONDS: u64 = 3;

pub(crate) fn run(args: &[String]) -> Result<ExitCode, Usage> {
    parse(args, &[], None)?;
    let workspace = match Workspace::load(Scope::Members) {
        Ok(workspace) => workspace,
        Err(error) => {
            eprintln!("error: {error}");
            return Ok(ExitCode::FAILURE);
        }
    };
    let mut report = Report::new(LIMIT);
    steps(&mut report, &workspace, SEEDS, FUZZ_SECONDS);
    Ok(if report.finish() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// All steps in order. The gates do not stand in each other's way: one run shows every failure.
pub(crate) fn steps(report: &mut Report, workspace: &Workspace, seeds: u64, fuzz_seconds: u64) {
    let ready = install(report, workspace);
    gates(report, workspace);
    let built = builds(report, workspace);
    if ready && built {
        server_tests(report, workspace, &peers(workspace));
        let mut bench = in_root(workspace, &["test", "--locked", "--manifest-path"]);
        bench.arg(workspace.root.join("bench").join("Cargo.toml"));
        bench.arg("--target-dir").arg(workspace.target.join("bench"));
        report.run(Step::new("tests, bench", bench, BUILD_LIMIT));
    } else {
        report.call("tests", || Err("not run: a step before them failed".to_owned()));
    }
    sim::steps(report, seeds, BUILD_LIMIT);
    fuzz::steps(report, workspace, fuzz_seconds, BUILD_LIMIT);
}

/// The foreign programs and libraries that the tests talk to.
pub(crate) fn install(report: &mut Report, workspace: &Workspace) -> bool {
    report.call("install", || install::install(&workspace.root, &peers(workspace)))
}

/// All tests, and those of everything that serves on each driver. Which driver is not left to the
/// probe: a ring that is missing is a failure, not a reason to test less.
fn server_tests(report: &mut Report, workspace: &Workspace, peers: &Path) {
    const SERVING: [&str; 8] = [
        "-pmainspring-loop",
        "-pmainspring-tasks",
        "-pmainspring-tls",
        "-pmainspring-layers",
        "-pmainspring-app",
        "-pmainspring-client",
        "-pmainspring-cli",
        "-pmainspring-examples",
    ];
    let mut run = |name: &str, driver: &str, of: &[&str]| {
        let mut tests = in_root(workspace, &["test", "--no-fail-fast"]);
        tests.args(of).env("MAINSPRING_DRIVER", driver).env("MAINSPRING_PEERS", peers);
        tests.env("MAINSPRING_BIN", release_program(workspace));
        report.run(Step::new(name, tests, TESTS_LIMIT));
    };
    if cfg!(target_os = "linux") {
        run("tests", "ring", &["--workspace"]);
        run("tests, ready driver", "ready", &SERVING);
    } else {
        run("tests", "ready", &["--workspace"]);
    }
}

/// Where the client libraries of other languages are: `python` and `node` below it.
pub(crate) fn peers(workspace: &Workspace) -> PathBuf {
    workspace.target.join("peers")
}

/// A cargo command with the root as its working directory.
pub(crate) fn in_root(workspace: &Workspace, args: &[&str]) -> Command {
    let mut command = cargo();
    command.current_dir(&workspace.root).args(args);
    command
}

fn gates(report: &mut Report, workspace: &Workspace) {
    let root = &workspace.root;
    report.call("tidy", || tidy::check(root));
    report.call("licenses", license::check);
    report.run(Step::new("format", in_root(workspace, &["fmt", "--all", "--check"]), BUILD_LIMIT));
    // Not `--all`, which would format what the fuzz workspace depends on once more.
    let fuzz_format = ["fmt", "--check", "--package", "mainspring-fuzz"];
    let mut fuzz_format = in_root(workspace, &fuzz_format);
    fuzz_format.args(["--package", "mainspring-fuzz-smoke", "--manifest-path"]);
    fuzz_format.arg(fuzz::manifest(root));
    report.run(Step::new("format, fuzz", fuzz_format, BUILD_LIMIT));
    let mut bench_format = in_root(workspace, &["fmt", "--all", "--check", "--manifest-path"]);
    bench_format.arg(root.join("bench").join("Cargo.toml"));
    report.run(Step::new("format, bench", bench_format, BUILD_LIMIT));
    let clippy = ["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"];
    report.run(Step::new("lints", in_root(workspace, &clippy), BUILD_LIMIT));
    let mut fuzz_clippy =
        in_root(workspace, &["clippy", "--release", "--locked", "--manifest-path"]);
    fuzz_clippy.arg(fuzz::manifest(root)).arg("--target-dir").arg(workspace.target.join("fuzz"));
    fuzz_clippy.args(["--", "--deny", "warnings"]);
    report.run(Step::new("lints, fuzz", fuzz_clippy, BUILD_LIMIT));
    let mut docs = in_root(workspace, &["doc", "--workspace", "--no-deps"]);
    docs.env("RUSTDOCFLAGS", "--deny warnings");
    report.run(Step::new("docs", docs, BUILD_LIMIT));
}

fn builds(report: &mut Report, workspace: &Workspace) -> bool {
    let all = in_root(workspace, &["build", "--workspace", "--all-targets"]);
    let program = in_root(workspace, &["build", "--release", "--package", "mainspring-cli"]);
    let built = report.run(Step::new("build", all, BUILD_LIMIT));
    report.run(Step::new("build, release program", program, BUILD_LIMIT)) && built
}

fn release_program(workspace: &Workspace) -> PathBuf {
    let name = format!("mainspring{}", std::env::consts::EXE_SUFFIX);
    workspace.target.join("release").join(name)
}
