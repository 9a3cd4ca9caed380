//! Unsafe code stands in one crate. The lint of each crate root says the same of libraries; this
//! check also sees tests, examples and the fuzz workspace, which have roots of their own.
//!
//! The servers that the bench measures against are not ours to ship: a raw io_uring or `recvmmsg`
//! floor and a server in C cannot be had without unsafe code. It stands in files that are named for it.

use super::{Offence, Tree, has_word, mask, numbered};

const UNSAFE_FOLDER: &str = "crates/io/";
/// What the bench measures against: files `unsafe_*.rs` only.
const PEERS_FOLDER: &str = "bench/servers/src/";

pub(super) fn check(tree: &Tree, offences: &mut Vec<Offence>) {
    for file in tree.rust_files().filter(|file| !may_be_unsafe(&file.path)) {
        for (number, line) in numbered(&mask::code_only(&file.text)) {
            if has_word(line, "unsafe") {
                let message = format!("unsafe code outside of {UNSAFE_FOLDER}");
                offences.push(Offence::new(&file.path, number, message));
            }
        }
    }
}

fn may_be_unsafe(path: &str) -> bool {
    let is_named_so = path.rsplit('/').next().is_some_and(|name| name.starts_with("unsafe_"));
    path.starts_with(UNSAFE_FOLDER) || path.starts_with(PEERS_FOLDER) && is_named_so
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
            ("bench/servers/src/floor/ring/unsafe_queue.rs", "unsafe { f() }"),
            ("bench/servers/src/floor/ring.rs", "unsafe { f() }"),
            ("crates/loop/src/unsafe_d.rs", "unsafe { f() }"),
        ]);
        let outside = [
            "crates/loop/tests/c.rs:2",
            "bench/servers/src/floor/ring.rs:1",
            "crates/loop/src/unsafe_d.rs:1",
        ];
        assert_eq!(found(check, &tree), outside);
    }
}
