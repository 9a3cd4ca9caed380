//! What an idle connection costs in memory.
//!
//! The only test of its process: it looks at the memory of all of it.
#![cfg(target_os = "linux")]

mod support;

use mainspring_loop::{Action, Conn, Input, Server};
use std::io::{Read, Write};
use std::net::TcpStream;
use support::*;

const CONNECTIONS: usize = 5_000;
const BYTES_MAX: usize = 1_024;

/// Resident memory of the process in bytes: the second field of proc_pid_statm(5), in pages.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("procfs");
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4_096
}

#[test]
#[expect(clippy::print_stdout, reason = "the figure is for the reader of the test")]
fn an_idle_connection_costs_less_than_a_kibibyte() {
    let _bound = bound(120);
    let running = start_with(Server::builder(), &[TCP], || {
        |conn: &mut Conn<'_>, input: &mut Input<'_>| {
            conn.out().extend_from_slice(input.take());
            Action::Continue
        }
    });
    let at = inet(&running);
    let mut clients: Vec<TcpStream> = Vec::with_capacity(CONNECTIONS);
    let mut buffer = [0; 64];
    // Each has been used once: it must have given its buffers back.
    let mut use_one = || {
        let mut client = TcpStream::connect(at).expect("connects");
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(&[1; 64]).unwrap();
        client.read_exact(&mut buffer).unwrap();
        client
    };
    clients.extend((0..100).map(|_| use_one()));
    let before = resident();
    clients.extend((100..CONNECTIONS).map(|_| use_one()));
    let handle = running.handle();
    eventually_stats(&handle, "all are open", |stats| {
        stats.total.connections == CONNECTIONS as u64 && stats.total.buffered_bytes == 0
    });
    let each = (resident() - before) / (CONNECTIONS - 100);
    println!("{each} bytes of resident memory per idle connection");
    assert!(each < BYTES_MAX, "{each} bytes");
    drop(clients);
    eventually_stats(&handle, "all are closed", |stats| stats.total.connections == 0);
    stop(running);
}
