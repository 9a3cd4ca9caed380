//! Which crate may depend on which, and the roots that forbid unsafe code.

use super::{Offence, Tree, numbered};
use crate::tree::{Dependency, Package};

/// One line of the table: a package and what it may be built on, of the workspace.
struct Direction {
    package: &'static str,
    /// For what is shipped.
    uses: &'static [&'static str],
    /// Beside those, for its tests.
    tests_use: &'static [&'static str],
}

/// The directions of ARCHITECTURE.md. Tests may stand on the testkit and the simulation everywhere
/// but in the two crates at the bottom of it all.
const DIRECTIONS: &[Direction] = &[
    Direction { package: "mainspring-wire", uses: &[], tests_use: &[] },
    Direction {
        package: "mainspring-io",
        uses: &[],
        tests_use: &["mainspring-testkit", "mainspring-sim"],
    },
    Direction {
        package: "mainspring-sim",
        uses: &["mainspring-io"],
        tests_use: &["mainspring-testkit"],
    },
    Direction {
        package: "mainspring-loop",
        uses: &["mainspring-io", "mainspring-wire"],
        tests_use: &["mainspring-testkit", "mainspring-sim"],
    },
    Direction {
        package: "mainspring-layers",
        uses: &["mainspring-io", "mainspring-loop"],
        tests_use: &[],
    },
    Direction {
        package: "mainspring-client",
        uses: &["mainspring-io", "mainspring-wire"],
        // Itself, with its features.
        tests_use: &["mainspring-client", "mainspring-loop", "mainspring-tls"],
    },
    Direction {
        package: "mainspring-tls",
        uses: &["mainspring-io", "mainspring-loop"],
        tests_use: &["mainspring-testkit", "mainspring-sim"],
    },
    Direction {
        package: "mainspring-tasks",
        uses: &["mainspring-io", "mainspring-loop"],
        tests_use: &["mainspring-sim"],
    },
    Direction {
        package: "mainspring-testkit",
        uses: &[
            "mainspring-io",
            "mainspring-layers",
            "mainspring-loop",
            "mainspring-sim",
            "mainspring-tasks",
            "mainspring-wire",
        ],
        tests_use: &[],
    },
    Direction {
        package: "mainspring-app",
        uses: &["mainspring-io", "mainspring-loop", "mainspring-wire"],
        tests_use: &["mainspring-testkit", "mainspring-tls", "mainspring-sim"],
    },
    Direction {
        package: "mainspring",
        uses: &[
            "mainspring-app",
            "mainspring-client",
            "mainspring-io",
            "mainspring-layers",
            "mainspring-loop",
            "mainspring-sim",
            "mainspring-tasks",
            "mainspring-tls",
            "mainspring-wire",
        ],
        tests_use: &["mainspring-testkit"],
    },
    Direction {
        package: "mainspring-cli",
        uses: &["mainspring"],
        tests_use: &["mainspring-testkit"],
    },
    Direction {
        package: "mainspring-examples",
        uses: &["mainspring"],
        tests_use: &["mainspring-testkit"],
    },
    Direction { package: "mainspring-counts", uses: &["mainspring"], tests_use: &[] },
    Direction { package: "xtask", uses: &[], tests_use: &[] },
];

/// The crate that may hold unsafe code.
const UNSAFE_PACKAGE: &str = "mainspring-io";
const FORBID: &str = "#![forbid(unsafe_code)]";

/// Every dependency inside of the workspace stands in the table.
pub(super) fn directions(tree: &Tree, offences: &mut Vec<Offence>) {
    for package in &tree.packages {
        let Some(direction) = DIRECTIONS.iter().find(|entry| entry.package == package.name) else {
            let message =
                format!("{} is not in the table of xtask/src/tidy/crates.rs", package.name);
            offences.push(Offence::new(&package.manifest, 1, message));
            continue;
        };
        let inside = |name: &str| tree.packages.iter().any(|member| member.name == name);
        for dependency in package.dependencies.iter().filter(|entry| inside(&entry.name)) {
            offences.extend(breach(tree, package, direction, dependency));
        }
    }
}

fn breach(
    tree: &Tree,
    package: &Package,
    direction: &Direction,
    dependency: &Dependency,
) -> Option<Offence> {
    let name = dependency.name.as_str();
    let allowed = direction.uses.contains(&name);
    if allowed || (dependency.dev && direction.tests_use.contains(&name)) {
        return None;
    }
    let kind = if dependency.dev { "its tests may" } else { "it may" };
    let mut list = direction.uses.to_vec();
    if dependency.dev {
        list.extend(direction.tests_use);
    }
    let list = if list.is_empty() { "none".to_owned() } else { list.join(", ") };
    let message =
        format!("{} depends on {name}; of the workspace {kind} use: {list}", package.name);
    let manifest = tree.file(&package.manifest).map_or("", |file| file.text.as_str());
    let line = numbered(manifest)
        .find(|(_, line)| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['.', ' ', '=']))
        })
        .map_or(1, |(number, _)| number);
    Some(Offence::new(&package.manifest, line, message))
}

/// Every root of a library or binary but those of the one crate forbids unsafe code.
pub(super) fn roots_forbid_unsafe(tree: &Tree, offences: &mut Vec<Offence>) {
    for package in tree.packages.iter().filter(|package| package.name != UNSAFE_PACKAGE) {
        for root in &package.crate_roots {
            let text = tree.file(root).map_or("", |file| file.text.as_str());
            if !text.lines().any(|line| line.trim() == FORBID) {
                offences.push(Offence::new(root, 1, format!("the crate root lacks {FORBID}")));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::found;

    fn package(name: &str, dependencies: &[(&str, bool)]) -> Package {
        let depend =
            |(name, dev): &(&str, bool)| Dependency { name: (*name).to_owned(), dev: *dev };
        Package {
            name: name.to_owned(),
            manifest: format!("{name}/Cargo.toml"),
            dependencies: dependencies.iter().map(depend).collect(),
            crate_roots: vec![format!("{name}/lib.rs")],
            ..Package::default()
        }
    }

    fn tree(files: &[(&str, &str)], packages: Vec<Package>) -> Tree {
        Tree { packages, ..Tree::of(files) }
    }

    #[test]
    fn allowed_directions_and_foreign_crates_pass() {
        let tree = tree(
            &[],
            vec![
                package("mainspring-io", &[("mio", false), ("mainspring-testkit", true)]),
                package("mainspring-sim", &[("mainspring-io", false)]),
                package("mainspring-testkit", &[("mainspring-sim", false)]),
            ],
        );
        assert_eq!(found(directions, &tree), Vec::<String>::new());
    }

    #[test]
    fn a_dependency_upwards_is_named_with_its_line() {
        let manifest = "[dependencies]\nmio = \"1\"\nmainspring-testkit.workspace = true\n";
        let tree = tree(
            &[("mainspring-io/Cargo.toml", manifest)],
            vec![
                package("mainspring-io", &[("mainspring-testkit", false)]),
                package("mainspring-wire", &[("mainspring-io", true)]),
                package("mainspring-cli", &[("mainspring-loop", false)]),
                package("mainspring-loop", &[]),
                package("mainspring-testkit", &[]),
            ],
        );
        let wanted = [
            "mainspring-io/Cargo.toml:3",
            "mainspring-wire/Cargo.toml:1",
            "mainspring-cli/Cargo.toml:1",
        ];
        assert_eq!(found(directions, &tree), wanted);
    }

    #[test]
    fn a_crate_outside_of_the_table_is_an_offence() {
        let tree = tree(&[], vec![package("mainspring-new", &[])]);
        assert_eq!(found(directions, &tree), ["mainspring-new/Cargo.toml:1"]);
    }

    #[test]
    fn roots_without_the_line_are_found_but_not_in_the_crate_for_unsafe() {
        let files = [
            ("mainspring-wire/lib.rs", "//! Doc.\n#![forbid(unsafe_code)]\n"),
            ("mainspring-loop/lib.rs", "// #![forbid(unsafe_code)]\n"),
        ];
        let names = ["mainspring-wire", "mainspring-loop", "mainspring-io"];
        let tree = tree(&files, names.map(|name| package(name, &[])).to_vec());
        assert_eq!(found(roots_forbid_unsafe, &tree), ["mainspring-loop/lib.rs:1"]);
    }
}
