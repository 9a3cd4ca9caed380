//! Every server gives right replies: byte by byte, over every kind of address that it is for, to
//! many clients, to slow ones, and to those that ask for much at once.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// Nothing that a test waits for takes so long.
const PATIENCE: Duration = Duration::from_secs(20);

const ECHO: &[&str] = &[
    "floor-echo",
    "floor-echo-uring",
    "threads-echo",
    "mio-echo",
    "tokio-echo",
    "monoio-echo",
    "monoio-legacy-echo",
    "compio-echo",
    "tasks-echo",
    "tasks-echo-uring",
    "libuv-echo",
];
const ECHO_TCP_ONLY: &[&str] = &["message-io-echo"];
const HTTP: &[&str] = &[
    "floor-http",
    "floor-http-uring",
    "threads-http",
    "hyper-http",
    "may-minihttp-http",
    "nginx-http",
];
const FRAMED: &[&str] = &["framed-echo", "framed-echo-uring"];
const RESP: &[&str] = &["floor-resp", "floor-resp-uring"];
const UDP: &[&str] = &["floor-echo", "floor-udp", "floor-udp-offload", "tokio-udp", "mio-udp"];

struct Server {
    child: Child,
    address: String,
}

impl Server {
    /// None: it says that it needs a Debian package that is not there.
    fn start(name: &str, listen: &str) -> Option<Self> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_servers"))
            .args([name, "--listen", listen])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let Some((_, address)) = line.trim().split_once(": ready on ") else {
            child.wait().unwrap();
            let mut complaint = String::new();
            child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
            assert!(complaint.contains("(Debian: "), "{name} on {listen}: {complaint}");
            eprintln!("NOT TESTED: {complaint}");
            return None;
        };
        Some(Self { child, address: address.to_owned() })
    }

    fn dial(&self) -> Box<dyn Stream> {
        if let Some(path) = self.address.strip_prefix("unix://") {
            let stream = UnixStream::connect(path).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.set_write_timeout(Some(PATIENCE)).unwrap();
            return Box::new(stream);
        }
        let stream = TcpStream::connect(self.address.strip_prefix("tcp://").unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Box::new(stream)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        if let Some(path) = self.address.strip_prefix("unix://") {
            std::fs::remove_file(path).unwrap();
        }
    }
}

trait Stream: Read + Write + Send {
    fn twin(&self) -> Box<dyn Stream>;
    fn end_writing(&self);
}

impl Stream for TcpStream {
    fn twin(&self) -> Box<dyn Stream> {
        Box::new(self.try_clone().unwrap())
    }

    fn end_writing(&self) {
        self.shutdown(Shutdown::Write).unwrap();
    }
}

impl Stream for UnixStream {
    fn twin(&self) -> Box<dyn Stream> {
        Box::new(self.try_clone().unwrap())
    }

    fn end_writing(&self) {
        self.shutdown(Shutdown::Write).unwrap();
    }
}

/// When a client ends its half of the stream.
#[derive(Clone, Copy)]
enum End {
    /// As soon as all is written: the server still owes most of the replies.
    WithTheLastByte,
    /// When all has come back.
    AfterTheLastReply,
}

/// message-io drops a connection whose end it sees together with input, and the input with it.
fn end_for(name: &str) -> End {
    if name == "message-io-echo" { End::AfterTheLastReply } else { End::WithTheLastByte }
}

/// Sends all in pieces of all sizes while it reads all, and sees the end of the stream.
fn exchange(
    stream: &mut Box<dyn Stream>,
    sent: Vec<u8>,
    end: End,
    read_after: Duration,
    what: &str,
) {
    let mut writer = stream.twin();
    let expected = sent.clone();
    let writing = thread::spawn(move || {
        let (mut rest, mut size) = (&sent[..], 1);
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(size.min(rest.len()));
            writer.write_all(piece).unwrap();
            rest = after;
            size = size * 3 % 200_003;
        }
        if let End::WithTheLastByte = end {
            writer.end_writing();
        }
    });
    thread::sleep(read_after);
    let mut got = Vec::new();
    if let End::AfterTheLastReply = end {
        got.resize(expected.len(), 0);
        stream.read_exact(&mut got).unwrap_or_else(|error| panic!("{what}: {error}"));
        stream.end_writing();
    }
    stream.read_to_end(&mut got).unwrap_or_else(|error| {
        panic!("{what}: {error} after {} of {} bytes", got.len(), expected.len())
    });
    writing.join().unwrap();
    let difference = got.iter().zip(&expected).position(|(got, sent)| got != sent);
    assert_eq!((difference, got.len()), (None, expected.len()), "{what}");
}

fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fastrand::Rng::with_seed(3).fill(&mut bytes);
    bytes
}

fn echoes_exactly(name: &str, listen: &str) {
    let Some(server) = Server::start(name, listen) else { return };
    let what = format!("{name} on {listen}");
    let end = end_for(name);
    exchange(&mut server.dial(), noise(3_000_000), end, Duration::ZERO, &what);
    // More than all socket buffers hold, so that the server has to keep some.
    let mut slow = server.dial();
    thread::scope(|scope| {
        let slow_what = format!("{what}, slow client");
        scope.spawn(move || {
            exchange(&mut slow, noise(30_000_000), end, Duration::from_millis(300), &slow_what);
        });
        // Meanwhile others are served.
        let mut many: Vec<Box<dyn Stream>> = (0..500).map(|_| server.dial()).collect();
        for round in 0..3 {
            each_hears_its_own(&mut many, &round.to_string(), &what);
            // A third of them leaves.
            let mut index = 0;
            many.retain(|_| {
                index += 1;
                index % 3 != 0
            });
        }
    });
    // Clients that leave with replies under way: what ends them must not end who comes after.
    for round in 0..5 {
        for _ in 0..20 {
            let mut rude = server.dial();
            rude.write_all(&noise(100_000)).unwrap_or_else(|error| panic!("{what}: {error}"));
        }
        let mut after: Vec<Box<dyn Stream>> = (0..100).map(|_| server.dial()).collect();
        each_hears_its_own(&mut after, &format!("after {round}"), &what);
    }
    exchange(&mut server.dial(), noise(1000), end, Duration::ZERO, &what);
}

/// Each says which it is, then each reads.
fn each_hears_its_own(clients: &mut [Box<dyn Stream>], round: &str, what: &str) {
    for (index, stream) in clients.iter_mut().enumerate() {
        writeln!(stream, "{round} of {index}").unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    for (index, stream) in clients.iter_mut().enumerate() {
        let expected = format!("{round} of {index}\n");
        let mut got = vec![0; expected.len()];
        stream.read_exact(&mut got).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(String::from_utf8_lossy(&got), expected, "{what}");
    }
}

fn unix_address(name: &str) -> String {
    let file = format!("mainspring-every-server-{}-{name}.sock", std::process::id());
    let path: PathBuf = std::env::temp_dir().join(file);
    format!("unix://{}", path.display())
}

#[test]
fn echo_servers_give_the_same_bytes_back_over_tcp() {
    for name in ECHO.iter().chain(ECHO_TCP_ONLY) {
        echoes_exactly(name, "tcp://127.0.0.1:0");
    }
}

#[test]
fn echo_servers_give_the_same_bytes_back_over_unix_sockets() {
    for name in ECHO {
        echoes_exactly(name, &unix_address(name));
    }
}

#[test]
fn framed_servers_give_the_same_frames_back() {
    let mut sent = Vec::new();
    for length in (0..3000).chain([16_383, 16_384, 65_536]) {
        let mut left = length;
        while left > 0x7f {
            sent.push(0x80 | (left & 0x7f) as u8);
            left >>= 7;
        }
        sent.push(left as u8);
        sent.extend(noise(length));
    }
    for name in FRAMED {
        for listen in ["tcp://127.0.0.1:0".to_owned(), unix_address(name)] {
            let server = Server::start(name, &listen).unwrap();
            exchange(&mut server.dial(), sent.clone(), End::WithTheLastByte, Duration::ZERO, name);
            exchange(
                &mut server.dial(),
                sent.clone(),
                End::WithTheLastByte,
                Duration::from_millis(100),
                name,
            );
            // One byte more than a frame may have.
            let mut rude = server.dial();
            rude.write_all(b"\x81\x80\x04").unwrap();
            assert_eq!(rude.read(&mut [0; 9]).unwrap(), 0, "{name}");
        }
    }
}

#[test]
fn http_servers_answer_each_of_many_requests() {
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for name in HTTP {
        let Some(server) = Server::start(name, "tcp://127.0.0.1:0") else { continue };
        let mut stream = server.dial();
        // 64 at once, then one in two parts.
        stream.write_all(&REQUEST.repeat(64)).unwrap();
        replies(&mut stream, 64, name);
        stream.write_all(&REQUEST[..20]).unwrap();
        thread::sleep(Duration::from_millis(20));
        stream.write_all(&REQUEST[20..]).unwrap();
        replies(&mut stream, 1, name);
        let mut many: Vec<Box<dyn Stream>> = (0..200).map(|_| server.dial()).collect();
        many.iter_mut().for_each(|stream| stream.write_all(REQUEST).unwrap());
        many.iter_mut().for_each(|stream| replies(stream, 1, name));
    }
}

/// Reads until `count` bodies have come, and nothing after the last.
fn replies(stream: &mut Box<dyn Stream>, count: usize, what: &str) {
    const BODY: &str = "Hello World!";
    let mut got = String::new();
    let mut buffer = [0; 4096];
    while got.matches(BODY).count() < count {
        let length = stream.read(&mut buffer).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_ne!(length, 0, "{what} ended after {got}");
        got.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
    }
    assert!(got.ends_with(BODY), "{what}: {got}");
    assert_eq!(got.matches("HTTP/1.1 200 ").count(), count, "{what}: {got}");
}

#[test]
fn resp_servers_keep_values_and_answer_pipelines() {
    for name in RESP {
        let server = Server::start(name, "tcp://127.0.0.1:0").unwrap();
        let mut stream = server.dial();
        let set = b"*3\r\n$3\r\nSET\r\n$5\r\nkey:1\r\n$2\r\nhi\r\n";
        let get = b"*2\r\n$3\r\nGET\r\n$5\r\nkey:1\r\n";
        let requests = [&set[..], get, b"PING\r\n"].concat().repeat(5000);
        let expected = b"+OK\r\n$2\r\nhi\r\n+PONG\r\n".repeat(5000);
        let mut writer = stream.twin();
        let writing = thread::spawn(move || writer.write_all(&requests).unwrap());
        let mut got = vec![0; expected.len()];
        stream.read_exact(&mut got).unwrap();
        writing.join().unwrap();
        assert!(got == expected, "{name}");
    }
}

#[test]
fn udp_servers_give_each_datagram_back_to_its_sender() {
    for name in UDP {
        let server = Server::start(name, "udp://127.0.0.1:0").unwrap();
        let clients = [(); 2].map(|()| {
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            client.connect(server.address.strip_prefix("udp://").unwrap()).unwrap();
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            client
        });
        let bytes = noise(65_507);
        // Fewer bytes at once than a socket's buffer takes, so that none is lost.
        for sizes in [&[1, 64, 64, 64, 1200, 0, 8000][..], &[65_507], &[64; 100]] {
            for size in sizes {
                clients.iter().for_each(|client| {
                    client.send(&bytes[..*size]).unwrap();
                });
            }
            let mut buffer = vec![0; 70_000];
            for (client, size) in
                clients.iter().flat_map(|client| sizes.iter().map(move |size| (client, size)))
            {
                let length = client.recv(&mut buffer).unwrap();
                assert!(buffer[..length] == bytes[..*size], "{name}: {length} for {size}");
            }
        }
    }
}
