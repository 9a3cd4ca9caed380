//! An echo server on one port, its figures for Prometheus on another.
//!
//! ```text
//! $ cargo run --example prometheus -- tcp://127.0.0.1:7000 tcp://127.0.0.1:8080
//! $ curl http://127.0.0.1:8080/metrics
//! ```
#![forbid(unsafe_code)]

use mainspring::app::metrics::Meter;
use mainspring::app::{Admin, Runner};
use mainspring::{Action, Conn, Error, Input, Loops, Running, Server, Shard};
use std::process::ExitCode;
use std::time::Duration;

fn echo(conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
    conn.out().extend_from_slice(input.take());
    Action::Continue
}

/// Sets one loop up.
pub fn setup(shard: &mut Shard<'_>, meter: &Meter, address: &str, page: &str) -> Result<(), Error> {
    meter.host(shard);
    let host = shard.host(echo);
    shard.listen(host, address)?;
    Admin::new(meter).listen(shard, page).map(drop)
}

fn serve(address: String, page: String) -> Result<Running, Error> {
    let meter = Meter::every(Duration::from_secs(1)).on_metrics(|metrics| {
        let (rates, open) = (metrics.rates, metrics.stats.total.connections);
        println!("prometheus: {:.0} bytes/s echoed, {open} open", rates.sent_bytes);
    });
    let builder = Server::builder().loops(Loops::PerCore);
    let running = builder.start(move |shard| setup(shard, &meter, &address, &page))?;
    let addrs = running.addrs();
    println!("prometheus: listening on {}, figures on http://{}/metrics", addrs[0], addrs[1]);
    Ok(running)
}

/// Serves at the two addresses on the command line until a signal ends it.
pub fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let mut next = |default: &str| arguments.next().unwrap_or_else(|| default.to_owned());
    let (address, page) = (next("tcp://127.0.0.1:7000"), next("tcp://127.0.0.1:8080"));
    match Runner::new().service("prometheus", || serve(address, page)).run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            error.exit_code().into()
        }
    }
}
