//! Tasks: spawned, joined, cancelled, panicking, woken from elsewhere, timed.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "tests over sockets wait in real time")]

mod support;

use mainspring_tasks::{
    Elapsed, JoinError, Stream, TaskPanic, Tasks, draining, sleep, spawn, timeout, yield_now,
};
use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};
use support::*;

/// Runs a future as a task on a loop of its own, and returns what it gave.
fn on_a_loop<T: Send + 'static, F: Future<Output = T> + 'static>(
    make: impl FnOnce() -> F + Send + 'static,
) -> T {
    let server = Served::start(|| Tasks::serve(echo));
    let (tell, told) = channel();
    let work = move |tasks: &mut Tasks, _: &mut mainspring_loop::Cx<'_>| {
        let future = make();
        tasks.spawn(async move { tell.send(future.await).unwrap() }).detach();
    };
    server.remote.post(work).unwrap();
    let got = told.recv_timeout(PATIENCE).expect("it ends");
    server.running.handle().stop();
    server.running.join().unwrap();
    got
}

/// Says in a log when it is dropped.
struct Dropped(Log, &'static str);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.add(self.1);
    }
}

#[test]
fn a_result_is_joined_whether_it_comes_before_or_after() {
    let _bound = bound(30);
    let got = on_a_loop(|| async {
        let slow = spawn(async {
            sleep(Duration::from_millis(5)).await;
            1
        });
        let quick = spawn(async { 2 });
        while !quick.is_finished() {
            yield_now().await;
        }
        (slow.await.unwrap(), quick.await.unwrap())
    });
    assert_eq!(got, (1, 2));
}

#[test]
fn a_handle_that_is_dropped_or_aborted_cancels_and_a_detached_one_does_not() {
    let _bound = bound(30);
    let log = Log::default();
    let told = log.clone();
    let joined = on_a_loop(move || async move {
        let hold = |name| {
            let guard = Dropped(told.clone(), name);
            async move {
                let _guard = guard;
                pending::<()>().await;
            }
        };
        drop(spawn(hold("dropped handle")));
        let aborted = spawn(hold("aborted"));
        yield_now().await;
        aborted.abort();
        let joined = aborted.await;
        let (note, guard) = (told.clone(), Dropped(told.clone(), "detached"));
        spawn(async move {
            let _guard = guard;
            sleep(Duration::from_millis(2)).await;
            note.add("detached ran on");
        })
        .detach();
        sleep(Duration::from_millis(20)).await;
        joined
    });
    assert_eq!(joined, Err(JoinError::Cancelled));
    assert_eq!(log.lines(), ["dropped handle", "aborted", "detached ran on", "detached"]);
}

#[test]
fn a_task_that_cancels_itself_ends_at_its_next_wait() {
    let _bound = bound(30);
    let log = Log::default();
    let told = log.clone();
    on_a_loop(move || async move {
        let own = Rc::new(RefCell::new(None));
        let (handle, guard) = (own.clone(), Dropped(told.clone(), "gone"));
        *own.borrow_mut() = Some(spawn(async move {
            let _guard = guard;
            drop(handle.borrow_mut().take());
            told.add("still here");
            yield_now().await;
            told.add("not reached");
        }));
        sleep(Duration::from_millis(5)).await;
    });
    assert_eq!(log.lines(), ["still here", "gone"]);
}

#[test]
fn the_panic_of_a_spawned_task_is_the_error_of_its_handle_and_is_counted() {
    let _bound = bound(30);
    let told = Arc::new(Mutex::new(Vec::<TaskPanic>::new()));
    let tells = told.clone();
    let server = Served::start(move || {
        let tells = tells.clone();
        Tasks::serve(|mut stream: Stream| async move {
            let handle = spawn(async {
                yield_now().await;
                panic!("as planned");
            });
            let error = handle.await.unwrap_err();
            stream.write_all(error.to_string().as_bytes()).await.unwrap();
        })
        .on_panic(move |panic| {
            tells.lock().unwrap().push(panic.clone());
            panic!("hooks may panic too");
        })
    });
    for round in 1..=2 {
        assert_eq!(server.client().rest(), b"the task panicked: as planned");
        server.eventually(|stats| (stats.panicked, stats.running), (round, 0));
    }
    let told = told.lock().unwrap().clone();
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|panic| panic.conn.is_none() && panic.message == "as planned"));
    server.stop(2);
}

#[test]
fn a_panic_closes_its_connection_reaches_the_hook_and_leaves_the_server_up() {
    let _bound = bound(30);
    let told = Arc::new(Mutex::new(Vec::<TaskPanic>::new()));
    let tells = told.clone();
    let server = Served::start(move || {
        let tells = tells.clone();
        Tasks::serve(|mut stream: Stream| {
            let shown = stream.peer().to_string();
            assert!(!shown.is_empty());
            async move {
                let mut buffer = [0; 100];
                while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                    match &buffer[..count] {
                        b"boom" => panic!("boom in a read"),
                        b"later" => {
                            sleep(Duration::from_millis(3)).await;
                            panic!("boom after a sleep");
                        }
                        bytes => stream.write_all(bytes).await.unwrap(),
                    }
                }
            }
        })
        .on_panic(move |panic| tells.lock().unwrap().push(panic.clone()))
    });
    let mut quiet = server.client();
    for bomb in [b"boom".as_slice(), b"later"] {
        let mut client = server.client();
        client.send(b"hello");
        client.expect(b"hello");
        client.send(bomb);
        client.expect_gone();
    }
    quiet.send(b"still here");
    quiet.expect(b"still here");
    server.eventually(|stats| (stats.panicked, stats.running), (2, 1));
    let told = told.lock().unwrap().clone();
    let messages: Vec<&str> = told.iter().map(|panic| panic.message.as_str()).collect();
    assert_eq!(messages, ["boom in a read", "boom after a sleep"]);
    assert!(told.iter().all(|panic| panic.conn.is_some()));
    server.stop(2);
}

#[test]
fn a_closure_that_panics_before_there_is_a_future_is_no_different() {
    let _bound = bound(30);
    let count = Arc::new(AtomicUsize::new(0));
    let counts = count.clone();
    let server = Served::start(move || {
        let (counts, mut first) = (counts.clone(), true);
        Tasks::serve(move |stream| {
            assert!(!std::mem::take(&mut first), "the first one fails");
            echo(stream)
        })
        .on_panic(move |panic| {
            assert!(panic.conn.is_some() && panic.message == "the first one fails");
            counts.fetch_add(1, Ordering::SeqCst);
        })
    });
    server.client().expect_gone();
    let mut client = server.client();
    client.send(b"served");
    client.expect(b"served");
    assert_eq!(count.load(Ordering::SeqCst), 1);
    server.stop(1);
}

#[test]
fn a_part_of_a_task_that_panics_while_it_is_dropped_is_counted() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            if !thread::panicking() {
                panic!("dropped");
            }
        }
    }
    let _bound = bound(30);
    let server = Served::start(|| {
        Tasks::serve(|mut stream: Stream| async move {
            let task = spawn(async {
                let _bomb = Bomb;
                pending::<()>().await;
            });
            yield_now().await;
            drop(task);
            sleep(Duration::from_millis(3)).await;
            stream.write_all(b"alive").await.unwrap();
        })
    });
    assert_eq!(server.client().rest(), b"alive");
    server.eventually(|stats| (stats.panicked, stats.cancelled, stats.running), (1, 1, 0));
    server.stop(1);
}

#[test]
fn a_sleep_is_never_early_and_a_timeout_ends_what_takes_too_long() {
    let _bound = bound(30);
    let (slept, late, done) = on_a_loop(|| async {
        let before = Instant::now();
        let sleeps: Vec<_> = [20, 5, 10].map(Duration::from_millis).map(sleep).into();
        for sleep in sleeps {
            sleep.await;
        }
        let slept = before.elapsed();
        let late = timeout(Duration::from_millis(5), pending::<()>()).await;
        let done = timeout(Duration::from_secs(3600), async {
            sleep(Duration::from_millis(2)).await;
            "done"
        })
        .await;
        mainspring_tasks::sleep_until(Instant::now()).await;
        (slept, late, done)
    });
    // Each counts from its first poll, and they were polled one after the other.
    assert!(slept >= Duration::from_millis(35), "{slept:?}");
    assert_eq!((late, done), (Err(Elapsed), Ok("done")));
    assert_eq!(std::io::Error::from(Elapsed).kind(), std::io::ErrorKind::TimedOut);
}

/// A thousand tasks sleep for times of chance, some are cancelled: each that is left wakes once.
#[test]
fn many_sleepers_wake_in_their_order() {
    let _bound = bound(30);
    let seed = 11;
    let woken = on_a_loop(move || async move {
        let mut rng = fastrand::Rng::with_seed(seed);
        let woken = Rc::new(RefCell::new(Vec::new()));
        let mut tasks = Vec::new();
        for _ in 0..1_000 {
            let (after_ms, log) = (rng.u64(0..60), woken.clone());
            tasks.push(Some(spawn(async move {
                sleep(Duration::from_millis(after_ms)).await;
                log.borrow_mut().push(after_ms);
            })));
        }
        yield_now().await;
        let mut dropped = 0;
        for task in &mut tasks {
            if rng.u32(..3) == 0 {
                dropped += usize::from(task.take().is_some_and(|task| !task.is_finished()));
            }
        }
        for task in tasks.into_iter().flatten() {
            let _ = task.await;
        }
        (woken.take(), dropped)
    });
    let (woken, dropped) = woken;
    assert!(dropped > 100 && woken.len() >= 1_000 - 400, "seed {seed}: {} {dropped}", woken.len());
    // All began within two turns.
    let sorted = woken.windows(2).all(|pair| pair[0] <= pair[1] + 20);
    assert!(sorted, "seed {seed}: {woken:?}");
}

#[test]
fn a_task_is_woken_from_another_thread_as_often_as_it_takes() {
    const ROUNDS: usize = 5_000;
    let _bound = bound(60);
    let shared = Arc::new((AtomicUsize::new(0), Mutex::new(None::<Waker>)));
    let (asks, stop) = (shared.clone(), Arc::new(AtomicBool::new(false)));
    let over = stop.clone();
    let waking = thread::spawn(move || {
        while !over.load(Ordering::SeqCst) {
            let waker = asks.1.lock().unwrap().take();
            if let Some(waker) = waker {
                asks.0.fetch_add(1, Ordering::SeqCst);
                waker.wake();
            }
        }
        // Late wakes of a task that has gone are harmless.
        if let Some(waker) = asks.1.lock().unwrap().take() {
            waker.wake();
        }
    });
    let seen = shared.clone();
    on_a_loop(move || async move {
        for round in 0..ROUNDS {
            poll_fn(|cx| {
                if seen.0.load(Ordering::SeqCst) > round {
                    return Poll::Ready(());
                }
                *seen.1.lock().unwrap() = Some(cx.waker().clone());
                Poll::Pending
            })
            .await;
        }
        *seen.1.lock().unwrap() = Some(poll_fn(|cx| Poll::Ready(cx.waker().clone())).await);
    });
    stop.store(true, Ordering::SeqCst);
    waking.join().unwrap();
}

#[test]
fn tasks_that_are_always_ready_leave_room_for_others() {
    let _bound = bound(30);
    let server = Served::start(|| {
        Tasks::serve(|mut stream: Stream| async move {
            let mut buffer = [0; 10];
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                if &buffer[..count] == b"spin" {
                    for _ in 0..10 {
                        spawn(async {
                            loop {
                                yield_now().await;
                            }
                        })
                        .detach();
                    }
                }
                stream.write_all(&buffer[..count]).await.unwrap();
            }
        })
        .per_turn(3)
    });
    let mut client = server.client();
    client.send(b"spin");
    client.expect(b"spin");
    for _ in 0..100 {
        client.send(b"hello");
        client.expect(b"hello");
    }
    let before = server.running.handle().stats().total.turns;
    client.send(b"more");
    client.expect(b"more");
    eventually("turns go on", || server.running.handle().stats().total.turns > before + 100);
    server.stop(0);
}

#[test]
fn a_drain_waits_for_tasks_that_are_busy_and_tells_those_that_ask() {
    let _bound = bound(30);
    let log = Log::default();
    let told = log.clone();
    let server = Served::start(move || {
        let told = told.clone();
        Tasks::serve(move |mut stream: Stream| {
            let told = told.clone();
            async move {
                let mut buffer = [0; 4];
                stream.read_exact(&mut buffer).await.unwrap();
                match &buffer {
                    b"idle" => {
                        stream.set_busy(false);
                        told.add("idle");
                        let _ = stream.read(&mut buffer).await;
                    }
                    b"asks" => {
                        told.add("asks");
                        let mut asked = pin!(draining());
                        let mut read = pin!(stream.peek(1));
                        poll_fn(|cx| match read.as_mut().poll(cx) {
                            Poll::Ready(_) => panic!("nothing is sent"),
                            Poll::Pending => asked.as_mut().poll(cx),
                        })
                        .await;
                        told.add("told");
                    }
                    _ => {
                        told.add("works");
                        sleep(Duration::from_millis(200)).await;
                        stream.write_all(b"done").await.unwrap();
                    }
                }
            }
        })
    });
    let mut clients = [b"idle", b"asks", b"work"].map(|what| {
        let mut client = server.client();
        client.send(what);
        client
    });
    ["idle", "asks", "works"].iter().for_each(|line| log.wait_for(line));
    let before = Instant::now();
    server.running.handle().drain();
    assert_eq!(clients[0].rest(), b"");
    assert_eq!(clients[1].rest(), b"");
    assert!(before.elapsed() < Duration::from_millis(150), "neither waits for the third");
    assert_eq!(clients[2].rest(), b"done");
    log.wait_for("told");
    server.running.join().unwrap();
}

#[test]
fn what_is_left_when_the_server_ends_is_dropped() {
    let _bound = bound(30);
    let log = Log::default();
    let told = log.clone();
    let server = Served::start(move || {
        let told = told.clone();
        Tasks::serve(move |stream: Stream| {
            let guard = Dropped(told.clone(), "dropped");
            async move {
                let _guard = (guard, stream);
                // Spawned by what is dropped, and dropped with it.
                let cell = Cell::new(Some(spawn(pending::<()>())));
                pending::<()>().await;
                drop(cell.take());
            }
        })
    });
    let mut client = server.client();
    server.eventually(|stats| stats.running, 2);
    server.stop(0);
    client.expect_gone();
    assert_eq!(log.lines(), ["dropped"]);
}

#[test]
fn outside_of_a_task_it_is_said_that_this_is_outside() {
    let payload = std::panic::catch_unwind(|| drop(spawn(async {}))).unwrap_err();
    let message = payload.downcast_ref::<String>().unwrap();
    assert_eq!(message, "spawn works only inside of a task of `Tasks`");
}
