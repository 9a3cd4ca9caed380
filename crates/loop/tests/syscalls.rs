//! The system calls of a warm turn, as strace sees them.
#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods, reason = "tests run by the clock")]

mod support;

use mainspring_loop::{Action, Conn, Input, Server};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;
use support::*;

/// Where the traced process tells the address and the thread of its loop.
const TELL: &str = "MAINSPRING_TEST_TRACED";
const CLIENTS: usize = 8;
const ROUNDS: usize = 5;
const HOLD: &[u8] = b"hold";

/// Not a test of its own: the server in the process that
/// [`one_wait_then_one_receive_and_one_send_each`] traces.
#[test]
fn traced_server() {
    let Some(tell) = std::env::var_os(TELL) else { return };
    let served = Server::builder().run(|shard| {
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
#[expect(clippy::print_stdout, reason = "the trace is for the reader of the test")]
fn one_wait_then_one_receive_and_one_send_each() {
    let _bound = bound(120);
    let dir = TempDir::new();
    let (tell, trace) = (dir.path("tell"), dir.path("trace"));
    let mut strace = Command::new("strace");
    strace.arg("-f").arg("-o").arg(&trace).arg(std::env::current_exe().unwrap());
    strace.args(["--exact", "traced_server", "--nocapture", "--test-threads=1"]);
    strace.env(TELL, &tell).stdout(Stdio::null()).stderr(Stdio::null());
    let child = strace.spawn().expect("strace, which `cargo xtask test` installs");
    let mut traced = Traced(child);
    eventually("the traced server is up", || tell.exists());
    let told = std::fs::read_to_string(&tell).unwrap();
    let (at, thread) = told.split_once(' ').unwrap();
    drive(at.parse().unwrap());
    eventually("the traced server ends", || traced.0.try_wait().unwrap().is_some());

    let trace = std::fs::read_to_string(&trace).unwrap();
    let turns = full_turns(&trace, thread);
    assert_eq!(turns.len(), ROUNDS, "turns that {CLIENTS} clients shared:\n{trace}");
    println!("one warm turn with {CLIENTS} busy connections:");
    turns[ROUNDS - 1].iter().for_each(|call| println!("  {call}"));
    for turn in &turns {
        let names: Vec<&str> = turn.iter().map(|call| call.split('(').next().unwrap()).collect();
        let wanted = [&["epoll_wait"][..], &["recvfrom"; CLIENTS], &["sendto"; CLIENTS]].concat();
        assert_eq!(names, wanted, "{turn:#?}");
    }
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

/// The turns of the loop's thread that began with events of all clients: their calls, from one wait
/// to the next.
fn full_turns<'a>(trace: &'a str, thread: &str) -> Vec<Vec<&'a str>> {
    let calls: Vec<&str> =
        trace.lines().filter_map(|line| line.strip_prefix(thread)).map(str::trim_start).collect();
    let began = |call: &&str| call.starts_with("epoll_wait(");
    let full = |call: &&str| began(call) && call.ends_with(&format!(" = {CLIENTS}"));
    let starts = calls.iter().enumerate().filter(|(_, call)| full(call));
    starts
        .map(|(start, _)| {
            let length = calls[start + 1..].iter().position(began);
            calls[start..=start + length.expect("another turn")].to_vec()
        })
        .collect()
}
