//! Scenarios in a simulated server, among them those that worlds have found.

use mainspring_loop::{
    Action, CloseReason, Conn, ConnId, Cx, Handler, Input, Opened, SendOutcome, Server,
};
use mainspring_sim::{World, WorldOptions};
use mainspring_testkit::{Reached, SimServer};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[test]
fn a_server_that_nobody_talks_to_is_stuck_until_it_is_told_to_stop() {
    let world = World::new(1, WorldOptions::default());
    let mut server = echo_server(&world, 2);
    assert_eq!(server.run_until(HOUR, SimServer::is_over), Reached::Stuck);
    server.handle().stop();
    assert_eq!(server.run_until(HOUR, SimServer::is_over), Reached::Condition);
    assert_eq!(server.handle().stats().total.connections, 0);
}

#[test]
fn a_run_ends_when_its_virtual_time_is_over() {
    let world = World::new(1, WorldOptions::default());
    let mut server = echo_server(&world, 1);
    world.wake_later(0, HOUR);
    assert_eq!(server.run_until(HOUR / 2, |_| false), Reached::TimeOver);
    assert!(world.elapsed() >= HOUR / 2);
}

/// Found by seeds 22893, 41842 and 80677 of the worlds of their day: sends that waited in the inbox
/// of a loop that ended were dropped without being counted.
#[test]
fn sends_that_a_loop_leaves_in_its_inbox_are_counted() {
    let world = World::new(1, WorldOptions::default());
    let outcomes = Arc::new(Mutex::new(Vec::new()));
    let mut server = SimServer::start(&world, 1, Server::builder().seed(1), |shard| {
        let last = shard.host(LastWords { outcomes: outcomes.clone() });
        shard.listen(last, "tcp://127.0.0.1:0").map(drop)
    })
    .expect("a free port");
    let _peer = world.connect(&server.addr(0)).expect("an address to connect to");
    assert_eq!(server.run_until(HOUR, SimServer::is_over), Reached::Condition);
    assert_eq!(*outcomes.lock().expect("no panic"), [SendOutcome::Closed]);
    assert_eq!(server.handle().stats().total.dropped_sends, 1);
}

/// Closes its only connection as the server stops, and sends to it afterwards.
struct LastWords {
    outcomes: Arc<Mutex<Vec<SendOutcome>>>,
}

impl Handler for LastWords {
    type State = ();

    fn on_open(&mut self, conn: &mut Conn<'_>) -> Opened<()> {
        conn.cx().shutdown();
        Opened::AcceptThen((), Action::Close)
    }

    fn on_data(&mut self, (): &mut (), _: &mut Conn<'_>, _: &mut Input<'_>) -> Action {
        Action::Continue
    }

    fn on_close(&mut self, (): (), id: ConnId, cx: &mut Cx<'_>, _: CloseReason) {
        let outcomes = self.outcomes.clone();
        let done = move |outcome| outcomes.lock().expect("no panic").push(outcome);
        let remote = cx.remote(cx.this::<Self>());
        remote.send_notify(id, "too late".into(), done).expect("the loop is not over yet");
    }
}

fn echo_server(world: &World, loops: usize) -> SimServer {
    SimServer::start(world, loops, Server::builder().seed(1), |shard| {
        let echo = shard.host(|conn: &mut Conn<'_>, input: &mut Input<'_>| {
            conn.out().extend_from_slice(input.take());
            Action::Continue
        });
        shard.listen(echo, "tcp://127.0.0.1:0").map(drop)
    })
    .expect("a free port")
}

const HOUR: Duration = Duration::from_secs(3600);
