//! Echoes over connections that are compressed in both directions, and says at each end what that
//! was worth.
//!
//! ```text
//! $ cargo run --example deflate_echo -- tcp://127.0.0.1:5000
//! $ python3 -c "
//! import socket, zlib
//! sock = socket.create_connection(('127.0.0.1', 5000))
//! sock.sendall(zlib.compress(b'hello ' * 1000))
//! sock.shutdown(socket.SHUT_WR)
//! print(zlib.decompress(b''.join(iter(lambda: sock.recv(4096), b''))))"
//! ```
#![forbid(unsafe_code)]

use mainspring::layers::Deflate;
use mainspring::{
    Action, Address, CloseReason, Conn, ConnId, ConnStats, Cx, Error, Handler, Input, Layers,
    Opened, Server, Shard,
};
use std::process::ExitCode;

/// What a stream may unpack to: a bomb ends there.
const PLAIN_MAX: u64 = 1 << 30;

/// Echoes what it sees, which is not compressed.
#[derive(Debug)]
pub struct Echo;

impl Handler for Echo {
    /// What had passed when the connection was last looked at.
    type State = ConnStats;

    fn on_open(&mut self, conn: &mut Conn<'_>) -> Opened<ConnStats> {
        Opened::Accept(conn.stats())
    }

    fn on_data(
        &mut self,
        seen: &mut ConnStats,
        conn: &mut Conn<'_>,
        input: &mut Input<'_>,
    ) -> Action {
        conn.out().extend_from_slice(input.take());
        *seen = conn.stats();
        Action::Continue
    }

    fn on_eof(&mut self, seen: &mut ConnStats, conn: &mut Conn<'_>) -> Action {
        *seen = conn.stats();
        Action::Close
    }

    fn on_close(&mut self, seen: ConnStats, _: ConnId, _: &mut Cx<'_>, reason: CloseReason) {
        let ConnStats { bytes_in, plain_in, .. } = seen;
        println!("deflate_echo: {bytes_in} bytes were {plain_in}: {reason:?}");
    }
}

/// Sets one loop up.
pub fn setup(shard: &mut Shard<'_>, addresses: &[String]) -> Result<(), Error> {
    let host = shard.host(Echo);
    for address in addresses {
        let address: Address = address.as_str().try_into()?;
        let layers = || Layers::new().above(Deflate::zlib().plain_max(PLAIN_MAX));
        shard.listen_layered(host, &address, address.listen_options(), layers)?;
    }
    Ok(())
}

fn serve(addresses: Vec<String>) -> Result<(), Error> {
    let running = Server::builder().start(move |shard| setup(shard, &addresses))?;
    for addr in running.addrs() {
        println!("deflate_echo: listening on {addr}");
    }
    running.join()
}

/// Serves the addresses on the command line until the process ends.
pub fn main() -> ExitCode {
    let mut addresses: Vec<String> = std::env::args().skip(1).collect();
    if addresses.is_empty() {
        addresses.push("tcp://127.0.0.1:5000".to_owned());
    }
    match serve(addresses) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("deflate_echo: {error}");
            ExitCode::FAILURE
        }
    }
}
