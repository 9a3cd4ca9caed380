//! Servers to stand around, and programs to judge them; everything is bounded in time.

use mainspring_io::Addr;
use mainspring_loop::{Action, Conn, Error, Input, Running, Server, ServerBuilder, Shard};
use mainspring_sim::{SimPeer, World, WorldOptions};
use mainspring_testkit::{Reached, SimServer};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Whatever takes longer hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const TCP: &str = "tcp://127.0.0.1:0";

pub(crate) fn echo(conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
    conn.out().extend_from_slice(input.take());
    Action::Continue
}

/// A server over sockets.
pub(crate) fn start(
    builder: ServerBuilder,
    setup: impl Fn(&mut Shard<'_>) -> Result<(), Error> + Send + Sync + 'static,
) -> Running {
    builder.start(setup).expect("the server starts")
}

/// A server in a world without faults.
pub(crate) fn simulated(setup: impl Fn(&mut Shard<'_>) -> Result<(), Error>) -> SimServer {
    let world = World::new(7, WorldOptions::default());
    SimServer::start(&world, 1, Server::builder().seed(7), setup).expect("the server starts")
}

/// Runs the simulated server until `holds`, in at most `within` of its own time.
#[track_caller]
pub(crate) fn eventually_sim(
    server: &mut SimServer,
    within: Duration,
    mut holds: impl FnMut() -> bool,
) {
    assert_eq!(server.run_until(within, |_| holds()), Reached::Condition);
}

/// Has a simulated client send, as soon as it can.
#[track_caller]
pub(crate) fn say(server: &mut SimServer, peer: &mut SimPeer, mut bytes: &[u8]) {
    eventually_sim(server, PATIENCE, || {
        bytes = &bytes[peer.send(bytes)..];
        bytes.is_empty()
    });
}

/// What a simulated client has been sent when the server has closed.
#[track_caller]
pub(crate) fn rest(server: &mut SimServer, peer: &mut SimPeer, within: Duration) -> String {
    let mut got = Vec::new();
    eventually_sim(server, within, || {
        got.extend(peer.take_received());
        peer.eof()
    });
    String::from_utf8(got).expect("text")
}

pub(crate) fn inet(addr: &Addr) -> SocketAddr {
    match addr {
        Addr::Inet(addr) => *addr,
        Addr::Unix(_) => panic!("{addr} is not an internet address"),
    }
}

pub(crate) fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("above zero");
    stream.set_write_timeout(Some(PATIENCE)).expect("above zero");
    stream
}

/// Waits until `holds`.
#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) fn stop(running: Running) {
    running.handle().stop();
    running.join().expect("the server ends in good order");
}

/// Runs curl, and gives what it printed.
pub(crate) fn curl(arguments: &[&str]) -> Output {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "20"]).args(arguments);
    let output = command.stdin(Stdio::null()).output();
    output.expect("curl: run `cargo xtask test`, which installs it")
}

/// As [`curl`], which has to be content.
#[track_caller]
pub(crate) fn curled(arguments: &[&str]) -> String {
    let output = curl(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "curl {arguments:?}: {}\n{stderr}", output.status);
    String::from_utf8(output.stdout).expect("text")
}

/// The folder with the client libraries of other languages.
pub(crate) fn peers() -> PathBuf {
    match std::env::var_os("MAINSPRING_PEERS") {
        Some(folder) => folder.into(),
        None => panic!(
            "MAINSPRING_PEERS is not set: run `cargo xtask test`, which installs the client \
             libraries and says where they are"
        ),
    }
}
