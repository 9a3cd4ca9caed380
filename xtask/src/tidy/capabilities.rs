//! `docs/capabilities.md`: every row of the register is there once, and names tests that exist.
//!
//! A row is `| E7 | what it is here | [path::test_name] |` with back-ticks for the brackets.

use super::{Offence, Tree, numbered};
use crate::tree::SourceFile;

const PAGE: &str = "docs/capabilities.md";
/// Series of ids, and up to which number each has to be complete.
const SERIES: &[(char, u32)] = &[('E', 42), ('S', 13), ('T', 50)];

pub(super) fn check(tree: &Tree, offences: &mut Vec<Offence>) {
    let Some(page) = tree.file(PAGE) else {
        offences.push(Offence::new(PAGE, 1, "the page of capabilities is missing"));
        return;
    };
    let mut seen: Vec<&str> = Vec::new();
    for (number, line) in numbered(&page.text) {
        let Some((id, rest)) = row(line) else { continue };
        if seen.contains(&id) {
            offences.push(Offence::new(PAGE, number, format!("{id} stands here a second time")));
        }
        seen.push(id);
        for message in row_faults(tree, rest) {
            offences.push(Offence::new(PAGE, number, format!("{id}: {message}")));
        }
    }
    for (letter, last) in SERIES {
        for missing in (1..=*last).map(|number| format!("{letter}{number}")) {
            if !seen.contains(&missing.as_str()) {
                offences.push(Offence::new(PAGE, 1, format!("no row for {missing}")));
            }
        }
    }
}

/// The id of a row of the register and the cells after it.
fn row(line: &str) -> Option<(&str, &str)> {
    let (id, rest) = line.trim().strip_prefix('|')?.split_once('|')?;
    let id = id.trim();
    let mut symbols = id.chars();
    let is_series =
        symbols.next().is_some_and(|first| SERIES.iter().any(|(letter, _)| first == *letter));
    let digits = symbols.as_str();
    let is_id = is_series && !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_id.then_some((id, rest))
}

fn row_faults(tree: &Tree, cells: &str) -> Vec<String> {
    // What stands between back-ticks is every second piece.
    let quoted = cells.split('`').skip(1).step_by(2);
    let names: Vec<&str> = quoted.filter(|word| word.contains(".rs::")).collect();
    if names.is_empty() {
        return vec!["names no test; write `path/to/file.rs::test_name`".to_owned()];
    }
    names.into_iter().filter_map(|name| fault(tree, name)).collect()
}

/// What is wrong with `path.rs::test_name`, where modules may stand between the two.
fn fault(tree: &Tree, name: &str) -> Option<String> {
    let (stem, inner) = name.split_once(".rs::")?;
    let path = format!("{stem}.rs");
    let test = inner.rsplit("::").next().unwrap_or(inner);
    let Some(file) = tree.file(&path) else {
        return Some(format!("there is no file {path}"));
    };
    match has_test(file, test) {
        None => Some(format!("there is no fn {test} in {path}")),
        Some(false) => Some(format!("fn {test} in {path} is not a test")),
        Some(true) => None,
    }
}

/// Whether the function exists, and if so whether it is a test: by the attribute above it, or
/// because it is a clause of a suite that a macro makes tests of.
fn has_test(file: &SourceFile, name: &str) -> Option<bool> {
    let lines: Vec<&str> = file.text.lines().collect();
    let declares = |line: &str| {
        let rest =
            line.split_once("fn ").map(|(_, rest)| rest).and_then(|rest| rest.strip_prefix(name));
        rest.is_some_and(|rest| rest.starts_with(['(', '<']))
    };
    let places: Vec<usize> = (0..lines.len()).filter(|index| declares(lines[*index])).collect();
    if places.is_empty() {
        return is_row_of_a_matrix(&lines, name).then_some(true);
    }
    let is_suite = file.path.starts_with("crates/testkit/src/") && file.path.contains("suite");
    Some(is_suite || places.iter().any(|index| is_marked(&lines[..*index])))
}

/// Whether `name: ..;` stands in a file in which a macro makes a test of each such row.
fn is_row_of_a_matrix(lines: &[&str], name: &str) -> bool {
    let mut makes_tests = lines.windows(2).map(|pair| (pair[0].trim(), pair[1].trim()));
    let has_row =
        |line: &&str| line.trim().strip_prefix(name).is_some_and(|rest| rest.starts_with(": "));
    makes_tests.any(|(above, below)| above == "#[test]" && below == "fn $name() {")
        && lines.iter().any(has_row)
}

/// Whether `#[test]` stands among the attributes and comments right above.
fn is_marked(above: &[&str]) -> bool {
    above
        .iter()
        .rev()
        .map(|line| line.trim())
        .take_while(|line| !line.is_empty() && !line.ends_with(['}', '{', ';']))
        .any(|line| line == "#[test]")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page with all ids, the row of `E7` replaced, and a few files for it to name.
    fn messages(replaced: &str) -> Vec<String> {
        let mut page = String::from("| id | here | test |\n| --- | --- | --- |\n");
        for (letter, last) in SERIES {
            for number in 1..=*last {
                match (letter, number) {
                    ('E', 7) => page.push_str(replaced),
                    _ => page.push_str(&format!("| {letter}{number} | x | `a/t.rs::good` |\n")),
                }
            }
        }
        let tests = "#[test]\n#[cfg(unix)]\nfn good() {\n}\nfn plain() {}\n";
        let tree = Tree::of(&[
            (PAGE, &page),
            ("a/t.rs", tests),
            ("crates/testkit/src/driver_suite.rs", "pub fn clause(x: u8) {}\n"),
            ("m.rs", "#[test]\n    fn $name() {\n}\nmatrix! {\n    one_loop: 1;\n}\n"),
        ]);
        let mut offences = Vec::new();
        check(&tree, &mut offences);
        offences.into_iter().map(|offence| offence.message).collect()
    }

    #[test]
    fn rows_with_tests_that_exist_pass() {
        for row in [
            "| E7 | x `y` | `a/t.rs::good` |\n",
            "| E7 | x | `a/t.rs::tests::good`, `crates/testkit/src/driver_suite.rs::clause` |\n",
            "| E7 | x | `m.rs::one_loop` |\n",
        ] {
            assert_eq!(messages(row), Vec::<String>::new());
        }
    }

    #[test]
    fn every_fault_of_a_row_is_named() {
        let cases = [
            ("", "no row for E7"),
            ("| E7 | x | |\n", "E7: names no test; write `path/to/file.rs::test_name`"),
            ("| E7 | x | `m.rs::two_loops` |\n", "E7: there is no fn two_loops in m.rs"),
            ("| E7 | x | `b.rs::good` |\n", "E7: there is no file b.rs"),
            ("| E7 | x | `a/t.rs::goo` |\n", "E7: there is no fn goo in a/t.rs"),
            ("| E7 | x | `a/t.rs::plain` |\n", "E7: fn plain in a/t.rs is not a test"),
            (
                "| E7 | x | `a/t.rs::good` |\n| E7 | x | `a/t.rs::good` |\n",
                "E7 stands here a second time",
            ),
        ];
        for (row, message) in cases {
            assert_eq!(messages(row), [message], "{row}");
        }
    }

    #[test]
    fn a_missing_page_is_an_offence() {
        let mut offences = Vec::new();
        check(&Tree::of(&[]), &mut offences);
        assert_eq!(offences.len(), 1);
    }
}
