//! `on_turn_end`: once per turn with output, before any of it leaves.

mod support;

use mainspring_loop::{
    Action, CloseReason, Conn, ConnId, Cx, Handler, Input, Limits, Opened, Running, Server, TimerId,
};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::*;

/// A handler with a journal: what it has written to connections must still be unsent when the
/// journal is synced at the end of the turn.
#[derive(Default)]
struct Journal {
    /// Bytes appended since the last sync, by connection.
    unsynced: HashMap<ConnId, usize>,
    syncs: Arc<AtomicU64>,
    /// Bytes that had left before their sync.
    escaped: Arc<AtomicU64>,
    /// The connection that hears of all others.
    listener: Option<ConnId>,
}

impl Journal {
    fn write(&mut self, conn: &mut Conn<'_>, bytes: &[u8]) {
        conn.out().extend_from_slice(bytes);
        *self.unsynced.entry(conn.id()).or_default() += bytes.len();
    }

    fn tell_listener(&mut self, cx: &mut Cx<'_>, bytes: &[u8]) {
        if let Some(mut conn) = self.listener.and_then(|id| cx.conn(id)) {
            self.write(&mut conn, bytes);
        }
    }
}

impl Handler for Journal {
    type State = ();

    fn on_open(&mut self, conn: &mut Conn<'_>) -> Opened<()> {
        if self.listener.is_none() {
            self.listener = Some(conn.id());
            return Opened::Accept(());
        }
        self.tell_listener(&mut conn.cx(), b"open,");
        if conn.listener() == Some(1) {
            Opened::AcceptThen((), Action::Close)
        } else {
            Opened::Accept(())
        }
    }

    fn on_data(&mut self, (): &mut (), conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
        match &*input.take() {
            b"later" => drop(conn.set_timer(Duration::from_millis(1))),
            b"wake" => {
                let id = conn.id();
                conn.cx().wake(id);
            }
            bytes => {
                let bytes = bytes.to_vec();
                self.write(conn, &bytes);
            }
        }
        Action::Continue
    }

    fn on_wake(&mut self, (): &mut (), conn: &mut Conn<'_>) -> Action {
        self.write(conn, b"woken");
        Action::Continue
    }

    fn on_timer(&mut self, (): &mut (), conn: &mut Conn<'_>, _: TimerId) -> Action {
        self.write(conn, b"timed");
        Action::Continue
    }

    fn on_close(&mut self, (): (), id: ConnId, cx: &mut Cx<'_>, _: CloseReason) {
        self.unsynced.remove(&id);
        self.tell_listener(cx, b"close,");
    }

    fn on_turn_end(&mut self, cx: &mut Cx<'_>) {
        self.syncs.fetch_add(1, Ordering::SeqCst);
        for (id, appended) in self.unsynced.drain() {
            let unsent = cx.conn(id).map_or(appended, |conn| conn.out_bytes());
            self.escaped.fetch_add(appended.saturating_sub(unsent) as u64, Ordering::SeqCst);
        }
    }
}

struct World {
    running: Running,
    syncs: Arc<AtomicU64>,
    escaped: Arc<AtomicU64>,
}

impl World {
    fn new() -> Self {
        let (syncs, escaped) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let counts = (syncs.clone(), escaped.clone());
        let running =
            start_with(Server::builder().limits(Limits::default()), &[TCP, TCP], move || Journal {
                syncs: counts.0.clone(),
                escaped: counts.1.clone(),
                ..Journal::default()
            });
        Self { running, syncs, escaped }
    }

    fn end(self) {
        stop(self.running);
        assert_eq!(self.escaped.load(Ordering::SeqCst), 0, "bytes left before their sync");
    }
}

#[test]
fn every_reply_waits_for_the_end_of_its_turn() {
    let _bound = bound(60);
    let world = World::new();
    let mut clients: Vec<Client> = (0..5).map(|_| Client::tcp(inet(&world.running))).collect();
    let mut replies = 0;
    for round in 0..50 {
        for (request, reply) in
            [(&b"echo"[..], &b"echo"[..]), (b"later", b"timed"), (b"wake", b"woken")]
        {
            // The first one hears of the others as well.
            for client in &mut clients[1..] {
                client.send(request);
            }
            for client in &mut clients[1..] {
                client.expect(reply);
                replies += 1;
            }
        }
        // One after the other there is a turn and a sync for each.
        let before = world.syncs.load(Ordering::SeqCst);
        clients[1].send(b"alone");
        clients[1].expect(b"alone");
        assert!(world.syncs.load(Ordering::SeqCst) > before, "round {round}");
    }
    let syncs = world.syncs.load(Ordering::SeqCst);
    assert!(syncs <= replies + 50 + 10, "{syncs} syncs for {replies} replies: no turn syncs twice");
    world.end();
}

#[test]
fn what_is_written_as_other_connections_open_and_close_waits_too() {
    let _bound = bound(60);
    let world = World::new();
    let addrs = world.running.addrs();
    let mut listener = Client::connect(&addrs[0]);
    let handle = world.running.handle();
    eventually_stats(&handle, "open", |stats| stats.total.connections == 1);
    for _ in 0..50 {
        // Closed as it opens, and closed by the peer.
        Client::connect(&addrs[1]).expect_end();
        listener.expect(b"open,close,");
        drop(Client::connect(&addrs[0]));
        listener.expect(b"open,close,");
    }
    world.end();
}

#[test]
fn a_turn_without_output_has_no_end() {
    let _bound = bound(60);
    let log = Log::new();
    let probe = log.clone();
    let running = start(move || {
        let tell = probe.clone();
        Probe::new(&probe).turn_end(move |_| tell.add("turn end"))
    });
    let mut client = Client::tcp(inet(&running));
    for round in 0..20 {
        client.send(b"nothing to answer");
        log.wait_for(round + 1, "data");
    }
    stop(running);
    assert_eq!(log.count("turn end"), 0);
}

#[test]
fn handlers_end_a_turn_in_the_order_in_which_they_are_hosted() {
    let _bound = bound(60);
    let log = Log::new();
    let running = {
        let log = log.clone();
        Server::builder().start(move |shard| {
            let second_id: Arc<Mutex<Option<ConnId>>> = Arc::default();
            let (known, ends) = (second_id.clone(), log.clone());
            let first = shard.host(Probe::echo(&log).turn_end(move |cx| {
                ends.add("end of the first");
                let id = known.lock().unwrap().expect("a connection of the second");
                cx.conn(id).expect("it is open").out().extend_from_slice(b"from the first");
            }));
            let ends = log.clone();
            let second = shard.host(
                Probe::new(&log)
                    .open(move |conn| {
                        *second_id.lock().unwrap() = Some(conn.id());
                        Some(Action::Continue)
                    })
                    .turn_end(move |cx| {
                        let unsent: usize = cx
                            .connections()
                            .into_iter()
                            .map(|id| cx.conn(id).map_or(0, |conn| conn.out_bytes()))
                            .sum();
                        ends.add(format!("end of the second: {unsent}"));
                    }),
            );
            shard.listen(first, TCP)?;
            shard.listen(second, TCP)?;
            Ok(())
        })
    }
    .unwrap();
    let addrs = running.addrs();
    let mut of_the_second = Client::connect(&addrs[1]);
    log.wait_for(1, "open");
    let mut of_the_first = Client::connect(&addrs[0]);
    for round in 1..=20 {
        of_the_first.send(b"ping");
        of_the_first.expect(b"ping");
        of_the_second.expect(b"from the first");
        assert_eq!(log.wait_for(round, "end of the second").len(), round);
    }
    stop(running);
    let ends: Vec<_> = log.lines().into_iter().filter(|line| line.starts_with("end")).collect();
    // Both replies are still unsent as the second handler hears of them, and neither is told twice.
    assert_eq!(ends, ["end of the first", "end of the second: 18"].repeat(20));
}
