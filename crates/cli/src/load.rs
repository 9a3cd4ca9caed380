//! `mainspring load`: clients that send, and measure how long the answers take.

mod client;
mod framing;
mod pace;
mod plan;
mod progress;
mod report;
mod tally;

use self::client::Load;
use self::plan::Plan;
use self::progress::Progress;
use self::report::Report;
use self::tally::Board;
use crate::args::LoadArguments;
use crate::service::{Failure, loop_count};
use mainspring::app::Runner;
use mainspring::{Loops, Server};
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// How long connections have to end when a signal comes, and then the loops.
const DRAIN: Duration = Duration::from_millis(500);
const TIME_TO_END: Duration = Duration::from_secs(10);
/// As a shell reports a process that SIGINT ended.
const STOPPED: u8 = 130;

pub(crate) fn run(arguments: &LoadArguments) -> Result<ExitCode, Failure> {
    let plan = Arc::new(Plan::new(arguments)?);
    let loops = loop_count(arguments.loops).min(plan.clients);
    let board = Arc::new(Board::new(plan.clients, loops));
    let server = Server::builder()
        .loops(Loops::Count(loops))
        .pin(arguments.pin)
        .driver(arguments.driver)
        .drain(DRAIN)
        .limits(plan.limits());
    let (to_plan, to_board) = (plan.clone(), board.clone());
    let start = move || {
        server.start(move |shard| {
            let load = Load::new(&to_plan, &to_board, shard.loop_index(), shard.loops());
            let host = shard.host(load);
            shard.tick_on_every_loop(host);
            Ok(())
        })
    };
    let progress = Progress::show(&plan, &board, !arguments.no_progress);
    Runner::new().deadline(Some(DRAIN + TIME_TO_END)).service("load", start).run()?;
    drop(progress);
    let is_stopped = board.is_stopped();
    let report = Report { plan: &plan, tally: board.take(), loops, is_stopped };
    print(if arguments.json { report.json() } else { report.text() });
    Ok(match is_stopped {
        true => ExitCode::from(STOPPED),
        false if report.is_good() => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn print(text: String) {
    let mut stdout = std::io::stdout().lock();
    // One who has closed our stdout does not read the result.
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}
