//! Cuts what it receives at line feeds, and sends each packet back without one.
//!
//! ```text
//! $ cargo run --example packet_extraction -- tcp://127.0.0.1:7000
//! $ printf 'one\ntwo\n' | nc -q 1 127.0.0.1 7000
//! onetwo
//! ```
#![forbid(unsafe_code)]

use mainspring::wire::Separator;
use mainspring::{Action, Error, Framed, Loops, Server, Shard};
use std::process::ExitCode;
use std::time::Duration;

const PACKET_BYTES_MAX: usize = 16 * 1024;
/// A peer that has begun a packet has to end it.
const PACKET_TIMEOUT: Duration = Duration::from_secs(60);

/// Sets one loop up.
pub fn setup(shard: &mut Shard<'_>, addresses: &[String]) -> Result<(), Error> {
    let packets = Separator::new("\n").max(PACKET_BYTES_MAX);
    let framed = Framed::new(packets, |conn, packet| {
        // To `send` it would put the line feed back.
        conn.out().extend_from_slice(packet);
        Action::Continue
    });
    let host = shard.host(framed.frame_timeout(PACKET_TIMEOUT).on_fault(|id, fault| {
        eprintln!("packet_extraction: connection {id}: {fault}");
    }));
    for address in addresses {
        shard.listen(host, address)?;
    }
    Ok(())
}

fn serve(addresses: Vec<String>) -> Result<(), Error> {
    let builder = Server::builder().loops(Loops::PerCore);
    let running = builder.start(move |shard| setup(shard, &addresses))?;
    for addr in running.addrs() {
        println!("packet_extraction: listening on {addr}");
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
            eprintln!("packet_extraction: {error}");
            ExitCode::FAILURE
        }
    }
}
