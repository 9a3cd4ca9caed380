//! The echo program, by netcat and by bytes.

use crate::process::{Folder, LIMIT, Program, content};
use crate::raw::exchange;
use std::io::Write;
use std::net::UdpSocket;
use std::process::{Command, Stdio};

/// What netcat prints when it sends `text` and then waits for the end, or for one quiet second.
fn netcat(arguments: &[&str], text: &str) -> String {
    let (read, mut write) = std::io::pipe().unwrap();
    write.write_all(text.as_bytes()).unwrap();
    drop(write);
    content(Command::new("nc").args(arguments).stdin(Stdio::from(read)))
}

#[test]
fn netcat_gets_its_bytes_back_over_tcp_unix_and_udp() {
    let folder = Folder::new("nc");
    let socket = folder.join("echo.sock");
    let program = Program::start(&[
        "echo",
        "--listen",
        "tcp://127.0.0.1:0",
        "--listen",
        "udp://127.0.0.1:0",
        "--unix",
        &socket,
    ]);
    let port = |index: usize| program.addresses[index].rsplit(':').next().unwrap().to_owned();
    assert_eq!(netcat(&["-N", "127.0.0.1", &port(0)], "over tcp\n"), "over tcp\n");
    assert_eq!(netcat(&["-N", "-U", &socket], "over unix\n"), "over unix\n");
    assert_eq!(netcat(&["-u", "-w", "1", "127.0.0.1", &port(1)], "over udp\n"), "over udp\n");
    program.stop();
}

#[test]
fn much_data_comes_back_unchanged_over_several_loops() {
    let program = Program::start(&["echo", "--listen", "tcp://127.0.0.1:0", "--loops", "3"]);
    let addr = program.addr();
    let clients: Vec<_> = (0..6_u64)
        .map(|seed| {
            std::thread::spawn(move || {
                let mut data = vec![0; 3 << 20];
                fastrand::Rng::with_seed(seed).fill(&mut data);
                let stream = crate::process::connect(addr);
                let (mut writer, sent) = (stream.try_clone().unwrap(), data.clone());
                let writing = std::thread::spawn(move || {
                    writer.write_all(&sent).unwrap();
                    writer.shutdown(std::net::Shutdown::Write).unwrap();
                });
                let mut seen = Vec::new();
                std::io::Read::read_to_end(&mut &stream, &mut seen).unwrap();
                writing.join().unwrap();
                assert!(seen == data, "seed {seed}: {} of {} bytes", seen.len(), data.len());
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    program.stop();
}

#[test]
fn datagrams_come_back_from_the_address_they_went_to_whatever_their_size() {
    let program = Program::start(&["echo", "--udp", "--port", "0", "--loops", "2"]);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    client.connect(("127.0.0.1", program.addr().port())).unwrap();
    let mut buffer = vec![0; 65536];
    for size in [1, 0, 1400, 9000, 65507] {
        let data = vec![size as u8; size];
        client.send(&data).unwrap();
        let count = client.recv(&mut buffer).unwrap();
        assert!(buffer[..count] == data, "{count} of {size} bytes");
    }
    program.stop();
}

#[test]
fn trace_logs_each_packet_with_its_bytes() {
    let program = Program::start(&["echo", "--listen", "tcp://127.0.0.1:0", "--trace"]);
    let stream = program.connect();
    let peer = stream.local_addr().unwrap();
    crate::raw::expect(&mut &stream, b"a\"\x00\r\n", b"a\"\x00\r\n");
    drop(stream);
    let log = program.stop();
    assert!(log.contains(&format!("{peer} 5 bytes: \"a\\\"\\x00\\r\\n\"")), "{log}");
}

#[test]
fn a_limit_on_connections_closes_the_next_one() {
    let arguments = ["echo", "--listen", "tcp://127.0.0.1:0", "--connections-max", "1"];
    let program = Program::start(&arguments);
    let first = program.connect();
    crate::raw::expect(&mut &first, b"x", b"x");
    assert_eq!(exchange(program.addr(), b""), b"");
    crate::raw::expect(&mut &first, b"y", b"y");
    drop(first);
    program.stop();
}

#[test]
fn an_idle_connection_is_closed_when_its_time_is_over() {
    let arguments = ["echo", "--listen", "tcp://127.0.0.1:0", "--idle-timeout", "200ms"];
    let program = Program::start(&arguments);
    let stream = program.connect();
    let mut seen = Vec::new();
    std::io::Read::read_to_end(&mut &stream, &mut seen).unwrap();
    program.stop();
}

#[test]
fn several_processes_may_share_a_port() {
    let first = Program::start(&["echo", "--listen", "tcp://127.0.0.1:0", "--reuseport"]);
    let address = format!("tcp://{}", first.addr());
    let second = Program::start(&["echo", "--listen", &address, "--reuseport"]);
    assert_eq!(exchange(second.addr(), b"shared"), b"shared");
    first.stop();
    assert_eq!(exchange(second.addr(), b"alone"), b"alone");
    second.stop();
}
