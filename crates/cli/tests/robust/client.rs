//! Clients on blocking sockets, none of which waits for ever.

use super::HANG;
use socket2::SockRef;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A protocol of the demos: what a client asks, and how it tells that the reply is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Echo,
    Redis,
    Http,
}

/// How an exchange with a server under fire ended. There is no third way: whoever waits longer than
/// [`HANG`] has failed the test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Served,
    /// End of stream, or a reset, in place of the reply.
    Closed,
}

impl Protocol {
    pub(crate) const ALL: [Self; 3] = [Self::Echo, Self::Redis, Self::Http];

    /// The command of the program.
    pub(crate) fn demo(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Redis => "redis",
            Self::Http => "http",
        }
    }

    pub(crate) fn request(self) -> &'static [u8] {
        match self {
            Self::Echo => b"hello, echo\r\n",
            Self::Redis => b"*1\r\n$4\r\nPING\r\n",
            Self::Http => b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        }
    }

    /// Reads one reply to [`request`](Protocol::request) and checks it.
    pub(crate) fn read_reply(self, from: &mut impl BufRead) -> io::Result<()> {
        match self {
            Self::Echo => expect(from, self.request()),
            Self::Redis => expect(from, b"+PONG\r\n"),
            Self::Http => read_response(from).and_then(|(status, _)| match status {
                200 => Ok(()),
                _ => Err(io::Error::other(format!("status {status}"))),
            }),
        }
    }
}

/// A connection that gives up when nothing happens for [`HANG`].
pub(crate) fn connect(to: SocketAddr) -> TcpStream {
    try_connect(to).unwrap_or_else(|error| panic!("cannot connect to {to}: {error}"))
}

pub(crate) fn try_connect(to: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, HANG)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(HANG))?;
    stream.set_write_timeout(Some(HANG))?;
    Ok(stream)
}

/// One request and its reply on an open connection.
pub(crate) fn ask(protocol: Protocol, stream: &TcpStream) -> io::Result<()> {
    let mut writer = stream;
    writer.write_all(protocol.request())?;
    protocol.read_reply(&mut BufReader::new(stream))
}

/// Makes the drop that follows reset the connection.
pub(crate) fn reset_on_drop(stream: &TcpStream) {
    SockRef::from(stream).set_linger(Some(Duration::ZERO)).expect("a TCP socket can linger");
}

/// Sorts the end of an exchange; panics where a connection hangs or a reply is wrong.
pub(crate) fn outcome(result: io::Result<()>, what: &str) -> Outcome {
    match result {
        Ok(()) => Outcome::Served,
        Err(error) if is_closed(&error) => Outcome::Closed,
        Err(error) if is_timeout(&error) => panic!("{what}: hangs"),
        Err(error) => panic!("{what}: {error}"),
    }
}

/// Reads to the end of the stream. `Err` if it hangs or was reset.
pub(crate) fn read_to_end(mut stream: &TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).map(|_| bytes)
}

pub(crate) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

pub(crate) fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::NotConnected
    )
}

/// Status and body of an HTTP response that names its length.
pub(crate) fn read_response(from: &mut impl BufRead) -> io::Result<(u16, Vec<u8>)> {
    let status_line = read_line(from)?;
    let status = status_line
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3)?.parse().ok())
        .ok_or_else(|| io::Error::other(format!("not a status line: {status_line:?}")))?;
    let mut length = 0;
    loop {
        let line = read_line(from)?;
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    Ok((status, body))
}

fn read_line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    match line.strip_suffix("\r\n") {
        Some(line) => Ok(line.to_owned()),
        None => Err(ErrorKind::UnexpectedEof.into()),
    }
}

fn expect(from: &mut impl Read, expected: &[u8]) -> io::Result<()> {
    let mut got = vec![0; expected.len()];
    from.read_exact(&mut got)?;
    if got == expected {
        return Ok(());
    }
    let (got, expected) = (got.escape_ascii(), expected.escape_ascii());
    Err(io::Error::other(format!("got \"{got}\", expected \"{expected}\"")))
}
