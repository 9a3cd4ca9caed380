//! Loops that are bound to processors. Alone in its binary, because it tells threads by their names.
#![cfg(target_os = "linux")]

mod support;

use mainspring_loop::{Loops, Server};
use std::collections::BTreeMap;
use std::fs;
use support::*;

/// The processors that each loop's thread may use, by the thread's name.
fn allowed() -> BTreeMap<String, String> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let threads = tasks.filter_map(|task| {
        let task = task.ok()?.path();
        let name = fs::read_to_string(task.join("comm")).ok()?.trim().to_owned();
        let status = fs::read_to_string(task.join("status")).ok()?;
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
        name.starts_with("mainspring-").then(|| (name, list.trim().to_owned()))
    });
    threads.collect()
}

#[test]
fn a_pinned_loop_stays_on_its_processor_and_others_are_free() {
    let _bound = bound(30);
    let log = Log::new();
    let probe = log.clone();
    let builder = Server::builder().loops(Loops::PerCore);
    let running = start_with(builder.clone().pin(true), &[TCP], move || Probe::echo(&probe));
    let pinned = allowed();
    assert_eq!(pinned.len(), std::thread::available_parallelism().unwrap().get());
    assert!(pinned.values().all(|list| list.parse::<u32>().is_ok()), "{pinned:?}");
    let mut distinct: Vec<&String> = pinned.values().collect();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), pinned.len(), "{pinned:?}");
    let mut client = Client::tcp(inet(&running));
    client.send(b"hello");
    client.expect(b"hello");
    stop(running);

    let probe = log.clone();
    let running = start_with(builder, &[TCP], move || Probe::echo(&probe));
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let own = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    assert!(allowed().values().all(|list| list == own.trim()));
    stop(running);
}
