//! One server that signals stop, without a runner.

use crate::stage::{PATIENCE, TCP, eventually_sim, rest, say, simulated};
use mainspring_app::stop_on_signals;
use mainspring_loop::{Action, Conn, Handler, Input, Opened};
use mainspring_sim::SimPeer;
use mainspring_testkit::SimServer;
use std::time::Duration;

const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

/// Echoes, and is busy until it is told `done`.
struct Busy;

impl Handler for Busy {
    type State = ();

    fn on_open(&mut self, conn: &mut Conn<'_>) -> Opened<()> {
        conn.set_busy(true);
        Opened::Accept(())
    }

    fn on_data(&mut self, (): &mut (), conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
        conn.set_busy(input.bytes() != b"done");
        conn.out().extend_from_slice(input.take());
        Action::Continue
    }
}

/// A server with one connection, which is busy.
fn busy_server() -> (SimServer, SimPeer) {
    let mut server = simulated(|shard| {
        let host = shard.host(Busy);
        shard.listen(host, TCP)?;
        stop_on_signals(shard)
    });
    let mut peer = server.world().connect(&server.addr(0)).expect("it listens");
    say(&mut server, &mut peer, b"hello");
    eventually_sim(&mut server, PATIENCE, || peer.take_received() == b"hello");
    (server, peer)
}

#[test]
fn the_first_signal_drains() {
    for signal in [SIGINT, SIGTERM] {
        let (mut server, mut peer) = busy_server();
        server.world().raise(signal);
        server.run_until(Duration::from_secs(1), |_| false);
        assert!(!server.is_over(), "a connection is busy");
        say(&mut server, &mut peer, b"done");
        assert_eq!(rest(&mut server, &mut peer, PATIENCE), "done");
        server.run_until(PATIENCE, SimServer::is_over);
        assert!(server.is_over(), "nothing is left to do");
    }
}

#[test]
fn a_second_signal_waits_for_nobody() {
    let (mut server, peer) = busy_server();
    server.world().raise(SIGTERM);
    server.run_until(Duration::from_secs(1), |_| false);
    assert!(!server.is_over(), "a connection is busy");
    server.world().raise(SIGINT);
    server.run_until(Duration::from_secs(1), SimServer::is_over);
    assert!(server.is_over(), "it was told twice");
    eventually_sim(&mut server, PATIENCE, || peer.reset_seen());
}
