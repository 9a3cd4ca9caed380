//! An echo server in callbacks: a banner, and two words that it listens to.
//!
//! ```text
//! $ cargo run --example echo_simple -- tcp://:9999
//! $ telnet localhost 9999
//! ```
#![forbid(unsafe_code)]

use mainspring::simple::{self, Callbacks, Reply, Waker};
use mainspring::{Addr, Error, Server, Shard};
use std::process::ExitCode;

const BANNER: &str = "Welcome to the echo server!\n\
    Enter 'quit' to close your connection or 'shutdown' to close the server.\n";

/// Whether somebody has asked it to stop.
#[derive(Debug, Default)]
pub struct Echo {
    stopping: bool,
}

impl Callbacks for Echo {
    fn accept(&mut self, _id: u64, _peer: &Addr, _waker: Waker) -> Reply {
        if self.stopping { Reply::close("") } else { Reply::send(BANNER) }
    }

    fn data(&mut self, _id: u64, bytes: &mut [u8]) -> Reply {
        match &*bytes {
            _ if self.stopping => Reply::close(""),
            b"quit\r\n" => Reply::close(&*bytes),
            b"shutdown\r\n" => {
                self.stopping = true;
                Reply::send(&*bytes)
            }
            _ => Reply::send(&*bytes),
        }
    }

    fn tick(&mut self) -> bool {
        !self.stopping
    }
}

/// Sets the loop up, and returns where it listens.
pub fn setup(shard: &mut Shard<'_>, address: &str) -> Result<Addr, Error> {
    let host = shard.host(simple::simple(Echo::default()));
    shard.listen(host, address)
}

/// `simple::serve(address, Echo::default())` is the same without the line that it prints.
fn serve(address: &str) -> Result<(), Error> {
    Server::builder().run(|shard| {
        let addr = setup(shard, address)?;
        println!("echo_simple: listening on {addr}");
        Ok(())
    })
}

/// Serves the address on the command line until a client says `shutdown`.
pub fn main() -> ExitCode {
    let address = std::env::args().nth(1).unwrap_or_else(|| "tcp://127.0.0.1:9999".to_owned());
    match serve(&address) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo_simple: {error}");
            ExitCode::FAILURE
        }
    }
}
