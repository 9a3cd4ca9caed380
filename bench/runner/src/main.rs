//! The bench: servers and load side by side on two cores, in turns, with tables and plots.
//!
//! `runner run KIND` starts itself again as `runner serve ..` and `runner load ..`, so that one
//! file is all there is.
#![forbid(unsafe_code)]

mod cases;
mod lab;
mod measure;
mod pin;
mod plot;
mod programs;
mod stats;
mod table;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use cases::{Case, Kind};
use lab::Circumstances;
use measure::{Timing, interleaved};
use pin::Cores;
use programs::Programs;
use table::Table;

#[derive(Debug, Parser)]
#[command(name = "runner", about = "Measures servers against raw floors and peers")]
struct Arguments {
    #[command(subcommand)]
    part: Part,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// Measure, and write tables and a plot
    Run(Run),
    /// Be the load generator
    Load(bench_load::Arguments),
    /// Be a server to measure against
    Serve(bench_servers::Arguments),
}

#[derive(Debug, Args)]
struct Run {
    #[arg(value_enum)]
    kind: Kind,
    /// Three short rounds of the cases that say most
    #[arg(long)]
    quick: bool,
    /// Rounds; 5, or 3 with --quick
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Milliseconds of each measured window; 2000, or 500 with --quick
    #[arg(long, value_parser = clap::value_parser!(u32).range(50..))]
    window_ms: Option<u32>,
    /// How many times a contended run is repeated
    #[arg(long, default_value_t = 3)]
    repeats: u32,
    /// Write bench/LAB.md and docs/img too; refused if a run was contended
    #[arg(long)]
    lab: bool,
    /// The program `mainspring`; without it its rows stay empty
    #[arg(long)]
    mainspring: Option<PathBuf>,
    /// The checkout
    #[arg(long, default_value = ".")]
    root: PathBuf,
}

fn main() -> ExitCode {
    match Arguments::parse().part {
        Part::Load(load) => load.run(),
        Part::Serve(serve) => serve.run(),
        Part::Run(run) => match run.execute() {
            Ok(code) => code,
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::FAILURE
            }
        },
    }
}

impl Run {
    fn execute(&self) -> io::Result<ExitCode> {
        let (cores, timing) = (Cores::pick()?, self.timing());
        let programs = Programs::find(self.mainspring.clone())?;
        let circumstances = Circumstances::look(&self.root);
        let header = circumstances.header(cores, timing);
        let cases = self.kind.cases(self.quick);
        let mut tables = Vec::new();
        println!("{header}");
        for case in &cases {
            if self.lacks_tool(case, &programs) {
                println!("{}: left out, redis-benchmark is not installed\n", case.title());
                continue;
            }
            let cells = interleaved(&programs, self.kind, case, cores, timing);
            let table = Table { title: case.title(), cells };
            println!("{}", table.markdown());
            tables.push(table);
        }
        let svg = plot::bars(&self.plot_title(), &circumstances.line(), &tables);
        self.write_out(&header, &tables, &svg)?;
        if self.lab {
            return self.write_lab(&header, &tables, &svg);
        }
        Ok(ExitCode::SUCCESS)
    }

    fn timing(&self) -> Timing {
        let or = |given: Option<u32>, quick: u32, full: u32| {
            given.unwrap_or(if self.quick { quick } else { full })
        };
        Timing {
            rounds: or(self.rounds, 3, 5) as usize,
            warm_up_s: if self.quick { 0.1 } else { 0.3 },
            seconds: f64::from(or(self.window_ms, 500, 2000)) / 1e3,
            repeats: self.repeats as usize,
        }
    }

    fn lacks_tool(&self, case: &Case, programs: &Programs) -> bool {
        case.tool == cases::Tool::RedisBenchmark && programs.redis_benchmark.is_none()
    }

    fn plot_title(&self) -> String {
        format!("{}: server CPU per request, as multiples of the raw epoll floor", self.kind.name())
    }

    fn write_out(&self, header: &str, tables: &[Table], svg: &str) -> io::Result<()> {
        let folder = self.root.join("bench").join("out");
        std::fs::create_dir_all(&folder)?;
        let texts: Vec<String> = tables.iter().map(Table::text).collect();
        let name = self.kind.name();
        std::fs::write(
            folder.join(format!("{name}.txt")),
            format!("{header}\n{}", texts.join("\n")),
        )?;
        std::fs::write(folder.join(format!("{name}.svg")), svg)?;
        println!("written: bench/out/{name}.txt, bench/out/{name}.svg");
        Ok(())
    }

    fn write_lab(&self, header: &str, tables: &[Table], svg: &str) -> io::Result<ExitCode> {
        if tables.iter().any(Table::is_contended) {
            eprintln!("error: runs were contended; bench/LAB.md and docs/img stay as they are");
            return Ok(ExitCode::FAILURE);
        }
        let name = self.kind.name();
        let image = Path::new("docs").join("img").join(format!("bench-{name}.svg"));
        let mut section = format!("```text\n{header}```\n\n");
        section.push_str(&format!("![{}](../docs/img/bench-{name}.svg)\n\n", self.plot_title()));
        let parts: Vec<String> = tables.iter().map(Table::markdown).collect();
        section.push_str(&parts.join("\n"));
        let path = self.root.join("bench").join("LAB.md");
        let book = std::fs::read_to_string(&path)?;
        let book = lab::replace_section(&book, name, &section).map_err(io::Error::other)?;
        std::fs::write(&path, book)?;
        std::fs::create_dir_all(self.root.join("docs").join("img"))?;
        std::fs::write(self.root.join(&image), svg)?;
        println!("written: bench/LAB.md, {}", image.display());
        Ok(ExitCode::SUCCESS)
    }
}
