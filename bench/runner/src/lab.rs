//! Under what circumstances a run was made, and the lab book `bench/LAB.md`.

use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::cases::Kind;
use crate::measure::{Cell, Timing};
use crate::pin::Cores;
use crate::stats::Rank;
use crate::table::Table;
use crate::{again, plot, summary, targets};

/// Where, when and of what.
#[derive(Debug, Clone)]
pub(crate) struct Circumstances {
    machine: String,
    kernel: String,
    commit: String,
    compiler: String,
    date: String,
}

impl Circumstances {
    pub(crate) fn look(root: &Path) -> Self {
        let uname = rustix::system::uname();
        let seconds =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self {
            machine: machine(&std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default()),
            kernel: format!(
                "{} {}",
                uname.sysname().to_string_lossy(),
                uname.release().to_string_lossy()
            ),
            commit: commit(root),
            compiler: output_of(Command::new("rustc").arg("--version")).unwrap_or_else(unknown),
            date: date(seconds),
        }
    }

    /// Lines for people, above every table.
    pub(crate) fn header(&self, cores: Cores, timing: Timing) -> String {
        let Self { machine, kernel, commit, compiler, date } = self;
        let Timing { rounds, seconds, warm_up_s, .. } = timing;
        let (server, load) = (cores.server, cores.load);
        let Rank { nth, level } = Rank::of(rounds);
        let percent = 100.0 * level;
        format!(
            "{date}, commit {commit}, {compiler}\n{machine}, {kernel}\n\
             server on core {server}, load on core {load}, if not said otherwise\n\
             {rounds} rounds in turns of {seconds} s after {warm_up_s} s\n\
             figures: medians [least-largest]\n\
             ratios: medians of those within a round [interval of {percent:.1} %: number {nth} from \
             below and from above]\n"
        )
    }

    /// One line, for a picture.
    pub(crate) fn line(&self) -> String {
        format!("{}, {}, {}, commit {}", self.date, self.machine, self.kernel, self.commit)
    }
}

/// The part of the lab book about one kind. What people write about it stands outside.
pub(crate) fn section(kind: Kind, header: &str, tables: &[Table]) -> String {
    let name = kind.name();
    let rounds: usize =
        tables.iter().flat_map(|table| &table.cells).map(|cell| cell.samples.len()).sum();
    let contended: usize = tables.iter().flat_map(|table| &table.cells).map(Cell::contended).sum();
    let details: Vec<String> = tables.iter().map(Table::markdown).collect();
    format!(
        "```text\n{header}{}\n```\n\n![{}](../docs/img/bench-{name}.svg)\n\n{}\n{}\n\
         {}\n<details><summary>All figures</summary>\n\n{}\n</details>\n",
        contended_line(contended, rounds),
        plot::title(kind),
        summary::matrix(tables),
        targets::markdown(&targets::judge(kind, tables)),
        again::markdown(tables),
        details.join("\n")
    )
}

fn contended_line(contended: usize, rounds: usize) -> String {
    match contended {
        0 => format!("none of {rounds} runs was contended"),
        _ => format!(
            "{contended} of {rounds} runs stayed contended when they were repeated; their cells bear a !"
        ),
    }
}

/// Puts `section` between the marks of `kind` in the lab book, in the place of what was there.
pub(crate) fn replace_section(book: &str, kind: &str, section: &str) -> Result<String, String> {
    let (begin, end) = (format!("<!-- {kind} -->"), format!("<!-- /{kind} -->"));
    let (before, rest) =
        book.split_once(&begin).ok_or_else(|| format!("LAB.md has no line `{begin}`"))?;
    let (_, after) = rest.split_once(&end).ok_or_else(|| format!("LAB.md has no line `{end}`"))?;
    Ok(format!("{before}{begin}\n\n{section}\n{end}{after}"))
}

fn machine(cpuinfo: &str) -> String {
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown processor", |(_, name)| name.trim());
    let cores = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let virtual_machine = cpuinfo.lines().any(|line| {
        line.starts_with("flags") && line.split_whitespace().any(|flag| flag == "hypervisor")
    });
    let guest = if virtual_machine { ", virtual machine" } else { "" };
    format!("{cores} x {model}{guest}")
}

fn commit(root: &Path) -> String {
    let git = |args: &[&str]| output_of(Command::new("git").current_dir(root).args(args));
    let Some(head) = git(&["rev-parse", "--short=12", "HEAD"]) else { return unknown() };
    // What the runs before have written is no change to what is measured.
    let code = ["status", "--porcelain", "--untracked-files=no", ":!bench/LAB.md", ":!docs/img"];
    match git(&code) {
        Some(changes) if changes.is_empty() => head,
        _ => format!("{head} with changes"),
    }
}

fn output_of(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn unknown() -> String {
    "unknown".to_owned()
}

/// The day (UTC) of seconds since 1970, by the calendar of days since 0000-03-01.
fn date(unix_seconds: u64) -> String {
    let days = unix_seconds / 86_400 + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum as _;

    #[test]
    fn days_are_those_of_the_calendar() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(951_782_400), "2000-02-29");
        assert_eq!(date(1_795_219_200), "2026-11-21");
        assert_eq!(date(4_107_542_400 - 1), "2100-02-28");
        assert_eq!(date(4_107_542_400), "2100-03-01", "2100 has no leap day");
    }

    #[test]
    fn a_section_is_replaced_and_the_rest_of_the_book_stays() {
        let book = "# Lab\n<!-- echo -->\nold\n<!-- /echo -->\n<!-- http -->\n<!-- /http -->\n";
        let after = replace_section(book, "echo", "new\n").unwrap();
        assert_eq!(
            after,
            "# Lab\n<!-- echo -->\n\nnew\n\n<!-- /echo -->\n<!-- http -->\n<!-- /http -->\n"
        );
        assert!(replace_section(book, "redis", "x").unwrap_err().contains("<!-- redis -->"));
    }

    #[test]
    fn the_lab_book_has_a_place_for_every_kind() {
        let book = include_str!("../../LAB.md");
        for kind in Kind::value_variants() {
            let name = kind.name();
            assert!(replace_section(book, name, "x").is_ok(), "{name}");
            assert!(book.contains(&format!("<!-- notes:{name} -->")), "{name}");
        }
    }

    #[test]
    fn a_section_says_how_many_runs_were_contended() {
        let mut tables = [crate::table::tests::table()];
        let text = section(Kind::Echo, "machine\n", &tables);
        assert!(text.contains("none of 15 runs was contended"), "{text}");
        tables[0].cells[0].samples[0].contended = Some("others".to_owned());
        let text = section(Kind::Echo, "machine\n", &tables);
        assert!(text.contains("1 of 15 runs stayed contended"), "{text}");
        assert!(text.contains("Targets: 1 reached (") && text.contains("</details>"));
    }

    #[test]
    fn the_header_names_the_level_of_the_intervals() {
        let circumstances = Circumstances::look(Path::new("."));
        let timing = Timing { rounds: 21, warm_up_s: 0.1, seconds: 0.1, repeats: 2 };
        let header = circumstances.header(Cores { server: 0, load: 1 }, timing);
        assert!(header.contains("[interval of 97.3 %: number 6 from below"), "{header}");
    }

    #[test]
    fn a_machine_is_told_by_its_processors() {
        let text =
            "processor\t: 0\nmodel name\t: Fast 9\nflags\t\t: fpu hypervisor\nprocessor\t: 1\n";
        assert_eq!(machine(text), "2 x Fast 9, virtual machine");
        assert_eq!(machine(""), "0 x unknown processor");
    }
}
