//! `cargo xtask package`: the program as a Debian package, by what is in any Debian: dpkg-deb, gzip,
//! strip. What goes into it stands in `packaging/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use crate::flags::{Usage, parse};
use crate::tree::{Scope, Workspace, cargo};

pub(crate) const HELP: &str = "\
usage: cargo xtask package [PROGRAM [FOLDER]]

Makes FOLDER/mainspring_VERSION_ARCHITECTURE.deb (default: dist) of the release program, which it
builds unless another PROGRAM is given.

examples:
  cargo xtask package
  sudo apt install ./dist/mainspring_0.1.0_amd64.deb
";

/// Where a file of `packaging/` goes.
const FILES: &[(&str, &str)] = &[
    ("mainspring-echo.service", "lib/systemd/system/mainspring-echo.service"),
    ("mainspring-echo.default", "etc/default/mainspring-echo"),
    ("debian/overrides", "usr/share/lintian/overrides/mainspring"),
];
const CONFFILES: &str = "/etc/default/mainspring-echo\n";
const SCRIPTS: &[&str] = &["postinst", "prerm", "postrm"];

pub(crate) fn run(args: &[String]) -> Result<ExitCode, Usage> {
    let given = parse(args, &[], Some("PROGRAM and FOLDER"))?;
    if given.words.len() > 2 {
        return Err(Usage("at most a program and a folder".to_owned()));
    }
    match package(&given.words) {
        Ok(made) => {
            println!("{}", made.display());
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            eprintln!("error: {error}");
            Ok(ExitCode::FAILURE)
        }
    }
}

fn package(words: &[String]) -> Result<PathBuf, String> {
    let workspace = Workspace::load(Scope::Members)?;
    let root = &workspace.root;
    let program = match words.first() {
        Some(program) => PathBuf::from(program),
        None => build(&workspace)?,
    };
    let folder = words.get(1).map_or_else(|| root.join("dist"), PathBuf::from);
    let version = version_of(&workspace)?;
    let architecture = told(Command::new("dpkg").arg("--print-architecture"))?;
    let stem = format!("mainspring_{version}_{architecture}");
    let stage = folder.join(format!("{stem}.stage"));
    if stage.exists() {
        done(fs::remove_dir_all(&stage), &stage)?;
    }
    fill(root, &stage, &program, &version)?;
    control(root, &stage, &version, &architecture)?;
    let made = folder.join(format!("{stem}.deb"));
    let mut deb = Command::new("dpkg-deb");
    deb.args(["--root-owner-group", "-Zxz", "--build"]).arg(&stage).arg(&made);
    told(&mut deb)?;
    done(fs::remove_dir_all(&stage), &stage)?;
    Ok(made)
}

fn build(workspace: &Workspace) -> Result<PathBuf, String> {
    let mut command = cargo();
    command.args(["build", "--release", "--package", "mainspring-cli"]);
    command.current_dir(&workspace.root);
    match command.status() {
        Ok(status) if status.success() => Ok(workspace.target.join("release").join("mainspring")),
        Ok(status) => Err(format!("cargo build ended with {status}")),
        Err(error) => Err(format!("cannot start cargo: {error}")),
    }
}

fn version_of(workspace: &Workspace) -> Result<String, String> {
    let cli = workspace.packages.iter().find(|package| package.name == "mainspring-cli");
    cli.map(|package| package.version.clone()).ok_or_else(|| "no mainspring-cli".to_owned())
}

/// All that is installed.
fn fill(root: &Path, stage: &Path, program: &Path, version: &str) -> Result<(), String> {
    let packaging = root.join("packaging");
    let binary = stage.join("usr/bin/mainspring");
    make(&binary, &done(fs::read(program), program)?, 0o755)?;
    told(Command::new("strip").args(["--strip-unneeded", "-R", ".comment"]).arg(&binary))?;
    for (from, to) in FILES {
        let from = packaging.join(from);
        make(&stage.join(to), &done(fs::read(&from), &from)?, 0o644)?;
    }
    let manual = stage.join("usr/share/man/man1/mainspring.1");
    let page = packaging.join("mainspring.1");
    make(&manual, &done(fs::read(&page), &page)?, 0o644)?;
    let doc = stage.join("usr/share/doc/mainspring");
    make(&doc.join("copyright"), copyright(root)?.as_bytes(), 0o644)?;
    let news = doc.join("changelog");
    make(&news, changelog(root, version)?.as_bytes(), 0o644)?;
    for file in [manual, news] {
        told(Command::new("gzip").args(["-9n"]).arg(&file))?;
    }
    Ok(())
}

/// What dpkg has to know.
fn control(root: &Path, stage: &Path, version: &str, architecture: &str) -> Result<(), String> {
    let sums = told(
        Command::new("sh")
            .args(["-c", "find * -type f ! -path 'DEBIAN/*' -print0 | sort -z | xargs -0 md5sum"])
            .current_dir(stage),
    )?;
    let size = told(Command::new("du").args(["-sk", "."]).current_dir(stage))?;
    let size = size.split_whitespace().next().unwrap_or("0").to_owned();
    let binary = stage.join("usr/bin/mainspring");
    let libc = newest_libc(&done(fs::read(&binary), &binary)?);
    let debian = stage.join("DEBIAN");
    let from = root.join("packaging/debian");
    let fields = [
        ("@VERSION@", version),
        ("@ARCHITECTURE@", architecture),
        ("@SIZE@", &size),
        ("@LIBC@", &libc),
    ];
    let mut text = done(fs::read_to_string(from.join("control")), &from)?;
    for (name, value) in fields {
        text = text.replace(name, value);
    }
    make(&debian.join("control"), text.as_bytes(), 0o644)?;
    make(&debian.join("conffiles"), CONFFILES.as_bytes(), 0o644)?;
    make(&debian.join("md5sums"), format!("{sums}\n").as_bytes(), 0o644)?;
    for script in SCRIPTS {
        make(&debian.join(script), &done(fs::read(from.join(script)), &from)?, 0o755)?;
    }
    Ok(())
}

/// The newest version of the C library of which the program needs a symbol.
fn newest_libc(program: &[u8]) -> String {
    let text = String::from_utf8_lossy(program);
    let versions = text.split("GLIBC_2.").skip(1).filter_map(|rest| {
        let end = rest.find(|letter: char| !letter.is_ascii_digit())?;
        rest[..end].parse::<u32>().ok()
    });
    format!("2.{}", versions.max().unwrap_or(17))
}

fn copyright(root: &Path) -> Result<String, String> {
    let path = root.join("LICENSE-MIT");
    let license = done(fs::read_to_string(&path), &path)?;
    // The text after the name of the license and the holder; an empty line is a dot here.
    let text = license.split_once("Permission is").map_or(license.as_str(), |(_, text)| text);
    let lines: Vec<String> = format!("Permission is{text}")
        .trim_end()
        .lines()
        .map(|line| if line.trim().is_empty() { " .".to_owned() } else { format!(" {line}") })
        .collect();
    Ok(format!(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\
         Upstream-Name: mainspring\n\nFiles: *\nCopyright: 2026 The Mainspring developers\n\
         License: Expat or Apache-2.0\n\nLicense: Expat\n{}\n\nLicense: Apache-2.0\n \
         On Debian systems, the text of the license is in\n /usr/share/common-licenses/Apache-2.0.\n",
        lines.join("\n")
    ))
}

/// Dated as the last commit, so that the same checkout gives the same package.
fn changelog(root: &Path, version: &str) -> Result<String, String> {
    let mut git = Command::new("git");
    let date = told(git.args(["log", "-1", "--format=%aD"]).current_dir(root))?;
    Ok(format!(
        "mainspring ({version}) unstable; urgency=medium\n\n  * See CHANGELOG.md of the sources.\n\n \
         -- The Mainspring developers <mainspring@localhost.localdomain>  {date}\n"
    ))
}

fn make(path: &Path, bytes: &[u8], mode: u32) -> Result<(), String> {
    let parent = path.parent().expect("a file in a folder");
    done(fs::create_dir_all(parent), parent)?;
    done(fs::write(path, bytes), path)?;
    allow(path, mode)
}

#[cfg(unix)]
fn allow(path: &Path, mode: u32) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt as _;
    done(fs::set_permissions(path, fs::Permissions::from_mode(mode)), path)
}

#[cfg(not(unix))]
fn allow(path: &Path, mode: u32) -> Result<(), String> {
    Err(format!("{}: only a unix system can give a file the mode {mode:o}", path.display()))
}

fn done<T>(result: std::io::Result<T>, path: &Path) -> Result<T, String> {
    result.map_err(|error| format!("{}: {error}", path.display()))
}

/// Runs a command; what it printed.
fn told(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| format!("cannot start `{name}`: {error}"))?;
    if !output.status.success() {
        return Err(format!("`{name}` ended with {}", output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_symbol_decides_which_library_is_needed() {
        assert_eq!(newest_libc(b"..GLIBC_2.2.5\0GLIBC_2.34\0GLIBC_2.9\0"), "2.34");
        assert_eq!(newest_libc(b"none"), "2.17");
    }
}
