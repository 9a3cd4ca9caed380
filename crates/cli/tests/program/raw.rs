//! Bytes to a server and bytes from it, without a client library in between.

use crate::process::connect;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};

/// What a server did with an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) reply: String,
    /// Whether the server kept the connection open.
    pub(crate) open: bool,
}

const SENTINEL: &[u8] = b"*2\r\n$4\r\nECHO\r\n$8\r\nsentinel\r\n";
const SENTINEL_REPLY: &[u8] = b"$8\r\nsentinel\r\n";

/// Sends whole requests to a Redis server, and one more: its answer says that there is nothing else
/// to wait for, and that the connection is open.
pub(crate) fn ask_redis(addr: SocketAddr, input: &[u8]) -> Outcome {
    let mut stream = connect(addr);
    // The server may close before it has read everything.
    let _ = stream.write_all(input).and_then(|()| stream.write_all(SENTINEL));
    let mut reply = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    let open = loop {
        if let Some(rest) = reply.strip_suffix(SENTINEL_REPLY) {
            let rest = rest.len();
            reply.truncate(rest);
            break true;
        }
        match stream.read(&mut buffer) {
            Ok(0) => break false,
            Ok(count) => reply.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break false,
            Err(error) => {
                panic!("{}: {error}; so far {}", input.escape_ascii(), reply.escape_ascii())
            }
        }
    };
    Outcome { reply: reply.escape_ascii().to_string(), open }
}

/// Sends bytes to a Redis server that closes when it has seen them.
pub(crate) fn until_closed(addr: SocketAddr, input: &[u8]) -> Outcome {
    let mut stream = connect(addr);
    let _ = stream.write_all(input);
    let mut reply = Vec::new();
    match stream.read_to_end(&mut reply) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => {
            let input = &input[..input.len().min(100)];
            panic!("{}: {error}; so far {}", input.escape_ascii(), reply.escape_ascii())
        }
        _ => Outcome { reply: reply.escape_ascii().to_string(), open: false },
    }
}

/// Sends bytes, ends the sending side, and reads until the server closes.
pub(crate) fn exchange(addr: SocketAddr, input: &[u8]) -> Vec<u8> {
    let mut stream = connect(addr);
    let _ = stream.write_all(input);
    let _ = stream.shutdown(Shutdown::Write);
    let mut reply = Vec::new();
    match stream.read_to_end(&mut reply) {
        Ok(_) => reply,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => reply,
        Err(error) => panic!("{}: {error}; so far {}", input.escape_ascii(), reply.escape_ascii()),
    }
}

/// Sends bytes and reads as many as are expected, which have to be those.
pub(crate) fn expect(stream: &mut (impl Read + Write), input: &[u8], expected: &[u8]) {
    stream.write_all(input).unwrap();
    let mut reply = vec![0; expected.len()];
    stream
        .read_exact(&mut reply)
        .unwrap_or_else(|error| panic!("{}: {error}", input.escape_ascii()));
    assert_eq!(reply.escape_ascii().to_string(), expected.escape_ascii().to_string());
}

/// A command as clients send it.
pub(crate) fn command(arguments: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    mainspring::wire::resp::request(&mut out, arguments);
    out
}
