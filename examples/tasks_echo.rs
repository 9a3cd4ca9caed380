//! Every byte goes back to where it came from, by sequential code: a future per connection, on a loop
//! per processor.
//!
//! ```text
//! $ cargo run --example tasks_echo -- tcp://127.0.0.1:5000 unix://echo.sock
//! $ nc 127.0.0.1 5000
//! ```
#![forbid(unsafe_code)]

use mainspring::tasks::{Stream, Tasks, timeout};
use mainspring::{Error, Loops, Server, Shard};
use std::io;
use std::process::ExitCode;
use std::time::Duration;

/// Who is silent for so long is let go.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// The life of a connection, from top to bottom.
pub async fn echo(mut stream: Stream) -> io::Result<()> {
    loop {
        // A stop of the server need not wait for a connection between two messages.
        stream.set_busy(false);
        let Some(received) = timeout(PATIENCE, stream.receive()).await?? else { return Ok(()) };
        stream.set_busy(true);
        stream.forward(received).await?;
    }
}

/// Sets one loop up.
pub fn setup(shard: &mut Shard<'_>, addresses: &[String]) -> Result<(), Error> {
    let host = shard.host(Tasks::serve(|stream| async {
        let peer = stream.peer().clone();
        if let Err(error) = echo(stream).await {
            eprintln!("tasks_echo: {peer}: {error}");
        }
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
        println!("tasks_echo: listening on {addr}");
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
            eprintln!("tasks_echo: {error}");
            ExitCode::FAILURE
        }
    }
}
