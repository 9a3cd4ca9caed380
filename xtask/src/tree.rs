//! The checkout: where it is, what its packages are, and which files it holds.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The workspace as `cargo metadata` tells it.
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) packages: Vec<Package>,
}

/// One package of the graph.
#[derive(Clone, Debug, Default)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) license: Option<String>,
    /// Path of its `Cargo.toml`, relative to the root where it is below it.
    pub(crate) manifest: String,
    pub(crate) dependencies: Vec<Dependency>,
    /// Roots of its libraries and binaries, relative to the root where they are below it.
    pub(crate) crate_roots: Vec<String>,
}

/// A line of a `Cargo.toml`: what a package asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) dev: bool,
}

/// Which packages `cargo metadata` lists.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Those of the workspace.
    Members,
    /// Those and everything they depend on, on any platform.
    All,
}

/// A text file of the checkout.
#[derive(Clone, Debug)]
pub(crate) struct SourceFile {
    /// Relative to the root, with `/` between the parts.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Workspace {
    /// Asks cargo; the working directory must be inside of the workspace.
    pub(crate) fn load(scope: Scope) -> Result<Self, String> {
        let mut command = cargo();
        command.args(["metadata", "--format-version", "1"]);
        if scope == Scope::Members {
            command.arg("--no-deps");
        }
        Self::from_json(&output_of(command)?)
    }

    fn from_json(text: &str) -> Result<Self, String> {
        let json: Value = serde_json::from_str(text)
            .map_err(|error| format!("cannot read the output of `cargo metadata`: {error}"))?;
        let root = PathBuf::from(string(&json, "workspace_root"));
        let target = PathBuf::from(string(&json, "target_directory"));
        let packages = array(&json, "packages").map(|entry| package(entry, &root)).collect();
        Ok(Self { root, target, packages })
    }
}

/// A command that runs the cargo that runs us, of the same toolchain.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The text files of the checkout that are tracked, or would be by `git add`.
pub(crate) fn source_files(root: &Path) -> Result<Vec<SourceFile>, String> {
    let mut command = Command::new("git");
    command.current_dir(root);
    command.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let mut files = Vec::new();
    for path in output_of(command)?.split_terminator('\0') {
        // What is not UTF-8 (a picture) or is tracked but gone has no lines to check.
        if let Ok(text) = std::fs::read_to_string(root.join(path)) {
            files.push(SourceFile { path: path.to_owned(), text });
        }
    }
    Ok(files)
}

/// Standard output of a command that has to succeed.
fn output_of(mut command: Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("cannot start `{name}`: {error}"))?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(format!("`{name}` ended with {}: {reason}", output.status));
    }
    String::from_utf8(output.stdout).map_err(|_| format!("`{name}` printed what is not UTF-8"))
}

fn package(entry: &Value, root: &Path) -> Package {
    let is_root = |target: &&Value| {
        array(target, "kind")
            .any(|kind| matches!(kind.as_str(), Some("lib" | "bin" | "proc-macro")))
    };
    Package {
        name: string(entry, "name"),
        version: string(entry, "version"),
        license: entry["license"].as_str().map(str::to_owned),
        manifest: relative(&string(entry, "manifest_path"), root),
        dependencies: array(entry, "dependencies")
            .map(|dependency| Dependency {
                name: string(dependency, "name"),
                dev: dependency["kind"] == "dev",
            })
            .collect(),
        crate_roots: array(entry, "targets")
            .filter(is_root)
            .map(|target| relative(&string(target, "src_path"), root))
            .collect(),
    }
}

fn string(json: &Value, key: &str) -> String {
    json[key].as_str().unwrap_or_default().to_owned()
}

fn array<'a>(json: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    json[key].as_array().into_iter().flatten()
}

fn relative(path: &str, root: &Path) -> String {
    let path = Path::new(path);
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().replace('\\', "/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_read_with_paths_from_the_root() {
        let workspace = Workspace::from_json(
            r#"{"workspace_root": "/w", "target_directory": "/w/target", "packages": [{
                "name": "a", "version": "1.0.0", "license": "MIT", "manifest_path": "/w/a/Cargo.toml",
                "dependencies": [{"name": "b", "kind": null}, {"name": "c", "kind": "dev"}],
                "targets": [{"kind": ["lib"], "src_path": "/w/a/src/lib.rs"},
                            {"kind": ["test"], "src_path": "/w/a/tests/t.rs"}]}]}"#,
        )
        .unwrap();
        let package = &workspace.packages[0];
        assert_eq!(workspace.target, Path::new("/w/target"));
        assert_eq!(package.manifest, "a/Cargo.toml");
        assert_eq!(package.crate_roots, ["a/src/lib.rs"]);
        let dev: Vec<bool> = package.dependencies.iter().map(|dependency| dependency.dev).collect();
        assert_eq!(dev, [false, true]);
    }

    #[test]
    fn this_workspace_is_found_with_its_files() {
        let workspace = Workspace::load(Scope::Members).unwrap();
        assert!(workspace.packages.iter().any(|package| package.name == "xtask"));
        let files = source_files(&workspace.root).unwrap();
        assert!(files.iter().any(|file| file.path == "Cargo.toml"));
        assert!(!files.iter().any(|file| file.path.starts_with("target/")));
    }
}
