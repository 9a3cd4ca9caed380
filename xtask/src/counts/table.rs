//! The table of counts: as text, and one against another.

use std::fmt::Write as _;

/// Growth beyond this fails. Two runs of the same build differ by less than half a percent.
const GROWTH_MAX: f64 = 0.03;
/// Growth beyond this fails where the tools differ from the table's. Another compiler, C library or
/// valgrind changes counts by itself, and must not turn a green tree red; it does not hide a
/// doubled cost either.
const GROWTH_MAX_OTHER_TOOLS: f64 = 0.15;
const TOOLS: &str = "Counted with: ";
const NOT_COUNTED: &str = "-";
const WRITE: &str = "`cargo xtask counts --write`";

const HEAD: &str = "\
# Instruction counts

User instructions of one operation, by callgrind: a scene is run with few and with many repetitions, and the difference
of the two counts is divided by the difference of the repetitions. Servers are processes of their own, and only they
are counted; their client waits for each answer before it asks again. What the kernel does is not in the figures.
They say whether our own code has grown, more finely than a clock can; what is faster, [LAB.md](LAB.md) says.

`cargo xtask counts` compares, `cargo xtask counts --write` writes this file, and `cargo xtask ci` fails when a count
has grown by more than 3 %. Counts depend on the compiler, the C library and valgrind (and a little on the processor,
by which the C library chooses its `memcpy`). Where these tools are not the ones named below, the comparison says so,
and fails beyond 15 %: write the table again with the new tools, in a commit of its own.

";

/// What was counted, and with what.
#[derive(Debug, PartialEq)]
pub(super) struct Table {
    tools: String,
    rows: Vec<Row>,
}

#[derive(Debug, PartialEq)]
struct Row {
    scene: String,
    /// `None` where the scene could not be counted.
    count: Option<f64>,
    /// What one operation is, or why there is no count.
    about: String,
}

/// What a table says of a newer one.
pub(super) struct Comparison {
    pub(super) report: String,
    pub(super) failures: Vec<String>,
}

impl Table {
    /// Reads lines of `scene <tab> count <tab> about`.
    pub(super) fn of(tools: String, lines: &str) -> Result<Self, String> {
        let row = |line: &str| {
            let cells: Vec<&str> = line.split('\t').collect();
            Row::of(&cells).ok_or_else(|| format!("not a count: `{line}`"))
        };
        Ok(Self { tools, rows: lines.lines().map(row).collect::<Result<_, _>>()? })
    }

    pub(super) fn to_markdown(&self) -> String {
        let mut text = format!("{HEAD}{TOOLS}{}\n\n", self.tools);
        text.push_str("| scene | instructions | operation |\n|---|---:|---|\n");
        for row in &self.rows {
            let _ = writeln!(text, "| `{}` | {} | {} |", row.scene, row.shown(), row.about);
        }
        text
    }

    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let tools = text.lines().find_map(|line| line.strip_prefix(TOOLS));
        let mut rows = Vec::new();
        for line in text.lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<&str> = line
                .trim_matches('|')
                .split('|')
                .map(|cell| cell.trim().trim_matches('`'))
                .collect();
            rows.push(Row::of(&cells).ok_or_else(|| format!("not a row: `{line}`"))?);
        }
        let tools = tools.ok_or_else(|| format!("no line `{TOOLS}..`"))?.to_owned();
        Ok(Self { tools, rows })
    }

    /// Whether `new` is as good as this table.
    pub(super) fn compare(&self, new: &Self) -> Comparison {
        let same_tools = self.tools == new.tools;
        let growth_max = if same_tools { GROWTH_MAX } else { GROWTH_MAX_OTHER_TOOLS };
        let mut report = format!("{:<18} {:>9} {:>9}\n", "scene", "table", "now");
        let mut failures = Vec::new();
        for row in &new.rows {
            let old = self.rows.iter().find(|old| old.scene == row.scene);
            let (shown, failure) = judge(old, row, growth_max);
            let before = old.map_or_else(String::new, Row::shown);
            let _ = writeln!(report, "{:<18} {before:>9} {:>9} {shown}", row.scene, row.shown());
            failures.extend(failure);
        }
        for old in &self.rows {
            if !new.rows.iter().any(|row| row.scene == old.scene) {
                failures.push(format!("{}: in the table, but no scene; {WRITE}", old.scene));
            }
        }
        if !same_tools {
            let _ = write!(
                report,
                "note: the tools are not the table's, so only growth beyond {:.0} % fails; {WRITE}\n  \
                 table: {}\n  now:   {}\n",
                growth_max * 100.0,
                self.tools,
                new.tools
            );
        }
        Comparison { report, failures }
    }
}

impl Row {
    fn of(cells: &[&str]) -> Option<Self> {
        let [scene, count, about] = cells else { return None };
        let count = if *count == NOT_COUNTED { None } else { Some(count.parse().ok()?) };
        Some(Self { scene: (*scene).to_owned(), count, about: (*about).to_owned() })
    }

    fn shown(&self) -> String {
        self.count.map_or_else(|| NOT_COUNTED.to_owned(), |count| format!("{count:.1}"))
    }
}

/// What the report says of one scene, and the failure if it is one.
fn judge(old: Option<&Row>, new: &Row, growth_max: f64) -> (String, Option<String>) {
    let scene = &new.scene;
    match (old.map(|old| old.count), new.count) {
        (None, _) => ("new".to_owned(), Some(format!("{scene}: not in the table; {WRITE}"))),
        // A system without a ring has no count of it: that is no fault of the change.
        (Some(_), None) => (format!("not counted: {}", new.about), None),
        (Some(None), Some(_)) => (format!("can be counted now; {WRITE}"), None),
        (Some(Some(before)), Some(now)) => {
            let growth = now / before - 1.0;
            let percent = growth * 100.0;
            if growth > growth_max {
                let limit = growth_max * 100.0;
                let failure = format!(
                    "{scene}: {before:.1} -> {now:.1} instructions, {percent:+.1} %; allowed is {limit:+.0} %"
                );
                return (format!("{percent:+.1} %, TOO MUCH"), Some(failure));
            }
            let hint =
                if growth < -growth_max { format!(", {WRITE} keeps it") } else { String::new() };
            (format!("{percent:+.1} %{hint}"), None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(tools: &str, lines: &str) -> Table {
        Table::of(tools.to_owned(), &lines.replace(' ', "\t")).unwrap()
    }

    fn failures(old: &str, new: &str) -> Vec<String> {
        table("rustc 1", old).compare(&table("rustc 1", new)).failures
    }

    #[test]
    fn a_table_is_read_as_it_was_written() {
        let written = table("rustc 1, valgrind-3", "echo 2053.1 turn\nring - none\npost 60.0 x");
        assert_eq!(Table::parse(&written.to_markdown()).unwrap(), written);
        assert!(Table::parse("| `echo` | 1.0 | x |").unwrap_err().contains("Counted with"));
        assert!(Table::of(String::new(), "echo\tmany\tx").unwrap_err().contains("many"));
    }

    #[test]
    fn growth_beyond_three_percent_fails_with_scene_old_and_new() {
        assert_eq!(failures("echo 1000 x\npost 100 x", "echo 1029 x\npost 50 x"), [""; 0]);
        assert_eq!(
            failures("echo 1000 x\npost 100 x", "echo 1031 x\npost 100 x"),
            ["echo: 1000.0 -> 1031.0 instructions, +3.1 %; allowed is +3 %"]
        );
    }

    #[test]
    fn with_other_tools_the_report_says_so_and_only_much_growth_fails() {
        let old = table("rustc 1", "echo 1000 x");
        let little = old.compare(&table("rustc 2", "echo 1140 x"));
        assert_eq!(little.failures, [""; 0]);
        assert!(little.report.contains("note: ") && little.report.contains("now:   rustc 2"));
        assert_eq!(old.compare(&table("rustc 2", "echo 1160 x")).failures.len(), 1);
        assert!(!old.compare(&table("rustc 1", "echo 1000 x")).report.contains("note: "));
    }

    #[test]
    fn scenes_and_rows_belong_together() {
        assert!(failures("echo 10 x", "echo 10 x\npost 5 x")[0].starts_with("post: not in the"));
        assert!(failures("echo 10 x\npost 5 x", "echo 10 x")[0].starts_with("post: in the table"));
    }

    #[test]
    fn a_scene_that_a_system_lacks_is_reported_and_no_failure() {
        let old = table("rustc 1", "ring 10 x");
        let lacking = old.compare(&table("rustc 1", "ring - no-ring"));
        assert_eq!(lacking.failures, [""; 0]);
        assert!(lacking.report.contains("not counted: no-ring"), "{}", lacking.report);
    }
}
