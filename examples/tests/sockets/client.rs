//! A blocking client that gives up rather than wait for ever.

use crate::PATIENCE;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

pub(crate) struct Client(pub(crate) TcpStream);

impl Client {
    pub(crate) fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&to, PATIENCE).expect("connects");
        stream.set_nodelay(true).expect("an option of TCP");
        stream.set_read_timeout(Some(PATIENCE)).expect("above zero");
        stream.set_write_timeout(Some(PATIENCE)).expect("above zero");
        Self(stream)
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("sends");
    }

    /// Receives exactly `wanted`.
    #[track_caller]
    pub(crate) fn expect(&mut self, wanted: &[u8]) {
        let mut got = vec![0; wanted.len()];
        self.0.read_exact(&mut got).expect("receives");
        assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(wanted));
    }

    /// Receives one line.
    #[track_caller]
    pub(crate) fn line(&mut self) -> String {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            let mut byte = [0];
            self.0.read_exact(&mut byte).expect("receives");
            line.push(byte[0]);
        }
        String::from_utf8(line).expect("text")
    }

    /// Receives to the end of the stream; a reset is not one.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).expect("receives to the end");
        rest
    }

    /// Sends the end of the stream.
    #[track_caller]
    pub(crate) fn finish(&mut self) {
        self.0.shutdown(Shutdown::Write).expect("connected");
    }
}
