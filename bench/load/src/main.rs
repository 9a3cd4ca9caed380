//! The program `load`: see `load --help`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    bench_load::Arguments::parse().run()
}
