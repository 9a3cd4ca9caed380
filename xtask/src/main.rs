//! One door for commands: `cargo xtask {test,ci,tidy,sim,fuzz,bench,counts,package,portable}`.
//!
//! A command is a file: it parses its flags, then runs steps ([`step`]) in order. Shell scripts are
//! not used, so that a command means the same on every machine and its parts have unit tests.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

mod bench;
mod ci;
mod counts;
mod flags;
mod fuzz;
mod install;
mod license;
mod package;
mod portable;
mod sim;
mod step;
mod test;
mod tidy;
mod tree;

use std::process::ExitCode;

use flags::Usage;

/// One command of the door.
struct Entry {
    name: &'static str,
    about: &'static str,
    help: &'static str,
    run: fn(&[String]) -> Result<ExitCode, Usage>,
}

const COMMANDS: &[Entry] = &[
    Entry {
        name: "test",
        about: "everything that must pass before a change is merged",
        help: test::HELP,
        run: test::run,
    },
    Entry {
        name: "ci",
        about: "test, and address sanitizer, loom, instruction counts, other systems, cargo-deny, longer sim and fuzz",
        help: ci::HELP,
        run: ci::run,
    },
    Entry {
        name: "tidy",
        about: "house rules that the compiler does not know",
        help: tidy::HELP,
        run: tidy::run,
    },
    Entry {
        name: "sim",
        about: "worlds of servers, clients and faults from seeds",
        help: sim::HELP,
        run: sim::run,
    },
    Entry {
        name: "fuzz",
        about: "fuzz bodies for some seconds on a stable toolchain",
        help: fuzz::HELP,
        run: fuzz::run,
    },
    Entry {
        name: "bench",
        about: "our servers beside raw floors and peers, measured",
        help: bench::HELP,
        run: bench::run,
    },
    Entry {
        name: "counts",
        about: "user instructions per operation, against bench/counts.md",
        help: counts::HELP,
        run: counts::run,
    },
    Entry {
        name: "package",
        about: "the program as a Debian package",
        help: package::HELP,
        run: package::run,
    },
    Entry {
        name: "portable",
        about: "whether the code compiles for macOS and Windows",
        help: portable::HELP,
        run: portable::run,
    },
];

/// Exit code for a command line that was not understood, as of getopt programs.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(first) = args.first() else {
        eprint!("{}", overview());
        return ExitCode::from(EXIT_USAGE);
    };
    if matches!(first.as_str(), "--help" | "-h" | "help") {
        print!("{}", overview());
        return ExitCode::SUCCESS;
    }
    let Some(entry) = COMMANDS.iter().find(|entry| entry.name == first) else {
        let names: Vec<&str> = COMMANDS.iter().map(|entry| entry.name).collect();
        eprintln!("error: unknown command `{first}`; allowed: {}", names.join(", "));
        return ExitCode::from(EXIT_USAGE);
    };
    if args[1..].iter().any(|arg| arg == "--help" || arg == "-h") {
        print!("cargo xtask {}: {}\n\n{}", entry.name, entry.about, entry.help);
        return ExitCode::SUCCESS;
    }
    match (entry.run)(&args[1..]) {
        Ok(code) => code,
        Err(Usage(message)) => {
            eprintln!("error: {message}\n\nSee `cargo xtask {} --help`.", entry.name);
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn overview() -> String {
    let mut text = String::from("usage: cargo xtask <command> [flags]\n\ncommands:\n");
    for entry in COMMANDS {
        text.push_str(&format!("  {:<8} {}\n", entry.name, entry.about));
    }
    text.push_str(
        "\nexamples:\n  cargo xtask test\n  cargo xtask tidy\n  cargo xtask sim --seed 7 --log\n\n\
         `cargo xtask <command> --help` tells the flags of a command.\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_help_with_an_example() {
        for entry in COMMANDS {
            assert!(overview().contains(entry.name));
            assert!(entry.help.contains("examples:"), "{} shows no example", entry.name);
            assert!(entry.help.contains(&format!("cargo xtask {}", entry.name)), "{}", entry.name);
        }
    }

    #[test]
    fn every_command_refuses_a_flag_it_does_not_know_and_names_the_allowed() {
        for entry in COMMANDS {
            let Err(Usage(message)) = (entry.run)(&["--no-such-flag".to_owned()]) else {
                panic!("`{}` took an unknown flag", entry.name);
            };
            assert!(message.contains("--no-such-flag"), "{message}");
            assert!(message.contains("allowed:"), "{message}");
        }
    }
}
