//! Licenses of everything in the tree against the list in `deny.toml`, without cargo-deny:
//! a gate that is always there, also where that program is not installed.

use crate::tree::{Package, Scope, Workspace};

/// Checks all packages of the graph, on any platform; the error lists every offender.
pub(crate) fn check() -> Result<(), String> {
    let workspace = Workspace::load(Scope::All)?;
    let rules = std::fs::read_to_string(workspace.root.join("deny.toml"))
        .map_err(|error| format!("deny.toml: {error}"))?;
    let allowed = allowed_licenses(&rules)?;
    let offenders = offenders(&workspace.packages, &allowed);
    if offenders.is_empty() {
        println!("{} packages, all under allowed licenses", workspace.packages.len());
        return Ok(());
    }
    Err(format!("{}\nallowed in deny.toml: {}", offenders.join("\n"), allowed.join(", ")))
}

/// The strings of `allow = [..]` in the section `[licenses]`.
fn allowed_licenses(rules: &str) -> Result<Vec<String>, String> {
    let list = rules
        .split_once("[licenses]")
        .and_then(|(_, rest)| rest.split_once("\nallow = ["))
        .and_then(|(_, rest)| rest.split_once(']'))
        .map(|(list, _)| list)
        .ok_or("deny.toml: no `allow = [..]` in the section [licenses]")?;
    let without_comments = list.lines().filter(|line| !line.trim_start().starts_with('#'));
    Ok(without_comments
        .flat_map(|line| line.split(','))
        .map(|entry| entry.trim().trim_matches('"').to_owned())
        .filter(|entry| !entry.is_empty())
        .collect())
}

fn offenders(packages: &[Package], allowed: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for package in packages {
        let Package { name, version, license, .. } = package;
        match license {
            None => found.push(format!("{name} {version}: names no license")),
            Some(license) => match Expression::satisfied(license, allowed) {
                Some(true) => {}
                Some(false) => found.push(format!("{name} {version}: `{license}` is not allowed")),
                None => found.push(format!("{name} {version}: cannot read `{license}`")),
            },
        }
    }
    found
}

/// A reader of SPDX license expressions, version 2.3, annex D: `OR` binds weaker than `AND`, `WITH`
/// binds strongest. Old manifests of cargo write `/` for `OR`.
struct Expression<'a> {
    tokens: Vec<String>,
    next: usize,
    allowed: &'a [String],
}

impl<'a> Expression<'a> {
    /// Whether the licenses `allowed` suffice to use something under `text`; `None`: not an
    /// expression.
    fn satisfied(text: &str, allowed: &'a [String]) -> Option<bool> {
        let spaced = text.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
        let tokens = spaced.split_whitespace().map(str::to_owned).collect();
        let mut expression = Self { tokens, next: 0, allowed };
        let answer = expression.either()?;
        (expression.next == expression.tokens.len()).then_some(answer)
    }

    fn either(&mut self) -> Option<bool> {
        let mut answer = self.all()?;
        while self.take("OR") {
            answer |= self.all()?;
        }
        Some(answer)
    }

    fn all(&mut self) -> Option<bool> {
        let mut answer = self.single()?;
        while self.take("AND") {
            answer &= self.single()?;
        }
        Some(answer)
    }

    fn single(&mut self) -> Option<bool> {
        if self.take("(") {
            let answer = self.either()?;
            return self.take(")").then_some(answer);
        }
        let mut license = self.word()?;
        if self.take("WITH") {
            license = format!("{license} WITH {}", self.word()?);
        }
        Some(self.allowed.contains(&license))
    }

    fn word(&mut self) -> Option<String> {
        let word = self.tokens.get(self.next)?.clone();
        let is_operator = matches!(word.as_str(), "OR" | "AND" | "WITH" | "(" | ")");
        self.next += 1;
        (!is_operator).then_some(word)
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.tokens.get(self.next).is_some_and(|next| next == token);
        self.next += usize::from(found);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn satisfied(text: &str) -> Option<bool> {
        let allowed = ["MIT", "Zlib", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned);
        Expression::satisfied(text, &allowed)
    }

    #[test]
    fn either_side_of_or_suffices_and_both_of_and_are_needed() {
        for good in ["MIT", "GPL-3.0 OR MIT", "GPL-3.0/MIT", "(GPL-3.0 OR MIT) AND Zlib"] {
            assert_eq!(satisfied(good), Some(true), "{good}");
        }
        for bad in ["GPL-3.0", "GPL-3.0 AND MIT", "MIT AND (GPL-3.0 OR ISC)", "Apache-2.0"] {
            assert_eq!(satisfied(bad), Some(false), "{bad}");
        }
        assert_eq!(satisfied("GPL-3.0 OR MIT AND Zlib"), Some(true));
        assert_eq!(satisfied("Apache-2.0 WITH LLVM-exception"), Some(true));
    }

    #[test]
    fn what_is_not_an_expression_is_not_taken_for_allowed() {
        for broken in ["", "MIT OR", "MIT MIT", "(MIT", "AND MIT", "MIT)"] {
            assert_eq!(satisfied(broken), None, "{broken}");
        }
    }

    #[test]
    fn the_list_is_read_from_the_right_section() {
        let rules = "[bans]\nallow = [\"GPL-3.0\"]\n[licenses]\nx = 1\nallow = [\n  # why\n  \"MIT\", \"ISC\",\n]\n";
        assert_eq!(allowed_licenses(rules).unwrap(), ["MIT", "ISC"]);
        assert!(allowed_licenses("[licenses]\n").is_err());
    }

    #[test]
    fn packages_without_an_allowed_license_are_all_named() {
        let package = |name: &str, license: Option<&str>| Package {
            name: name.to_owned(),
            license: license.map(str::to_owned),
            ..Package::default()
        };
        let packages =
            [package("a", Some("MIT")), package("b", None), package("c", Some("GPL-3.0"))];
        let found = offenders(&packages, &["MIT".to_owned()]);
        assert_eq!(found.len(), 2);
        assert!(found[0].starts_with("b ") && found[1].starts_with("c "), "{found:?}");
    }
}
