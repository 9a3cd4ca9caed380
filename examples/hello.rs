//! Says "Hello world!" to everybody, and closes.
//!
//! ```text
//! $ cargo run --example hello -- tcp://127.0.0.1:7000
//! $ nc 127.0.0.1 7000
//! Hello world!
//! ```
#![forbid(unsafe_code)]

use mainspring::{Action, Conn, Error, Handler, Input, Loops, Opened, Server, Shard};
use std::process::ExitCode;

/// What everybody gets.
pub const GREETING: &[u8] = b"Hello world!";

/// Greets, and listens to nobody.
#[derive(Debug)]
pub struct Hello;

impl Handler for Hello {
    type State = ();

    fn on_open(&mut self, conn: &mut Conn<'_>) -> Opened<()> {
        conn.out().extend_from_slice(GREETING);
        // Closed when the greeting has been sent.
        Opened::AcceptThen((), Action::Close)
    }

    fn on_data(&mut self, (): &mut (), _conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
        input.take();
        Action::Continue
    }
}

/// Sets one loop up.
pub fn setup(shard: &mut Shard<'_>, addresses: &[String]) -> Result<(), Error> {
    let host = shard.host(Hello);
    for address in addresses {
        shard.listen(host, address)?;
    }
    Ok(())
}

fn serve(addresses: Vec<String>) -> Result<(), Error> {
    let builder = Server::builder().loops(Loops::PerCore);
    let running = builder.start(move |shard| setup(shard, &addresses))?;
    for addr in running.addrs() {
        println!("hello: listening on {addr}");
    }
    running.join()
}

/// Serves the addresses on the command line until the process ends.
pub fn main() -> ExitCode {
    let mut addresses: Vec<String> = std::env::args().skip(1).collect();
    if addresses.is_empty() {
        addresses.push("tcp://127.0.0.1:7000".to_owned());
    }
    match serve(addresses) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hello: {error}");
            ExitCode::FAILURE
        }
    }
}
