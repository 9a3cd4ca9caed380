//! A server with nothing to do does nothing.
//!
//! The only test of its process: it looks at the processor time of the loops' threads.
#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods, reason = "tests run by the clock")]

mod support;

use mainspring_loop::{Action, Limits, Loops, Server};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use support::*;

const WATCHED: Duration = Duration::from_secs(5);

/// Watches a server with open connections and returns the clock ticks and the wakeups of its loops.
fn watch(limits: Limits) -> (u64, u64) {
    let threads = Arc::new(Mutex::new(Vec::new()));
    let (told, log) = (threads.clone(), Log::new());
    let builder = Server::builder().loops(Loops::Count(2)).limits(limits);
    let running = start_with(builder, &[TCP, "udp://127.0.0.1:0"], move || {
        let told = told.clone();
        Probe::echo(&log).start(move |_, _| {
            told.lock().unwrap().push(CpuTime::of_this_thread().expect("procfs"));
            Action::Continue
        })
    });
    let mut clients: Vec<Client> = (0..20).map(|_| Client::tcp(inet(&running))).collect();
    for client in &mut clients {
        client.send(b"x");
        client.expect(b"x");
    }
    thread::sleep(Duration::from_millis(100));
    let threads = threads.lock().unwrap().clone();
    let ticks = || threads.iter().map(CpuTime::ticks).sum::<u64>();
    let wakeups = || running.handle().stats().total.wakeups;
    let before = (ticks(), wakeups());
    thread::sleep(WATCHED);
    let used = (ticks() - before.0, wakeups() - before.1);
    drop(clients);
    stop(running);
    used
}

#[test]
fn an_idle_server_uses_no_processor_time() {
    let _bound = bound(60);
    let (ticks, wakeups) = watch(Limits::default());
    assert_eq!(wakeups, 0, "wakeups in {WATCHED:?}");
    assert!(ticks <= 1, "{ticks} ticks of 10 ms in {WATCHED:?}");
    // Deadlines far away cost a look at the wheel now and then, not one per connection.
    let limits = Limits { idle_timeout: Some(Duration::from_secs(600)), ..Limits::default() };
    let (ticks, wakeups) = watch(limits);
    assert!(wakeups <= 8, "{wakeups} wakeups in {WATCHED:?}");
    assert!(ticks <= 1, "{ticks} ticks of 10 ms in {WATCHED:?}");
}
