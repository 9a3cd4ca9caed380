//! Out of descriptors: the server serves on, does not spin, and accepts again when some are free.
#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods, reason = "clients live in real time")]

mod robust;

use robust::client::{Protocol, ask, connect};
use robust::server::Launch;
use robust::{HANG, wait_until};
use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

const CLIENTS: usize = 200;
const DESCRIPTORS: u32 = 64;
/// D9 of the driver: accepting resumes within a second of relief. On top comes a busy machine.
const RELIEF: Duration = Duration::from_millis(1500);

#[test]
fn one_loop_serves_on_when_descriptors_run_out() {
    starve(&[]);
}

/// Each loop has a listener of its own, and none hears of what the others close.
#[test]
fn four_loops_serve_on_when_descriptors_run_out() {
    starve(&["--loops", "4"]);
}

fn starve(args: &[&str]) {
    let server = Launch::of("echo").args(args).descriptors(DESCRIPTORS).start();
    let mut waiting: Vec<TcpStream> = (0..CLIENTS).map(|_| connect(server.address())).collect();
    for client in &waiting {
        send(client);
    }
    let mut served = Vec::new();
    collect(&mut waiting, &mut served, |served, _| served.len() >= 30);
    // What has been accepted by now is all that will be.
    robust::pause(Duration::from_millis(300));
    collect(&mut waiting, &mut served, |_, found| found == 0);
    assert!(served.len() < DESCRIPTORS as usize, "the limit is not in force: {}", served.len());
    assert!(server.process().descriptors() >= DESCRIPTORS as usize, "the table is not full");

    let load = server.process().load_over(Duration::from_secs(2));
    assert!(load < 0.05, "takes {load} of a processor while it cannot accept\n{}", server.log());
    for client in &served {
        ask(Protocol::Echo, client).expect("who was accepted is served");
    }

    let before = served.len();
    let leaving = before / 2;
    served.drain(..leaving);
    let start = Instant::now();
    collect(&mut waiting, &mut served, |served, _| served.len() >= before);
    let relief = start.elapsed();
    assert!(relief < RELIEF, "{leaving} left, and it took {relief:?} to serve as many others");

    // Everyone's turn comes.
    while !waiting.is_empty() {
        served.clear();
        collect(&mut waiting, &mut served, |served, _| !served.is_empty());
    }
    drop(served);
    ask(Protocol::Echo, &connect(server.address())).expect("served as if nothing had been");
    server.assert_alive("at the end");
}

fn send(mut client: &TcpStream) {
    std::io::Write::write_all(&mut client, Protocol::Echo.request()).expect("fits the buffers");
}

/// Moves those who have their reply from `waiting` to `served`, until `enough` of them and of how
/// many the last look has found.
fn collect(
    waiting: &mut Vec<TcpStream>,
    served: &mut Vec<TcpStream>,
    enough: impl Fn(&[TcpStream], usize) -> bool,
) {
    let reached = wait_until(HANG, || {
        let before = served.len();
        served.extend(waiting.extract_if(.., |client| has_reply(client)));
        enough(served, served.len() - before)
    });
    assert!(reached, "{} are served and {} wait", served.len(), waiting.len());
}

fn has_reply(mut client: &TcpStream) -> bool {
    client.set_nonblocking(true).expect("a socket");
    let mut reply = [0; 64];
    let read = client.read(&mut reply);
    client.set_nonblocking(false).expect("a socket");
    match read {
        Ok(0) => panic!("a waiting client was closed"),
        Ok(count) => {
            assert_eq!(&reply[..count], Protocol::Echo.request());
            true
        }
        Err(error) => {
            assert!(robust::client::is_timeout(&error), "a waiting client: {error}");
            false
        }
    }
}
