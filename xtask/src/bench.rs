//! `cargo xtask bench`: our servers beside raw floors and peers, measured by the workspace in
//! `bench/`.

use std::path::Path;
use std::process::{Command, ExitCode};

use crate::flags::{Flag, Given, Usage, parse};
use crate::tree::{Scope, Workspace, cargo};

pub(crate) const HELP: &str = "\
Measures our servers beside raw epoll floors and peers, in turns, each pinned to a core of its own and the load to
another. Prints a table of processor time per request, requests per second and latencies; writes bench/out/KIND.txt
and bench/out/KIND.svg. bench/README.md tells how to read them.

usage: cargo xtask bench KIND.. [flags]

kinds:
  echo    the same bytes back over tcp, unix and udp: floor-echo, mainspring, mio, tokio, std threads
  http    Hello World: floor-http, mainspring, hyper, std threads
  redis   PING, SET, GET: floor-resp, mainspring, and redis-server and redis-benchmark where installed

flags:
  --quick         three short rounds of the cases that say most
  --rounds N      rounds (default 5; with --quick 3)
  --window-ms N   milliseconds of each measured window (default 2000; with --quick 500)
  --repeats N     how many times a run that others disturbed is repeated (default 3)
  --lab           write bench/LAB.md and docs/img/bench-KIND.svg too, unless a run was disturbed

examples:
  cargo xtask bench echo --quick
  cargo xtask bench redis --rounds 7
  cargo xtask bench echo http redis --lab
";

const KINDS: &[&str] = &["echo", "http", "redis"];
const FLAGS: &[Flag] = &[
    Flag::Switch("--quick"),
    Flag::Number("--rounds"),
    Flag::Number("--window-ms"),
    Flag::Number("--repeats"),
    Flag::Switch("--lab"),
];

pub(crate) fn run(args: &[String]) -> Result<ExitCode, Usage> {
    let given = parse(args, FLAGS, Some(&KINDS.join(", ")))?;
    check_kinds(&given.words)?;
    let outcome = Workspace::load(Scope::Members).and_then(|workspace| measure(&workspace, &given));
    Ok(match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    })
}

fn check_kinds(words: &[String]) -> Result<(), Usage> {
    let allowed = KINDS.join(", ");
    if words.is_empty() {
        return Err(Usage(format!("which bench? allowed: {allowed}")));
    }
    match words.iter().find(|word| !KINDS.contains(&word.as_str())) {
        Some(word) => Err(Usage(format!("unknown bench `{word}`; allowed: {allowed}"))),
        None => Ok(()),
    }
}

fn measure(workspace: &Workspace, given: &Given) -> Result<(), String> {
    let root = &workspace.root;
    let target = workspace.target.join("bench");
    let mut ours = cargo();
    ours.current_dir(root).args(["build", "--release", "--package", "mainspring-cli"]);
    succeed(ours)?;
    let mut bench = cargo();
    bench.args(["build", "--release", "--locked", "--package", "mainspring-bench"]);
    bench.arg("--manifest-path").arg(root.join("bench").join("Cargo.toml"));
    bench.arg("--target-dir").arg(&target);
    succeed(bench)?;
    for kind in &given.words {
        let mut runner = Command::new(target.join("release").join("runner"));
        runner.args(runner_args(kind, given));
        runner.arg("--root").arg(root);
        runner.arg("--mainspring").arg(program(&workspace.target));
        succeed(runner)?;
    }
    Ok(())
}

fn program(target: &Path) -> std::path::PathBuf {
    target.join("release").join(format!("mainspring{}", std::env::consts::EXE_SUFFIX))
}

fn runner_args(kind: &str, given: &Given) -> Vec<String> {
    let mut args = vec!["run".to_owned(), kind.to_owned()];
    for flag in FLAGS {
        match flag {
            Flag::Switch(name) if given.has(name) => args.push((*name).to_owned()),
            Flag::Switch(_) => {}
            Flag::Number(name) => {
                let value = given.number(name);
                args.extend(value.map(|value| format!("{name}={value}")));
            }
        }
    }
    args
}

fn succeed(mut command: Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.status().map_err(|error| format!("cannot start `{name}`: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{name}` ended with {status}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_bench_that_is_not_known_is_refused_with_those_that_are() {
        let Usage(message) = run(&words("echo ftp --quick")).unwrap_err();
        assert_eq!(message, "unknown bench `ftp`; allowed: echo, http, redis");
        let Usage(message) = run(&words("--quick")).unwrap_err();
        assert_eq!(message, "which bench? allowed: echo, http, redis");
    }

    #[test]
    fn flags_reach_the_runner() {
        let given = parse(&words("redis --rounds 7 --quick"), FLAGS, Some("KIND")).unwrap();
        assert_eq!(runner_args("redis", &given), ["run", "redis", "--quick", "--rounds=7"]);
    }

    #[test]
    fn the_help_names_every_kind_and_flag() {
        for name in KINDS.iter().copied().chain(["--quick", "--rounds", "--repeats", "--lab"]) {
            assert!(HELP.contains(name), "{name}");
        }
    }
}
