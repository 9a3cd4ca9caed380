//! A whole run of one kind: its cases one after another, then what is written about them.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;

use crate::cases::{Case, Kind, Tool};
use crate::lab::{self, Circumstances};
use crate::measure::{Bench, Timing};
use crate::pin::Cores;
use crate::programs::Programs;
use crate::table::Table;
use crate::{again, plot, raw, summary, targets};

/// How often and how long, if the command line does not say.
const FULL: Timing = Timing { rounds: 17, warm_up_s: 0.05, seconds: 0.1, repeats: 2 };
const QUICK: Timing = Timing { rounds: 9, ..FULL };

/// Fewer have no interval of 95 %.
const LAB_ROUNDS_MIN: usize = 6;

#[derive(Debug, Args)]
pub(crate) struct Run {
    #[arg(value_enum)]
    kind: Kind,
    /// Fewer rounds of the cases that say most
    #[arg(long)]
    quick: bool,
    /// Rounds; 17, or 9 with --quick
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Milliseconds of each measured window; 100
    #[arg(long, value_parser = clap::value_parser!(u32).range(50..))]
    window_ms: Option<u32>,
    /// How many times a contended run is repeated; 2
    #[arg(long)]
    repeats: Option<u32>,
    /// Only cases whose title has one of these texts, parted by commas: `64 B 50c,x16`
    #[arg(long, value_delimiter = ',')]
    cells: Vec<String>,
    /// Only the floor and servers whose name has one of these texts: `mainspring,tokio`
    #[arg(long, value_delimiter = ',')]
    servers: Vec<String>,
    /// Servers whose name has one of these texts run twice in each round, the second time as `NAME
    /// again`: their ratio says what can be told apart; with --lab the floor
    #[arg(long, value_delimiter = ',')]
    again: Vec<String>,
    /// Write bench/LAB.md and docs/img too; all cases and servers
    #[arg(long, conflicts_with_all = ["quick", "cells", "servers", "again"])]
    lab: bool,
    /// The program `mainspring`; without it its rows stay empty
    #[arg(long)]
    mainspring: Option<PathBuf>,
    /// The checkout
    #[arg(long, default_value = ".")]
    root: PathBuf,
}

impl Run {
    pub(crate) fn execute(&self) -> io::Result<()> {
        if self.lab && self.timing().rounds < LAB_ROUNDS_MIN {
            return Err(io::Error::other(format!("--lab wants {LAB_ROUNDS_MIN} rounds or more")));
        }
        let programs = Programs::find(self.mainspring.clone())?;
        let bench = Bench { programs: &programs, cores: Cores::pick()?, timing: self.timing() };
        let circumstances = Circumstances::look(&self.root);
        let header = circumstances.header(bench.cores, bench.timing);
        println!("{header}");
        let tables = self.measure(&bench)?;
        println!("{}\n{}", summary::matrix(&tables), self.verdicts(&tables));
        let svg = plot::bars(self.kind, &circumstances.line(), &tables);
        self.write_out(&header, &tables, &svg)?;
        if self.lab { self.write_lab(&header, &tables, &svg) } else { Ok(()) }
    }

    fn measure(&self, bench: &Bench<'_>) -> io::Result<Vec<Table>> {
        let cases = self.chosen();
        if cases.is_empty() {
            return Err(io::Error::other(format!("no case of {} is so called", self.kind.name())));
        }
        let started = Instant::now();
        let mut tables = Vec::new();
        for (index, case) in cases.iter().enumerate() {
            let place = format!("{} {}/{}", self.kind.name(), index + 1, cases.len());
            if case.tool == Tool::RedisBenchmark && bench.programs.redis_benchmark.is_none() {
                println!("{}: left out, redis-benchmark is not installed\n", case.title());
                continue;
            }
            let cells = bench.interleaved(case, |round| {
                let (all, seconds) = (bench.timing.rounds, started.elapsed().as_secs());
                eprintln!("[{place}, {seconds} s] {}: round {round} of {all}", case.title());
            });
            let table = Table { case: case.clone(), cells };
            println!("{}", table.markdown());
            tables.push(table);
        }
        Ok(tables)
    }

    /// The cases and servers that were asked for; the floor stays.
    fn chosen(&self) -> Vec<Case> {
        let has = |wanted: &[String], name: &str| {
            let name = name.to_lowercase();
            wanted.is_empty() || wanted.iter().any(|part| name.contains(&part.to_lowercase()))
        };
        let mut cases = self.kind.cases(self.quick);
        cases.retain(|case| has(&self.cells, &case.title()));
        for case in &mut cases {
            let mut index = 0;
            case.servers.retain(|server| {
                index += 1;
                index == 1 || has(&self.servers, &server.name)
            });
            again::add(case, &self.again);
            if self.lab {
                case.servers.push(case.servers[0].again());
            }
        }
        cases
    }

    fn timing(&self) -> Timing {
        let usual = if self.quick { QUICK } else { FULL };
        Timing {
            rounds: self.rounds.map_or(usual.rounds, |rounds| rounds as usize),
            seconds: self.window_ms.map_or(usual.seconds, |window| f64::from(window) / 1e3),
            repeats: self.repeats.map_or(usual.repeats, |repeats| repeats as usize),
            ..usual
        }
    }

    fn verdicts(&self, tables: &[Table]) -> String {
        let targets = targets::markdown(&targets::judge(self.kind, tables));
        format!("{targets}\n{}", again::markdown(tables))
    }

    fn write_out(&self, header: &str, tables: &[Table], svg: &str) -> io::Result<()> {
        let folder = self.root.join("bench").join("out");
        std::fs::create_dir_all(&folder)?;
        let texts: Vec<String> = tables.iter().map(Table::text).collect();
        let name = self.kind.name();
        std::fs::write(
            folder.join(format!("{name}.txt")),
            format!("{header}\n{}\n{}", texts.join("\n"), self.verdicts(tables)),
        )?;
        std::fs::write(folder.join(format!("{name}.svg")), svg)?;
        std::fs::write(folder.join(format!("{name}.tsv")), raw::lines(tables))?;
        println!("written: bench/out/{name}.txt, bench/out/{name}.svg, bench/out/{name}.tsv");
        Ok(())
    }

    fn write_lab(&self, header: &str, tables: &[Table], svg: &str) -> io::Result<()> {
        let name = self.kind.name();
        let image = Path::new("docs").join("img").join(format!("bench-{name}.svg"));
        let section = lab::section(self.kind, header, tables);
        let path = self.root.join("bench").join("LAB.md");
        let book = std::fs::read_to_string(&path)?;
        let book = lab::replace_section(&book, name, &section).map_err(io::Error::other)?;
        std::fs::write(&path, book)?;
        std::fs::create_dir_all(self.root.join("docs").join("img"))?;
        std::fs::write(self.root.join(&image), svg)?;
        println!("written: bench/LAB.md, {}", image.display());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        run: Run,
    }

    fn run(line: &str) -> Run {
        Line::try_parse_from(format!("runner {line}").split(' ')).map(|line| line.run).unwrap()
    }

    #[test]
    fn filters_choose_cases_and_servers_but_keep_the_floor() {
        let chosen = run("echo --cells 500C,unix --servers tokio").chosen();
        assert_eq!(chosen.len(), 7, "{chosen:?}");
        for case in &chosen {
            let names: Vec<&str> = case.servers.iter().map(|server| server.name.as_str()).collect();
            assert_eq!(names, ["floor-echo", "tokio-echo"], "{}", case.title());
        }
    }

    #[test]
    fn the_floor_runs_twice_in_the_lab_and_others_where_they_are_asked() {
        let names = |run: &Run| -> Vec<String> {
            let case = run.chosen().remove(0);
            case.servers.into_iter().map(|server| server.name).collect()
        };
        assert_eq!(names(&run("echo --lab")).last().unwrap(), "floor-echo again");
        assert!(!names(&run("echo")).iter().any(|name| name.ends_with("again")));
        let few = names(&run("echo --servers tokio,libuv --again tokio"));
        assert_eq!(few, ["floor-echo", "tokio-echo", "libuv-echo", "tokio-echo again"]);
    }

    #[test]
    fn the_lab_book_takes_whole_runs_only() {
        assert!(run("echo --lab --rounds 4").execute().is_err());
        for line in ["echo --lab --quick", "echo --lab --cells x", "echo --lab --servers x"] {
            assert!(Line::try_parse_from(format!("runner {line}").split(' ')).is_err(), "{line}");
        }
    }

    #[test]
    fn quick_is_shorter_and_can_be_overruled() {
        assert_eq!(run("echo").timing().rounds, 17);
        assert_eq!(run("echo --quick").timing().rounds, 9);
        let timing = run("echo --quick --rounds 11 --window-ms 700 --repeats 0").timing();
        assert_eq!((timing.rounds, timing.seconds, timing.repeats), (11, 0.7, 0));
    }
}
