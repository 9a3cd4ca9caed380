//! What the Redis program does besides answering: wakes, limits, several loops.

use crate::process::{Program, connect};
use crate::raw::{command, exchange, expect};
use std::io::{Read, Write};

#[test]
fn a_wake_closes_the_connection_after_its_answer() {
    let program = Program::start(&["redis", "--listen", "tcp://127.0.0.1:0"]);
    let mut stream = program.connect();
    stream.write_all(b"PING\r\nWAKE\r\nECHO behind\r\n").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert_eq!(reply, "+PONG\r\n+OK\r\n$6\r\nbehind\r\n");
    program.stop();
}

/// What redis-server tells more of, and so cannot be compared with.
#[test]
fn commands_are_described_by_sets_and_the_server_by_text_in_resp3() {
    let program = Program::start(&["redis", "--listen", "tcp://127.0.0.1:0"]);
    let mut stream = program.connect();
    let described: &[u8] = b"*1\r\n*10\r\n$3\r\nget\r\n:2\r\n*1\r\n+readonly\r\n:1\r\n:1\r\n:1\r\n\
        *0\r\n*0\r\n*0\r\n*0\r\n";
    expect(&mut stream, b"COMMAND INFO get\r\n", described);
    let replication: &[u8] = b"# Replication\r\nrole:master\r\nconnected_slaves:0\r\n\r\n";
    expect(&mut stream, b"INFO replication\r\n", &[b"$48\r\n", replication].concat());
    stream.write_all(b"HELLO 3\r\nECHO hi\r\n").unwrap();
    read_to(&mut stream, b"$2\r\nhi\r\n");
    let described: &[u8] = b"*1\r\n*10\r\n$3\r\nget\r\n:2\r\n~1\r\n+readonly\r\n:1\r\n:1\r\n:1\r\n\
        ~0\r\n~0\r\n~0\r\n~0\r\n";
    expect(&mut stream, b"COMMAND INFO get\r\n", described);
    expect(&mut stream, b"INFO replication\r\n", &[b"=52\r\ntxt:", replication].concat());
    program.stop();
}

#[test]
fn quit_closes_and_what_is_behind_it_is_not_executed() {
    let program = Program::start(&["redis", "--listen", "tcp://127.0.0.1:0"]);
    let mut stream = program.connect();
    stream.write_all(b"SET a 1\r\nQUIT\r\nSET a 2\r\n").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert_eq!(reply, "+OK\r\n+OK\r\n");
    expect(&mut program.connect(), b"GET a\r\n", b"$1\r\n1\r\n");
    program.stop();
}

#[test]
fn what_a_client_sent_before_it_stopped_sending_is_answered() {
    let program = Program::start(&["redis", "--listen", "tcp://127.0.0.1:0"]);
    let reply = exchange(program.addr(), &b"PING\r\n".repeat(10_000));
    assert_eq!(reply, b"+PONG\r\n".repeat(10_000));
    program.stop();
}

#[test]
fn a_value_of_64_mib_goes_in_and_comes_out() {
    let program = Program::start(&["redis", "--listen", "tcp://127.0.0.1:0"]);
    let mut value = vec![0; 64 << 20];
    fastrand::Rng::with_seed(64).fill(&mut value);
    let mut stream = program.connect();
    expect(&mut stream, &command(&[b"SET", b"big", &value]), b"+OK\r\n");
    expect(&mut stream, b"STRLEN big\r\n", b":67108864\r\n");
    stream.write_all(b"GET big\r\nPING\r\n").unwrap();
    let mut reply = vec![0; 11 + value.len() + 2 + 7];
    stream.read_exact(&mut reply).unwrap();
    assert!(reply.starts_with(b"$67108864\r\n") && reply.ends_with(b"\r\n+PONG\r\n"));
    assert!(reply[11..][..value.len()] == value, "the value has changed");
    program.stop();
}

#[test]
fn counters_of_clients_on_several_loops_add_up() {
    for balance in ["round-robin", "kernel"] {
        let program = Program::start(&[
            "redis",
            "--listen",
            "tcp://127.0.0.1:0",
            "--loops",
            "4",
            "--balance",
            balance,
        ]);
        let addr = program.addr();
        let clients: Vec<_> = (0..8)
            .map(|_| {
                std::thread::spawn(move || {
                    let mut stream = connect(addr);
                    let mut last = 0;
                    for _ in 0..50 {
                        stream.write_all(&b"INCR shared\r\n".repeat(20)).unwrap();
                        for _ in 0..20 {
                            last = integer(&mut stream);
                        }
                    }
                    last
                })
            })
            .collect();
        let highest = clients.into_iter().map(|client| client.join().unwrap()).max();
        assert_eq!(highest, Some(8 * 50 * 20), "{balance}");
        expect(&mut program.connect(), b"GET shared\r\n", b"$4\r\n8000\r\n");
        program.stop();
    }
}

fn integer(stream: &mut impl Read) -> u64 {
    String::from_utf8(read_to(stream, b"\r\n"))
        .unwrap()
        .trim_end()
        .trim_start_matches(':')
        .parse()
        .unwrap()
}

fn read_to(stream: &mut impl Read, end: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end) {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        bytes.push(byte[0]);
    }
    bytes
}

#[test]
fn a_client_that_does_not_read_is_not_read_from_and_holds_up_nobody() {
    let program = Program::start(&["redis", "--listen", "tcp://127.0.0.1:0"]);
    expect(&mut program.connect(), &command(&[b"SET", b"v", &[b'v'; 1 << 10]]), b"+OK\r\n");
    let mut deaf = program.connect();
    deaf.set_nonblocking(true).unwrap();
    let gets = b"GET v\r\n".repeat(1000);
    // 1,000 gets are a megabyte of replies; the socket takes what fits until nobody reads it any
    // more.
    let (mut sent, mut idle) = (0, 0);
    while idle < 20 && sent < 64 << 20 {
        match deaf.write(&gets[sent % b"GET v\r\n".len()..]) {
            Ok(count) => (sent, idle) = (sent + count, 0),
            Err(_) => {
                idle += 1;
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }
    }
    assert!(sent < 64 << 20, "it read on and on");
    let kib = resident_kib(program.id());
    assert!(kib < 64 << 10, "{kib} KiB for a client that does not read");
    expect(&mut program.connect(), b"PING\r\n", b"+PONG\r\n");
    // When it reads, it gets everything that it asked for.
    deaf.set_nonblocking(false).unwrap();
    let asked = sent / b"GET v\r\n".len();
    let reply = 7 + (1 << 10) + 2;
    let mut rest = deaf.take((asked * reply) as u64);
    assert_eq!(std::io::copy(&mut rest, &mut std::io::sink()).unwrap(), (asked * reply) as u64);
    program.stop();
}

fn resident_kib(id: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn an_output_over_the_bound_closes_its_connection() {
    let arguments = ["redis", "--listen", "tcp://127.0.0.1:0", "--output-max", "1m"];
    let program = Program::start(&arguments);
    let mut stream = program.connect();
    expect(&mut stream, &command(&[b"SET", b"v", &vec![b'v'; 32 << 20]]), b"+OK\r\n");
    stream.write_all(b"GET v\r\n").unwrap();
    let seen = std::io::copy(&mut stream, &mut std::io::sink()).unwrap_or(0);
    assert!(seen < 32 << 20, "{seen} bytes came");
    expect(&mut program.connect(), b"PING\r\n", b"+PONG\r\n");
    program.stop();
}

#[test]
fn an_input_over_the_bound_closes_its_connection() {
    let program = Program::start(&["redis", "--listen", "tcp://127.0.0.1:0", "--input-max", "1m"]);
    let mut stream = program.connect();
    let _ = stream.write_all(&command(&[b"SET", b"v", &vec![b'v'; 8 << 20]]));
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply);
    assert_eq!(reply, b"");
    expect(&mut program.connect(), b"EXISTS v\r\n", b":0\r\n");
    program.stop();
}
