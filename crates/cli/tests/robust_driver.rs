//! Which driver serves: the ring where the system allows it, readiness where it does not, and a
//! word about why.
#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods, reason = "clients live in real time")]

mod robust;

use robust::client::{Protocol, ask, connect};
use robust::process::Process;
use robust::server::{Launch, Server};
use std::fs;

/// What the log line of a fallback begins with.
const FALLBACK: &str = "no io_uring";

#[test]
fn auto_is_the_ring_where_there_is_one() {
    let server = start(&["--driver", "auto", "--loops", "2"]);
    assert_eq!(rings(server.process()), 2, "{}", server.log());
    serves(&server);
    assert_eq!(server.log().matches(FALLBACK).count(), 0, "{}", server.log());
}

#[test]
fn a_driver_that_was_asked_for_is_the_one_that_serves() {
    for (driver, expected) in [("ready", 0), ("portable", 0), ("ring", 1)] {
        let server = start(&["--driver", driver]);
        assert_eq!(rings(server.process()), expected, "{driver}");
        serves(&server);
    }
}

/// An operator can choose without a new command line; the command line has the last word.
#[test]
fn the_environment_decides_where_the_command_line_does_not() {
    for (variable, arguments, expected) in [
        ("ready", &[][..], 0),
        ("ring", &[][..], 1),
        ("ready", &["--driver", "ring"][..], 1),
        ("ring", &["--driver", "ready"][..], 0),
    ] {
        let launch = Launch::of("echo").args(arguments).variable("MAINSPRING_DRIVER", variable);
        let server = launch.start();
        assert_eq!(rings(server.process()), expected, "{variable} {arguments:?}");
        serves(&server);
    }
    let wrong = Launch::of("echo").variable("MAINSPRING_DRIVER", "epoll").run();
    assert_eq!(wrong.code, Some(1), "{wrong:?}");
    for word in ["MAINSPRING_DRIVER", "epoll", "auto, ring, ready, portable"] {
        assert!(wrong.stderr.contains(word), "no {word:?} in {wrong:?}");
    }
}

/// As under a seccomp filter or `kernel.io_uring_disabled`, on an old kernel, and out of memory
/// that may be locked.
#[test]
fn auto_falls_back_with_one_line_that_says_why() {
    for (error, reason) in [
        ("EPERM", "kernel.io_uring_disabled"),
        ("ENOSYS", "this kernel does not have it"),
        ("ENOMEM", "RLIMIT_MEMLOCK"),
    ] {
        let launch = forbidding(error).args(&["--driver", "auto", "--loops", "2"]);
        let launch = launch.without_variable("MAINSPRING_DRIVER");
        let server = launch.start();
        assert_eq!(rings(server.process()), 0, "{error}");
        serves(&server);
        let log = server.log();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(FALLBACK)).collect();
        assert_eq!(lines.len(), 1, "{error}: {log}");
        assert!(lines[0].contains(reason), "{error}: {}", lines[0]);
    }
}

#[test]
fn a_ring_that_was_asked_for_and_cannot_be_had_is_an_error() {
    for (error, reason) in [
        ("EPERM", "kernel.io_uring_disabled"),
        ("ENOSYS", "this kernel does not have it"),
        ("ENOMEM", "RLIMIT_MEMLOCK"),
    ] {
        let ended = forbidding(error).args(&["--driver", "ring"]).run();
        assert_eq!(ended.code, Some(1), "{error}: {ended:?}");
        assert!(ended.stderr.contains(reason), "{error}: {ended:?}");
    }
}

/// Without privilege and without a byte of lockable memory: kernels before 5.12 and after 6.13
/// count the ring against the limit. Whichever this is, somebody is served, and a fallback is told.
#[test]
fn no_lockable_memory_is_no_reason_not_to_serve() {
    let nobody = "prlimit --memlock=0:0 setpriv --reuid=65534 --regid=65534 --clear-groups --";
    let words = nobody.split(' ').map(str::to_owned).collect();
    let launch = Launch::of("echo").args(&["--driver", "auto"]).exec_by(words);
    let server = launch.without_variable("MAINSPRING_DRIVER").start();
    serves(&server);
    let log = server.log();
    match rings(server.process()) {
        0 => assert!(log.contains(FALLBACK) && log.contains("RLIMIT_MEMLOCK"), "{log}"),
        _ => assert!(!log.contains(FALLBACK), "{log}"),
    }
}

fn start(arguments: &[&str]) -> Server {
    Launch::of("echo").args(arguments).without_variable("MAINSPRING_DRIVER").start()
}

/// The program under a tracer that has the kernel refuse a ring.
fn forbidding(error: &str) -> Launch {
    let words = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=io_uring_setup", "-e"];
    let mut words: Vec<String> = words.map(str::to_owned).to_vec();
    words.push(format!("inject=io_uring_setup:error={error}"));
    Launch::of("echo").wrapped_in(words)
}

/// How many rings the process has open.
fn rings(process: Process) -> usize {
    let descriptors = fs::read_dir(format!("/proc/{}/fd", process.0)).expect("it runs");
    let targets = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    targets.filter(|target| target.to_string_lossy() == "anon_inode:[io_uring]").count()
}

fn serves(server: &Server) {
    for _ in 0..4 {
        ask(Protocol::Echo, &connect(server.address())).expect("it serves");
    }
}
