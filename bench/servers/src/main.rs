//! The program `servers`: see `servers --help`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    bench_servers::Arguments::parse().run()
}
