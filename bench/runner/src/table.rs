//! Tables: the same rows as Markdown and as aligned text.

use crate::measure::{Cell, Sample};
use crate::stats::{Spread, ratio};

const HEAD: &[&str] = &[
    "server",
    "server CPU us/req [min-max]",
    "vs floor",
    "req/s [min-max]",
    "vs floor",
    "p50 us",
    "p99 us",
    "p99.9 us",
    "server busy",
    "remarks",
];

/// The results of one case.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Table {
    pub(crate) title: String,
    pub(crate) cells: Vec<Cell>,
}

impl Table {
    /// Whether a round of any server stayed contended however often it was repeated.
    pub(crate) fn is_contended(&self) -> bool {
        self.cells.iter().flat_map(|cell| &cell.samples).any(|sample| sample.contended.is_some())
    }

    /// Processor time per request as multiples of the floor's, by server; empty without a floor.
    pub(crate) fn ratios(&self) -> Vec<(&'static str, f64)> {
        let of = |cell: &Cell| cell.spread(|sample| sample.server_us).map(|spread| spread.median);
        let Some(floor) = self.cells.first().and_then(of) else { return Vec::new() };
        let known = |cell: &Cell| Some((cell.server, ratio(of(cell)?, floor)?));
        self.cells.iter().filter_map(known).collect()
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("### {}\n\n", self.title);
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let mut rows = self.rows().into_iter();
        text.push_str(&line(&rows.next().unwrap_or_default()));
        text.push_str(&format!("|{}\n", "---|".repeat(HEAD.len())));
        rows.for_each(|row| text.push_str(&line(&row)));
        text
    }

    pub(crate) fn text(&self) -> String {
        let rows = self.rows();
        let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
        let mut text = format!("{}\n", self.title);
        for row in &rows {
            let padded = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            text.push_str(padded.collect::<Vec<_>>().join("  ").trim_end());
            text.push('\n');
        }
        text
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let median =
            |cell: &Cell, of: fn(&Sample) -> f64| cell.spread(of).map(|spread| spread.median);
        let floor = self.cells.first();
        let mut rows = vec![HEAD.iter().map(|name| (*name).to_owned()).collect()];
        for cell in &self.cells {
            let against = |of: fn(&Sample) -> f64| {
                let both = median(cell, of).zip(floor.and_then(|floor| median(floor, of)));
                let multiple = both.and_then(|(value, base)| ratio(value, base));
                multiple.map_or_else(|| "-".to_owned(), |multiple| format!("{multiple:.2}"))
            };
            rows.push(vec![
                cell.server.to_owned(),
                shown(cell.spread(|sample| sample.server_us), micros),
                against(|sample| sample.server_us),
                shown(cell.spread(|sample| sample.per_second), thousands),
                against(|sample| sample.per_second),
                plain(median(cell, |sample| sample.p50_us)),
                plain(median(cell, |sample| sample.p99_us)),
                plain(median(cell, |sample| sample.p999_us.unwrap_or(f64::NAN))),
                median(cell, |sample| sample.server_busy)
                    .map_or_else(|| "-".to_owned(), |busy| format!("{busy:.2}")),
                cell.remarks(),
            ]);
        }
        rows
    }
}

impl Cell {
    fn spread(&self, of: impl Fn(&Sample) -> f64) -> Option<Spread> {
        Spread::of(&self.samples.iter().map(of).collect::<Vec<_>>())
    }

    fn remarks(&self) -> String {
        let mut remarks: Vec<String> = self.failure.iter().cloned().collect();
        let contended: Vec<&String> =
            self.samples.iter().filter_map(|sample| sample.contended.as_ref()).collect();
        if let Some(why) = contended.first() {
            let (count, all) = (contended.len(), self.samples.len());
            remarks.push(format!("contended in {count} of {all} rounds ({why})"));
        }
        let lost: u64 = self.samples.iter().map(|sample| sample.lost).sum();
        if lost > 0 {
            remarks.push(format!("{lost} lost"));
        }
        // A failure may hold what would end a cell of Markdown.
        remarks.join("; ").replace('|', "/").replace('\n', " ")
    }
}

fn shown(spread: Option<Spread>, number: fn(f64) -> String) -> String {
    spread.map_or_else(
        || "-".to_owned(),
        |Spread { median, min, max }| {
            format!("{} [{}-{}]", number(median), number(min), number(max))
        },
    )
}

fn micros(value: f64) -> String {
    format!("{value:.3}")
}

fn plain(value: Option<f64>) -> String {
    value
        .filter(|value| value.is_finite())
        .map_or_else(|| "-".to_owned(), |value| format!("{value:.0}"))
}

/// `1234567.8` as `1,234,568`.
fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
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

    pub(crate) fn sample(server_us: f64) -> Sample {
        Sample {
            per_second: 1e6 / server_us,
            server_us,
            server_busy: 0.9,
            p50_us: 100.0,
            p99_us: 200.0,
            p999_us: None,
            lost: 0,
            contended: None,
        }
    }

    pub(crate) fn table() -> Table {
        let cell = |server, times: &[f64], failure: Option<&str>| Cell {
            server,
            samples: times.iter().copied().map(sample).collect(),
            failure: failure.map(str::to_owned),
        };
        Table {
            title: "tcp 64 B 50c x1".to_owned(),
            cells: vec![
                cell("floor-echo", &[4.0, 5.0, 3.0], None),
                cell("mainspring", &[5.0, 6.0, 7.0], None),
                cell("redis-server", &[], Some("not installed")),
            ],
        }
    }

    #[test]
    fn a_row_has_the_median_its_spread_and_the_ratio_to_the_floor() {
        let text = table().markdown();
        let row = text.lines().find(|line| line.starts_with("| mainspring")).unwrap();
        assert_eq!(
            row,
            "| mainspring | 6.000 [5.000-7.000] | 1.50 | 166,667 [142,857-200,000] | 0.67 | 100 | 200 | - | 0.90 |  |"
        );
        assert!(text.contains("| floor-echo | 4.000 [3.000-5.000] | 1.00 |"), "{text}");
        assert!(text.contains("| - | not installed |"), "{text}");
        let bars = |line: &str| line.matches('|').count();
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert!(lines.iter().all(|line| bars(line) == HEAD.len() + 1), "{text}");
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
    fn a_contended_round_is_remarked_and_seen() {
        let mut table = table();
        assert!(!table.is_contended());
        table.cells[1].samples[0].contended = Some("others".to_owned());
        assert!(table.is_contended());
        assert!(table.markdown().contains("contended in 1 of 3 rounds (others)"));
        assert_eq!(table.ratios(), [("floor-echo", 1.0), ("mainspring", 1.5)]);
    }

    #[test]
    fn thousands_are_parted() {
        assert_eq!(thousands(1_234_567.8), "1,234,568");
        assert_eq!(thousands(999.4), "999");
        assert_eq!(thousands(100_000.0), "100,000");
    }
}
