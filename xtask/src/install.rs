//! What the tests need beside cargo: foreign clients and servers that judge ours.
//!
//! What is missing is installed on Debian as root, and named everywhere else. A missing program
//! is a failure and never a reason to leave a test out.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program that the tests start, and the Debian package that brings it.
struct Program {
    name: &'static str,
    package: &'static str,
}

const PROGRAMS: &[Program] = &[
    Program { name: "redis-cli", package: "redis-tools" },
    Program { name: "redis-benchmark", package: "redis-tools" },
    Program { name: "redis-server", package: "redis-server" },
    Program { name: "curl", package: "curl" },
    Program { name: "openssl", package: "openssl" },
    Program { name: "nc", package: "netcat-openbsd" },
    Program { name: "strace", package: "strace" },
    Program { name: "ss", package: "iproute2" },
    Program { name: "python3", package: "python3" },
    Program { name: "pip3", package: "python3-pip" },
    Program { name: "node", package: "nodejs" },
    Program { name: "npm", package: "npm" },
    Program { name: "nginx", package: "nginx-light" },
    Program { name: "setpriv", package: "util-linux" },
    Program { name: "script", package: "bsdutils" },
    Program { name: "dpkg-deb", package: "dpkg" },
    Program { name: "strip", package: "binutils" },
    Program { name: "systemd-analyze", package: "systemd" },
    // No programs, but looked for alike: an absolute path is one in every folder of PATH.
    Program { name: "/usr/lib/nginx/modules/ngx_stream_module.so", package: "libnginx-mod-stream" },
    Program { name: "/usr/include/uv.h", package: "libuv1-dev" },
];

/// What instructions are counted with: nothing that the tests need.
const COUNTING: &[Program] = &[Program { name: "valgrind", package: "valgrind" }];

/// A compiler with the sources of its standard library, from which that of any target is built. These
/// are the packages that keep up with Rust; the binaries stand where no other toolchain's do.
const COMPILING: &[Program] = &[
    Program { name: "/usr/bin/cargo", package: "cargo-web" },
    Program { name: "/usr/bin/rustc", package: "rustc-web" },
    Program { name: "/usr/lib/rustlib/src/rust/library/std/Cargo.toml", package: "rust-web-src" },
    Program { name: "x86_64-w64-mingw32-dlltool", package: "binutils-mingw-w64-x86-64" },
];

/// Debian starts the service of a package when it installs it, unless this file says no.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Makes sure that programs and client libraries are there; `peers` is where the libraries go.
///
/// `peers/python` and `peers/node` are for `PYTHONPATH` and `NODE_PATH`
/// (`peers/node/node_modules`).
pub(crate) fn install(root: &Path, peers: &Path) -> Result<(), String> {
    install_programs(PROGRAMS)?;
    let pins = root.join("xtask").join("peers");
    let python = peers.join("python");
    refresh(&pins.join("requirements.txt"), &python, |requirements| {
        let mut pip = Command::new("pip3");
        pip.args([
            "install",
            "--quiet",
            "--root-user-action=ignore",
            "--no-cache-dir",
            "--upgrade",
            "--target",
        ]);
        pip.arg(&python).arg("--requirement").arg(requirements);
        vec![pip]
    })?;
    let node = peers.join("node");
    refresh(&pins.join("package.json"), &node, |package| {
        let mut copy = Command::new("cp");
        copy.arg(package).arg(node.join("package.json"));
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]).arg(&node);
        vec![copy, npm]
    })
}

/// Makes sure that what instructions are counted with is there.
pub(crate) fn install_counting() -> Result<(), String> {
    install_programs(COUNTING)
}

/// Makes sure that what compiles for other systems is there.
pub(crate) fn install_compiling() -> Result<(), String> {
    install_programs(COMPILING)
}

fn install_programs(programs: &[Program]) -> Result<(), String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let missing = missing_programs(programs, &path);
    if missing.is_empty() {
        println!("all programs are there");
        return Ok(());
    }
    let packages = packages_of(&missing);
    if !may_use_apt() {
        return Err(advice(&missing, &packages));
    }
    println!("installing {}", packages.join(" "));
    let _policy = Policy::forbid_services();
    apt(&["update"])?;
    let mut args = vec!["install", "--yes", "--no-install-recommends"];
    args.extend(&packages);
    apt(&args)?;
    let still = missing_programs(programs, &path);
    if still.is_empty() { Ok(()) } else { Err(advice(&still, &packages_of(&still))) }
}

fn missing_programs<'a>(programs: &'a [Program], path: &OsString) -> Vec<&'a Program> {
    let is_there = |program: &&Program| {
        std::env::split_paths(path).any(|folder| folder.join(program.name).is_file())
    };
    programs.iter().filter(|program| !is_there(program)).collect()
}

fn packages_of(programs: &[&Program]) -> Vec<&'static str> {
    let mut packages: Vec<&str> = programs.iter().map(|program| program.package).collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

fn advice(missing: &[&Program], packages: &[&str]) -> String {
    let names: Vec<&str> = missing.iter().map(|program| program.name).collect();
    format!(
        "needed but not in PATH: {}; on Debian or Ubuntu: \
         sudo apt-get install --no-install-recommends {}",
        names.join(", "),
        packages.join(" ")
    )
}

fn may_use_apt() -> bool {
    let id = Command::new("id").arg("-u").output();
    let is_root = id.is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    is_root && Path::new("/etc/debian_version").exists()
}

fn apt(args: &[&str]) -> Result<(), String> {
    let mut command = Command::new("apt-get");
    command.arg("--quiet").args(args).env("DEBIAN_FRONTEND", "noninteractive");
    succeed(&mut command)
}

/// Runs the commands unless `folder` was made from this very text of `pins`.
fn refresh(
    pins: &Path,
    folder: &Path,
    commands: impl FnOnce(&Path) -> Vec<Command>,
) -> Result<(), String> {
    let wanted = std::fs::read(pins).map_err(|error| format!("{}: {error}", pins.display()))?;
    let stamp = folder.join(".installed-from");
    if std::fs::read(&stamp).is_ok_and(|found| found == wanted) {
        println!("{} is up to date", folder.display());
        return Ok(());
    }
    // Another version may have left files that the new one does not overwrite.
    if folder.exists() {
        std::fs::remove_dir_all(folder)
            .map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for mut command in commands(pins) {
        succeed(&mut command)?;
    }
    std::fs::write(&stamp, wanted).map_err(|error| format!("{}: {error}", stamp.display()))
}

fn succeed(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{name}` ended with {status}")),
        Err(error) => Err(format!("cannot start `{name}`: {error}")),
    }
}

/// While it lives, installing a package starts no service; a policy that was there before stays.
struct Policy(Option<PathBuf>);

impl Policy {
    fn forbid_services() -> Self {
        let path = PathBuf::from(POLICY);
        if path.exists() || std::fs::write(&path, "#!/bin/sh\nexit 101\n").is_err() {
            return Self(None);
        }
        let mut chmod = Command::new("chmod");
        if let Err(error) = succeed(chmod.arg("755").arg(&path)) {
            eprintln!("note: {error}; a system service of Redis may start");
        }
        Self(Some(path))
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_that_are_not_in_path_are_named_with_their_packages() {
        let nowhere = OsString::from("/nonexistent-folder");
        let missing = missing_programs(PROGRAMS, &nowhere);
        let programs = PROGRAMS.iter().filter(|program| !program.name.starts_with('/'));
        assert!(missing.len() >= programs.count());
        let packages = packages_of(&missing);
        assert_eq!(packages.iter().filter(|name| **name == "redis-tools").count(), 1);
        let advice = advice(&missing, &packages);
        assert!(
            advice.contains("redis-benchmark") && advice.contains("netcat-openbsd"),
            "{advice}"
        );
    }

    #[test]
    #[cfg(unix)]
    fn a_folder_is_made_again_only_when_its_pins_change() {
        let folder = std::env::temp_dir().join(format!("xtask-refresh-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let pins = folder.join("pins");
        let target = folder.join("target");
        let mut runs = 0;
        for text in ["one", "one", "two"] {
            std::fs::write(&pins, text).unwrap();
            refresh(&pins, &target, |_| {
                runs += 1;
                vec![Command::new("true")]
            })
            .unwrap();
        }
        assert_eq!(runs, 2);
        std::fs::write(&pins, "three").unwrap();
        assert!(refresh(&pins, &target, |_| vec![Command::new("false")]).is_err());
        refresh(&pins, &target, |_| {
            runs += 1;
            Vec::new()
        })
        .unwrap();
        assert_eq!(runs, 3, "a failed installation was taken for a good one");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
