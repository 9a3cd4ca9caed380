//! The wire crate turns bytes into frames: it does no I/O, reads no clock and starts no thread. What
//! it offers to those who do I/O, extensions of the traits of `std::io`, stands in one module.

use super::{Offence, Tree, has_word, mask, numbered};

const FOLDER: &str = "crates/wire/src/";
/// May name `std::io`, for its traits.
const BLOCKING: &str = "crates/wire/src/blocking";
/// Modules and functions of `std` that touch the world outside.
const MODULES: &[&str] = &["net", "io", "fs", "os", "process", "thread::spawn", "thread::sleep"];
const CLOCKS: &[&str] = &["Instant::now", "SystemTime"];

pub(super) fn check(tree: &Tree, offences: &mut Vec<Offence>) {
    for file in tree.rust_files().filter(|file| file.path.starts_with(FOLDER)) {
        for (number, line) in numbered(&mask::code_only(&file.text)) {
            let blocking = file.path.starts_with(BLOCKING);
            for name in forbidden_names(line).iter().filter(|name| !blocking || *name != "std::io")
            {
                let message =
                    format!("{name} in {FOLDER}: wire code does no I/O and reads no clock");
                offences.push(Offence::new(&file.path, number, message));
            }
        }
    }
}

fn forbidden_names(line: &str) -> Vec<String> {
    let mut names: Vec<String> = MODULES
        .iter()
        .filter(|module| has_word(line, &format!("std::{module}")) || is_in_group(line, module))
        .map(|module| format!("std::{module}"))
        .collect();
    names.extend(
        CLOCKS.iter().filter(|clock| has_word(line, clock)).map(|clock| (*clock).to_owned()),
    );
    names
}

/// `use std::{fmt, io};`: rustfmt keeps short groups on one line, and long ones are not written
/// here.
fn is_in_group(line: &str, module: &str) -> bool {
    let group = line.split_once("std::{").map(|(_, group)| group);
    group.is_some_and(|group| {
        group.split([',', '}']).any(|entry| {
            let first = entry.trim().split("::").next().unwrap_or_default();
            first.split_whitespace().next() == Some(module)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::found;

    #[test]
    fn io_and_clocks_are_found_in_wire_only() {
        let bad = "use std::net::TcpStream;\nuse std::{fmt, io};\nlet now = Instant::now();\n";
        let good =
            "use std::{fmt, mem};\n// std::io\nuse std::ops::Range;\nlet iota = std::iota();\n";
        let tree = Tree::of(&[
            ("crates/wire/src/a.rs", bad),
            ("crates/wire/src/b.rs", good),
            ("crates/io/src/c.rs", bad),
            ("crates/wire/tests/d.rs", "use std::fs;\n"),
            ("crates/wire/src/blocking/read.rs", "use std::io::Read;\nuse std::fs;\n"),
        ]);
        let wanted = ["a.rs:1", "a.rs:2", "a.rs:3", "blocking/read.rs:2"];
        assert_eq!(found(check, &tree), wanted.map(|place| format!("{FOLDER}{place}")));
    }
}
