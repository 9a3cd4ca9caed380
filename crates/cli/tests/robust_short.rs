//! Reads and writes that fall short: with tiny buffers in the kernel, on both sides, every transfer
//! is cut into many pieces, and all of it arrives in order.
#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods, reason = "clients live in real time")]

mod robust;

use robust::HANG;
use robust::client::{Protocol, read_response};
use robust::server::Launch;
use socket2::{Domain, Socket, Type};
use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// A few thousand bytes each way, of which a part is overhead. Much smaller ones hold no two
/// segments, and the kernel's sender then waits for its timers, whoever serves.
const TINY: &str = "sndbuf=4608&rcvbuf=4608";
const TINY_BYTES: usize = 4608;
/// RFC 9293, 3.7.1: "the default send MSS [is] 536". On the loopback device it would be the whole
/// buffer.
const SEGMENT_BYTES: u32 = 536;
const SEED: u64 = 0x73_686f_7274;
const CLIENTS: u64 = 4;

#[test]
fn echo_of_much_data() {
    const BYTES: usize = 2 << 20;
    for driver in ["ready", "portable"] {
        let server = start(Protocol::Echo, driver);
        beside_each_other(|number| {
            let mut rng = fastrand::Rng::with_seed(SEED + number);
            let mut sent = vec![0; BYTES];
            rng.fill(&mut sent);
            let stream = connect_tiny(server.address());
            let got = exchange(&stream, &sent, &mut rng, |from| {
                let mut got = vec![0; BYTES];
                from.read_exact(&mut got).expect("every byte comes back");
                got
            });
            assert!(got == sent, "other bytes, seed {SEED:#x}");
        });
    }
}

#[test]
fn pipelined_commands_with_large_values() {
    const KEYS: usize = 40;
    let server = start(Protocol::Redis, "ready");
    beside_each_other(|number| {
        let mut rng = fastrand::Rng::with_seed(SEED + number);
        let mut values = vec![String::new(); KEYS];
        for value in &mut values {
            let length = rng.usize(0..20_000);
            value.extend(std::iter::repeat_with(|| rng.alphanumeric()).take(length));
        }
        let mut requests = String::new();
        for (key, value) in values.iter().enumerate() {
            let key = format!("{number}:{key}");
            let (keys, bytes) = (key.len(), value.len());
            requests += &format!("*3\r\n$3\r\nSET\r\n${keys}\r\n{key}\r\n${bytes}\r\n{value}\r\n");
            requests += &format!("*2\r\n$3\r\nGET\r\n${keys}\r\n{key}\r\n").repeat(2);
        }
        let expected: String = values
            .iter()
            .map(|value| format!("+OK\r\n{}", format!("${}\r\n{value}\r\n", value.len()).repeat(2)))
            .collect();
        let stream = connect_tiny(server.address());
        let got = exchange(&stream, requests.as_bytes(), &mut rng, |from| {
            let mut got = vec![0; expected.len()];
            from.read_exact(&mut got).expect("every reply comes");
            got
        });
        assert!(got == expected.as_bytes(), "other replies, seed {SEED:#x}");
    });
}

#[test]
fn pipelined_requests_with_bodies() {
    const REQUESTS: usize = 200;
    let server = start(Protocol::Http, "ready");
    beside_each_other(|number| {
        let mut rng = fastrand::Rng::with_seed(SEED + number);
        let mut requests = Vec::new();
        for _ in 0..REQUESTS {
            let length = rng.usize(0..5000);
            let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
            requests.extend_from_slice(head.as_bytes());
            requests.extend(std::iter::repeat_n(b'b', length));
        }
        let stream = connect_tiny(server.address());
        exchange(&stream, &requests, &mut rng, |from| {
            for request in 0..REQUESTS {
                let (status, _) = read_response(from).expect("every answer comes");
                assert_eq!(status, 200, "request {request}, seed {SEED:#x}");
            }
        });
    });
}

fn start(protocol: Protocol, driver: &'static str) -> robust::server::Server {
    let address = format!("tcp://127.0.0.1:0?{TINY}");
    Launch::of(protocol.demo()).listen(address).args(&["--driver", driver]).start()
}

fn beside_each_other(client: impl Fn(u64) + Sync) {
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                scope.spawn({
                    let client = &client;
                    move || client(number)
                })
            })
            .collect();
        for client in clients {
            client.join().expect("no client fails");
        }
    });
}

/// The sizes are set before connecting: a window that shrinks later makes the kernel's sender wait
/// for its timers, whoever serves.
fn connect_tiny(to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(TINY_BYTES).expect("a socket");
    socket.set_send_buffer_size(TINY_BYTES).expect("a socket");
    socket.set_tcp_mss(SEGMENT_BYTES).expect("a socket");
    // Else the end of each piece waits for the acknowledgement of its beginning.
    socket.set_tcp_nodelay(true).expect("a socket");
    socket.connect(&to.into()).expect("listening");
    socket.set_read_timeout(Some(HANG)).expect("a socket");
    socket.set_write_timeout(Some(HANG)).expect("a socket");
    socket.into()
}

/// Sends in pieces of random lengths, and reads at the same time; then both ends finish.
fn exchange<T: Send>(
    stream: &TcpStream,
    bytes: &[u8],
    rng: &mut fastrand::Rng,
    read: impl FnOnce(&mut BufReader<&TcpStream>) -> T + Send,
) -> T {
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            // Long enough for the server to be choked by what it cannot send.
            robust::pause(Duration::from_millis(100));
            let mut from = BufReader::with_capacity(1000, stream);
            let got = read(&mut from);
            assert_eq!(
                from.read(&mut [0]).expect("an end in good order"),
                0,
                "more than asked for"
            );
            got
        });
        let (mut writer, mut rest) = (stream, bytes);
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rng.usize(1..=rest.len().min(10_000)));
            writer.write_all(piece).expect("the server reads on");
            rest = after;
        }
        stream.shutdown(Shutdown::Write).expect("connected");
        reading.join().expect("every reply comes")
    })
}
