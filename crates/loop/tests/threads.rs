//! Blocking code on a thread for each connection.

#![allow(clippy::disallowed_methods, reason = "blocking code waits by the clock")]

mod support;

use mainspring_loop::{
    Balance, Loops, Running, Server, ThreadFault, ThreadLimits, ThreadMeter, ThreadStats, Threads,
};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use support::*;

/// Says on which thread it runs; then echoes lines, of which some are commands.
fn lines(stream: TcpStream, release: &Arc<Mutex<Receiver<()>>>) {
    let mut writer = stream.try_clone().unwrap();
    let name = thread::current().name().unwrap().to_owned();
    writeln!(writer, "{name} for {}", stream.peer_addr().unwrap()).unwrap();
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { return };
        match line.as_str() {
            "boom" => panic!("it said boom"),
            "quit" => return,
            "hold" => {
                let _ = release.lock().unwrap().recv();
                return;
            }
            _ => writeln!(writer, "{line}").unwrap(),
        }
    }
}

struct Bench {
    running: Running,
    meter: ThreadMeter,
    log: Log,
    /// Dropped, it lets the threads go that hold.
    _release: std::sync::mpsc::Sender<()>,
}

impl Bench {
    fn start(limits: ThreadLimits) -> Self {
        Self::over(Server::builder(), &[TCP], limits)
    }

    fn over(
        builder: mainspring_loop::ServerBuilder,
        addresses: &[&str],
        limits: ThreadLimits,
    ) -> Self {
        let (release, held) = channel();
        let held = Arc::new(Mutex::new(held));
        let log = Log::new();
        let there = log.clone();
        let threads = Threads::serve_with_hook(
            limits,
            move |stream| lines(stream, &held),
            move |_, fault| there.add(format!("{fault:?}")),
        );
        let meter = threads.meter();
        let running = start_with(builder, addresses, move || threads.clone());
        Self { running, meter, log, _release: release }
    }

    fn client(&self) -> Client {
        Client::tcp(inet(&self.running))
    }

    #[track_caller]
    fn eventually(&self, what: &str, holds: impl Fn(&ThreadStats) -> bool) {
        eventually(what, || holds(&self.meter.snapshot()));
    }
}

fn line(client: &mut Client) -> String {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        line.extend(client.receive(1));
    }
    String::from_utf8(line).unwrap()
}

#[test]
fn each_connection_has_a_thread_and_its_own_socket() {
    let _bound = bound(60);
    let bench = Bench::start(ThreadLimits { name: "line".to_owned(), ..ThreadLimits::default() });
    let mut clients: Vec<Client> = (0..5).map(|_| bench.client()).collect();
    let mut names = std::collections::HashSet::new();
    for client in &mut clients {
        let own = client.tcp_stream().local_addr().unwrap();
        let greeting = line(client);
        let (name, peer) = greeting.trim_end().split_once(" for ").unwrap();
        assert!(name.starts_with("line ") && peer == own.to_string(), "{greeting}");
        assert!(names.insert(name.to_owned()), "{greeting}");
        client.send(b"hello\n");
        assert_eq!(line(client), "hello\n");
    }
    assert_eq!(bench.meter.snapshot().live, 5);
    clients[0].send(b"quit\n");
    clients[0].expect_end();
    clients[1].finish();
    clients[1].expect_end();
    bench.eventually("two are served", |stats| (stats.served, stats.live) == (2, 3));
    stop(bench.running);
    let stats = bench.meter.snapshot();
    assert_eq!((stats.served, stats.live, stats.live_max, stats.abandoned), (5, 0, 5, 0));
}

#[test]
fn a_panic_closes_its_connection_and_reaches_the_hook_and_the_server_goes_on() {
    let _bound = bound(60);
    let bench = Bench::start(ThreadLimits::default());
    let mut other = bench.client();
    line(&mut other);
    for round in 1..=3 {
        let mut client = bench.client();
        line(&mut client);
        client.send(b"boom\n");
        client.expect_end();
        let told = bench.log.wait_for(round, "Panicked");
        assert_eq!(told, vec!["Panicked(\"it said boom\")"; round]);
    }
    other.send(b"still here\n");
    assert_eq!(line(&mut other), "still here\n");
    bench.eventually("panics are counted", |stats| (stats.panicked, stats.live) == (3, 1));
    stop(bench.running);
}

#[test]
fn one_too_many_waits_and_one_more_is_refused() {
    let _bound = bound(60);
    let limits = ThreadLimits { threads_max: 2, waiting_max: 2, ..ThreadLimits::default() };
    let bench = Bench::start(limits);
    let mut served: Vec<Client> = (0..2).map(|_| bench.client()).collect();
    served.iter_mut().for_each(|client| drop(line(client)));
    let mut waiting: Vec<Client> = Vec::new();
    for count in 1..=2 {
        waiting.push(bench.client());
        bench.eventually("it waits", |stats| stats.waiting == count);
    }
    let mut refused = bench.client();
    refused.expect_gone();
    assert_eq!(bench.log.wait_for(1, "Refused").len(), 1);
    // What one sends while it waits is read by its thread.
    waiting[0].send(b"patience\n");
    assert!(waiting[0].is_silent_for(Duration::from_millis(50)));
    served[1].send(b"quit\n");
    line(&mut waiting[0]);
    assert_eq!(line(&mut waiting[0]), "patience\n");
    assert!(waiting[1].is_silent_for(Duration::from_millis(50)), "first come, first served");
    // The place of a thread that panics is free again.
    served[0].send(b"boom\n");
    line(&mut waiting[1]);
    let stats = bench.meter.snapshot();
    assert_eq!((stats.refused, stats.waiting, stats.live_max), (1, 0, 2));
    stop(bench.running);
}

#[test]
fn who_waits_too_long_or_leaves_is_out_of_the_queue() {
    let _bound = bound(60);
    let limits = ThreadLimits {
        threads_max: 1,
        waiting_timeout: Duration::from_millis(200),
        ..ThreadLimits::default()
    };
    let bench = Bench::start(limits);
    let mut served = bench.client();
    line(&mut served);
    let mut late = bench.client();
    late.expect_gone();
    bench.log.wait_for(1, "WaitedTooLong");
    bench.eventually("nobody waits", |stats| (stats.waiting, stats.waited_too_long) == (0, 1));
    served.send(b"quit\n");
    served.expect_end();
    let mut next = bench.client();
    assert!(line(&mut next).contains(" for "));
    stop(bench.running);
}

#[test]
fn connections_of_all_loops_share_the_threads() {
    let _bound = bound(60);
    let builder = Server::builder().loops(Loops::Count(3)).balance(Balance::RoundRobin);
    let limits = ThreadLimits { threads_max: 1, ..ThreadLimits::default() };
    let bench = Bench::over(builder, &[TCP], limits);
    let mut clients: Vec<Client> = (0..9).map(|_| bench.client()).collect();
    bench.eventually("all but one wait", |stats| (stats.live, stats.waiting) == (1, 8));
    clients.iter_mut().for_each(|client| client.send(b"quit\n"));
    clients.iter_mut().for_each(|client| drop(client.receive_to_end()));
    bench.eventually("all are served", |stats| stats.served == 9);
    assert_eq!(bench.meter.snapshot().live_max, 1);
    stop(bench.running);
}

#[test]
fn a_stop_ends_reads_that_wait() {
    let _bound = bound(60);
    let bench = Bench::start(ThreadLimits::default());
    let mut clients: Vec<Client> = (0..20).map(|_| bench.client()).collect();
    clients.iter_mut().for_each(|client| drop(line(client)));
    stop(bench.running);
    let stats = bench.meter.snapshot();
    assert_eq!((stats.live, stats.served, stats.abandoned), (0, 20, 0));
    clients.iter_mut().for_each(Client::expect_end);
}

#[test]
fn a_drain_lets_threads_finish() {
    let _bound = bound(60);
    let bench = Bench::start(ThreadLimits::default());
    let mut client = bench.client();
    line(&mut client);
    bench.running.handle().drain();
    let running = bench.running;
    let joined = thread::spawn(move || running.join());
    for _ in 0..5 {
        thread::sleep(Duration::from_millis(20));
        client.send(b"not yet\n");
        assert_eq!(line(&mut client), "not yet\n");
    }
    client.send(b"quit\n");
    client.expect_end();
    joined.join().unwrap().unwrap();
    assert_eq!(bench.meter.snapshot().served, 1);
}

#[test]
fn a_thread_that_does_not_end_is_left_alone_and_told() {
    let _bound = bound(60);
    let limits = ThreadLimits { stop: Duration::from_millis(100), ..ThreadLimits::default() };
    let bench = Bench::start(limits);
    let mut client = bench.client();
    line(&mut client);
    client.send(b"hold\n");
    // It has to have read that before its socket is shut down.
    thread::sleep(Duration::from_millis(100));
    let meter = bench.meter.clone();
    stop(bench.running);
    assert_eq!((meter.snapshot().abandoned, meter.snapshot().live), (1, 1));
    assert_eq!(bench.log.wait_for(1, "Abandoned").len(), 1);
}

#[cfg(unix)]
mod unix {
    use super::*;
    use mainspring_loop::Detached;
    use std::io::Read as _;
    use std::os::unix::net::UnixStream;

    #[test]
    fn code_for_one_kind_of_socket_refuses_the_other() {
        let _bound = bound(60);
        let dir = TempDir::new();
        let unix = dir.unix("threads");
        let bench = Bench::over(Server::builder(), &[&unix, TCP], ThreadLimits::default());
        let mut client = Client::connect(&bench.running.addrs()[0]);
        client.expect_gone();
        bench.log.wait_for(1, "Unsuitable");
        let mut client = Client::connect(&bench.running.addrs()[1]);
        line(&mut client);
        assert_eq!(bench.meter.snapshot().unsuitable, 1);
        stop(bench.running);
    }

    #[test]
    fn unix_sockets_and_either_kind_are_served_too() {
        let _bound = bound(60);
        let dir = TempDir::new();
        let addresses = [dir.unix("first"), dir.unix("second"), TCP.to_owned()];
        let unix = Threads::serve(ThreadLimits::default(), |mut stream: UnixStream| {
            let _ = stream.write_all(b"unix");
        });
        let either = Threads::serve(ThreadLimits::default(), |mut stream: Detached| {
            let mut byte = [0];
            let _ = stream.read_exact(&mut byte);
            let _ = stream.write_all(&byte);
        });
        let running = Server::builder()
            .start(move |shard| {
                let unix = shard.host(unix.clone());
                let either = shard.host(either.clone());
                shard.listen(unix, &addresses[0])?;
                shard.listen(either, &addresses[1])?;
                shard.listen(either, &addresses[2]).map(drop)
            })
            .unwrap();
        assert_eq!(Client::connect(&running.addrs()[0]).receive_to_end(), b"unix");
        for addr in &running.addrs()[1..] {
            let mut client = Client::connect(addr);
            client.send(b"x");
            assert_eq!(client.receive_to_end(), b"x");
        }
        stop(running);
    }
}

#[test]
fn churn_leaves_no_thread_and_no_place_behind() {
    let _bound = bound(120);
    let limits = ThreadLimits { threads_max: 4, waiting_max: 1000, ..ThreadLimits::default() };
    let bench = Bench::start(limits);
    let at = inet(&bench.running);
    thread::scope(|scope| {
        for seed in 0..4 {
            scope.spawn(move || {
                let mut rng = fastrand::Rng::with_seed(seed);
                for _ in 0..100 {
                    let mut client = Client::tcp(at);
                    match rng.u8(..4) {
                        0 => drop(client),
                        1 => client.reset(),
                        2 => {
                            client.send(b"boom\n");
                            client.expect_gone();
                        }
                        _ => {
                            client.send(b"hi\nquit\n");
                            let said = client.receive_to_end();
                            assert!(said.ends_with(b"hi\n"), "seed {seed}: {said:?}");
                        }
                    }
                }
            });
        }
    });
    bench.eventually("all are gone", |stats| (stats.live, stats.waiting) == (0, 0));
    let mut last = bench.client();
    line(&mut last);
    let stats = bench.meter.snapshot();
    assert!(stats.live_max <= 4 && stats.failed == 0, "{stats:?}");
    stop(bench.running);
}

#[test]
fn faults_say_what_happened() {
    let error = std::io::Error::from(std::io::ErrorKind::WouldBlock);
    let faults = [
        (ThreadFault::Panicked("boom"), "its thread panicked: boom"),
        (ThreadFault::Failed(&error), "no thread for it: operation would block"),
    ];
    for (fault, text) in faults {
        assert_eq!(fault.to_string(), text);
    }
}
