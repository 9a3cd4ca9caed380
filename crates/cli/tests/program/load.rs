//! The load tool against our echo, and against servers that spoil what they echo: its counts have
//! to be exact.

use crate::process::{Folder, LIMIT, Program, content, mainspring, run};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

/// Exit code, and what was printed, which has to be JSON.
fn load(address: &str, arguments: &[&str]) -> (i32, Value) {
    let mut command = mainspring(&["load", address, "--json"]);
    let output = run(command.args(arguments));
    let stdout = String::from_utf8(output.stdout).unwrap();
    let report = serde_json::from_str(&stdout)
        .unwrap_or_else(|error| panic!("{error}: {stdout:?}, {:?}", output.stderr.escape_ascii()));
    (output.status.code().expect("no signal"), report)
}

/// The numbers of a report, by their paths.
#[track_caller]
fn expect(report: &Value, numbers: &[(&str, u64)]) {
    for (path, number) in numbers {
        let found = report.pointer(path).and_then(Value::as_u64);
        assert_eq!(found, Some(*number), "{path} in {report:#}");
    }
}

fn number(report: &Value, path: &str) -> u64 {
    let found = report.pointer(path).and_then(Value::as_u64);
    found.unwrap_or_else(|| panic!("{path} is missing in {report:#}"))
}

/// A server that plays `script` on each connection, on a thread for each. It lives as long as the
/// test's process.
fn server(script: impl Fn(TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let script = Arc::new(script);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, script) = (stream.unwrap(), script.clone());
            stream.set_read_timeout(Some(LIMIT)).unwrap();
            std::thread::spawn(move || script(stream));
        }
    });
    address
}

/// Echoes messages of 100 bytes; `spoil` sees each, counted from 0, and says whether to go on.
fn echo_but(spoil: impl Fn(u64, &mut Vec<u8>) -> bool + Send + Sync + 'static) -> String {
    server(move |mut stream| {
        let mut message = vec![0; 100];
        for count in 0.. {
            message.resize(100, 0);
            if stream.read_exact(&mut message).is_err() || !spoil(count, &mut message) {
                return;
            }
            if stream.write_all(&message).is_err() {
                return;
            }
        }
    })
}

#[test]
fn every_message_is_counted_over_tcp_and_unix() {
    let folder = Folder::new("load");
    let socket = folder.join("echo.sock");
    let arguments = ["echo", "--listen", "tcp://127.0.0.1:0", "--unix", &socket, "--loops", "2"];
    let program = Program::start(&arguments);
    for address in &program.addresses {
        for (depth, loops) in [("1", "1"), ("7", "3")] {
            let (code, report) = load(
                address,
                &["-c", "10", "-s", "300", "--payload", "1k", "--depth", depth, "--loops", loops],
            );
            assert_eq!(code, 0, "{report:#}");
            expect(
                &report,
                &[
                    ("/connected", 10),
                    ("/sent", 3000),
                    ("/success", 3000),
                    ("/unanswered", 0),
                    ("/errors/connect", 0),
                    ("/errors/read", 0),
                    ("/errors/write", 0),
                    ("/errors/malformed", 0),
                    ("/bytes_written", 3000 * 1024),
                    ("/bytes_read", 3000 * 1024),
                ],
            );
            let at = |point: &str| number(&report, &format!("/latency_ns/{point}"));
            let points = ["p50", "p90", "p99", "p99_9", "maximum"].map(at);
            assert!(points[0] > 0 && points.is_sorted(), "{points:?}");
            assert!(points[4] <= number(&report, "/elapsed_ns") * 1001 / 1000, "{report:#}");
        }
    }
    program.stop();
}

#[test]
fn every_framing_goes_there_and_back() {
    let program = Program::start(&["echo", "--listen", "tcp://127.0.0.1:0"]);
    for framing in [
        "raw", "newline", "varint", "varlong", "u8", "u16-be", "u16-le", "u32-be", "u32-le",
        "u64-be", "u64-le",
    ] {
        let arguments =
            ["-c", "3", "-s", "100", "--payload", "200", "--depth", "5", "--framing", framing];
        let (code, report) = load(&program.addresses[0], &arguments);
        assert_eq!(code, 0, "{framing}: {report:#}");
        expect(&report, &[("/success", 300), ("/sent", 300)]);
    }
    program.stop();
}

#[test]
fn large_messages_in_depth_do_not_lock_both_sides() {
    let program = Program::start(&["echo", "--listen", "tcp://127.0.0.1:0"]);
    let arguments =
        ["-c", "2", "-s", "20", "--payload", "2m", "--depth", "4", "--framing", "varint"];
    let (code, report) = load(&program.addresses[0], &arguments);
    assert_eq!(code, 0, "{report:#}");
    expect(&report, &[("/success", 40), ("/bytes_read", 40 * ((2 << 20) + 4))]);
    program.stop();
}

#[test]
fn lines_may_be_answered_without_their_newline() {
    let address = server(|stream| {
        let mut lines = BufReader::new(stream.try_clone().unwrap());
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            assert_eq!(line.pop(), Some(b'\n'));
            (&stream).write_all(&line).unwrap();
            line.clear();
        }
    });
    let (code, report) = load(&address, &["-s", "50", "--framing", "newline", "--answers", "raw"]);
    assert_eq!(code, 0, "{report:#}");
    expect(&report, &[("/success", 50), ("/bytes_written", 50 * 513), ("/bytes_read", 50 * 512)]);
}

#[test]
fn a_byte_that_is_not_the_one_sent_is_malformed() {
    let address = echo_but(|count, message| {
        if count % 10 == 3 {
            message[count as usize % 100] ^= 1;
        }
        true
    });
    let (code, report) = load(&address, &["-c", "4", "-s", "50", "--payload", "100"]);
    assert_eq!(code, 1);
    let spoilt = 4 * 5;
    expect(
        &report,
        &[("/success", 200 - spoilt), ("/errors/malformed", spoilt), ("/unanswered", 0)],
    );
    expect(&report, &[("/reasons/malformed: another answer than the message", spoilt)]);
}

#[test]
fn an_answer_to_another_message_is_malformed() {
    // Each gets the answer of the one before.
    let address = server(|mut stream| {
        let mut last = vec![0; 100];
        let mut message = vec![0; 100];
        while stream.read_exact(&mut message).is_ok() && stream.write_all(&last).is_ok() {
            std::mem::swap(&mut last, &mut message);
        }
    });
    let (code, report) = load(&address, &["-s", "20", "--payload", "100"]);
    assert_eq!(code, 1);
    expect(&report, &[("/success", 0), ("/errors/malformed", 20), ("/sent", 20)]);
}

#[test]
fn what_is_no_frame_ends_the_connection_as_malformed() {
    let address = echo_but(|count, message| {
        if count == 5 {
            message.splice(..4, [0xff; 4]);
        }
        true
    });
    let arguments = ["-c", "2", "-s", "20", "--payload", "96", "--framing", "u32-be"];
    let (code, report) = load(&address, &arguments);
    assert_eq!(code, 1);
    expect(
        &report,
        &[
            ("/success", 10),
            ("/sent", 12),
            ("/errors/malformed", 2),
            ("/errors/read", 0),
            ("/unanswered", 2),
        ],
    );
}

#[test]
fn connections_that_are_dropped_are_read_errors() {
    let address = echo_but(|count, _| count < 7);
    let (code, report) = load(&address, &["-c", "5", "-s", "100", "--payload", "100"]);
    assert_eq!(code, 1);
    expect(
        &report,
        &[
            ("/connected", 5),
            ("/success", 35),
            ("/sent", 40),
            ("/unanswered", 5),
            ("/errors/read", 5),
            ("/errors/malformed", 0),
        ],
    );
}

#[test]
fn a_server_that_is_not_there_is_a_connect_error_for_each_client() {
    // Nobody listens on tcpmux.
    let (code, report) = load("tcp://127.0.0.1:1", &["-c", "100", "--loops", "2"]);
    assert_eq!(code, 1);
    expect(&report, &[("/connected", 0), ("/sent", 0), ("/errors/connect", 100)]);
}

#[test]
fn an_answer_that_does_not_come_is_given_up() {
    let address = echo_but(|count, message| {
        if count == 2 {
            message.clear();
        }
        true
    });
    let arguments = ["-c", "3", "-s", "10", "--payload", "100", "--timeout", "1s"];
    let (code, report) = load(&address, &arguments);
    assert_eq!(code, 1);
    expect(
        &report,
        &[("/success", 6), ("/unanswered", 3), ("/errors/read", 3), ("/errors/write", 0)],
    );
    expect(&report, &[("/reasons/read: no answer in time", 3)]);
}

#[test]
fn a_delay_is_seen_in_every_figure() {
    let delay = Duration::from_millis(20);
    let address = echo_but(move |_, _| {
        std::thread::sleep(delay);
        true
    });
    let (code, report) = load(&address, &["-c", "2", "-s", "10", "--payload", "100"]);
    assert_eq!(code, 0, "{report:#}");
    let least = delay.as_nanos() as u64;
    for point in ["average", "p50", "p99", "maximum"] {
        let latency = number(&report, &format!("/latency_ns/{point}"));
        assert!(latency >= least && latency < 100 * least, "{point}: {latency}");
    }
    assert!(number(&report, "/elapsed_ns") >= 10 * least);
}

/// Once, half a second long.
fn stalling_echo() -> String {
    echo_but(|count, _| {
        if count == 100 {
            std::thread::sleep(Duration::from_millis(500));
        }
        true
    })
}

#[test]
fn a_stall_counts_for_every_message_that_was_due_meanwhile() {
    let arguments = ["--payload", "100", "--duration", "1s", "--rate", "1000"];
    let (code, report) = load(&stalling_echo(), &arguments);
    assert_eq!(code, 0, "{report:#}");
    let sent = number(&report, "/sent");
    assert_eq!(sent, 1000, "the schedule does not move: {report:#}");
    expect(&report, &[("/success", sent)]);
    // From the 100th message on, half a second of messages waits.
    let p90 = number(&report, "/latency_ns/p90");
    assert!(p90 >= 300_000_000, "{report:#}");
    // Also if the window is full, so that they cannot even leave.
    let (_, report) = load(&stalling_echo(), &[&arguments[..], &["--depth", "1"]].concat());
    assert!(number(&report, "/latency_ns/p90") >= 300_000_000, "{report:#}");
    assert!(number(&report, "/lateness_ns/p90") >= 300_000_000, "{report:#}");
    // One that waits for its answers meets the stall once.
    let (_, report) = load(&stalling_echo(), &["--payload", "100", "-s", "1000"]);
    assert!(number(&report, "/latency_ns/p90") < 100_000_000, "{report:#}");
    assert!(number(&report, "/latency_ns/maximum") >= 499_000_000, "{report:#}");
}

#[test]
fn a_rate_is_kept_by_several_loops() {
    let program = Program::start(&["echo", "--listen", "tcp://127.0.0.1:0"]);
    for more in [&["--loops", "2"][..], &["--spin"]] {
        let arguments = ["-c", "5", "--duration", "1s", "--rate", "2000"];
        let (code, report) = load(&program.addresses[0], &[&arguments[..], more].concat());
        assert_eq!(code, 0, "{report:#}");
        let sent = number(&report, "/sent");
        assert!((1998..=2000).contains(&sent), "{report:#}");
        expect(&report, &[("/success", sent)]);
    }
    program.stop();
}

#[test]
fn a_signal_prints_what_there_is() {
    let (tell, told) = channel();
    let address = echo_but(move |count, _| {
        // The test waits for the first one only.
        let _ = if count == 100 { tell.send(()) } else { Ok(()) };
        true
    });
    let arguments = ["load", &address, "-c", "3", "--payload", "100", "--duration", "1h", "--json"];
    let mut command = mainspring(&arguments);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    told.recv_timeout(LIMIT).expect("it sends");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["stopped"], true);
    let [sent, success, unanswered] =
        ["/sent", "/success", "/unanswered"].map(|path| number(&report, path));
    assert!(success > 0, "{report:#}");
    assert_eq!(sent, success + unanswered, "{report:#}");
    expect(&report, &[("/errors/read", 0), ("/errors/write", 0)]);
}

#[test]
fn the_table_has_every_row() {
    let program = Program::start(&["echo", "--listen", "tcp://127.0.0.1:0"]);
    let output = run(&mut mainspring(&["load", &program.addresses[0], "-c", "2", "-s", "5"]));
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stderr, b"", "no bar without a terminal");
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        "2 clients on 1 loop, 5 sends each, 512 bytes raw, depth 1",
        "2 of 2 connected",
        "10 of 10 sends",
        "total ",
        "average ",
        "p50 ",
        "p90 ",
        "p99 ",
        "p99.9 ",
        "maximum ",
        "answers/s",
        "MiB written",
        "0 connect, 0 read, 0 write, 0 malformed; 0 unanswered",
    ] {
        assert!(text.contains(part), "{part:?} is missing in {text}");
    }
    program.stop();
}

#[test]
fn a_terminal_sees_a_bar_that_moves_and_none_when_it_is_not_wanted() {
    let program = Program::start(&["echo", "--listen", "tcp://127.0.0.1:0"]);
    let path = env!("CARGO_BIN_EXE_mainspring");
    let on_terminal = |more: &str| {
        let line = format!("'{path}' load {} --duration 500ms {more}", program.addresses[0]);
        let mut command = Command::new("script");
        content(
            command.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm").stdin(Stdio::null()),
        )
    };
    let text = on_terminal("");
    let moves = text.matches(" answers ").count();
    assert!(moves >= 2 && text.contains(" %  "), "{moves} moves in {text:?}");
    let text = on_terminal("--no-progress");
    assert!(!text.contains(" %  ") && text.contains("answers/s"), "{text:?}");
    program.stop();
}

/// A certificate for `localhost` and its key, by openssl: one that vouches for itself and for nobody
/// else, as TLS clients want it of a server's own.
fn certificate(folder: &Folder, name: &str) -> (String, String) {
    let (cert, key) = (folder.join(&format!("{name}.pem")), folder.join(&format!("{name}.key")));
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
    command.args(["-nodes", "-days", "2", "-subj", &format!("/CN={name}")]);
    command.args(["-addext", "subjectAltName=DNS:localhost"]);
    command.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    content(command.args(["-keyout", &key, "-out", &cert]));
    (cert, key)
}

#[test]
fn over_tls_every_answer_counts_and_a_stranger_is_no_server() {
    let folder = Folder::new("load-tls");
    let (cert, key) = certificate(&folder, "one");
    let listen = ["echo", "--listen", "tcp://127.0.0.1:0", "--tls-cert", &cert, "--tls-key", &key];
    let program = Program::start(&listen);
    let address =
        |ca: &str| format!("tls://127.0.0.1:{}?ca={ca}&server_name=localhost", program.port());
    let arguments = ["-c", "8", "-s", "100", "--depth", "4", "--loops", "2", "--framing", "varint"];
    let (code, report) = load(&address(&cert), &arguments);
    assert_eq!(code, 0, "{report:#}");
    expect(&report, &[("/connected", 8), ("/success", 800), ("/bytes_read", 800 * 514)]);
    let (other, _) = certificate(&folder, "two");
    let (code, report) = load(&address(&other), &["-c", "3"]);
    assert_eq!(code, 1);
    expect(&report, &[("/connected", 0), ("/errors/connect", 3), ("/sent", 0)]);
    let (code, report) = load(&address(&folder.join("missing.pem")), &["-c", "3"]);
    assert_eq!(code, 1);
    expect(&report, &[("/errors/connect", 3)]);
    assert!(report["reasons"].to_string().contains("missing.pem"), "{report:#}");
    program.stop();
}
