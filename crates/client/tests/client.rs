//! The client against peers that behave, that do not, and that are not there.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "the tests wait by the real clock")]

use mainspring_client::{
    Client, Closed, Error, ReadFrame, ReadPrimitive, Timeouts, WriteFrame, WritePrimitive,
};
use mainspring_wire::LengthPrefix;
use std::io::{BufRead, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(100);

/// A server for one connection, played by `script` on a thread of its own.
fn peer(script: impl FnOnce(TcpStream) + Send + 'static) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        script(stream);
    });
    (address, thread)
}

fn echo(mut stream: TcpStream) {
    let mut out = stream.try_clone().unwrap();
    std::io::copy(&mut stream, &mut out).unwrap();
}

/// A hook that never panics: the client may outlive the test that waits.
fn tell(to: Sender<Closed>) -> impl FnOnce(Closed) + Send {
    move |reason| {
        let _ = to.send(reason);
    }
}

fn connect(address: &str) -> (Client, Receiver<Closed>) {
    let mut client = Client::connect(address, &Timeouts::all(LONG)).unwrap();
    let (told, hear) = channel();
    client.on_close(tell(told));
    (client, hear)
}

#[test]
fn frames_and_numbers_pass_both_ways() {
    let (address, thread) = peer(echo);
    let (mut client, closed) = connect(&address);
    client.write_separated(b"line", "\n").unwrap();
    let lengths = LengthPrefix::varint().max(100_000);
    client.write_length_prefixed(&[7; 70_000], lengths.clone()).unwrap();
    client.write_u32_le(5).unwrap();
    assert_eq!(client.read_separated("\n", 10).unwrap().as_deref(), Some(&b"line"[..]));
    let frame = client.read_length_prefixed(lengths).unwrap();
    assert_eq!(frame, Some(vec![7; 70_000]));
    assert_eq!(client.read_u32_le().unwrap(), 5);
    client.finish().unwrap();
    assert_eq!(client.read_separated("\n", 10).unwrap(), None, "the echo ends as we do");
    thread.join().unwrap();
    drop(client);
    assert_eq!(closed.iter().collect::<Vec<_>>(), [Closed::Peer]);
}

#[test]
fn a_read_takes_what_is_there_large_or_small() {
    let (address, thread) = peer(|mut stream| stream.write_all(&[3; 100_000]).unwrap());
    let (mut client, _closed) = connect(&address);
    let mut one = [0];
    client.read_exact(&mut one).unwrap();
    assert!(client.fill_buf().unwrap().iter().all(|byte| *byte == 3));
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).unwrap();
    assert_eq!((one, rest.len()), ([3], 99_999));
    thread.join().unwrap();
}

#[test]
fn a_server_that_goes_is_told_once_and_reads_end() {
    let (address, thread) = peer(drop);
    let (mut client, closed) = connect(&address);
    thread.join().unwrap();
    assert_eq!(client.read(&mut [0; 10]).unwrap(), 0);
    assert_eq!(client.closed(), Some(Closed::Peer));
    assert_eq!(client.read(&mut [0; 10]).unwrap(), 0, "the end stays");
    assert_eq!(client.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    client.close();
    drop(client);
    assert_eq!(closed.iter().collect::<Vec<_>>(), [Closed::Peer]);
}

#[test]
fn a_reset_is_told_once_and_stays_an_error() {
    let (address, thread) = peer(|stream| {
        // Unread input turns a close into a reset.
        stream.peek(&mut [0]).unwrap();
    });
    let (mut client, closed) = connect(&address);
    client.write_all(b"unread").unwrap();
    thread.join().unwrap();
    let reset = ErrorKind::ConnectionReset;
    assert_eq!(client.read(&mut [0; 10]).unwrap_err().kind(), reset);
    assert_eq!(client.read(&mut [0; 10]).unwrap_err().kind(), reset);
    drop(client);
    assert_eq!(closed.iter().collect::<Vec<_>>(), [Closed::Failed(reset)]);
}

#[test]
fn writes_into_a_dead_connection_end_it_once() {
    let (address, thread) = peer(|stream| stream.shutdown(Shutdown::Both).unwrap());
    let (mut client, closed) = connect(&address);
    thread.join().unwrap();
    let until = Instant::now() + LONG;
    while client.write(b"into the void").is_ok() {
        assert!(Instant::now() < until, "the kernel never noticed");
    }
    assert!(matches!(client.closed(), Some(Closed::Failed(_))), "{client:?}");
    assert_eq!(client.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    drop(client);
    assert_eq!(closed.iter().count(), 1);
}

#[test]
fn a_drop_and_a_close_are_local() {
    let (address, thread) = peer(echo);
    let (mut client, closed) = connect(&address);
    client.close();
    client.close();
    assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::NotConnected);
    drop(client);
    thread.join().unwrap();
    assert_eq!(closed.iter().collect::<Vec<_>>(), [Closed::Local]);
    let (address, thread) = peer(echo);
    let (client, closed) = connect(&address);
    drop(client);
    thread.join().unwrap();
    assert_eq!(closed.iter().collect::<Vec<_>>(), [Closed::Local]);
}

#[test]
fn the_last_of_several_hooks_hears_and_one_that_is_late_at_once() {
    let (address, thread) = peer(echo);
    let (mut client, first) = connect(&address);
    let (told, second) = channel();
    client.on_close(tell(told));
    client.close();
    assert_eq!(first.iter().count(), 0, "it was replaced");
    assert_eq!(second.iter().collect::<Vec<_>>(), [Closed::Local]);
    let (told, late) = channel();
    client.on_close(tell(told));
    assert_eq!(late.iter().collect::<Vec<_>>(), [Closed::Local]);
    thread.join().unwrap();
}

#[test]
fn a_silent_peer_costs_a_timeout_and_the_client_goes_on() {
    let (go, wait) = channel::<()>();
    let (address, thread) = peer(move |mut stream| {
        wait.recv().unwrap();
        stream.write_all(b"late").unwrap();
    });
    let (mut client, _closed) = connect(&address);
    client.set_timeouts(Some(SHORT), Some(SHORT));
    let began = Instant::now();
    let error = client.read(&mut [0; 4]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(began.elapsed() >= SHORT && began.elapsed() < LONG, "{:?}", began.elapsed());
    assert_eq!(client.closed(), None);
    go.send(()).unwrap();
    client.set_timeouts(Some(LONG), None);
    let mut text = [0; 4];
    client.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"late");
    thread.join().unwrap();
}

#[test]
fn a_peer_that_does_not_read_costs_a_write_timeout() {
    let (done, wait) = channel::<()>();
    let (address, thread) = peer(move |_unread| {
        let _ = wait.recv();
    });
    let (mut client, _closed) = connect(&address);
    client.set_timeouts(None, Some(SHORT));
    let block = vec![0; 1 << 20];
    let until = Instant::now() + LONG;
    let error = loop {
        assert!(Instant::now() < until, "the kernel takes it all");
        if let Err(error) = client.write(&block) {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    drop(done);
    thread.join().unwrap();
}

#[test]
fn a_deadline_holds_for_all_reads_together() {
    let (done, wait) = channel::<()>();
    let (address, thread) = peer(move |mut stream| {
        // Each byte in time, all of them not.
        while wait.recv_timeout(SHORT / 4).is_err() {
            stream.write_all(b".").unwrap();
        }
    });
    let (mut client, _closed) = connect(&address);
    let began = Instant::now();
    client.set_deadline(Some(began + 3 * SHORT));
    let error = client.read_exact(&mut [0; 100_000]).unwrap_err();
    let took = began.elapsed();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(took >= 3 * SHORT && took < LONG, "{took:?}");
    assert_eq!(client.write(b"x").unwrap_err().kind(), ErrorKind::TimedOut);
    client.set_deadline(None);
    client.read_exact(&mut [0]).unwrap();
    done.send(()).unwrap();
    thread.join().unwrap();
}

#[test]
fn what_cannot_be_dialled_is_named() {
    let dial = |address: &str| {
        let error = Client::connect(address, &Timeouts::all(SHORT)).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(address.trim_start_matches("bad:")), "{text}");
        error
    };
    assert!(matches!(dial("udp://127.0.0.1:1"), Error::Datagrams { .. }));
    assert!(matches!(dial("tls://127.0.0.1:1"), Error::TlsWanted { .. }));
    assert!(matches!(dial("foo://x"), Error::Address(_)));
    // Nobody listens on tcpmux.
    let Error::Dial { cause, .. } = dial("tcp://127.0.0.1:1") else { panic!("it is refused") };
    assert_eq!(cause.kind(), ErrorKind::ConnectionRefused);
}

#[cfg(unix)]
#[test]
fn unix_sockets_are_dialled_too() {
    let name = format!("mainspring-client-{}.sock", std::process::id());
    let path = std::env::temp_dir().join(name);
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let thread = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        std::io::copy(&mut &stream, &mut &stream).unwrap();
    });
    let (mut client, closed) = connect(&format!("unix://{}", path.display()));
    client.write_string("over a path").unwrap();
    assert_eq!(client.read_string(100).unwrap(), "over a path");
    drop(client);
    thread.join().unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(closed.iter().collect::<Vec<_>>(), [Closed::Local]);
}
