//! Two services in one process, started and stopped together: an echo server, and a job that counts
//! seconds. SIGTERM and SIGINT drain both, a second signal does not wait, and if one of the two
//! fails the other is stopped.
//!
//! ```text
//! $ cargo run --example services -- tcp://127.0.0.1:5000
//! $ kill -TERM PID
//! ```
#![forbid(unsafe_code)]

use mainspring::app::{BoxError, Runner, Stopping};
use mainspring::{Action, Conn, Input, Server};
use std::process::ExitCode;
use std::time::Duration;

fn echo(conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
    conn.out().extend_from_slice(input.take());
    Action::Continue
}

/// Counts until it is told to stop; fails, panics, or does not hear if its temper is so.
fn count(stopping: &Stopping, temper: &str) -> Result<(), BoxError> {
    let mut seconds = 0;
    match temper {
        "fail" => return Err("the counter is broken".into()),
        "panic" => panic!("the counter is out of order"),
        "stubborn" => loop {
            std::thread::park();
        },
        _ => {}
    }
    while !stopping.wait_for(Duration::from_secs(1)) {
        seconds += 1;
    }
    println!("services: counted {seconds}");
    Ok(())
}

/// Serves the address on the command line; the word after it is the job's temper, and the one after
/// that how many seconds it has to stop.
pub fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "tcp://127.0.0.1:5000".to_owned());
    let temper = arguments.next().unwrap_or_default();
    let seconds = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(30);
    let result = Runner::new()
        .deadline(Some(Duration::from_secs(seconds)))
        .service("echo", move || {
            Server::builder().start(move |shard| {
                let host = shard.host(echo);
                let addr = shard.listen(host, &address)?;
                println!("services: listening on {addr}");
                Ok(())
            })
        })
        .job("counter", move |stopping| count(stopping, &temper))
        .on_start(|| println!("services: started"))
        .on_stop(|| println!("services: stopped"))
        .run();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("services: {error}");
            error.exit_code().into()
        }
    }
}
