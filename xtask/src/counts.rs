//! `cargo xtask counts`: user instructions per operation, against the checked-in table.

mod table;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use crate::flags::{Flag, Usage, parse};
use crate::install;
use crate::step::Report;
use crate::test::in_root;
use crate::tree::{Scope, Workspace};
use table::{Comparison, Table};

pub(crate) const HELP: &str = "\
Builds in release mode, counts user instructions per operation under callgrind (Linux; valgrind is installed on Debian
as root), and prints them beside the figures of bench/counts.md, which tells what they mean. Fails when a count has
grown by more than the table allows.

flags:
  --write   write the figures into bench/counts.md in place of comparing them

examples:
  cargo xtask counts
  cargo xtask counts --write
";

const TABLE: &str = "bench/counts.md";

pub(crate) fn run(args: &[String]) -> Result<ExitCode, Usage> {
    let given = parse(args, &[Flag::Switch("--write")], None)?;
    let outcome = Workspace::load(Scope::Members).and_then(|workspace| {
        if given.has("--write") { write(&workspace) } else { compare(&workspace) }
    });
    Ok(match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    })
}

/// The gate of `cargo xtask ci`.
pub(crate) fn step(report: &mut Report, workspace: &Workspace) {
    if !cfg!(target_os = "linux") {
        println!("instruction counts: not run, wants Linux");
        return;
    }
    report.call("instruction counts", || compare(workspace));
}

fn compare(workspace: &Workspace) -> Result<(), String> {
    let path = workspace.root.join(TABLE);
    let text = std::fs::read_to_string(&path)
        .map_err(|error| format!("{TABLE}: {error}; `cargo xtask counts --write` makes it"))?;
    let written = Table::parse(&text).map_err(|error| format!("{TABLE}: {error}"))?;
    let Comparison { report, failures } = written.compare(&count(workspace)?);
    print!("{report}");
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}

fn write(workspace: &Workspace) -> Result<(), String> {
    let counted = count(workspace)?;
    let path = workspace.root.join(TABLE);
    std::fs::write(&path, counted.to_markdown()).map_err(|error| format!("{TABLE}: {error}"))?;
    print!("{}", counted.to_markdown());
    Ok(())
}

/// Builds the servers and the scenes, and runs them all.
fn count(workspace: &Workspace) -> Result<Table, String> {
    install::install_counting()?;
    let mut build = in_root(workspace, &["build", "--release", "--package", "mainspring-cli"]);
    build.args(["--package", "mainspring-counts", "--bins"]);
    let status = build.status().map_err(|error| format!("cannot start cargo: {error}"))?;
    if !status.success() {
        return Err(format!("the build ended with {status}"));
    }
    let programs = workspace.target.join("release");
    let mut scenes = Command::new(program(&programs, "counts"));
    scenes.args(["measure", "--mainspring"]).arg(program(&programs, "mainspring"));
    let rows = output_of(&mut scenes)?;
    Table::of(tools()?, &rows)
}

fn program(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}

/// What makes the code that is counted, and what counts it.
fn tools() -> Result<String, String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let verbose = output_of(Command::new(rustc).arg("-vV"))?;
    let field = |name: &str| {
        let line = verbose.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or("unknown").trim().to_owned()
    };
    let libc = output_of(Command::new("getconf").arg("GNU_LIBC_VERSION"))
        .unwrap_or_else(|_| "unknown libc".to_owned());
    let valgrind = output_of(Command::new("valgrind").arg("--version"))?;
    Ok([
        verbose.lines().next().unwrap_or_default().to_owned(),
        format!("LLVM {}", field("LLVM version:")),
        field("host:"),
        libc.trim().to_owned(),
        valgrind.trim().to_owned(),
    ]
    .join(", "))
}

fn output_of(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot start `{name}`: {error}"))?;
    if !output.status.success() {
        return Err(format!("`{name}` ended with {}", output.status));
    }
    String::from_utf8(output.stdout).map_err(|_| format!("`{name}` printed what is not UTF-8"))
}
