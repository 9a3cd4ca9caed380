//! How the program ends.

use crate::process::{Folder, Program, mainspring, run};
use crate::raw::{command, expect};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

#[test]
fn both_signals_end_each_program_with_code_0_while_clients_are_idle() {
    for name in ["echo", "redis", "http"] {
        for signal in [Signal::TERM, Signal::INT] {
            let mut program = Program::start(&[name, "--listen", "tcp://127.0.0.1:0"]);
            let mut idle = program.connect();
            let asked = Instant::now();
            program.signal(signal);
            let (status, _, log) = program.end();
            assert_eq!(status.code(), Some(0), "{name} {signal:?}: {log}");
            assert!(
                asked.elapsed() < Duration::from_secs(4),
                "{name} {signal:?}: waited for idlers"
            );
            assert_eq!(idle.read(&mut [0; 1]).unwrap_or(0), 0);
            assert!(TcpStream::connect(program.addr()).is_err(), "{name} still accepts");
        }
    }
}

#[test]
fn a_request_that_has_begun_is_answered_while_the_server_drains() {
    let mut program = Program::start(&["http", "--listen", "tcp://127.0.0.1:0"]);
    let mut busy = program.connect();
    busy.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab").unwrap();
    // Its answer says that the head and the first half of the body have been read too.
    let mut other = program.connect();
    other.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    other.read_exact(&mut [0; 12]).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    program.signal(Signal::TERM);
    std::thread::sleep(Duration::from_millis(100));
    busy.write_all(b"cd").unwrap();
    let mut reply = String::new();
    busy.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply:?}");
    let (status, _, log) = program.end();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn a_client_that_does_not_finish_is_cut_when_the_drain_time_is_over() {
    let arguments = ["redis", "--listen", "tcp://127.0.0.1:0", "--drain", "300ms"];
    let mut program = Program::start(&arguments);
    let mut stuck = program.connect();
    expect(&mut stuck, b"PING\r\n", b"+PONG\r\n");
    stuck.write_all(b"*2\r\n$4\r\nECHO\r\n$10\r\nhalf").unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let asked = Instant::now();
    program.signal(Signal::TERM);
    let (status, _, log) = program.end();
    assert_eq!(status.code(), Some(0), "{log}");
    let took = asked.elapsed();
    assert!((Duration::from_millis(250)..Duration::from_secs(4)).contains(&took), "{took:?}");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let folder = Folder::new("second");
    let socket = folder.join("s.sock");
    let cases = [(Signal::TERM, 143, "1"), (Signal::INT, 130, "1"), (Signal::INT, 130, "3")];
    for (signal, code, loops) in cases {
        let mut program = Program::start(&[
            "redis",
            "--loops",
            loops,
            "--listen",
            "tcp://127.0.0.1:0",
            "--unix",
            &socket,
            "--drain",
            "1h",
        ]);
        let mut stuck = program.connect();
        expect(&mut stuck, b"PING\r\n*1\r\n$4\r\n", b"+PONG\r\n");
        std::thread::sleep(Duration::from_millis(100));
        program.signal(Signal::TERM);
        std::thread::sleep(Duration::from_millis(200));
        program.signal(signal);
        let (status, _, log) = program.end();
        assert_eq!(status.code(), Some(code), "{log}");
        assert!(!std::path::Path::new(&socket).exists(), "the unix socket is left");
    }
}

#[test]
fn shutdown_answers_everyone_and_ends_with_code_0() {
    for loops in ["1", "3"] {
        let mut program =
            Program::start(&["redis", "--listen", "tcp://127.0.0.1:0", "--loops", loops]);
        let mut other = program.connect();
        expect(&mut other, b"PING\r\n", b"+PONG\r\n");
        let mut stream = program.connect();
        let mut input = command(&[b"SET", b"k", b"v"]);
        input.extend_from_slice(b"shutdown foo\r\nSHUTDOWN NOSAVE\r\nPING\r\n");
        stream.write_all(&input).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        assert_eq!(reply, "+OK\r\n-ERR syntax error\r\n+OK\r\n");
        let (status, _, log) = program.end();
        assert_eq!(status.code(), Some(0), "{log}");
        assert_eq!(other.read(&mut [0; 1]).unwrap_or(0), 0);
    }
}

#[test]
fn a_unix_socket_left_by_a_crash_is_replaced_and_one_in_use_is_not() {
    let folder = Folder::new("stale");
    let address = format!("unix://{}", folder.join("s.sock"));
    let mut crashed = Program::start(&["echo", "--listen", &address]);
    crashed.signal(Signal::KILL);
    crashed.end();
    assert!(std::path::Path::new(&folder.join("s.sock")).exists());
    let program = Program::start(&["echo", "--listen", &address]);
    let second = run(&mut mainspring(&["echo", "--listen", &address]));
    assert_eq!(second.status.code(), Some(1), "{}", String::from_utf8_lossy(&second.stderr));
    let mut stream = std::os::unix::net::UnixStream::connect(folder.join("s.sock")).unwrap();
    expect(&mut stream, b"still here", b"still here");
    drop(stream);
    program.stop();
}

/// Threads share descriptors, and the kernel then counts a reference for each call on one.
#[test]
fn a_program_of_one_loop_has_one_thread() {
    for name in ["echo", "redis", "http"] {
        let mut program = Program::start(&[name, "--listen", "tcp://127.0.0.1:0"]);
        let mut client = program.connect();
        client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        client.read_exact(&mut [0; 4]).unwrap();
        assert_eq!(program.threads(), 1, "{name}");
        program.signal(Signal::TERM);
        let (status, _, log) = program.end();
        assert_eq!(status.code(), Some(0), "{name}: {log}");
    }
}
