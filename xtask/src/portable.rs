//! `cargo xtask portable`: whether the code compiles for systems that this is not.

use std::process::{Command, ExitCode};
use std::time::Duration;

use crate::flags::{Usage, parse};
use crate::install;
use crate::step::{Report, Step};
use crate::test::BUILD_LIMIT;
use crate::tree::{Scope, Workspace};

pub(crate) const HELP: &str = "\
Checks libraries and their tests for macOS and Windows, warnings being errors; nothing is linked or run. The standard
library of each is built from Debian's sources of it (Debian only; as root it installs them and a compiler of the same
version). What has TLS in it is left out (mainspring-tls, the program, the examples, the tests of mainspring-app and
mainspring-client): its C code wants a C compiler for each of these systems.

examples:
  cargo xtask portable
";

const LIMIT: Duration = Duration::from_secs(60 * 60);
/// The workflow runs their tests on these systems. That of Windows has another linker there, and is
/// otherwise the same.
const TARGETS: [&str; 2] = ["x86_64-apple-darwin", "x86_64-pc-windows-gnu"];
/// All that can be checked without C; the facade brings mainspring-app and mainspring-client.
const PACKAGES: [&str; 9] = [
    "-pmainspring-wire",
    "-pmainspring-io",
    "-pmainspring-sim",
    "-pmainspring-loop",
    "-pmainspring-layers",
    "-pmainspring-tasks",
    "-pmainspring-testkit",
    "-pmainspring",
    "-pxtask",
];
const WANTS_DEBIAN: &str = "wants Debian, which has the sources of the standard library";

pub(crate) fn run(args: &[String]) -> Result<ExitCode, Usage> {
    parse(args, &[], None)?;
    let workspace = match Workspace::load(Scope::Members) {
        Ok(_) if !is_debian() => Err(format!("this {WANTS_DEBIAN}")),
        loaded => loaded,
    };
    let workspace = match workspace {
        Ok(workspace) => workspace,
        Err(error) => {
            eprintln!("error: {error}");
            return Ok(ExitCode::FAILURE);
        }
    };
    let mut report = Report::new(LIMIT);
    steps(&mut report, &workspace);
    Ok(if report.finish() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The gate of `cargo xtask ci`.
pub(crate) fn steps(report: &mut Report, workspace: &Workspace) {
    if !is_debian() {
        println!("other systems: not run, {WANTS_DEBIAN}");
        return;
    }
    if !report.call("other systems, install", install::install_compiling) {
        return;
    }
    for target in TARGETS {
        let check = check(workspace, target);
        report.run(Step::new(format!("other systems, {target}"), check, BUILD_LIMIT));
    }
}

fn check(workspace: &Workspace, target: &str) -> Command {
    let mut command = Command::new("/usr/bin/cargo");
    command.current_dir(&workspace.root).args(["check", "--locked", "--all-targets"]);
    command.args(["-Zbuild-std=std,panic_abort,test", "--target", target]).args(PACKAGES);
    command.arg("--target-dir").arg(workspace.target.join("portable"));
    // To build the standard library is unstable; the switch lets a released compiler do it.
    command.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", "-Dwarnings");
    command.env("RUSTC", "/usr/bin/rustc");
    // Of the toolchain that runs us.
    command.env_remove("LD_LIBRARY_PATH").env_remove("RUSTUP_TOOLCHAIN");
    command
}

/// Its derivatives do not have these packages.
fn is_debian() -> bool {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    release.lines().any(|line| line == "ID=debian")
}
