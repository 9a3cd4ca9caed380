//! What is shipped beside the program fits the program.

use crate::process::{Folder, Program};
use crate::raw::exchange;
use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_mainspring");

/// Makes the package of the program that is tested, and unpacks it where nothing else is.
fn unpacked(folder: &Folder) -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../xtask/Cargo.toml");
    let mut package = Command::new(env!("CARGO"));
    package.args(["run", "--quiet", "--manifest-path"]).arg(manifest).args(["--", "package"]);
    package.arg(PROGRAM).arg(folder.path());
    package.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let made = package.output().unwrap();
    let stderr = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{stderr}");
    let deb = String::from_utf8(made.stdout).unwrap().trim_end().to_owned();
    let name = concat!("mainspring_", env!("CARGO_PKG_VERSION"), "_");
    assert!(deb.contains(name) && deb.ends_with(".deb"), "{deb}");
    let root = folder.path().join("root");
    for how in ["-x", "-e"] {
        let to = if how == "-x" { root.clone() } else { root.join("DEBIAN") };
        let status = Command::new("dpkg-deb").args([how, &deb]).arg(to).status().unwrap();
        assert!(status.success(), "dpkg-deb {how} {deb}");
    }
    root
}

fn read(root: &Path, path: &str) -> String {
    std::fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn value<'a>(text: &'a str, key: &str) -> &'a str {
    let mut values = text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let value = values.next().unwrap_or_else(|| panic!("no {key} in {text}"));
    assert_eq!(values.next(), None, "{key} twice");
    value
}

#[test]
fn what_the_debian_package_installs_serves_and_ends_in_good_order() {
    let folder = Folder::new("packaging");
    let root = unpacked(&folder);
    let unit = read(&root, "lib/systemd/system/mainspring-echo.service");
    let command = value(&unit, "ExecStart").strip_prefix("/usr/bin/mainspring echo ");
    assert_eq!(command, Some("$OPTIONS"));
    let options = read(&root, value(&unit, "EnvironmentFile").trim_start_matches('/'));
    // Any port: another test, or a real server, may have that one.
    let options = value(&options, "OPTIONS").trim_matches('"').replace(":5000", ":0");
    let mut installed = Command::new(root.join("usr/bin/mainspring"));
    let program = Program::start_from(installed.arg("echo").args(options.split(' ')));
    assert_eq!(exchange(program.addr(), b"hello"), b"hello");
    program.stop();
    for (key, wanted) in [("Restart", "on-failure"), ("RestartSec", "30")] {
        assert_eq!(value(&unit, key), wanted);
    }
    // What an administrator changes stays; the user is there before the service is.
    assert_eq!(read(&root, "DEBIAN/conffiles"), "/etc/default/mainspring-echo\n");
    let user = value(&unit, "User");
    assert!(read(&root, "DEBIAN/postinst").contains(&format!("getent passwd {user} ")));
    for path in ["usr/share/man/man1/mainspring.1.gz", "usr/share/doc/mainspring/copyright"] {
        assert!(root.join(path).is_file(), "{path}");
    }
    for script in ["postinst", "prerm", "postrm"] {
        let checked = Command::new("sh").arg("-n").arg(root.join("DEBIAN").join(script)).status();
        assert!(checked.unwrap().success(), "{script}");
    }
}

/// The judge of units, of one that names the unpacked program.
#[test]
fn systemd_has_nothing_to_say_about_the_unit() {
    let folder = Folder::new("unit");
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging");
    let unit = read(&packaging, "mainspring-echo.service");
    let unit = unit.replace("/usr/bin/mainspring", PROGRAM);
    // The page is in the package and not installed here.
    let unit = unit.replace("Documentation=man:mainspring(1)\n", "");
    let path = folder.path().join("mainspring-echo.service");
    std::fs::write(&path, unit).unwrap();
    let judged = Command::new("systemd-analyze").arg("verify").arg(&path).output().unwrap();
    let said = String::from_utf8_lossy(&judged.stderr);
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("mainspring-echo")).collect();
    assert!(judged.status.success() && ours.is_empty(), "{said}");
}
