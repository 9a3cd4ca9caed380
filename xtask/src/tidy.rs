//! `cargo xtask tidy`: house rules that the compiler does not know, all offenders listed as
//! `file:line`.

mod capabilities;
mod crates;
mod lines;
mod links;
mod mask;
mod names;
mod sizes;
mod unsafety;
mod wire;

use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use crate::flags::{Usage, parse};
use crate::tree::{Package, Scope, SourceFile, Workspace, source_files};

pub(crate) const HELP: &str = "\
Checks the directions of the crates, where unsafe code and I/O may stand, names, sizes, left-over macros,
docs/capabilities.md against the tests it names, and relative links. Lists every offender.

examples:
  cargo xtask tidy
";

/// A breach of a rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Offence {
    path: String,
    /// Counted from 1.
    line: usize,
    message: String,
}

/// What the checks look at.
struct Tree {
    files: Vec<SourceFile>,
    packages: Vec<Package>,
}

type Check = fn(&Tree, &mut Vec<Offence>);

const CHECKS: &[Check] = &[
    crates::directions,
    crates::roots_forbid_unsafe,
    unsafety::check,
    wire::check,
    names::check,
    sizes::check,
    lines::check,
    capabilities::check,
    links::check,
];

pub(crate) fn run(args: &[String]) -> Result<ExitCode, Usage> {
    parse(args, &[], None)?;
    let outcome = Workspace::load(Scope::Members).and_then(|workspace| check(&workspace.root));
    Ok(match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    })
}

/// Prints every offence in the checkout at `root`; the error is their number.
pub(crate) fn check(root: &Path) -> Result<(), String> {
    let packages = Workspace::load(Scope::Members)?.packages;
    let tree = Tree { files: source_files(root)?, packages };
    let offences = tree.offences();
    for offence in &offences {
        println!("{offence}");
    }
    match offences.len() {
        0 => {
            println!("tidy: {} files, nothing to say", tree.files.len());
            Ok(())
        }
        count => Err(format!("{count} breaches of house rules")),
    }
}

impl Tree {
    fn offences(&self) -> Vec<Offence> {
        let mut offences = Vec::new();
        for check in CHECKS {
            check(self, &mut offences);
        }
        offences.sort();
        offences.dedup();
        offences
    }

    fn file(&self, path: &str) -> Option<&SourceFile> {
        self.files.iter().find(|file| file.path == path)
    }

    fn rust_files(&self) -> impl Iterator<Item = &SourceFile> {
        self.files.iter().filter(|file| file.path.ends_with(".rs"))
    }

    #[cfg(test)]
    fn of(files: &[(&str, &str)]) -> Self {
        let file = |(path, text): &(&str, &str)| SourceFile {
            path: (*path).to_owned(),
            text: (*text).to_owned(),
        };
        Self { files: files.iter().map(file).collect(), packages: Vec::new() }
    }
}

impl Offence {
    fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }
}

impl fmt::Display for Offence {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// Lines with their numbers, counted from 1.
fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

/// Whether `line` contains `word` with no letter, digit or underscore on either side.
fn has_word(line: &str, word: &str) -> bool {
    let part = |symbol: char| symbol.is_alphanumeric() || symbol == '_';
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(part) && !line[at + word.len()..].starts_with(part))
}

/// Runs one check over files made up for a test; answers are `path:line`.
#[cfg(test)]
fn found(check: Check, tree: &Tree) -> Vec<String> {
    let mut offences = Vec::new();
    check(tree, &mut offences);
    offences.iter().map(|offence| format!("{}:{}", offence.path, offence.line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_end_where_names_end() {
        assert!(has_word("unsafe {", "unsafe"));
        assert!(has_word("(unsafe)", "unsafe"));
        assert!(!has_word("forbid(unsafe_code)", "unsafe"));
        assert!(!has_word("not_unsafe", "unsafe"));
    }
}
