//! `--appendonly yes`: what was answered is there after a crash.

use crate::process::{Folder, Program, mainspring, run};
use crate::raw::{command, expect};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::process::Command;

fn start(folder: &Folder, more: &[&str]) -> Program {
    let dir = folder.path().to_str().unwrap();
    let mut arguments =
        vec!["redis", "--listen", "tcp://127.0.0.1:0", "--appendonly", "yes", "--dir", dir];
    arguments.extend(more);
    Program::start(&arguments)
}

fn log(folder: &Folder) -> String {
    folder.join("appendonly.aof")
}

#[test]
fn what_was_answered_is_there_after_kill_9() {
    let folder = Folder::new("kill");
    for fsync in ["always", "no"] {
        let mut program = start(&folder, &["--appendfsync", fsync]);
        let mut stream = program.connect();
        expect(&mut stream, b"FLUSHALL\r\nSET a 1\r\nSET gone x\r\n", b"+OK\r\n+OK\r\n+OK\r\n");
        expect(&mut stream, b"INCR a\r\nAPPEND a 0\r\nDEL gone nope\r\n", b":2\r\n:2\r\n:1\r\n");
        expect(
            &mut stream,
            b"SET a x NX\r\nSET b y NX\r\nSET b z XX GET\r\n",
            b"$-1\r\n+OK\r\n$1\r\ny\r\n",
        );
        expect(
            &mut stream,
            b"MSET c 1 d 2\r\nRENAME c e\r\nGETDEL d\r\n",
            b"+OK\r\n+OK\r\n$1\r\n2\r\n",
        );
        expect(&mut stream, &command(&[b"SET", b"bytes", b"\0\r\n*1"]), b"+OK\r\n");
        program.signal(Signal::KILL);
        let (status, _, _) = program.end();
        assert_eq!(status.code(), None);
        let program = start(&folder, &[]);
        let mut stream = program.connect();
        expect(
            &mut stream,
            b"MGET a b c d e gone\r\n",
            b"*6\r\n$2\r\n20\r\n$1\r\nz\r\n$-1\r\n$-1\r\n$1\r\n1\r\n$-1\r\n",
        );
        expect(&mut stream, b"GET bytes\r\nDBSIZE\r\n", b"$5\r\n\0\r\n*1\r\n:4\r\n");
        drop(stream);
        program.stop();
        // What was replayed is not logged again.
        let program = start(&folder, &[]);
        expect(&mut program.connect(), b"GET a\r\n", b"$2\r\n20\r\n");
        program.stop();
    }
}

#[test]
fn changes_of_several_loops_are_replayed_in_the_order_of_their_execution() {
    let folder = Folder::new("loops");
    let mut program = start(&folder, &["--loops", "4", "--balance", "round-robin"]);
    let addr = program.addr();
    let clients: Vec<_> = (0..4)
        .map(|client: u32| {
            std::thread::spawn(move || {
                let mut stream = crate::process::connect(addr);
                for round in 0..50_u32 {
                    let text = format!(
                        "SET last {client}:{round}\r\nINCR count\r\nAPPEND all {client}\r\n"
                    );
                    stream.write_all(text.as_bytes()).unwrap();
                    let mut lines = 0;
                    while lines < 3 {
                        let mut byte = [0];
                        stream.read_exact(&mut byte).unwrap();
                        lines += u32::from(byte[0] == b'\n');
                    }
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    let ask = |program: &Program| crate::raw::ask_redis(program.addr(), b"MGET last count all\r\n");
    let before = ask(&program);
    assert!(before.reply.contains("200"), "{before:?}");
    program.signal(Signal::KILL);
    program.end();
    let program = start(&folder, &["--loops", "2"]);
    assert_eq!(ask(&program), before);
    program.stop();
}

#[test]
fn a_log_that_was_cut_loses_only_its_last_command() {
    let folder = Folder::new("cut");
    let whole = command(&[b"SET", b"k", b"v"]);
    let mut bytes = whole.clone();
    bytes.extend_from_slice(&command(&[b"SET", b"k", b"other"])[..20]);
    std::fs::write(log(&folder), &bytes).unwrap();
    let program = start(&folder, &[]);
    let mut stream = program.connect();
    expect(&mut stream, b"GET k\r\nSET k 2\r\n", b"$1\r\nv\r\n+OK\r\n");
    drop(stream);
    let stderr = program.stop();
    assert!(stderr.contains("WARN") && stderr.contains("truncated"), "{stderr}");
    let expected = [whole, command(&[b"SET", b"k", b"2"])].concat();
    assert_eq!(std::fs::read(log(&folder)).unwrap(), expected);
}

#[test]
fn a_corrupt_log_is_refused_with_the_offset_and_left_as_it_is() {
    let folder = Folder::new("corrupt");
    let good = command(&[b"SET", b"k", b"v"]);
    for bad in [
        &b"SET k v\r\n"[..],
        b"*1\r\n$4\r\nPING\r\n",
        b"*1\r\n$3\r\nSET\r\n",
        b"*1\r\nx",
        b"*1\r\n$3\r\nZZZ\r\n",
    ] {
        let bytes = [&good, bad, &good].concat();
        std::fs::write(log(&folder), &bytes).unwrap();
        let dir = folder.path().to_str().unwrap();
        let output =
            run(&mut mainspring(&["redis", "-p", "0", "--appendonly", "yes", "--dir", dir]));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(&format!("at byte {}", good.len())), "{stderr}");
        assert_eq!(output.stdout, b"");
        assert_eq!(std::fs::read(log(&folder)).unwrap(), bytes);
    }
}

#[test]
fn a_log_of_redis_server_is_taken() {
    let folder = Folder::new("foreign");
    let bytes = [command(&[b"SELECT", b"0"]), command(&[b"set", b"k", b"v"])].concat();
    std::fs::write(folder.join("other.aof"), bytes).unwrap();
    let program = start(&folder, &["--appendfilename", "other.aof"]);
    expect(&mut program.connect(), b"GET k\r\n", b"$1\r\nv\r\n");
    program.stop();
}

#[test]
fn without_a_folder_it_says_so_and_does_not_start() {
    let arguments = ["redis", "-p", "0", "--appendonly", "yes", "--dir", "/nonexistent/folder"];
    let output = run(&mut mainspring(&arguments));
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("/nonexistent/folder"));
}

#[test]
#[cfg(unix)]
fn when_the_file_cannot_grow_the_program_ends_without_an_answer() {
    let folder = Folder::new("full");
    let dir = folder.path().to_str().unwrap();
    // Files end at one block, and writing beyond that is an error instead of a signal.
    let limited = "trap '' XFSZ; ulimit -f 1; exec \"$0\" \"$@\"";
    let mut shell = Command::new("sh");
    shell.args(["-c", limited, env!("CARGO_BIN_EXE_mainspring"), "redis"]);
    shell.args(["--listen", "tcp://127.0.0.1:0", "--appendonly", "yes", "--dir", dir]);
    let mut program = Program::start_from(&mut shell);
    let mut stream = program.connect();
    expect(&mut stream, b"SET small 1\r\n", b"+OK\r\n");
    stream.write_all(&command(&[b"SET", b"large", &[b'v'; 4096]])).unwrap();
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply);
    assert_eq!(reply, b"", "a change that is not in the log was answered");
    let (status, _, stderr) = program.end();
    assert_eq!(status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("cannot write the append log"), "{stderr}");
    let program = start(&folder, &[]);
    expect(&mut program.connect(), b"GET small\r\nEXISTS large\r\n", b"$1\r\n1\r\n:0\r\n");
    program.stop();
}
