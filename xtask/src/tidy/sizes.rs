//! Files of at most 800 lines, functions of at most 70, tests of at most 150.

use super::{Offence, Tree, mask, numbered};
use crate::tree::SourceFile;

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;
const TEST_LINES_MAX: usize = 150;
/// A longer file says why, in a line that starts like this.
const EXCUSE: &str = "// Long because";

pub(super) fn check(tree: &Tree, offences: &mut Vec<Offence>) {
    for file in tree.rust_files() {
        let count = file.text.lines().count();
        let excused = file.text.lines().any(|line| line.trim_start().starts_with(EXCUSE));
        if count > FILE_LINES_MAX && !excused {
            let message =
                format!("{count} lines, over {FILE_LINES_MAX} without a line `{EXCUSE} ..`");
            offences.push(Offence::new(&file.path, 1, message));
        }
        check_functions(file, offences);
    }
}

fn check_functions(file: &SourceFile, offences: &mut Vec<Offence>) {
    let code = mask::code_only(&file.text);
    let tests_from = first_line_of_tests(&file.path, &code);
    for function in functions(&code) {
        let length = function.last - function.first + 1;
        let is_test = function.first >= tests_from;
        let allowed = if is_test { TEST_LINES_MAX } else { FUNCTION_LINES_MAX };
        if length > allowed {
            let message = format!("fn {} has {length} lines, over {allowed}", function.name);
            offences.push(Offence::new(&file.path, function.first, message));
        }
    }
}

/// A function from its `fn` to its last brace.
struct Function<'a> {
    name: &'a str,
    first: usize,
    last: usize,
}

/// Rustfmt begins a function on a line of its own and ends it with a brace in the same column.
fn functions(code: &str) -> Vec<Function<'_>> {
    let lines: Vec<&str> = code.lines().collect();
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        if let Some(last) = last_line(&lines, index) {
            found.push(Function { name, first: index + 1, last: last + 1 });
        }
    }
    found
}

fn function_name(line: &str) -> Option<&str> {
    const QUALIFIERS: &[&str] = &["pub", "const", "async", "unsafe", "extern"];
    let (before, after) = line.split_once("fn ")?;
    let qualified = before.split_whitespace().all(|word| {
        let word = word.split('(').next().unwrap_or_default();
        QUALIFIERS.contains(&word) || matches!(word, "in" | "crate)" | "super)")
    });
    let name = after.split(['(', '<']).next()?.trim();
    (qualified && !name.is_empty()).then_some(name)
}

/// Where the braces opened from `first` on are closed again; none for a function without a body.
fn last_line(lines: &[&str], first: usize) -> Option<usize> {
    let mut depth = 0_usize;
    // `[u8; N]` in a signature is no end of it.
    let mut brackets = 0_usize;
    for (index, line) in lines.iter().enumerate().skip(first) {
        for symbol in line.chars() {
            match symbol {
                '{' => depth += 1,
                '}' if depth <= 1 => return Some(index),
                '}' => depth -= 1,
                '[' | '(' => brackets += 1,
                ']' | ')' => brackets = brackets.saturating_sub(1),
                ';' if depth == 0 && brackets == 0 => return None,
                _ => {}
            }
        }
    }
    None
}

/// From which line on functions are tests: by the place of the file, or by `mod tests` at its
/// bottom.
fn first_line_of_tests(path: &str, code: &str) -> usize {
    let in_tests = path.contains("/tests/") || path.ends_with("/tests.rs");
    if in_tests || path.starts_with("crates/testkit/") {
        return 1;
    }
    numbered(code)
        .find(|(_, line)| line.trim_start().starts_with("mod tests {"))
        .map_or(usize::MAX, |(number, _)| number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::found;

    fn function(lines: usize) -> String {
        format!("pub(crate) fn f<T>(x: [u8; 2]) {{\n{}}}\n", "    g(\"}\");\n".repeat(lines - 2))
    }

    #[test]
    fn long_functions_are_found_at_their_line() {
        let good = format!("//! Doc.\n{}", function(70));
        let bad = format!("trait T {{\n    fn g();\n}}\n{}", function(71));
        let tree = Tree::of(&[("a.rs", &good), ("b.rs", &bad)]);
        assert_eq!(found(check, &tree), ["b.rs:4"]);
    }

    #[test]
    fn tests_may_be_longer_but_not_endless() {
        let inside = format!("mod tests {{\n{}{}}}\n", function(100), function(151));
        let tree = Tree::of(&[("a.rs", &inside), ("crates/x/tests/b.rs", &function(150))]);
        assert_eq!(found(check, &tree), ["a.rs:102"]);
    }

    #[test]
    fn long_files_need_a_reason() {
        let long = "// x\n".repeat(801);
        let excused = format!("// Long because it is a table.\n{long}");
        let tree = Tree::of(&[("a.rs", &long), ("b.rs", &excused), ("c.md", &long)]);
        assert_eq!(found(check, &tree), ["a.rs:1"]);
    }

    #[test]
    fn functions_are_told_from_pointers_and_declarations() {
        let code =
            "type F = fn(u8);\nlet f: fn (u8) = g;\nfn h(\n    a: u8,\n) -> u8 {\n    a\n}\n";
        let names: Vec<(&str, usize, usize)> =
            functions(code).iter().map(|entry| (entry.name, entry.first, entry.last)).collect();
        assert_eq!(names, [("h", 3, 7)]);
    }
}
