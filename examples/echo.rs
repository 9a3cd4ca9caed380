//! Every byte goes back to where it came from, on a loop per processor.
//!
//! ```text
//! $ cargo run --example echo -- tcp://127.0.0.1:5000 unix://echo.sock
//! $ nc 127.0.0.1 5000
//! ```
#![forbid(unsafe_code)]

use mainspring::{Action, Conn, Error, Input, Loops, Server, Shard};
use std::process::ExitCode;

/// A function of this shape is a handler without state.
pub fn echo(conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
    conn.forward(input);
    Action::Continue
}

/// Sets one loop up.
pub fn setup(shard: &mut Shard<'_>, addresses: &[String]) -> Result<(), Error> {
    let host = shard.host(echo);
    for address in addresses {
        shard.listen(host, address)?;
    }
    Ok(())
}

fn serve(addresses: Vec<String>) -> Result<(), Error> {
    let builder = Server::builder().loops(Loops::PerCore);
    let running = builder.start(move |shard| setup(shard, &addresses))?;
    for addr in running.addrs() {
        println!("echo: listening on {addr}");
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
            eprintln!("echo: {error}");
            ExitCode::FAILURE
        }
    }
}
