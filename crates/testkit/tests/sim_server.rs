//! Scenarios in a simulated server, among them those that worlds have found.

use mainspring_loop::{
    Action, CloseReason, Conn, ConnId, Cx, Handler, Input, Limits, Opened, SendOutcome, Server,
};
use mainspring_sim::{World, WorldOptions};
use mainspring_testkit::{Reached, SimServer};
use std::num::NonZeroUsize;
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

/// Found by seeds 3785, 4790 and 6432 of the worlds of their day. A handler had stopped in the middle
/// of its input because it was choked, and the next thing that it saw, before the look that it was
/// owed, were bytes that the driver had taken before it heard of the stop (D3): they were the look,
/// and nobody told the driver to go on.
#[test]
fn late_bytes_in_front_of_a_handler_that_was_choked_do_not_end_its_input() {
    for seed in 0..100 {
        let mut options = WorldOptions::default();
        options.faults.late_data = 1.0;
        (options.limits.read_buffer, options.limits.bytes_per_turn) = (512, 512);
        let world = World::new(seed, options);
        let limits = Limits { output_high: 64, output_low: 32, ..Limits::default() };
        let builder = Server::builder().seed(seed).limits(limits);
        let mut server = SimServer::start(&world, 1, builder, |shard| {
            let lines = shard.host(echo_lines);
            shard.listen(lines, "tcp://127.0.0.1:0").map(drop)
        })
        .expect("a free port");
        let mut peer = world.connect(&server.addr(0)).expect("an address to connect to");
        let sent: Vec<u8> = (0..30).flat_map(|nth| format!("{nth:0>400}\n").into_bytes()).collect();
        let (mut unsent, mut echoed) = (&sent[..], Vec::new());
        let end = server.run_until(HOUR, |_| {
            unsent = &unsent[peer.send(unsent)..];
            echoed.extend(peer.take_received());
            echoed.len() >= sent.len()
        });
        assert_eq!((end, echoed.len()), (Reached::Condition, sent.len()), "seed {seed}");
        assert!(echoed == sent, "seed {seed}");
    }
}

/// Echoes whole lines, and leaves those for later that it has no room for.
fn echo_lines(conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
    while !conn.is_choked() {
        let Some(end) = input.bytes().iter().position(|byte| *byte == b'\n') else {
            input.need(NonZeroUsize::MIN);
            break;
        };
        conn.out().extend_from_slice(&input.bytes()[..=end]);
        input.consume(end + 1);
    }
    Action::Continue
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
