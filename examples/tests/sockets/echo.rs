//! `echo`, `echo_udp` and `echo_simple`.

use crate::PATIENCE;
use crate::client::Client;
use crate::process::{Example, fails, on_free_port};
use std::io::{Read, Write};
use std::net::UdpSocket;
use std::thread;

#[test]
fn every_byte_comes_back_in_order_on_many_connections() {
    let (_echo, at) = on_free_port("echo");
    let seed = 17;
    thread::scope(|scope| {
        for nth in 0..8 {
            scope.spawn(move || {
                let mut rng = fastrand::Rng::with_seed(seed + nth);
                let sent: Vec<u8> = (0..rng.usize(1..1 << 20)).map(|_| rng.u8(..)).collect();
                let mut client = Client::connect(at);
                let mut writer = client.0.try_clone().expect("a second owner");
                let mut got = vec![0; sent.len()];
                thread::scope(|both| {
                    both.spawn(|| writer.write_all(&sent).expect("sends"));
                    client.0.read_exact(&mut got).expect("receives");
                });
                assert!(got == sent, "seed {seed}, connection {nth}: other bytes came back");
                client.finish();
                assert_eq!(client.rest(), b"", "seed {seed}, connection {nth}");
            });
        }
    });
}

#[test]
fn what_cannot_be_served_is_named_and_the_status_is_not_zero() {
    let (_echo, at) = on_free_port("echo");
    let taken = format!("tcp://{at}");
    let said = fails("echo", &[&taken]);
    assert!(said.starts_with("echo: cannot listen on") && said.contains(&taken), "{said}");
    let said = fails("echo", &["tulip://127.0.0.1:1"]);
    assert!(said.contains("tulip") && said.contains("unix"), "{said}");
    let said = fails("echo_udp", &["udp://127.0.0.1:0?nodelay=1"]);
    assert!(said.contains("nodelay"), "{said}");
}

#[test]
fn every_datagram_comes_back_the_empty_one_too() {
    let echo = Example::start("echo_udp", &["udp://127.0.0.1:0"]);
    let at = echo.ready_inet();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.set_read_timeout(Some(PATIENCE)).expect("above zero");
    socket.connect(at).expect("a peer");
    let mut buffer = vec![0; 65_536];
    for size in [0, 1, 512, 1_472, 9_000, 65_507] {
        let sent = vec![size as u8; size];
        assert_eq!(socket.send(&sent).expect("sends"), size);
        let count = socket.recv(&mut buffer).expect("an answer");
        assert!(buffer[..count] == sent[..], "{count} bytes came back of {size}");
    }
}

const BANNER: &[u8] = b"Welcome to the echo server!\n\
    Enter 'quit' to close your connection or 'shutdown' to close the server.\n";

#[test]
fn the_simple_server_greets_closes_and_stops_when_told() {
    let (mut echo, at) = on_free_port("echo_simple");
    let mut first = Client::connect(at);
    first.expect(BANNER);
    first.send(b"hello\r\n");
    first.expect(b"hello\r\n");
    first.send(b"quit\r\n");
    assert_eq!(first.rest(), b"quit\r\n");
    let (mut second, mut third) = (Client::connect(at), Client::connect(at));
    second.expect(BANNER);
    third.expect(BANNER);
    third.send(b"shutdown\r\n");
    assert_eq!(third.rest(), b"shutdown\r\n");
    assert_eq!(second.rest(), b"");
    assert!(echo.wait().success());
}
