//! One handler on several addresses at once, TCP, unix and UDP. It says which of them a client came
//! by.
//!
//! ```text
//! $ cargo run --example multi_address -- tcp://127.0.0.1:5000 unix://here.sock udp://127.0.0.1:5000
//! $ nc 127.0.0.1 5000;  nc -U here.sock;  echo hello | nc -u 127.0.0.1 5000
//! ```
#![forbid(unsafe_code)]

use mainspring::{
    Action, Addr, Conn, Cx, Datagram, Error, Handler, Input, Loops, Opened, Server, ServerInfo,
    Shard,
};
use std::process::ExitCode;

/// Says which listener a client came by, and what the client says.
#[derive(Debug, Default)]
pub struct Greeter {
    addrs: Vec<Addr>,
}

impl Greeter {
    fn greeting(&self, listener: Option<usize>) -> String {
        match listener.and_then(|index| Some((index, self.addrs.get(index)?))) {
            Some((index, addr)) => format!("listener {index}, {addr}\n"),
            None => "no listener\n".to_owned(),
        }
    }
}

impl Handler for Greeter {
    type State = ();

    fn on_start(&mut self, _cx: &mut Cx<'_>, server: &ServerInfo) -> Action {
        // The bound addresses, in the order of the `listen` calls: a listener is an index into
        // them.
        self.addrs.clone_from(&server.addrs);
        Action::Continue
    }

    fn on_open(&mut self, conn: &mut Conn<'_>) -> Opened<()> {
        let greeting = self.greeting(conn.listener());
        conn.out().extend_from_slice(greeting.as_bytes());
        Opened::Accept(())
    }

    fn on_data(&mut self, (): &mut (), conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
        conn.out().extend_from_slice(input.take());
        Action::Continue
    }

    fn on_datagram(&mut self, socket: &mut Datagram<'_>, _from: &Addr, bytes: &mut [u8]) -> Action {
        let mut answer = self.greeting(socket.listener()).into_bytes();
        answer.extend_from_slice(bytes);
        // `Full`: dropped and counted, as datagrams are.
        let _ = socket.reply(&answer);
        Action::Continue
    }
}

/// Sets one loop up.
pub fn setup(shard: &mut Shard<'_>, addresses: &[String]) -> Result<(), Error> {
    let host = shard.host(Greeter::default());
    for address in addresses {
        shard.listen(host, address)?;
    }
    Ok(())
}

fn serve(addresses: Vec<String>) -> Result<(), Error> {
    let builder = Server::builder().loops(Loops::PerCore);
    let running = builder.start(move |shard| setup(shard, &addresses))?;
    for addr in running.addrs() {
        println!("multi_address: listening on {addr}");
    }
    running.join()
}

/// Serves the addresses on the command line until the process ends.
pub fn main() -> ExitCode {
    let mut addresses: Vec<String> = std::env::args().skip(1).collect();
    if addresses.is_empty() {
        let defaults =
            ["tcp://127.0.0.1:5000", "unix://multi_address.sock", "udp://127.0.0.1:5000"];
        addresses.extend(defaults.map(str::to_owned));
    }
    match serve(addresses) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("multi_address: {error}");
            ExitCode::FAILURE
        }
    }
}
