//! What a single line must not hold: left-over macros, stray white space, too much, a machine's
//! paths.

use super::{Offence, Tree, mask, numbered};
use crate::tree::SourceFile;

const COLUMNS_MAX: usize = 140;
const LEFT_OVERS: &[&str] = &["todo!(", "unimplemented!(", "dbg!("];
/// Folders of one machine. Taken apart, so that this file does not offend against itself.
const MACHINE_PATHS: &[&str] = &[concat!("/wo", "rk/"), concat!("/tmp/ta", "rget")];

pub(super) fn check(tree: &Tree, offences: &mut Vec<Offence>) {
    for file in &tree.files {
        let rust = file.path.ends_with(".rs");
        if rust || file.path.ends_with(".md") || file.path.ends_with(".toml") {
            check_white_space(file, offences);
        }
        if rust {
            check_rust(file, offences);
        }
        check_paths(file, offences);
    }
}

fn check_white_space(file: &SourceFile, offences: &mut Vec<Offence>) {
    for (number, line) in numbered(&file.text) {
        if line.ends_with([' ', '\t']) {
            offences.push(Offence::new(&file.path, number, "white space at the end of the line"));
        }
        if line.contains('\t') {
            offences.push(Offence::new(&file.path, number, "a tab; indent with spaces"));
        }
    }
}

fn check_rust(file: &SourceFile, offences: &mut Vec<Offence>) {
    for (number, line) in numbered(&file.text) {
        let columns = line.chars().count();
        if columns > COLUMNS_MAX {
            let message = format!("{columns} columns, over {COLUMNS_MAX}");
            offences.push(Offence::new(&file.path, number, message));
        }
    }
    for (number, line) in numbered(&mask::code_only(&file.text)) {
        for word in LEFT_OVERS.iter().filter(|word| line.contains(**word)) {
            offences.push(Offence::new(&file.path, number, format!("{word}..) is left over")));
        }
    }
}

fn check_paths(file: &SourceFile, offences: &mut Vec<Offence>) {
    for (number, line) in numbered(&file.text) {
        for path in MACHINE_PATHS.iter().filter(|path| line.contains(**path)) {
            offences.push(Offence::new(
                &file.path,
                number,
                format!("`{path}` is a path of one machine"),
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::found;

    #[test]
    fn left_overs_are_found_in_code_and_not_in_words() {
        let bad = "fn f() {\n    todo!()\n}\nfn g() {\n    dbg!(1);\n    unimplemented!()\n}\n";
        let good = "// todo!()\nlet a = \"dbg!(\";\n";
        let tree = Tree::of(&[("a.rs", bad), ("b.rs", good)]);
        assert_eq!(found(check, &tree), ["a.rs:2", "a.rs:5", "a.rs:6"]);
    }

    #[test]
    fn white_space_and_long_lines_are_found_where_they_matter() {
        let long = "x".repeat(141);
        let tree = Tree::of(&[
            ("a.rs", &long),
            ("b.md", &format!("{long}\nend \n")),
            ("c.toml", "\ta = 1\n"),
            ("d.txt", "\t \n"),
        ]);
        assert_eq!(found(check, &tree), ["a.rs:1", "b.md:2", "c.toml:1"]);
    }

    #[test]
    fn paths_of_one_machine_are_found_in_any_file() {
        for path in MACHINE_PATHS {
            let tree = Tree::of(&[("run", &format!("ok\ncd {path}x\n"))]);
            assert_eq!(found(check, &tree), ["run:2"]);
        }
        assert_eq!(found(check, &Tree::of(&[("a.md", "/worker/ /tmp/x\n")])), Vec::<String>::new());
    }
}
