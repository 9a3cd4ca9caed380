//! What other threads do to a server: wakes, posts, sends, closes.

mod support;

use bytes::Bytes;
use mainspring_loop::{Action, ConnId, Full, Limits, Remote, SendOutcome};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;
use support::*;

#[test]
fn a_reply_that_a_thread_has_made_arrives_after_a_wake() {
    let _bound = bound(30);
    let answer = Arc::new(Mutex::new(None::<String>));
    let made = answer.clone();
    let server = Reached::new(Limits::default(), move |log| {
        let made = made.clone();
        Probe::new(log).wake(move |conn| {
            let answer = made.lock().unwrap().take().unwrap_or_default();
            conn.out().extend_from_slice(answer.as_bytes());
            Action::Continue
        })
    });
    let (mut client, id) = server.client();
    let remote = server.remote.clone();
    let worker = thread::spawn(move || {
        *answer.lock().unwrap() = Some("forty-two".to_owned());
        remote.wake(id).unwrap();
    });
    client.expect(b"forty-two");
    worker.join().unwrap();
    stop(server.running);
}

#[test]
fn a_wake_may_close_the_connection() {
    let _bound = bound(30);
    let server = Reached::new(Limits::default(), |log| {
        Probe::new(log).wake(|conn| {
            conn.out().extend_from_slice(b"+OK");
            Action::Close
        })
    });
    let (mut client, id) = server.client();
    server.remote.wake(id).unwrap();
    assert_eq!(client.receive_to_end(), b"+OK");
    drop(client);
    server.log.wait_for(1, "close 1 Local");
    stop(server.running);
}

#[test]
fn wakes_that_come_faster_than_turns_are_one_call() {
    let _bound = bound(30);
    let server = Reached::new(Limits::default(), Probe::echo);
    let (_client, id) = server.client();
    let held = server.hold_up();
    for _ in 0..200 {
        server.remote.wake(id).unwrap();
    }
    drop(held);
    server.settle();
    assert_eq!(server.log.count("wake"), 1);
    server.remote.wake(id).unwrap();
    server.settle();
    assert_eq!(server.log.count("wake"), 2);
    stop(server.running);
}

#[test]
fn a_wake_never_overwrites_output_nor_takes_a_close_back() {
    let _bound = bound(60);
    let payload = random_bytes(&mut fastrand::Rng::with_seed(5), 8 << 20);
    let reply = payload.clone();
    let server = Reached::new(Limits::default(), move |log| {
        let reply = reply.clone();
        Probe::new(log)
            .data(move |conn, input| {
                conn.out().extend_from_slice(&reply);
                if &*input.take() == b"close" { Action::Close } else { Action::Continue }
            })
            .wake(|conn| {
                conn.out().extend_from_slice(b"<woken>");
                Action::Continue
            })
    });
    for closes in [false, true] {
        let (mut client, id) = server.client();
        let before = server.log.count("data");
        client.send(if closes { b"close" } else { b"go on" });
        server.log.wait_for(before + 1, "data");
        let woken = server.log.count("wake");
        for _ in 0..3 {
            server.remote.wake(id).unwrap();
            server.settle();
        }
        assert_same_bytes(&client.receive(payload.len()), &payload, "output before the wakes");
        if closes {
            client.expect_end();
            assert_eq!(server.log.count("wake"), woken, "a closing connection is not woken");
        } else {
            client.expect(b"<woken><woken><woken>");
            assert!(client.is_silent_for(Duration::from_millis(20)));
        }
    }
    stop(server.running);
}

#[test]
fn connections_may_be_woken_from_inside_an_event() {
    let _bound = bound(30);
    let ids = Arc::new(Mutex::new(Vec::new()));
    let seen = ids.clone();
    let server = Reached::new(Limits::default(), move |log| {
        let (seen, mut left) = (seen.clone(), 3);
        Probe::new(log)
            .data(move |conn, input| {
                input.take();
                let mut all = conn.cx().connections();
                all.sort_unstable();
                for id in &all {
                    assert!(conn.cx().wake(*id));
                }
                *seen.lock().unwrap() = all;
                Action::Continue
            })
            .wake(move |conn| {
                conn.out().push(b'w');
                // Itself, from its own wake: one call per turn, and an end to it.
                if left > 0 {
                    left -= 1;
                    let id = conn.id();
                    assert!(conn.cx().wake(id));
                }
                Action::Continue
            })
    });
    let (mut one, first) = server.client();
    let (mut other, second) = server.client();
    one.send(b"wake all");
    server.log.wait_for(5, "wake");
    let mut all = vec![first, second];
    all.sort_unstable();
    assert_eq!(*ids.lock().unwrap(), all);
    one.expect(b"w");
    other.expect(b"w");
    server.settle();
    assert_eq!(server.log.count("wake"), 5);
    stop(server.running);
}

#[test]
fn ids_that_have_outlived_their_connection_are_harmless() {
    let _bound = bound(30);
    let server = Reached::new(Limits::default(), Probe::echo);
    let (client, old) = server.client();
    drop(client);
    server.log.wait_for(1, "close 1");
    // The slot has a new tenant, which the old id does not name.
    let (mut client, _id) = server.client();
    server.remote.wake(old).unwrap();
    server.remote.resume(old).unwrap();
    server.remote.send(old, Bytes::from_static(b"late")).unwrap();
    server.remote.abort(old).unwrap();
    server.remote.close(old).unwrap();
    server.settle();
    client.send(b"alive");
    client.expect(b"alive");
    assert_eq!(server.log.count("wake"), 0);
    assert_eq!(server.running.handle().stats().total.dropped_sends, 1);
    let remote = server.remote.clone();
    stop(server.running);
    assert_eq!(remote.wake(old), Err(Full));
    assert_eq!(remote.post(|_, _| unreachable!()), Err(Full));
    let called = Arc::new(AtomicBool::new(false));
    let tell = called.clone();
    let sent = remote.send_notify(old, Bytes::from_static(b"x"), move |_| {
        tell.store(true, Ordering::SeqCst);
    });
    assert_eq!(sent, Err(Full));
    assert!(!called.load(Ordering::SeqCst), "a refused send is not reported again");
}

#[test]
fn posts_of_one_thread_run_in_their_order() {
    let _bound = bound(30);
    let server = Reached::new(Limits::default(), Probe::echo);
    for number in 0..5_000 {
        let log = server.log.clone();
        while server.remote.post({
            let log = log.clone();
            move |_, cx| log.add(format!("post {number} on {}", cx.loop_index()))
        }) == Err(Full)
        {
            thread::yield_now();
        }
    }
    server.settle();
    let posts = server.log.wait_for(5_000, "post");
    for (number, line) in posts.iter().enumerate() {
        assert_eq!(line, &format!("post {number} on 0"));
    }
    stop(server.running);
}

#[test]
fn a_full_inbox_says_so_and_forgets_nothing_it_took() {
    let _bound = bound(30);
    let limits = Limits { inbox_max: 100, ..Limits::default() };
    let server = Reached::new(limits, Probe::echo);
    let held = server.hold_up();
    let ran = Arc::new(AtomicUsize::new(0));
    let post = || {
        let ran = ran.clone();
        server.remote.post(move |_, _| {
            ran.fetch_add(1, Ordering::SeqCst);
        })
    };
    let taken = (0..1_000).filter(|_| post().is_ok()).count();
    assert_eq!(taken, 100);
    drop(held);
    eventually("the posts run", || ran.load(Ordering::SeqCst) == 100);
    assert_eq!(post(), Ok(()));
    stop(server.running);
}

#[test]
fn an_inbox_full_of_bytes_says_so() {
    let _bound = bound(30);
    let limits = Limits { inbox_bytes_max: 1_000, ..Limits::default() };
    let server = Reached::new(limits, Probe::echo);
    let (mut client, id) = server.client();
    let held = server.hold_up();
    let outcomes = Arc::new(AtomicUsize::new(0));
    let send = |length| {
        let outcomes = outcomes.clone();
        server.remote.send_notify(id, vec![b'x'; length].into(), move |outcome| {
            assert_eq!(outcome, SendOutcome::Sent);
            outcomes.fetch_add(1, Ordering::SeqCst);
        })
    };
    assert_eq!((send(600), send(500), send(400)), (Ok(()), Err(Full), Ok(())));
    assert_eq!(send(1), Err(Full));
    assert_eq!(server.remote.wake(id), Ok(()), "a wake has no bytes");
    drop(held);
    assert_eq!(client.receive(1_000), vec![b'x'; 1_000]);
    eventually("completions", || outcomes.load(Ordering::SeqCst) == 2);
    assert_eq!(send(1_000), Ok(()));
    assert_eq!(client.receive(1_000), vec![b'x'; 1_000]);
    stop(server.running);
}

#[test]
fn a_send_to_a_closed_connection_completes_as_closed() {
    let _bound = bound(30);
    let server = Reached::new(Limits::default(), Probe::echo);
    let (client, id) = server.client();
    drop(client);
    server.log.wait_for(1, "close 1");
    let (tell, told) = channel();
    server
        .remote
        .send_notify(id, Bytes::from_static(b"x"), move |it| tell.send(it).unwrap())
        .unwrap();
    assert_eq!(told.recv_timeout(PATIENCE), Ok(SendOutcome::Closed));
    stop(server.running);
}

#[test]
fn a_send_that_waits_completes_as_closed_with_its_connection() {
    let _bound = bound(30);
    let server = Reached::new(Limits::default(), Probe::echo);
    let (client, id) = server.client();
    let (tell, told) = channel();
    server
        .remote
        .send_notify(id, vec![0; 32 << 20].into(), move |it| tell.send(it).unwrap())
        .unwrap();
    assert!(told.recv_timeout(Duration::from_millis(50)).is_err(), "it waits");
    client.reset();
    assert_eq!(told.recv_timeout(PATIENCE), Ok(SendOutcome::Closed));
    stop(server.running);
}

const THREADS: usize = 8;
const SENDS: u32 = 10_000;
const CONNS: usize = 8;
const FRAME: usize = 8;

/// What the senders count by connection.
#[derive(Default)]
struct Tally {
    accepted: AtomicUsize,
    completed: AtomicUsize,
    sent: [AtomicUsize; CONNS],
}

/// Eight threads send ten thousand frames each, to connections chosen at random, which they close
/// at random too.
#[test]
fn every_send_of_eight_threads_completes_once_and_streams_stay_in_order() {
    let _bound = bound(120);
    let server = Reached::new(Limits::default(), Probe::echo);
    let (clients, ids): (Vec<Client>, Vec<ConnId>) = (0..CONNS).map(|_| server.client()).unzip();
    let tally = Arc::new(Tally::default());
    let together = Arc::new(Barrier::new(THREADS));
    let readers: Vec<_> = clients
        .into_iter()
        .map(|mut client| thread::spawn(move || client.receive_to_end()))
        .collect();
    let senders: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (remote, ids) = (server.remote.clone(), ids.clone());
            let (tally, together) = (tally.clone(), together.clone());
            thread::spawn(move || {
                together.wait();
                send_frames(thread, &remote, &ids, &tally);
            })
        })
        .collect();
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    ids.iter().for_each(|id| while server.remote.close(*id) == Err(Full) {});
    let streams: Vec<Vec<u8>> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
    stop(server.running);
    let accepted = tally.accepted.load(Ordering::SeqCst);
    assert_eq!(tally.completed.load(Ordering::SeqCst), accepted, "completions == sends accepted");
    assert_eq!(accepted, THREADS * SENDS as usize);
    for (index, stream) in streams.iter().enumerate() {
        let frames = check_stream(stream, index);
        let sent = tally.sent[index].load(Ordering::SeqCst);
        assert_eq!(frames, sent, "connection {index}: what was reported sent has arrived");
    }
    let sent: usize = tally.sent.iter().map(|sent| sent.load(Ordering::SeqCst)).sum();
    assert!(sent > 0 && sent < accepted, "{sent} of {accepted}: the closes came in between");
}

fn send_frames(thread: usize, remote: &Remote<Probe>, ids: &[ConnId], tally: &Arc<Tally>) {
    let mut rng = fastrand::Rng::with_seed(thread as u64);
    let mut next = vec![0u32; ids.len()];
    for _ in 0..SENDS {
        let index = rng.usize(..ids.len());
        // The last connection is never closed by chance.
        if index + 1 < ids.len() && rng.u32(..4_000) == 0 {
            while remote.close(ids[index]) == Err(Full) {
                thread::yield_now();
            }
        }
        let frame = [(thread as u32).to_be_bytes(), next[index].to_be_bytes()].concat();
        let frame = Bytes::from(frame);
        next[index] += 1;
        loop {
            let counts = tally.clone();
            let taken = remote.send_notify(ids[index], frame.clone(), move |outcome| {
                counts.completed.fetch_add(1, Ordering::SeqCst);
                if outcome == SendOutcome::Sent {
                    counts.sent[index].fetch_add(1, Ordering::SeqCst);
                }
            });
            if taken.is_ok() {
                tally.accepted.fetch_add(1, Ordering::SeqCst);
                break;
            }
            thread::yield_now();
        }
    }
}

/// The frames of each thread are 0, 1, 2, .. without a gap. Returns how many there are in all.
fn check_stream(stream: &[u8], index: usize) -> usize {
    assert_eq!(stream.len() % FRAME, 0, "connection {index} ends within a frame");
    let mut next: HashMap<u32, u32> = HashMap::new();
    for frame in stream.chunks(FRAME) {
        let thread = u32::from_be_bytes(frame[..4].try_into().unwrap());
        let number = u32::from_be_bytes(frame[4..].try_into().unwrap());
        let wanted = next.entry(thread).or_default();
        assert_eq!(number, *wanted, "connection {index}, thread {thread}");
        *wanted += 1;
    }
    stream.len() / FRAME
}

#[test]
fn a_connections_own_waker_is_not_refused_when_the_inbox_is_full() {
    let _bound = bound(30);
    let limits = Limits { inbox_max: 10, ..Limits::default() };
    let wakers = Arc::new(Mutex::new(Vec::new()));
    let made = wakers.clone();
    let server = Reached::new(limits, move |log| {
        let made = made.clone();
        Probe::new(log).data(move |conn, input| {
            input.take();
            made.lock().unwrap().push(conn.waker());
            Action::Continue
        })
    });
    let clients = [(); 2].map(|()| {
        let (mut client, _) = server.client();
        client.send(b"a waker");
        client
    });
    eventually("both have one", || wakers.lock().unwrap().len() == 2);
    let held = server.hold_up();
    while server.remote.post(|_, _| {}).is_ok() {}
    let wakers = wakers.lock().unwrap().clone();
    for _ in 0..10_000 {
        wakers[0].wake_by_ref();
    }
    wakers[1].wake_by_ref();
    drop(held);
    let mut woken = server.log.wait_for(2, "wake");
    woken.sort();
    assert_eq!(woken, ["wake 1", "wake 2"]);
    // Each is ready for the next wake, and harmless afterwards.
    wakers[1].wake_by_ref();
    server.log.wait_for(3, "wake");
    drop(clients);
    stop(server.running);
    wakers.into_iter().for_each(std::task::Waker::wake);
    assert_eq!(server.log.count("wake"), 3);
}
