//! A blocking client that gives up rather than wait for ever.

use super::PATIENCE;
use mainspring_io::{Addr, OwnedStream};
use socket2::SockRef;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

pub(crate) struct Client {
    pub(crate) stream: OwnedStream,
}

impl Client {
    pub(crate) fn tcp(to: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&to, PATIENCE).expect("connects");
        stream.set_nodelay(true).unwrap();
        Self::over(OwnedStream::Tcp(stream))
    }

    pub(crate) fn connect(to: &Addr) -> Self {
        match to {
            Addr::Inet(to) => Self::tcp(*to),
            #[cfg(unix)]
            Addr::Unix(mainspring_io::UnixAddr::Path(path)) => {
                let stream = std::os::unix::net::UnixStream::connect(path).expect("connects");
                Self::over(OwnedStream::Unix(stream))
            }
            Addr::Unix(_) => panic!("cannot connect to {to}"),
        }
    }

    pub(crate) fn over(stream: OwnedStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream }
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("sends");
    }

    #[track_caller]
    pub(crate) fn receive(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).expect("receives");
        bytes
    }

    /// Receives exactly `wanted`.
    #[track_caller]
    pub(crate) fn expect(&mut self, wanted: &[u8]) {
        let got = self.receive(wanted.len());
        assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(wanted));
    }

    /// Receives until the end of the stream; a reset is not one.
    #[track_caller]
    pub(crate) fn receive_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes).expect("receives to the end");
        bytes
    }

    #[track_caller]
    pub(crate) fn expect_end(&mut self) {
        let rest = self.receive_to_end();
        assert!(rest.is_empty(), "{} bytes before the end", rest.len());
    }

    /// Waits for the end of the connection, in good order or not.
    #[track_caller]
    pub(crate) fn expect_gone(&mut self) {
        let mut bytes = Vec::new();
        match self.stream.read_to_end(&mut bytes) {
            Ok(_) => {}
            Err(error) => {
                use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
                let gone = [BrokenPipe, ConnectionAborted, ConnectionReset];
                assert!(gone.contains(&error.kind()), "still there: {error}");
            }
        }
    }

    /// Whether nothing arrives for a while.
    pub(crate) fn is_silent_for(&mut self, time: Duration) -> bool {
        self.stream.set_read_timeout(Some(time)).unwrap();
        let silent = matches!(
            self.stream.read(&mut [0]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
        );
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        silent
    }

    /// Sends the end of the stream.
    pub(crate) fn finish(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Resets a TCP connection.
    pub(crate) fn reset(self) {
        let OwnedStream::Tcp(stream) = &self.stream else { panic!("only TCP is reset") };
        SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    pub(crate) fn tcp_stream(&self) -> &TcpStream {
        match &self.stream {
            OwnedStream::Tcp(stream) => stream,
            _ => panic!("not a TCP connection"),
        }
    }

    /// A second owner of the socket, to send and receive at the same time.
    pub(crate) fn try_clone(&self) -> Self {
        Self::over(self.stream.try_clone().unwrap())
    }
}
