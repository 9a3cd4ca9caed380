//! Every datagram goes back to its sender. Answers of one turn leave together, in one system call
//! where the kernel can.
//!
//! ```text
//! $ cargo run --example echo_udp -- udp://127.0.0.1:5000
//! $ nc -u 127.0.0.1 5000
//! ```
#![forbid(unsafe_code)]

use mainspring::{
    Action, Addr, Conn, Datagram, Error, Handler, Input, Loops, Opened, Server, Shard,
};
use std::process::ExitCode;

/// Serves datagrams, and refuses connections should it be given any.
#[derive(Debug)]
pub struct EchoDatagrams;

impl Handler for EchoDatagrams {
    type State = ();

    fn on_open(&mut self, _conn: &mut Conn<'_>) -> Opened<()> {
        Opened::Refuse
    }

    fn on_data(&mut self, (): &mut (), _conn: &mut Conn<'_>, _input: &mut Input<'_>) -> Action {
        Action::Close
    }

    fn on_datagram(&mut self, socket: &mut Datagram<'_>, _from: &Addr, bytes: &mut [u8]) -> Action {
        // `Full`: the answer is dropped and counted, which is what a full network does to
        // datagrams.
        let _ = socket.reply(bytes);
        Action::Continue
    }
}

/// Sets one loop up.
pub fn setup(shard: &mut Shard<'_>, addresses: &[String]) -> Result<(), Error> {
    let host = shard.host(EchoDatagrams);
    for address in addresses {
        shard.listen(host, address)?;
    }
    Ok(())
}

fn serve(addresses: Vec<String>) -> Result<(), Error> {
    let builder = Server::builder().loops(Loops::PerCore);
    let running = builder.start(move |shard| setup(shard, &addresses))?;
    for addr in running.addrs() {
        println!("echo_udp: listening on {addr}");
    }
    running.join()
}

/// Serves the addresses on the command line until the process ends.
pub fn main() -> ExitCode {
    let mut addresses: Vec<String> = std::env::args().skip(1).collect();
    if addresses.is_empty() {
        addresses.push("udp://127.0.0.1:5000".to_owned());
    }
    match serve(addresses) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo_udp: {error}");
            ExitCode::FAILURE
        }
    }
}
