//! The program `counts`: user instructions per operation, by callgrind, what a million timers cost
//! in time, and what a million idle connections cost in memory.
//!
//! A [scene] does one thing a number of times that it is told. It is run twice, with few and
//! with many repetitions; the difference of the two counts is free of start and end, and divided by
//! the difference of the repetitions it is the cost of one. `cargo xtask counts` compares the
//! figures with `bench/counts.md`.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

mod broadcast;
mod callgrind;
mod exchange;
mod frames;
mod idle;
mod inside;
mod scene;
mod timers;

use clap::Parser;
use mainspring::DriverKind;
use scene::Scene;
use std::path::PathBuf;
use std::process::ExitCode;

/// Counts user instructions per operation under callgrind, times a million timers, and weighs a
/// million idle connections
#[derive(Debug, Parser)]
#[command(name = "counts", after_help = EXAMPLES)]
enum Arguments {
    /// Print `scene <tab> instructions per operation <tab> operation`, a line each; in place of the
    /// figure a `-` and the reason where a scene cannot be counted here
    Measure {
        /// The release build of `mainspring`, whose servers are counted
        #[arg(long, value_name = "PATH")]
        mainspring: PathBuf,
        /// Only these scenes
        scenes: Vec<String>,
    },
    /// Do what a scene does inside of this process: what callgrind watches
    Run { scene: String, repetitions: u64 },
    /// Echo for one connection, on the calling thread, until that has ended
    Echo {
        /// The driver: auto, ready, portable, ring
        #[arg(long, default_value_t)]
        driver: DriverKind,
        /// See frames with a varint in front in place of bytes
        #[arg(long)]
        framed: bool,
        /// So many layers between the socket and the handler
        #[arg(long, value_name = "COUNT", default_value_t, conflicts_with = "framed")]
        layers: u8,
        /// Echo by a task that receives and forwards, in place of callbacks
        #[arg(long, conflicts_with_all = ["framed", "layers"])]
        tasks: bool,
    },
    /// Arm, cancel and fire timers of connections on a real loop; print the figures as JSON
    Timers(timers::Arguments),
    /// Open connections in simulation, let each echo 64 bytes and fall idle; print what they keep
    /// resident as JSON
    Idle(idle::Arguments),
}

const EXAMPLES: &str = "\
Examples:
  counts measure --mainspring target/release/mainspring
  counts measure --mainspring target/release/mainspring echo redis-set
  counts timers --timers 1000000 --seconds 12
  counts idle --connections 1000000";

fn main() -> ExitCode {
    let outcome = match Arguments::parse() {
        Arguments::Measure { mainspring, scenes } => measure(&mainspring, &scenes),
        Arguments::Run { scene, repetitions } => {
            Scene::named(&scene).and_then(|scene| scene.run_inside(repetitions))
        }
        Arguments::Echo { driver, tasks: true, .. } => inside::echo_by_task(driver),
        Arguments::Echo { driver, framed, layers, .. } => inside::echo(driver, framed, layers),
        Arguments::Timers(arguments) => timers::measure(&arguments).map(|json| println!("{json}")),
        Arguments::Idle(arguments) => idle::measure(&arguments).map(|line| println!("{line}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(mainspring: &std::path::Path, names: &[String]) -> Result<(), String> {
    let chosen: Vec<&Scene> = match names {
        [] => scene::SCENES.iter().collect(),
        names => names.iter().map(|name| Scene::named(name)).collect::<Result<_, _>>()?,
    };
    for scene in chosen {
        let figure = match scene.count(mainspring) {
            Ok(count) => format!("{count:.1}\t{}", scene.operation),
            Err(error) if scene.may_lack => format!("-\t{}", error.replace(['\t', '\n'], " ")),
            Err(error) => return Err(format!("{}: {error}", scene.name)),
        };
        println!("{}\t{figure}", scene.name);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }
}
