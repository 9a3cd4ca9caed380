//! Files and folders that are called after nothing in particular become drawers.

use super::{Offence, Tree};

const DRAWERS: &[&str] =
    &["util", "utils", "common", "helper", "helpers", "manager", "misc", "stuff"];

pub(super) fn check(tree: &Tree, offences: &mut Vec<Offence>) {
    for file in &tree.files {
        for part in file.path.split('/') {
            let stem = part.split('.').next().unwrap_or_default();
            if DRAWERS.contains(&stem.to_ascii_lowercase().as_str()) {
                let message = format!("`{stem}` says nothing; name it for the mechanism in it");
                offences.push(Offence::new(&file.path, 1, message));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::found;

    #[test]
    fn drawers_are_found_as_files_and_as_folders() {
        let tree = Tree::of(&[
            ("crates/io/src/utils.rs", ""),
            ("crates/io/tests/common/mod.rs", ""),
            ("crates/io/src/commoner.rs", ""),
            ("docs/misc.md", ""),
        ]);
        let wanted =
            ["crates/io/src/utils.rs:1", "crates/io/tests/common/mod.rs:1", "docs/misc.md:1"];
        assert_eq!(found(check, &tree), wanted);
    }
}
