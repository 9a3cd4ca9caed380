//! Tells the time in ticks: whoever is connected gets a line at each, and none is sent to wait for
//! a slow reader.
//!
//! ```text
//! $ cargo run --example ticker -- 1000 tcp://127.0.0.1:5000
//! $ nc 127.0.0.1 5000
//! ```
#![forbid(unsafe_code)]

use mainspring::{
    Action, Addr, Bytes, Conn, Cx, Error, Handler, Input, Opened, Server, Shard, Tick,
};
use std::process::ExitCode;
use std::time::Duration;

/// Counts the ticks.
#[derive(Debug)]
pub struct Ticker {
    every: Duration,
    ticks: u64,
}

impl Handler for Ticker {
    type State = ();

    fn on_open(&mut self, conn: &mut Conn<'_>) -> Opened<()> {
        let line = format!("every {} ms, so far {}\n", self.every.as_millis(), self.ticks);
        conn.out().extend_from_slice(line.as_bytes());
        Opened::Accept(())
    }

    fn on_data(&mut self, (): &mut (), _conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
        input.take();
        Action::Continue
    }

    fn on_tick(&mut self, cx: &mut Cx<'_>) -> Tick {
        self.ticks += 1;
        let line = Bytes::from(format!("tick {}\n", self.ticks));
        for id in cx.connections() {
            if let Some(mut conn) = cx.conn(id)
                && !conn.is_choked()
            {
                conn.send_shared(line.clone());
            }
        }
        Tick::After(self.every)
    }
}

/// Sets the loop up, and returns where it listens.
pub fn setup(shard: &mut Shard<'_>, address: &str, every: Duration) -> Result<Addr, Error> {
    let host = shard.host(Ticker { every, ticks: 0 });
    shard.listen(host, address)
}

fn serve(address: &str, every: Duration) -> Result<(), Error> {
    Server::builder().run(|shard| {
        let addr = setup(shard, address, every)?;
        println!("ticker: listening on {addr}");
        Ok(())
    })
}

/// Serves at the interval (in milliseconds) and the address on the command line until the process
/// ends.
pub fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let every_ms = arguments.next().unwrap_or_else(|| "1000".to_owned());
    let address = arguments.next().unwrap_or_else(|| "tcp://127.0.0.1:5000".to_owned());
    let Some(every_ms) = every_ms.parse().ok().filter(|every_ms| *every_ms > 0) else {
        eprintln!("ticker: '{every_ms}' is not an interval: give whole milliseconds above 0");
        return ExitCode::FAILURE;
    };
    match serve(&address, Duration::from_millis(every_ms)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ticker: {error}");
            ExitCode::FAILURE
        }
    }
}
