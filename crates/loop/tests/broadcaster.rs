//! Messages to many connections, some of which do not read: order, policies, and the account.

mod support;

use bytes::{BufMut, Bytes, BytesMut};
use mainspring_loop::{
    Action, Balance, BroadcastDrops, BroadcastLimits, BroadcastStats, Broadcaster, ConnId, Limits,
    Loops, Server, SlowPolicy,
};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::*;

/// Small buffers of the kernel, so that a peer that does not read is noticed at once.
const SMALL_BUFFERS: &str = "tcp://127.0.0.1:0?sndbuf=4096&rcvbuf=4096";

/// A message that tells its number, and is as long as its number says.
fn frame(number: u32) -> Bytes {
    let body = body_len(number);
    let mut frame = BytesMut::with_capacity(8 + body);
    frame.put_u32(number);
    frame.put_u32(body as u32);
    frame.put_bytes(number as u8, body);
    frame.freeze()
}

fn body_len(number: u32) -> usize {
    1 + (number as usize * 7_919) % 3_000
}

/// Receives one message, checks every byte of it, and tells its number.
#[track_caller]
fn receive_frame(client: &mut Client) -> u32 {
    let head = client.receive(8);
    let number = u32::from_be_bytes(head[..4].try_into().unwrap());
    let body = u32::from_be_bytes(head[4..].try_into().unwrap()) as usize;
    assert_eq!(body, body_len(number), "message {number} is mangled");
    let bytes = client.receive(body);
    assert!(bytes.iter().all(|byte| *byte == number as u8), "message {number} is mangled");
    number
}

/// Receives until the message `last`, which has to come; all in order.
#[track_caller]
fn receive_until(client: &mut Client, last: u32) -> Vec<u32> {
    let mut numbers = Vec::new();
    while numbers.last() != Some(&last) {
        numbers.push(receive_frame(client));
    }
    assert!(numbers.is_sorted_by(|first, second| first < second), "{numbers:?}");
    numbers
}

/// Waits until nothing is queued, and checks the account.
#[track_caller]
fn settled(broadcaster: &Broadcaster) -> BroadcastStats {
    eventually("everything is delivered or dropped", || broadcaster.stats().queued == 0);
    balanced(broadcaster)
}

/// The figures once they add up: a loop that is at it just now is between two of them.
#[track_caller]
fn balanced(broadcaster: &Broadcaster) -> BroadcastStats {
    eventually("the account is balanced", || broadcaster.stats().is_balanced());
    broadcaster.stats()
}

/// A server and a number of clients, of which a test does not read from some.
struct Audience {
    server: Reached,
    clients: Vec<Client>,
    ids: Vec<ConnId>,
}

impl Audience {
    fn new(count: usize, limits: Limits) -> Self {
        let server = Reached::at(SMALL_BUFFERS, limits, Probe::echo);
        let (clients, ids) = (0..count).map(|_| server.client()).unzip();
        Self { server, clients, ids }
    }

    /// Waits until the loop has taken all that was sent.
    fn settle(&self) {
        self.server.settle();
    }
}

#[test]
fn everybody_who_reads_gets_everything_in_order() {
    let _bound = bound(120);
    const MESSAGES: u32 = 400;
    let Audience { server, clients, ids } = Audience::new(8, Limits::default());
    let limits = BroadcastLimits { outbox_bytes: 4 << 10, queue_bytes: 64 << 20, ..no_loss() };
    let broadcaster = server.remote.broadcaster(limits);
    let targets = broadcaster.targets(&ids);
    let readers: Vec<_> = clients
        .into_iter()
        .map(|mut client| std::thread::spawn(move || receive_until(&mut client, MESSAGES - 1)))
        .collect();
    for number in 0..MESSAGES {
        broadcaster.send_to(frame(number), &targets).unwrap();
    }
    for reader in readers {
        assert_eq!(reader.join().unwrap(), (0..MESSAGES).collect::<Vec<u32>>());
    }
    let stats = settled(&broadcaster);
    assert_eq!((stats.sent, stats.delivered), (8 * 400, 8 * 400), "{stats:?}");
    stop(server.running);
}

#[test]
fn a_slow_peer_misses_the_newest_or_the_oldest_and_is_never_sent_half_a_message() {
    let _bound = bound(120);
    const MESSAGES: u32 = 2_000;
    for policy in [SlowPolicy::DropNewest, SlowPolicy::DropOldest] {
        let Audience { server, mut clients, ids } = Audience::new(2, Limits::default());
        let mut slow = clients.pop().unwrap();
        let limits = BroadcastLimits {
            outbox_bytes: 4 << 10,
            queue_bytes: 40_000,
            queue_messages: 20,
            policy,
            ..no_loss()
        };
        let broadcaster = server.remote.broadcaster(limits);
        for number in 0..MESSAGES {
            broadcaster.send(frame(number), &ids).unwrap();
            assert_eq!(receive_frame(&mut clients[0]), number, "who reads misses nothing");
        }
        server.settle();
        let waiting = balanced(&broadcaster);
        assert!((1..=20).contains(&waiting.waiting), "{waiting:?}");
        assert!(waiting.queued >= waiting.waiting, "{waiting:?}");
        let missed = waiting.dropped.total();
        assert!(missed > 1_000, "{policy:?}: {waiting:?}");
        // Now it reads, and one more message shows that it is on its feet again.
        let got = slow_reads(&mut slow, &broadcaster, &ids[1..], MESSAGES);
        assert_eq!(got.len() as u64 + missed, u64::from(MESSAGES) + 1, "{policy:?}");
        let latest = got[got.len() - 2];
        match policy {
            SlowPolicy::DropNewest => {
                assert_eq!(only(&broadcaster, |dropped| dropped.newest), missed);
                // Short messages still found room where long ones did not.
                assert!(latest < MESSAGES && got.starts_with(&[0, 1, 2, 3]), "{got:?}");
            }
            _ => {
                assert_eq!(only(&broadcaster, |dropped| dropped.oldest), missed);
                assert_eq!(latest, MESSAGES - 1, "the newest are kept");
            }
        }
        stop(server.running);
    }
}

/// Reads until a last message, sent when what waited has gone, has come.
fn slow_reads(slow: &mut Client, to: &Broadcaster, id: &[ConnId], last: u32) -> Vec<u32> {
    let mut reader = slow.try_clone();
    std::thread::scope(|scope| {
        let reading = scope.spawn(move || receive_until(&mut reader, last));
        eventually("what waited has gone", || to.stats().waiting == 0);
        to.send(frame(last), id).unwrap();
        reading.join().unwrap()
    })
}

#[test]
fn a_slow_peer_is_disconnected_and_all_it_missed_is_counted() {
    let _bound = bound(120);
    let Audience { server, mut clients, ids } = Audience::new(3, Limits::default());
    let policy = SlowPolicy::Disconnect;
    let limits = BroadcastLimits { outbox_bytes: 4 << 10, queue_messages: 20, policy, ..no_loss() };
    let broadcaster = server.remote.broadcaster(limits);
    let mut number = 0;
    while server.log.count("close 3 SlowConsumer") == 0 {
        broadcaster.send(frame(number), &ids).unwrap();
        for client in &mut clients[..2] {
            assert_eq!(receive_frame(client), number);
        }
        number += 1;
        assert!(number < 10_000, "the slow peer is not disconnected");
    }
    assert_eq!(server.log.count("close"), 1);
    let stats = settled(&broadcaster);
    let BroadcastDrops { disconnected, unknown, .. } = stats.dropped;
    assert!(disconnected > 20, "those that waited, and the one too many: {stats:?}");
    assert_eq!(stats.dropped.total(), disconnected + unknown, "{stats:?}");
    clients[2].expect_gone();
    stop(server.running);
}

#[test]
fn what_cannot_be_handed_over_in_time_is_dropped_as_late() {
    let _bound = bound(120);
    let Audience { server, mut clients, ids } = Audience::new(1, Limits::default());
    let deadline = Some(Duration::from_millis(50));
    let limits = BroadcastLimits { outbox_bytes: 4 << 10, deadline, ..no_loss() };
    let broadcaster = server.remote.broadcaster(limits);
    const MESSAGES: u32 = 1_000;
    for number in 0..MESSAGES {
        broadcaster.send(frame(number), &ids).unwrap();
    }
    // Nobody reads and nothing else happens: the time alone does it.
    eventually("all that waited is dropped", || {
        let stats = broadcaster.stats();
        stats.waiting == 0 && stats.dropped.late > 500
    });
    let late = balanced(&broadcaster).dropped.late;
    broadcaster.send(frame(MESSAGES), &ids).unwrap();
    let mut client = clients.remove(0);
    // It may itself be late; the next that finds the peer reading is not.
    let reading = std::thread::spawn(move || receive_until(&mut client, MESSAGES + 1));
    eventually("the peer has caught up", || {
        let stats = broadcaster.stats();
        stats.is_balanced() && stats.queued == 0
    });
    broadcaster.send(frame(MESSAGES + 1), &ids).unwrap();
    let got = reading.join().unwrap();
    let stats = settled(&broadcaster);
    assert!(stats.dropped.late - late <= 1, "{stats:?}");
    assert_eq!(stats.dropped.total(), stats.dropped.late, "{stats:?}");
    assert_eq!(got.len() as u64, stats.delivered);
    stop(server.running);
}

#[test]
fn targets_that_are_gone_or_end_meanwhile_are_counted() {
    let _bound = bound(120);
    let mut audience = Audience::new(3, Limits::default());
    let gone = audience.clients.remove(0);
    drop(gone);
    audience.server.log.wait_for(1, "close");
    let broadcaster = audience.server.remote.broadcaster(no_loss());
    broadcaster.send(frame(0), &audience.ids[..2]).unwrap();
    assert_eq!(receive_frame(&mut audience.clients[0]), 0);
    let stats = settled(&broadcaster);
    assert_eq!((stats.sent, stats.delivered, stats.dropped.unknown), (2, 1, 1));
    // One that does not read breaks off.
    for number in 0..1_000 {
        broadcaster.send(frame(number), &audience.ids[2..]).unwrap();
    }
    audience.settle();
    assert!(balanced(&broadcaster).waiting > 100);
    audience.clients.pop().unwrap().reset();
    audience.server.log.wait_for(2, "close");
    let stats = settled(&broadcaster);
    assert!(stats.dropped.closed > 100, "{stats:?}");
    let BroadcastDrops { closed, unknown, .. } = stats.dropped;
    assert_eq!(stats.dropped.total(), closed + unknown, "{stats:?}");
    assert_eq!(audience.server.running.handle().stats().total.panics, 0);
    stop(audience.server.running);
}

#[test]
fn a_connection_that_is_closed_gets_what_waits_for_it_first() {
    let _bound = bound(120);
    let Audience { server, mut clients, ids } = Audience::new(1, Limits::default());
    let limits = BroadcastLimits { outbox_bytes: 4 << 10, queue_bytes: 64 << 20, ..no_loss() };
    let broadcaster = server.remote.broadcaster(limits);
    const MESSAGES: u32 = 1_000;
    for number in 0..MESSAGES {
        broadcaster.send(frame(number), &ids).unwrap();
    }
    server.settle();
    assert!(balanced(&broadcaster).waiting > 100);
    server.remote.close(ids[0]).unwrap();
    server.settle();
    broadcaster.send(frame(MESSAGES), &ids).unwrap();
    assert_eq!(receive_until(&mut clients[0], MESSAGES - 1).len(), MESSAGES as usize);
    clients[0].expect_end();
    let stats = settled(&broadcaster);
    assert_eq!((stats.delivered, stats.dropped.unknown), (u64::from(MESSAGES), 1));
    stop(server.running);
}

#[test]
fn a_drain_waits_for_what_waits_and_the_end_leaves_nothing_open() {
    let _bound = bound(120);
    let Audience { server, mut clients, ids } = Audience::new(2, Limits::default());
    let limits = BroadcastLimits { outbox_bytes: 4 << 10, queue_bytes: 64 << 20, ..no_loss() };
    let broadcaster = server.remote.broadcaster(limits);
    const MESSAGES: u32 = 1_000;
    for number in 0..MESSAGES {
        broadcaster.send(frame(number), &ids).unwrap();
    }
    server.settle();
    // The second one never reads: the drain's deadline ends it.
    server.running.handle().drain();
    assert_eq!(receive_until(&mut clients[0], MESSAGES - 1).len(), MESSAGES as usize);
    clients[0].expect_end();
    server.running.join().unwrap();
    let stats = broadcaster.stats();
    assert!(stats.is_balanced() && stats.queued == 0, "{stats:?}");
    assert!(stats.delivered >= u64::from(MESSAGES) && stats.dropped.closed > 100, "{stats:?}");
    // What is sent to a server that has ended is counted too.
    broadcaster.send(frame(0), &ids).unwrap_err();
    let after = broadcaster.stats();
    assert_eq!((after.dropped.refused, after.is_balanced()), (2, true));
}

#[test]
fn a_full_inbox_refuses_and_the_account_stays_balanced() {
    let _bound = bound(120);
    let limits = Limits { inbox_max: 4, ..Limits::default() };
    let server = Reached::new(limits, Probe::echo);
    let (mut client, id) = server.client();
    let broadcaster = server.remote.broadcaster(no_loss());
    let release = server.hold_up();
    let outcomes: Vec<bool> =
        (0..10).map(|number| broadcaster.send(frame(number), &[id, id]).is_ok()).collect();
    assert_eq!(outcomes.iter().filter(|taken| **taken).count(), 4, "{outcomes:?}");
    let stats = broadcaster.stats();
    assert_eq!((stats.sent, stats.queued, stats.dropped.refused), (20, 8, 12));
    drop(release);
    for number in [0, 0, 1, 1, 2, 2, 3, 3] {
        assert_eq!(receive_frame(&mut client), number);
    }
    assert_eq!(settled(&broadcaster).delivered, 8);
    stop(server.running);
}

#[test]
fn own_output_and_two_broadcasters_share_a_connection_frame_by_frame() {
    let _bound = bound(120);
    let Audience { server, mut clients, ids } = Audience::new(1, Limits::default());
    let limits = BroadcastLimits { outbox_bytes: 2 << 10, queue_bytes: 64 << 20, ..no_loss() };
    let broadcasters = [1, 2].map(|_| server.remote.broadcaster(limits.clone()));
    const EACH: u32 = 300;
    for number in 0..EACH {
        broadcasters[0].send(frame(3 * number), &ids).unwrap();
        broadcasters[1].send(frame(3 * number + 1), &ids).unwrap();
        server.remote.send(ids[0], frame(3 * number + 2)).unwrap();
    }
    let mut seen: [Vec<u32>; 3] = Default::default();
    for _ in 0..3 * EACH {
        let number = receive_frame(&mut clients[0]);
        seen[number as usize % 3].push(number / 3);
    }
    for numbers in seen {
        assert_eq!(numbers, (0..EACH).collect::<Vec<u32>>());
    }
    for broadcaster in &broadcasters {
        assert_eq!(settled(broadcaster).delivered, u64::from(EACH));
    }
    stop(server.running);
}

#[test]
fn what_waits_counts_as_buffered_and_is_bounded_by_the_memory_of_the_loop() {
    let _bound = bound(120);
    let limits = Limits {
        output_low: 32 << 10,
        output_high: 64 << 10,
        output_max: 128 << 10,
        memory_max: 512 << 10,
        ..Limits::default()
    };
    let Audience { server, clients, ids } = Audience::new(20, limits);
    let wide = BroadcastLimits { outbox_bytes: 8 << 10, queue_bytes: 1 << 20, ..no_loss() };
    let broadcaster = server.remote.broadcaster(wide);
    let handle = server.running.handle();
    let mut buffered = 0;
    // At first the kernel takes what comes.
    for round in 0.. {
        assert!(round < 100, "the memory is never used: {buffered} bytes");
        for number in 0..500 {
            broadcaster.send(frame(number), &ids).unwrap();
        }
        server.settle();
        let before = std::mem::replace(&mut buffered, handle.stats().total.buffered_bytes);
        // A message waits only if there is memory for it. What goes into outboxes is bounded by
        // their marks.
        assert!(buffered <= (512 << 10) + 20 * (11 << 10), "{buffered} bytes");
        if buffered.min(before) >= 480 << 10 {
            break;
        }
    }
    let stats = balanced(&broadcaster);
    assert!(stats.dropped.newest + stats.dropped.oldest > 1_000, "{stats:?}");
    drop(clients);
    eventually_total(&handle, |total| (total.connections, total.buffered_bytes), (0, 0));
    assert!(settled(&broadcaster).dropped.closed > 0);
    stop(server.running);
}

#[test]
fn connections_of_all_loops_are_reached_from_several_threads() {
    let _bound = bound(120);
    const THREADS: usize = 3;
    const EACH: u32 = 200;
    let ids = Arc::new(Mutex::new(Vec::new()));
    let (give, given) = std::sync::mpsc::channel();
    let (give, log, noted) = (Mutex::new(give), Log::new(), ids.clone());
    let running = Server::builder()
        .loops(Loops::Count(3))
        .balance(Balance::RoundRobin)
        .start(move |shard| {
            let noted = noted.clone();
            let host = shard.host(Probe::echo(&log).open(move |conn| {
                noted.lock().unwrap().push(conn.id());
                Some(Action::Continue)
            }));
            shard.listen(host, TCP)?;
            if shard.loop_index() == 2 {
                give.lock().unwrap().send(shard.broadcaster(no_loss())).unwrap();
            }
            Ok(())
        })
        .unwrap();
    let mut clients: Vec<Client> = (0..9).map(|_| Client::tcp(inet(&running))).collect();
    eventually("all are open", || ids.lock().unwrap().len() == 9);
    let broadcaster = given.recv().unwrap();
    let targets = broadcaster.targets(&ids.lock().unwrap());
    std::thread::scope(|scope| {
        for thread in 0..THREADS as u32 {
            let (broadcaster, targets) = (broadcaster.clone(), targets.clone());
            scope.spawn(move || {
                for number in 0..EACH {
                    broadcaster.send_to(frame(number * 3 + thread), &targets).unwrap();
                }
            });
        }
        for client in &mut clients {
            let mut seen = [0; THREADS];
            for _ in 0..THREADS as u32 * EACH {
                let number = receive_frame(client);
                let next = &mut seen[number as usize % THREADS];
                assert_eq!(number / 3, *next, "the order of one thread is kept");
                *next += 1;
            }
        }
    });
    let stats = settled(&broadcaster);
    assert_eq!((stats.sent, stats.delivered), (9 * 600, 9 * 600));
    stop(running);
}

/// Limits that nothing passes but by what a test sets.
fn no_loss() -> BroadcastLimits {
    BroadcastLimits {
        queue_bytes: 16 << 20,
        queue_messages: 100_000,
        deadline: None,
        ..BroadcastLimits::default()
    }
}

/// How many were dropped for one reason, once nothing is queued. There is no other reason.
#[track_caller]
fn only(broadcaster: &Broadcaster, reason: impl Fn(&BroadcastDrops) -> u64) -> u64 {
    let dropped = settled(broadcaster).dropped;
    assert_eq!(dropped.total(), reason(&dropped), "{dropped:?}");
    reason(&dropped)
}
