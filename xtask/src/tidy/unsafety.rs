//! Unsafe code stands in one crate. The lint of each crate root says the same of libraries; this
//! check also sees tests, examples and the fuzz workspace, which have roots of their own.

use super::{Offence, Tree, has_word, mask, numbered};

const UNSAFE_FOLDER: &str = "crates/io/";

pub(super) fn check(tree: &Tree, offences: &mut Vec<Offence>) {
    for file in tree.rust_files().filter(|file| !file.path.starts_with(UNSAFE_FOLDER)) {
        for (number, line) in numbered(&mask::code_only(&file.text)) {
            if has_word(line, "unsafe") {
                let message = format!("unsafe code outside of {UNSAFE_FOLDER}");
                offences.push(Offence::new(&file.path, number, message));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::found;

    #[test]
    fn unsafe_code_is_found_and_talk_of_it_is_not() {
        let tree = Tree::of(&[
            ("crates/io/src/a.rs", "unsafe { f() }"),
            ("crates/loop/src/b.rs", "#![forbid(unsafe_code)]\n// unsafe\nlet a = \"unsafe\";\n"),
            ("crates/loop/tests/c.rs", "fn f() {\n    unsafe { g() }\n}\n"),
        ]);
        assert_eq!(found(check, &tree), ["crates/loop/tests/c.rs:2"]);
    }
}
