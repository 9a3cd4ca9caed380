//! `cargo xtask bench`: our servers beside raw floors and peers, measured by the workspace in
//! `bench/`.

use std::path::Path;
use std::process::{Command, ExitCode};

use crate::flags::{Flag, Given, Usage, parse};
use crate::tree::{Scope, Workspace, cargo};

pub(crate) const HELP: &str = "\
Measures our servers with each driver beside raw floors and peers, in turns, the server pinned to one core and the load
to another. Prints for each case a table of processor time per request, requests per second and latencies, then all
cases on one page and what became of the targets; writes bench/out/KIND.txt and bench/out/KIND.svg. bench/README.md
tells how to read them. What is not installed (redis, nginx, libuv) stays empty.

usage: cargo xtask bench KIND.. [flags]

kinds:
  echo    the same bytes back over tcp (64 B, 1 KiB, 16 KiB; 1, 50, 500 connections; 1 and 16 in flight) and unix
  redis   PING, SET, GET, 1 and 128 in flight, by our generator and by redis-benchmark
  http    Hello World, 64 connections, 1 and 16 in flight
  tls     the same bytes back over TLS 1.3 (64 B, 1 KiB, 16 KiB), 50 connections, beside tokio-rustls
  udp     64 B, 512 in flight, plain and with GRO and GSO
  idle    15,000 connections that do nothing: their memory, and what they cost 50 that do
  scale   one loop and two on two cores, the load beside them
  all     all of these, one after another

flags:
  --quick           fewer rounds of the cases that say most
  --rounds N        rounds (default 17; with --quick 9)
  --window-ms N     milliseconds of each measured window (default 100)
  --repeats N       how many times a run that others disturbed is repeated (default 2)
  --cells TEXTS     only cases whose title has one of these texts, parted by commas
  --servers TEXTS   only the floor and servers whose name has one of these texts, parted by commas
  --again TEXTS     run servers whose name has one of these texts twice in each round: what the ratio of equals is
  --lab             write bench/LAB.md and docs/img/bench-KIND.svg too; runs that stayed disturbed are marked there

examples:
  cargo xtask bench echo --quick
  cargo xtask bench redis --rounds 25
  cargo xtask bench echo --cells '64 B 50c' --servers mainspring,tokio
  cargo xtask bench all --lab
";

const KINDS: &[&str] = &["echo", "redis", "http", "tls", "udp", "idle", "scale"];
const ALL: &str = "all";
const FLAGS: &[Flag] = &[
    Flag::Switch("--quick"),
    Flag::Number("--rounds"),
    Flag::Number("--window-ms"),
    Flag::Number("--repeats"),
    Flag::Switch("--lab"),
];
/// Flags whose value is text; they are taken away before the others are read.
const FILTERS: &[&str] = &["--cells", "--servers", "--again"];

pub(crate) fn run(args: &[String]) -> Result<ExitCode, Usage> {
    let (filters, rest) = take_filters(args)?;
    let given = parse(&rest, FLAGS, Some(&allowed_kinds()))?;
    let kinds = kinds(&given.words)?;
    if given.has("--lab") && (given.has("--quick") || !filters.is_empty()) {
        return Err(Usage(
            "--lab takes all cases and servers: leave --quick, --cells, --servers, --again out"
                .to_owned(),
        ));
    }
    let outcome = Workspace::load(Scope::Members)
        .and_then(|workspace| measure(&workspace, &kinds, &given, &filters));
    Ok(match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    })
}

/// `--cells TEXTS` and `--servers TEXTS`, as `--cells=TEXTS`; and what else there is.
fn take_filters(args: &[String]) -> Result<(Vec<String>, Vec<String>), Usage> {
    let (mut filters, mut rest) = (Vec::new(), Vec::new());
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let (name, inline) = match arg.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (arg.as_str(), None),
        };
        if !FILTERS.contains(&name) {
            rest.push(arg.clone());
            continue;
        }
        match inline.or_else(|| args.next().cloned()).filter(|value| !value.is_empty()) {
            Some(value) => filters.push(format!("{name}={value}")),
            None => return Err(Usage(format!("{name} wants texts parted by commas"))),
        }
    }
    Ok((filters, rest))
}

fn kinds(words: &[String]) -> Result<Vec<&'static str>, Usage> {
    if words.is_empty() {
        return Err(Usage(format!("which bench? allowed: {}", allowed_kinds())));
    }
    let mut kinds = Vec::new();
    for word in words {
        match KINDS.iter().find(|kind| *kind == word) {
            Some(kind) => kinds.push(*kind),
            None if word == ALL => kinds.extend(KINDS),
            None => {
                return Err(Usage(format!("unknown bench `{word}`; allowed: {}", allowed_kinds())));
            }
        }
    }
    Ok(kinds)
}

fn allowed_kinds() -> String {
    format!("{}, {ALL}", KINDS.join(", "))
}

fn measure(
    workspace: &Workspace,
    kinds: &[&str],
    given: &Given,
    filters: &[String],
) -> Result<(), String> {
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
    for kind in kinds {
        let mut runner = Command::new(target.join("release").join("runner"));
        runner.args(runner_args(kind, given)).args(filters);
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
        let allowed = "allowed: echo, redis, http, tls, udp, idle, scale, all";
        let Usage(message) = run(&words("echo ftp --quick")).unwrap_err();
        assert_eq!(message, format!("unknown bench `ftp`; {allowed}"));
        let Usage(message) = run(&words("--quick")).unwrap_err();
        assert_eq!(message, format!("which bench? {allowed}"));
        assert_eq!(kinds(&words("all")).unwrap(), KINDS);
        assert_eq!(kinds(&words("udp echo")).unwrap(), ["udp", "echo"]);
    }

    #[test]
    fn flags_reach_the_runner() {
        let given = parse(&words("redis --rounds 7 --quick"), FLAGS, Some("KIND")).unwrap();
        assert_eq!(runner_args("redis", &given), ["run", "redis", "--quick", "--rounds=7"]);
        let line: Vec<String> =
            ["echo", "--cells", "64 B", "--servers=mio,tokio"].map(str::to_owned).to_vec();
        let (filters, rest) = take_filters(&line).unwrap();
        assert_eq!(filters, ["--cells=64 B", "--servers=mio,tokio"]);
        assert_eq!(rest, ["echo"]);
        assert!(take_filters(&words("echo --cells")).is_err());
    }

    #[test]
    fn the_lab_book_takes_whole_runs_only() {
        for line in ["echo --lab --quick", "echo --lab --cells x"] {
            assert!(run(&words(line)).is_err(), "{line}");
        }
    }

    #[test]
    fn the_help_names_every_kind_and_flag() {
        let flags = ["--quick", "--rounds", "--window-ms", "--repeats", "--lab"];
        for name in KINDS.iter().chain(&flags).chain(FILTERS).chain(&[ALL]) {
            assert!(HELP.contains(name), "{name}");
        }
    }
}
