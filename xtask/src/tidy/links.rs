//! Relative links in Markdown lead to files or folders of the checkout.

use super::{Offence, Tree, numbered};

pub(super) fn check(tree: &Tree, offences: &mut Vec<Offence>) {
    for file in tree.files.iter().filter(|file| file.path.ends_with(".md")) {
        let mut in_code = false;
        for (number, line) in numbered(&file.text) {
            if line.trim_start().starts_with("```") {
                in_code = !in_code;
            }
            if in_code {
                continue;
            }
            for link in
                links(line).into_iter().filter(|link| !leads_somewhere(tree, &file.path, link))
            {
                let message = format!("the link `{link}` leads to no file of the checkout");
                offences.push(Offence::new(&file.path, number, message));
            }
        }
    }
}

/// Targets of `[text](target)` and `[label]: target` outside of code spans.
fn links(line: &str) -> Vec<String> {
    let prose: Vec<&str> = line.split('`').step_by(2).collect();
    // A code span may be the text of a link, so the pieces are joined again.
    let prose = prose.join("x");
    let mut found: Vec<String> = prose
        .match_indices("](")
        .filter_map(|(at, _)| prose[at + 2..].split(')').next())
        .map(str::to_owned)
        .collect();
    if prose.starts_with('[') && !prose.starts_with("[^") {
        found.extend(prose.split_once("]: ").map(|(_, target)| target.to_owned()));
    }
    // What follows a space is a title.
    found.iter().filter_map(|link| link.split_whitespace().next()).map(str::to_owned).collect()
}

fn leads_somewhere(tree: &Tree, from: &str, link: &str) -> bool {
    let has_scheme = link.split_once(':').is_some_and(|(scheme, _)| !scheme.contains(['/', '.']));
    if has_scheme || link.starts_with('#') {
        return true;
    }
    let target = link.split('#').next().unwrap_or_default();
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/').filter(|part| !part.is_empty()) {
        match part {
            "." => {}
            ".." if parts.pop().is_none() => return false,
            ".." => {}
            name => parts.push(name),
        }
    }
    let path = parts.join("/");
    let folder = if path.is_empty() { String::new() } else { format!("{path}/") };
    tree.files.iter().any(|file| file.path == path || file.path.starts_with(&folder))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::found;

    #[test]
    fn links_to_files_folders_and_the_web_pass() {
        let text = "[a](../README.md) [b](docs.md#part \"Title\") [c](https://x.org/y) [`d`](../docs)\n\
                    [e](#here) `[f](nowhere.md)` [g](..)\n```\n[h](nowhere.md)\n```\n[i]: docs.md\n";
        let tree = Tree::of(&[("README.md", ""), ("docs/docs.md", text)]);
        assert_eq!(found(check, &tree), Vec::<String>::new());
    }

    #[test]
    fn links_to_nowhere_are_found() {
        let text = "[a](README.md)\n\n[b](../../up.md)\n[c]: gone.md\n";
        let tree = Tree::of(&[("README.md", ""), ("docs/docs.md", text)]);
        assert_eq!(found(check, &tree), ["docs/docs.md:1", "docs/docs.md:3", "docs/docs.md:4"]);
    }
}
