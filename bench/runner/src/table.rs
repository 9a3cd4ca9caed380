//! Tables: the same rows as Markdown and as aligned text.

use crate::cases::Case;
use crate::contenders::{Role, Server};
use crate::measure::{Cell, Sample};
use crate::stats::{Estimate, Spread};

const HEAD: &[&str] = &[
    "server",
    "server CPU us/req [min-max]",
    "vs floor [interval]",
    "req/s [min-max]",
    "vs floor",
    "p50 us",
    "p99 us",
    "p99.9 us",
    "server busy",
    "load CPU us/req",
];
const RESIDENT: &str = "resident bytes per idle connection [min-max]";
const REMARKS: &str = "remarks";

/// The results of one case.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Table {
    pub(crate) case: Case,
    pub(crate) cells: Vec<Cell>,
}

impl Table {
    pub(crate) fn title(&self) -> String {
        self.case.title()
    }

    /// What all are compared with.
    pub(crate) fn floor(&self) -> Option<&Cell> {
        self.cells.first()
    }

    /// Processor time per request as a multiple of the floor's in the same rounds.
    pub(crate) fn ratio(&self, cell: &Cell) -> Option<Estimate> {
        cell.over(self.floor()?, |sample| sample.server_us)
    }

    /// The measured cell of such a server with the least processor time per request, beside the
    /// floor's if that was measured.
    pub(crate) fn best(&self, is: impl Fn(&Server) -> bool) -> Option<&Cell> {
        let cost = |cell: &Cell| match self.ratio(cell) {
            Some(ratio) => Some(ratio.median),
            None => cell.server_us().map(|spread| spread.median),
        };
        let measured = self.cells.iter().filter(|cell| is(&cell.server));
        measured
            .filter_map(|cell| Some((cell, cost(cell)?)))
            .min_by(|one, other| one.1.total_cmp(&other.1))
            .map(|(cell, _)| cell)
    }

    /// The best of those that serve many connections with one thread, as ours do. A thread for each
    /// connection is shown beside them.
    pub(crate) fn best_peer(&self) -> Option<&Cell> {
        self.best(|server| server.role == Role::Peer && !server.is_crowd)
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("### {}\n\n", self.title());
        text.push_str(&markdown_rows(&self.rows()));
        text
    }

    pub(crate) fn text(&self) -> String {
        format!("{}\n{}", self.title(), aligned_rows(&self.rows()))
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let has_idle = self.cells.iter().any(|cell| cell.resident_each().is_some());
        let mut head: Vec<String> = HEAD.iter().map(|name| (*name).to_owned()).collect();
        if has_idle {
            head.push(RESIDENT.to_owned());
        }
        head.push(REMARKS.to_owned());
        let mut rows = vec![head];
        for cell in &self.cells {
            let mut row = self.row(cell);
            if has_idle {
                let spread =
                    |all: Estimate| Spread { median: all.median, min: all.min, max: all.max };
                row.push(shown(cell.resident_each().map(spread), thousands));
            }
            row.push(self.remarks(cell));
            rows.push(row);
        }
        rows
    }

    fn row(&self, cell: &Cell) -> Vec<String> {
        let median =
            |cell: &Cell, of: fn(&Sample) -> f64| cell.spread(of).map(|spread| spread.median);
        let speed = |floor| cell.over(floor, |sample| sample.per_second);
        vec![
            cell.server.name.clone(),
            shown(cell.server_us(), micros),
            estimated(self.ratio(cell)),
            shown(cell.spread(|sample| sample.per_second), thousands),
            multiple(self.floor().and_then(speed).map(|ratio| ratio.median)),
            plain(median(cell, |sample| sample.p50_us)),
            plain(median(cell, |sample| sample.p99_us)),
            plain(median(cell, |sample| sample.p999_us.unwrap_or(f64::NAN))),
            multiple(median(cell, |sample| sample.server_busy)),
            median(cell, |sample| sample.load_us.unwrap_or(f64::NAN))
                .filter(|value| value.is_finite())
                .map_or_else(|| "-".to_owned(), micros),
        ]
    }

    fn remarks(&self, cell: &Cell) -> String {
        let mut remarks: Vec<String> = Vec::new();
        if self.best_peer().is_some_and(|best| best.server.name == cell.server.name) {
            remarks.push("best peer".to_owned());
        }
        remarks.extend(cell.failure.clone());
        if let Some(why) = cell.samples.iter().find_map(|sample| sample.contended.as_ref()) {
            let (count, all) = (cell.contended(), cell.samples.len());
            remarks.push(format!("contended in {count} of {all} rounds ({why})"));
        }
        let lost: u64 = cell.samples.iter().map(|sample| sample.lost).sum();
        if lost > 0 {
            remarks.push(format!("{lost} lost"));
        }
        // A failure may hold what would end a cell of Markdown.
        remarks.join("; ").replace('|', "/").replace('\n', " ")
    }
}

impl Cell {
    pub(crate) fn resident_each(&self) -> Option<Estimate> {
        let values: Vec<f64> =
            self.samples.iter().filter_map(|sample| sample.resident_each).collect();
        Estimate::of(&values)
    }
}

/// The first row is the head.
pub(crate) fn markdown_rows(rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let Some((head, rest)) = rows.split_first() else { return String::new() };
    let mut text = line(head);
    text.push_str(&format!("|{}\n", "---|".repeat(head.len())));
    rest.iter().for_each(|row| text.push_str(&line(row)));
    text
}

pub(crate) fn aligned_rows(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let padded = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(padded.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn shown(spread: Option<Spread>, number: fn(f64) -> String) -> String {
    spread.map_or_else(
        || "-".to_owned(),
        |Spread { median, min, max }| {
            format!("{} [{}-{}]", number(median), number(min), number(max))
        },
    )
}

/// `1.015 [0.993-1.034]`: the median and its interval.
pub(crate) fn estimated(estimate: Option<Estimate>) -> String {
    estimate.map_or_else(
        || "-".to_owned(),
        |Estimate { median, low, high, .. }| format!("{median:.3} [{low:.3}-{high:.3}]"),
    )
}

/// Three digits behind the point, and more for what is less than a tenth.
pub(crate) fn micros(value: f64) -> String {
    if value < 0.1 { format!("{value:.4}") } else { format!("{value:.3}") }
}

pub(crate) fn multiple(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"))
}

fn plain(value: Option<f64>) -> String {
    value
        .filter(|value| value.is_finite())
        .map_or_else(|| "-".to_owned(), |value| format!("{value:.0}"))
}

/// `1234567.8` as `1,234,568`.
fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = if value <= -0.5 { "-".to_owned() } else { String::new() };
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::cases::Kind;

    pub(crate) fn sample(server_us: f64) -> Sample {
        Sample {
            per_second: 1e6 / server_us,
            server_us,
            load_us: Some(1.5),
            server_busy: 0.9,
            p50_us: 100.0,
            p99_us: 200.0,
            ..Sample::default()
        }
    }

    pub(crate) fn cell(server: Server, times: &[f64]) -> Cell {
        let one = |(index, us): (usize, &f64)| Sample { round: index + 1, ..sample(*us) };
        Cell { server, samples: times.iter().enumerate().map(one).collect(), failure: None }
    }

    /// The case of `kind` with that title.
    pub(crate) fn case(kind: Kind, title: &str) -> Case {
        let mut cases = kind.cases(false).into_iter();
        cases.find(|case| case.title() == title).unwrap_or_else(|| panic!("no case {title}"))
    }

    pub(crate) fn table() -> Table {
        let [ready, ring] = Server::ours("echo");
        let not_there =
            Cell { failure: Some("not built".to_owned()), ..cell(Server::peer("x-echo"), &[]) };
        Table {
            case: case(Kind::Echo, "tcp 64 B 50c x1"),
            cells: vec![
                cell(Server::floor("floor-echo"), &[4.0, 5.0, 3.0]),
                cell(ready, &[5.0, 6.0, 7.0]),
                cell(ring, &[4.0, 3.9, 4.2]),
                cell(Server::peer("mio-echo"), &[4.4, 4.2, 4.3]),
                cell(Server::peer("tokio-echo"), &[5.0, 5.1, 5.2]),
                not_there,
            ],
        }
    }

    #[test]
    fn a_row_has_the_median_its_spread_and_the_ratios_to_the_floor_round_by_round() {
        let text = table().markdown();
        let row = text.lines().find(|line| line.starts_with("| mainspring ready")).unwrap();
        assert_eq!(
            row,
            "| mainspring ready | 6.000 [5.000-7.000] | 1.250 [1.200-2.333] \
             | 166,667 [142,857-200,000] | 0.80 | 100 | 200 | - | 0.90 | 1.500 |  |"
        );
        assert!(
            text.contains("| floor-echo | 4.000 [3.000-5.000] | 1.000 [1.000-1.000] |"),
            "{text}"
        );
        assert!(text.contains("| - | not built |"), "{text}");
        let bars = |line: &str| line.matches('|').count();
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert!(lines.iter().all(|line| bars(line) == HEAD.len() + 2), "{text}");
    }

    #[test]
    fn a_round_that_one_of_the_two_lacks_is_left_out() {
        let mut table = table();
        table.cells[1].samples.remove(0);
        // 6 / 5 and 7 / 3 are left.
        let ratio = table.ratio(&table.cells[1]).unwrap();
        assert_eq!((ratio.low, ratio.high), (6.0 / 5.0, 7.0 / 3.0));
        table.cells[0].samples.truncate(1);
        assert_eq!(table.ratio(&table.cells[1]), None);
    }

    #[test]
    fn the_best_peer_is_marked_and_no_other() {
        let text = table().markdown();
        let marked: Vec<&str> = text.lines().filter(|line| line.contains("best peer")).collect();
        assert_eq!(marked.len(), 1, "{text}");
        assert!(marked[0].starts_with("| mio-echo |"), "{text}");
    }

    #[test]
    fn memory_has_a_column_where_there_were_idle_connections() {
        let mut table = table();
        assert!(!table.markdown().contains(RESIDENT));
        table.cells[1].samples[0].resident_each = Some(1234.0);
        let text = table.markdown();
        assert!(text.contains(RESIDENT) && text.contains("| 1,234 [1,234-1,234] |"), "{text}");
    }

    #[test]
    fn text_is_aligned() {
        let text = table().text();
        let starts: Vec<Option<usize>> = text
            .lines()
            .skip(1)
            .take(3)
            .map(|line| line.find("server CPU").or(line.find("[").and_then(|at| at.checked_sub(6))))
            .collect();
        assert!(starts.iter().all(|start| *start == starts[0]), "{starts:?}\n{text}");
    }

    #[test]
    fn a_contended_round_is_remarked() {
        let mut table = table();
        table.cells[1].samples[0].contended = Some("others".to_owned());
        assert_eq!(table.cells[1].contended(), 1);
        assert!(table.markdown().contains("contended in 1 of 3 rounds (others)"));
    }

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(thousands(1_234_567.8), "1,234,568");
        assert_eq!(thousands(999.4), "999");
        assert_eq!(thousands(-100_000.0), "-100,000");
        assert_eq!(micros(0.04123), "0.0412");
        assert_eq!(micros(4.5), "4.500");
    }
}
