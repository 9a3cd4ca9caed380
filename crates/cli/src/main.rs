//! The program `mainspring`: echo, Redis and HTTP servers on Mainspring loops, and a load tool.
//!
//! Each subcommand is a [`Handler`](mainspring::Handler) and what of the command line is its own;
//! starting, the line that says where it listens, signals and exit codes are [`service`]'s for all
//! of them.
#![forbid(unsafe_code)]

mod args;
mod echo;
mod http;
mod load;
mod redis;
mod service;

use args::{Arguments, Program};
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    service::log_to_stderr(arguments.program.log());
    let result = match arguments.program {
        Program::Echo(arguments) => echo::run(&arguments),
        Program::Redis(arguments) => redis::run(&arguments),
        Program::Http(arguments) => http::run(&arguments),
        Program::Load(arguments) => match load::run(&arguments) {
            Ok(code) => return code,
            Err(failure) => Err(failure),
        },
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
