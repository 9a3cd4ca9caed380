//! The bench: servers and load side by side on two cores, in turns, with tables and plots.
//!
//! `runner run KIND` starts itself again as `runner serve ..` and `runner load ..`, so that one
//! file is all there is.
#![forbid(unsafe_code)]

mod again;
mod cases;
mod contenders;
mod lab;
mod measure;
mod pin;
mod plot;
mod programs;
mod raw;
mod run;
mod stats;
mod summary;
mod table;
mod targets;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "runner", about = "Measures servers against raw floors and peers")]
struct Arguments {
    #[command(subcommand)]
    part: Part,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// Measure, and write tables and a plot
    Run(run::Run),
    /// Be the load generator
    Load(bench_load::Arguments),
    /// Be a server to measure against
    Serve(bench_servers::Arguments),
}

fn main() -> ExitCode {
    match Arguments::parse().part {
        Part::Load(load) => load.run(),
        Part::Serve(serve) => serve.run(),
        Part::Run(run) => match run.execute() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::FAILURE
            }
        },
    }
}
