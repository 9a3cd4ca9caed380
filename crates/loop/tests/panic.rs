//! A panic in user code ends one connection and nothing else, and leaves a trace.

mod support;

use bytes::Bytes;
use mainspring_loop::{Action, Limits, Running, Server, Tick};
use std::io::Write;
use std::panic::panic_any;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use support::*;
use tracing_subscriber::fmt::MakeWriter;

/// Everything that the library has logged in this process.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Captured {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

fn captured() -> &'static Captured {
    static CAPTURED: OnceLock<Captured> = OnceLock::new();
    CAPTURED.get_or_init(|| {
        let captured = Captured::default();
        tracing_subscriber::fmt().with_ansi(false).with_writer(captured.clone()).init();
        captured
    })
}

/// Whether the log tells of a panic with this message, with its place and a backtrace.
#[track_caller]
fn assert_logged(message: &str) {
    let said = format!("a callback panicked: {message}");
    eventually(&said, || String::from_utf8_lossy(&captured().0.lock().unwrap()).contains(&said));
    let log = String::from_utf8_lossy(&captured().0.lock().unwrap()).into_owned();
    let line = log.find(&said).unwrap();
    let entry = &log[line..];
    let entry = &entry[..entry[1..].find("a callback panicked").unwrap_or(entry.len() - 1)];
    assert!(entry.contains("tests/panic.rs"), "no place: {entry}");
    assert!(entry.contains("on_") && entry.contains("support"), "no backtrace: {entry}");
}

/// A server and a connection that must survive what happens to the next ones.
fn start_watched(probe: impl Fn(Probe) -> Probe + Send + Sync + 'static) -> (Running, Log, Client) {
    captured();
    let log = Log::new();
    let told = log.clone();
    let running = start(move || probe(Probe::echo(&told)));
    let mut bystander = Client::tcp(inet(&running));
    bystander.send(b"before");
    bystander.expect(b"before");
    (running, log, bystander)
}

#[track_caller]
fn end_watched(running: Running, mut bystander: Client, log: &Log, panics: u64) {
    bystander.send(b"after");
    bystander.expect(b"after");
    let handle = running.handle();
    eventually_stats(&handle, "panics are counted", |stats| stats.total.panics == panics);
    stop(running);
    assert_eq!(log.count("close 1 Shutdown"), 1, "the bystander lived on");
    assert_eq!(log.tags(), 0, "no state is lost");
}

#[test]
fn a_panic_in_an_event_closes_its_connection_only() {
    let _bound = bound(60);
    let (running, log, bystander) = start_watched(|probe| {
        probe
            .data(|conn, input| {
                match &*input.take() {
                    b"data" => panic!("in data"),
                    b"wake" => {
                        let id = conn.id();
                        conn.cx().wake(id);
                    }
                    b"timer" => drop(conn.set_timer(Duration::ZERO)),
                    echo => {
                        let echo = echo.to_vec();
                        conn.out().extend_from_slice(&echo);
                    }
                }
                Action::Continue
            })
            .wake(|_| panic!("in wake {}", 1))
            .timer(|_, _| panic!("in timer"))
            .eof(|_| panic!("in eof"))
    });
    for (round, event) in ["data", "wake", "timer", "eof"].into_iter().enumerate() {
        let mut client = Client::tcp(inet(&running));
        if event == "eof" {
            client.finish();
        } else {
            client.send(event.as_bytes());
        }
        client.expect_gone();
        log.wait_for(1, &format!("close {} Panicked", round + 2));
        let message = if event == "wake" { "in wake 1".to_owned() } else { format!("in {event}") };
        assert_logged(&message);
    }
    end_watched(running, bystander, &log, 4);
}

#[test]
fn a_panic_in_drained_or_connected_closes_its_connection_only() {
    let _bound = bound(60);
    let (running, log, bystander) = start_watched(|probe| {
        probe
            .data(|conn, input| {
                match &*input.take() {
                    b"flood" => conn.out().resize(4 << 20, b'x'),
                    echo => {
                        let echo = echo.to_vec();
                        conn.out().extend_from_slice(&echo);
                    }
                }
                Action::Continue
            })
            .drained(|_| panic!("in drained"))
    });
    let mut client = Client::tcp(inet(&running));
    client.send(b"flood");
    client.expect_gone();
    log.wait_for(1, "close 2 Panicked");
    assert_logged("in drained");
    end_watched(running, bystander, &log, 1);

    let to = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = mainspring_io::Address::tcp(to.local_addr().unwrap());
    let log = Log::new();
    let probe = log.clone();
    let running = start_with(Server::builder(), &[], move || {
        let (tags, address) = (probe.clone(), address.clone());
        Probe::new(&probe).connected(|_| panic!("in connected")).start(move |cx, _| {
            let this = cx.this::<Probe>();
            cx.connect(this, &address, Tag::new(&tags)).unwrap();
            Action::Continue
        })
    });
    log.wait_for(1, "close 1 Panicked");
    assert_logged("in connected");
    stop(running);
    assert_eq!(log.tags(), 0);
}

#[test]
fn a_panic_in_open_turns_the_connection_away() {
    let _bound = bound(60);
    let (running, log, bystander) = start_watched(|probe| {
        let mut opened = 0;
        probe.open(move |_| {
            opened += 1;
            assert!(opened != 2, "in open");
            Some(Action::Continue)
        })
    });
    Client::tcp(inet(&running)).expect_gone();
    assert_logged("in open");
    let mut next = Client::tcp(inet(&running));
    next.send(b"works");
    next.expect(b"works");
    assert_eq!(log.count("close"), 0, "there was no state");
    drop(next);
    log.wait_for(1, "close 3 Peer");
    end_watched(running, bystander, &log, 1);
}

#[test]
fn a_panic_in_close_or_detach_is_the_end_of_that_state_only() {
    let _bound = bound(60);
    let (running, log, bystander) = start_watched(|probe| {
        let mut closed = 0;
        probe
            .data(|conn, input| {
                let bytes = input.take();
                if bytes == b"detach" {
                    return Action::Detach;
                }
                conn.out().extend_from_slice(bytes);
                Action::Continue
            })
            .close(move |_, _, _| {
                closed += 1;
                assert!(closed != 1, "in close");
            })
            .detach(|_| panic!("in detach"))
    });
    drop(Client::tcp(inet(&running)));
    assert_logged("in close");
    let mut client = Client::tcp(inet(&running));
    client.send(b"detach");
    client.expect_gone();
    assert_logged("in detach");
    end_watched(running, bystander, &log, 2);
}

#[test]
fn a_panic_in_a_callback_of_the_loop_ends_nothing() {
    let _bound = bound(60);
    let (running, log, bystander) = start_watched(|probe| {
        let (mut ends, mut ticks) = (0, 0);
        probe
            .turn_end(move |_| {
                ends += 1;
                assert!(ends != 2, "in turn_end");
            })
            .tick(move |_| {
                ticks += 1;
                assert!(ticks != 3, "in tick");
                Tick::After(Duration::from_millis(1))
            })
            .drain(|_| panic!("in drain"))
    });
    let mut client = Client::tcp(inet(&running));
    client.send(b"reply all the same");
    client.expect(b"reply all the same");
    assert_logged("in turn_end");
    assert_logged("in tick");
    drop(client);
    log.wait_for(1, "close 2");
    running.handle().drain();
    assert_logged("in drain");
    drop(bystander);
    running.join().unwrap();
    assert_eq!(log.tags(), 0);
}

#[test]
fn a_panic_about_a_datagram_leaves_the_socket_open() {
    let _bound = bound(60);
    captured();
    let log = Log::new();
    let running = start_with(Server::builder(), &["udp://127.0.0.1:0"], move || {
        Probe::new(&log).datagram(|socket, _, bytes| {
            assert!(bytes != b"bad", "in datagram");
            socket.reply(bytes).unwrap();
            Action::Continue
        })
    });
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    for payload in [&b"bad"[..], b"good"] {
        socket.send_to(payload, inet(&running)).unwrap();
    }
    let mut buffer = [0; 16];
    assert_eq!(socket.recv(&mut buffer).unwrap(), 4);
    assert_logged("in datagram");
    assert_eq!(running.handle().stats().total.panics, 1);
    stop(running);
}

#[test]
fn a_panic_in_what_other_threads_have_asked_for_ends_nothing() {
    let _bound = bound(60);
    captured();
    let server = Reached::new(Limits::default(), Probe::echo);
    let (mut bystander, id) = server.client();
    let (gone, late) = server.client();
    drop(gone);
    server.log.wait_for(1, "close 2");
    server.remote.post(|_, _| panic!("in post")).unwrap();
    let byte = || Bytes::from_static(b"x");
    server.remote.send_notify(id, byte(), |_| panic!("in completion")).unwrap();
    server.remote.send_notify(late, byte(), |_| panic!("in late completion")).unwrap();
    for message in ["in post", "in completion", "in late completion"] {
        let said = format!("panicked: {message}");
        let log = || String::from_utf8_lossy(&captured().0.lock().unwrap()).into_owned();
        eventually(&said, || log().contains(&said));
    }
    bystander.expect(b"x");
    bystander.send(b"alive");
    bystander.expect(b"alive");
    assert_eq!(server.running.handle().stats().total.panics, 3);
    // One more that completes as the connection is closed.
    let (client, id) = server.client();
    let much = Bytes::from(vec![0; 32 << 20]);
    server.remote.send_notify(id, much, |_| panic!("in last completion")).unwrap();
    server.settle();
    client.reset();
    let handle = server.running.handle();
    eventually_stats(&handle, "the last panic", |stats| stats.total.panics == 4);
    bystander.send(b"still alive");
    bystander.expect(b"still alive");
    stop(server.running);
}

#[test]
fn a_job_of_the_offload_pool_that_panics_does_not_cost_a_thread() {
    let _bound = bound(60);
    let limits = Limits { offload_threads: 1, ..Limits::default() };
    let server = Reached::new(limits, Probe::echo);
    let log = server.log.clone();
    server
        .remote
        .post(move |_, cx| {
            let this = cx.this::<Probe>();
            cx.offload(this, || panic!("in a job"), |_, _, ()| unreachable!()).unwrap();
            cx.offload(this, || panic_any(Bomb), |_, _, ()| unreachable!()).unwrap();
            cx.offload(this, || 42, move |_, _, answer| log.add(format!("answer {answer}")))
                .unwrap();
        })
        .unwrap();
    server.log.wait_for(1, "answer 42");
    stop(server.running);
}

/// A panic's payload that panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("in the drop of a payload");
    }
}

#[test]
fn a_payload_that_panics_when_dropped_closes_its_connection_only() {
    let _bound = bound(60);
    let (running, log, bystander) = start_watched(|probe| probe.eof(|_| panic_any(Bomb)));
    let mut client = Client::tcp(inet(&running));
    client.finish();
    client.expect_gone();
    log.wait_for(1, "close 2 Panicked");
    end_watched(running, bystander, &log, 1);
}
