//! Starts that fail leave nothing behind and say why; shared ports are shared; unix paths come and
//! go.
#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods, reason = "clients live in real time")]

mod robust;

use robust::client::{Protocol, ask, connect};
use robust::server::{Launch, Server};
use robust::{HANG, wait_until};
use rustix::process::Signal;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

#[test]
fn a_taken_port_is_named_with_the_cause() {
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let tcp = format!("tcp://{}", tcp.local_addr().expect("bound"));
    let udp = format!("udp://{}", udp.local_addr().expect("bound"));
    for loops in ["1", "4"] {
        for address in [&tcp, &udp] {
            refused(&[address], loops, &[address, "Address already in use"]);
        }
    }
}

/// Loops share a port by an option that would let a second server share it too, unnoticed.
#[test]
fn a_port_of_another_server_with_loops_is_taken() {
    let first = Launch::of("echo").args(&["--loops", "4"]).start();
    let address = format!("tcp://{}", first.address());
    for loops in ["1", "4"] {
        refused(&[&address], loops, &[&address, "Address already in use"]);
    }
    ask(Protocol::Echo, &connect(first.address())).expect("the first is served on");
}

#[test]
fn an_address_that_is_not_here_is_named_with_the_cause() {
    for loops in ["1", "4"] {
        // RFC 5737: "192.0.2.0/24 (TEST-NET-1) [..] are provided for use in documentation".
        for address in ["tcp://192.0.2.1:0", "udp://192.0.2.1:0"] {
            refused(&[address], loops, &[address, "Cannot assign requested address"]);
        }
    }
}

#[test]
fn a_unix_path_that_cannot_be_had_is_named_and_left_alone() {
    let folder = Folder::new();
    let file = folder.0.join("file");
    fs::write(&file, "precious").expect("a folder of our own");
    for loops in ["1", "4"] {
        refused(&[&unix(&file)], loops, &[&unix(&file), "not a socket"]);
        refused(&[&unix(&folder.0)], loops, &[&unix(&folder.0), "a directory"]);
        let nowhere = unix(&folder.0.join("nowhere/socket"));
        refused(&[&nowhere], loops, &[&nowhere, "No such file or directory"]);
    }
    assert_eq!(fs::read_to_string(&file).expect("still there"), "precious");
}

/// What had been opened before the address that fails is closed again.
#[test]
fn nothing_is_left_half_started() {
    let folder = Folder::new();
    let path = folder.0.join("socket");
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = format!("tcp://{}", free.local_addr().expect("bound"));
    drop(free);
    for loops in ["1", "4"] {
        let listen = [&unix(&path), &port, "tcp://192.0.2.1:0"];
        refused(&listen, loops, &["tcp://192.0.2.1:0"]);
        assert!(!path.exists(), "the path of a listener that was closed again");
        Launch::of("echo").listen(&port).start();
    }
}

#[test]
fn two_servers_share_a_port_when_both_say_so() {
    let first = Launch::of("echo").listen("tcp://127.0.0.1:0?reuseport=true").start();
    let address = format!("tcp://{}?reuseport=true", first.address());
    let mut second = Launch::of("echo").listen(&address).args(&["--loops", "2"]).start();
    let idle = [&first, &second].map(|server| server.process().descriptors());
    let clients: Vec<_> = (0..64).map(|_| connect(first.address())).collect();
    clients.iter().for_each(|client| ask(Protocol::Echo, client).expect("served"));
    for (server, idle) in [&first, &second].into_iter().zip(idle) {
        // The chance that none of 64 falls to one of them is 2^-63.
        assert!(server.process().descriptors() > idle, "one has all connections");
    }
    drop(clients);
    assert_eq!(second.terminate(HANG).0, Some(0));
    for _ in 0..32 {
        ask(Protocol::Echo, &connect(first.address())).expect("the other serves on alone");
    }
}

#[test]
fn a_stale_unix_socket_is_replaced_and_a_live_one_is_not() {
    let folder = Folder::new();
    let path = folder.0.join("socket");
    // Closing a listener of std leaves its file behind, as a server that was killed does.
    drop(UnixListener::bind(&path).expect("a folder of our own"));
    assert!(path.exists());
    for loops in ["1", "4"] {
        let server = Launch::of("echo").listen(unix(&path)).args(&["--loops", loops]).start();
        ask_unix(&path);
        refused(&[&unix(&path)], loops, &[&unix(&path), "in use"]);
        ask_unix(&path);
        server.process().signal(Signal::KILL);
        assert!(wait_until(HANG, || !server.process().is_alive()));
        assert!(path.exists(), "a killed server removes nothing");
    }
    let _server = Launch::of("echo").listen(unix(&path)).start();
    ask_unix(&path);
}

#[test]
fn the_unix_path_is_removed_at_the_end() {
    let folder = Folder::new();
    let path = folder.0.join("socket");
    for loops in ["1", "4"] {
        let start = || Launch::of("redis").listen(unix(&path)).args(&["--loops", loops]).start();
        let mut server = start();
        assert_eq!(server.terminate(HANG).0, Some(0));
        assert!(!path.exists(), "after SIGTERM");
        let mut server = start();
        let mut client = UnixStream::connect(&path).expect("listening");
        client.write_all(b"*1\r\n$8\r\nSHUTDOWN\r\n").expect("open");
        let status = server.wait(HANG).expect("it shuts down");
        assert_eq!(status.code(), Some(0), "{}", server.log());
        assert!(!path.exists(), "after SHUTDOWN");
        // A file that somebody else has put there meanwhile is not ours to remove.
        let mut server = start();
        fs::remove_file(&path).expect("a socket");
        fs::write(&path, "precious").expect("a folder of our own");
        assert_eq!(server.terminate(HANG).0, Some(0));
        assert_eq!(fs::read_to_string(&path).expect("still there"), "precious");
        fs::remove_file(&path).expect("a file");
    }
}

/// Whoever reads the log may go away. The server cannot tell anybody, and serves on.
#[test]
fn a_log_that_nobody_reads_harms_nothing() {
    let mut server: Server = Launch::of("echo").args(&["--log", "trace", "--trace"]).deaf().start();
    for _ in 0..10 {
        ask(Protocol::Echo, &connect(server.address())).expect("served");
    }
    server.assert_alive("without a reader of its log");
    assert_eq!(server.terminate(HANG).0, Some(0));
}

/// The program must not start, and has to say each of `words` on standard error.
fn refused(listen: &[&str], loops: &str, words: &[&str]) {
    let launch = listen.iter().fold(Launch::of("echo"), |launch, at| launch.listen(*at));
    let ended = launch.args(&["--loops", loops]).run();
    assert_eq!(ended.code, Some(1), "{listen:?}: {ended:?}");
    assert_eq!(ended.stdout, "", "nobody is told that it is ready");
    for word in words {
        assert!(ended.stderr.contains(word), "{word:?} is not in {:?}", ended.stderr);
    }
}

fn ask_unix(path: &Path) {
    let mut stream = UnixStream::connect(path).expect("listening");
    stream.set_read_timeout(Some(HANG)).expect("a socket");
    stream.write_all(b"hello").expect("open");
    let mut reply = [0; 5];
    stream.read_exact(&mut reply).expect("served");
    assert_eq!(&reply, b"hello");
}

fn unix(path: &Path) -> String {
    format!("unix://{}", path.display())
}

/// A folder with a short name, which paths of unix sockets must have, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("mainspring-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).expect("a folder of our own");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
