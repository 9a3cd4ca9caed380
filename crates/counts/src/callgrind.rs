//! Programs under callgrind.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// A server that says nothing for so long will not come; a program that runs for so long hangs.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// The instructions of a server until it has stopped, and of nobody else: `ask` gets the address
/// that it announces. With `terminate` it is told to stop, else it stops by itself.
pub(crate) fn count_server(
    server: &Command,
    terminate: bool,
    ask: impl FnOnce(&str) -> Result<(), String>,
) -> Result<u64, String> {
    let mut watched = Watched::start(server, Stdio::piped())?;
    let address = watched.announced()?;
    ask(&address).map_err(|error| format!("{error}; {}", watched.last_words()))?;
    if terminate {
        watched.terminate()?;
    }
    watched.count()
}

/// The instructions of a program that ends by itself.
pub(crate) fn count_program(program: &Command) -> Result<u64, String> {
    Watched::start(program, Stdio::null())?.count()
}

/// A program under callgrind; it is ended when this is dropped.
struct Watched {
    child: Child,
    report: PathBuf,
}

impl Watched {
    fn start(command: &Command, stdout: Stdio) -> Result<Self, String> {
        let name = format!("mainspring-counts-{}.callgrind", std::process::id());
        let report = std::env::temp_dir().join(name);
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--quiet", "--tool=callgrind"]);
        valgrind.arg(format!("--callgrind-out-file={}", report.display()));
        valgrind.arg(command.get_program()).args(command.get_args());
        valgrind.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped());
        let child =
            valgrind.spawn().map_err(|error| format!("cannot start `valgrind`: {error}"))?;
        Ok(Self { child, report })
    }

    /// The address in `mainspring echo: ready on tcp://127.0.0.1:5000`.
    fn announced(&mut self) -> Result<String, String> {
        let stdout = self.child.stdout.take().ok_or("its output is not ours")?;
        let (tell, told) = channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            // A server that cannot listen ends, and its output with it.
            let _ = BufReader::new(stdout).read_line(&mut line);
            let _ = tell.send(line);
        });
        let line = told.recv_timeout(WAIT_MAX).unwrap_or_default();
        let address = line.trim_end().split_once(": ready on tcp://").map(|(_, address)| address);
        address
            .map(str::to_owned)
            .ok_or_else(|| format!("it does not listen; {}", self.last_words()))
    }

    #[cfg(target_os = "linux")]
    fn terminate(&self) -> Result<(), String> {
        use rustix::process::{Pid, Signal, kill_process};
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).map_err(|error| format!("cannot end it: {error}"))
    }

    #[cfg(not(target_os = "linux"))]
    fn terminate(&self) -> Result<(), String> {
        Err("servers are counted on Linux only".to_owned())
    }

    #[expect(clippy::disallowed_methods, reason = "waits for a child process; no loop is in here")]
    fn count(mut self) -> Result<u64, String> {
        let deadline = Instant::now() + WAIT_MAX;
        let status = loop {
            match self.child.try_wait().map_err(|error| format!("cannot wait: {error}"))? {
                Some(status) => break status,
                None if Instant::now() > deadline => return Err("it does not end".to_owned()),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        if !status.success() {
            return Err(format!("it ended with {status}; {}", self.last_words()));
        }
        totals(&self.report)
    }

    /// Ends the program and tells what it wrote last on its standard error.
    fn last_words(&mut self) -> String {
        let _ = self.child.kill();
        let mut text = Vec::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            let _ = stderr.read_to_end(&mut text);
        }
        let text = String::from_utf8_lossy(&text);
        format!("its last words: `{}`", text.trim_end().lines().last().unwrap_or_default())
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.report);
    }
}

/// The line `totals: 12345` of a callgrind profile.
fn totals(report: &Path) -> Result<u64, String> {
    let text = std::fs::read_to_string(report)
        .map_err(|error| format!("callgrind left no profile: {error}"))?;
    total_of(&text).ok_or_else(|| "a profile without a line `totals:`".to_owned())
}

fn total_of(profile: &str) -> Option<u64> {
    profile.lines().rev().find_map(|line| line.strip_prefix("totals: "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::total_of;

    #[test]
    fn the_total_of_a_profile_is_read() {
        let profile = "version: 1\nsummary: 5\n\nfn=(1) main\n12 7\n\ntotals: 1234\n";
        assert_eq!(total_of(profile), Some(1234));
        assert_eq!(total_of("fn=(1) main\n"), None);
    }
}
