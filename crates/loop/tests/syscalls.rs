//! The system calls of a warm turn, as strace sees them.
#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods, reason = "tests run by the clock")]

mod support;

use mainspring_io::DriverKind;
use mainspring_loop::{Action, Conn, Input, Server};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;
use support::*;

/// Where the traced process tells the address and the thread of its loop.
const TELL: &str = "MAINSPRING_TEST_TRACED";
const DRIVER: &str = "MAINSPRING_TEST_DRIVER";
const CLIENTS: usize = 8;
const ROUNDS: usize = 5;
const HOLD: &[u8] = b"hold";

/// Not a test of its own: the server in the process that the others [`trace`].
#[test]
fn traced_server() {
    let Some(tell) = std::env::var_os(TELL) else { return };
    let driver: DriverKind = std::env::var(DRIVER).unwrap().parse().unwrap();
    let served = Server::builder().driver(driver).run(|shard| {
        let host = shard.host(|conn: &mut Conn<'_>, input: &mut Input<'_>| {
            let bytes = input.take();
            match &*bytes {
                // Long enough for all clients to have sent before the next turn.
                HOLD => thread::sleep(Duration::from_millis(100)),
                b"shutdown" => return Action::Shutdown,
                bytes => conn.out().extend_from_slice(bytes),
            }
            Action::Continue
        });
        let at = shard.listen(host, TCP)?;
        let thread = std::fs::read_link("/proc/thread-self").unwrap();
        let thread = thread.file_name().unwrap().to_string_lossy().into_owned();
        let part = Path::new(&tell).with_extension("part");
        std::fs::write(&part, format!("{at} {thread}")).unwrap();
        std::fs::rename(part, &tell).unwrap();
        Ok(())
    });
    served.unwrap();
}

/// Ends the traced process even if the test fails.
struct Traced(Child);

impl Drop for Traced {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn one_wait_then_one_receive_and_one_send_each() {
    let _bound = bound(120);
    let traced = trace(DriverKind::Ready);
    let turns = full_turns(&traced);
    assert_eq!(turns.len(), ROUNDS, "turns that {CLIENTS} clients shared:\n{traced:#?}");
    show("ready", turns[ROUNDS - 1]);
    for turn in &turns {
        let wanted = [&["epoll_pwait"][..], &["recvfrom"; CLIENTS], &["sendto"; CLIENTS]].concat();
        assert_eq!(names(turn), wanted, "{turn:#?}");
    }
}

/// A turn fetches what all have sent; the next one takes all replies away and waits for more.
#[test]
fn on_the_ring_one_call_for_everything() {
    let _bound = bound(120);
    let traced = trace(DriverKind::Ring);
    let held = traced.iter().enumerate().filter(|(_, call)| call.starts_with("clock_nanosleep("));
    let rounds: Vec<&[String]> = held
        .map(|(at, _)| {
            let rest = &traced[at + 1..];
            let ends = |call: &String| !call.starts_with("io_uring_enter(");
            &rest[..rest.iter().position(ends).unwrap_or(rest.len())]
        })
        .collect();
    assert_eq!(rounds.len(), ROUNDS, "{traced:#?}");
    show("ring", rounds[ROUNDS - 1]);
    for (number, round) in rounds.iter().enumerate() {
        // One fetches the requests; one submits the replies and the mark behind them, and sleeps
        // until the next request to hold: the mark and one completion more. It may be interrupted
        // once, to tell what has been sent.
        let replies = format!(", {}, 2, ", CLIENTS + 1);
        assert!(round.iter().any(|call| call.contains(&replies)), "{replies} in {round:#?}");
        assert!(round.len() <= 4, "round {number}: {round:#?}");
    }
}

#[expect(clippy::print_stdout, reason = "the trace is for the reader of the test")]
fn show(driver: &str, turn: &[impl std::fmt::Display]) {
    println!("{driver}: one warm turn with {CLIENTS} busy connections:");
    turn.iter().for_each(|call| println!("  {call}"));
}

/// The calls of a loop's thread while clients are at work.
fn trace(driver: DriverKind) -> Vec<String> {
    let dir = TempDir::new();
    let (tell, trace) = (dir.path("tell"), dir.path("trace"));
    let mut strace = Command::new("strace");
    strace.arg("-f").arg("-o").arg(&trace).arg(std::env::current_exe().unwrap());
    strace.args(["--exact", "traced_server", "--nocapture", "--test-threads=1"]);
    strace.env(TELL, &tell).env(DRIVER, driver.to_string());
    strace.stdout(Stdio::null()).stderr(Stdio::null());
    let child = strace.spawn().expect("strace, which `cargo xtask test` installs");
    let mut traced = Traced(child);
    eventually("the traced server is up", || tell.exists());
    let told = std::fs::read_to_string(&tell).unwrap();
    let (at, thread) = told.split_once(' ').unwrap();
    drive(at.parse().unwrap());
    eventually("the traced server ends", || traced.0.try_wait().unwrap().is_some());

    let trace = std::fs::read_to_string(&trace).unwrap();
    let calls = trace.lines().filter_map(|line| line.strip_prefix(thread));
    calls.map(|call| call.trim_start().to_owned()).collect()
}

/// Has the loop sleep within a turn while every client sends, round by round.
fn drive(at: std::net::SocketAddr) {
    let mut holder = Client::tcp(at);
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| Client::tcp(at)).collect();
    for client in &mut clients {
        client.send(b"warm up");
        client.expect(b"warm up");
    }
    for _ in 0..ROUNDS {
        holder.send(HOLD);
        thread::sleep(Duration::from_millis(30));
        clients.iter_mut().for_each(|client| client.send(b"at the same time"));
        clients.iter_mut().for_each(|client| client.expect(b"at the same time"));
    }
    holder.send(b"shutdown");
    clients.iter_mut().for_each(Client::expect_end);
}

/// The turns that began with events of all clients: their calls, from one wait to the next.
fn full_turns(calls: &[String]) -> Vec<&[String]> {
    let began = |call: &String| call.starts_with("epoll_pwait(");
    let full = |call: &String| began(call) && call.ends_with(&format!(" = {CLIENTS}"));
    let starts = calls.iter().enumerate().filter(|(_, call)| full(call));
    starts
        .map(|(start, _)| {
            let length = calls[start + 1..].iter().position(began);
            &calls[start..=start + length.expect("another turn")]
        })
        .collect()
}

fn names(calls: &[String]) -> Vec<&str> {
    calls.iter().filter_map(|call| call.split('(').next()).collect()
}
