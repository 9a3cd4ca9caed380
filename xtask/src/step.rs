//! Running child commands one after another: each with a name, a time limit and streamed output,
//! and at the end a table of what took how long and what failed.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How often a running child is looked at.
const POLL: Duration = Duration::from_millis(100);
/// How long output may still come after the child itself is gone.
const LINGER: Duration = Duration::from_secs(2);

/// A child command to be run.
pub(crate) struct Step {
    name: String,
    command: Command,
    limit: Duration,
    expected: Expected,
}

enum Expected {
    Success,
    /// Exit code 1 and a line that contains the text: the command has to find something.
    Finding(&'static str),
}

/// The steps run so far.
pub(crate) struct Report {
    rows: Vec<Row>,
    deadline: Instant,
    tally: Tally,
}

struct Row {
    name: String,
    took: Duration,
    failure: Option<String>,
}

/// Tests as `cargo test` counted them, summed over its binaries.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
}

impl Step {
    /// A step that passes when the command exits with 0 within `limit`.
    pub(crate) fn new(name: impl Into<String>, command: Command, limit: Duration) -> Self {
        Self { name: name.into(), command, limit, expected: Expected::Success }
    }

    /// Turns the step around: it passes when the command exits with 1 and prints `text`. Any other
    /// failure (a build error of cargo is 101) is still a failure.
    pub(crate) fn must_find(mut self, text: &'static str) -> Self {
        self.expected = Expected::Finding(text);
        self
    }
}

impl Report {
    /// A report for steps that take `limit` together.
    pub(crate) fn new(limit: Duration) -> Self {
        Self { rows: Vec::new(), deadline: now() + limit, tally: Tally::default() }
    }

    /// Runs one step and says whether it passed.
    pub(crate) fn run(&mut self, step: Step) -> bool {
        println!("\n==> {}: {}", step.name, command_line(&step.command));
        let started = now();
        let left = self.deadline.saturating_duration_since(started);
        let failure = if left.is_zero() {
            Some("not run: the time of the whole command is used up".to_owned())
        } else {
            let limit = step.limit.min(left);
            run_child(step.command, limit, &step.expected, &mut self.tally).err()
        };
        self.add(step.name, started, failure)
    }

    /// Runs a step that is a function of this program.
    pub(crate) fn call(&mut self, name: &str, body: impl FnOnce() -> Result<(), String>) -> bool {
        println!("\n==> {name}");
        let started = now();
        let failure = body().err();
        self.add(name.to_owned(), started, failure)
    }

    /// Prints the table of times, the failures, and last the sum of the tests alone on a line.
    pub(crate) fn finish(self) -> bool {
        println!("\n{}", self.table());
        let failed: Vec<&Row> = self.rows.iter().filter(|row| row.failure.is_some()).collect();
        for row in &failed {
            println!("FAILED {}: {}", row.name, row.failure.as_deref().unwrap_or_default());
        }
        let Tally { passed, failed: red, ignored } = self.tally;
        if ignored > 0 {
            println!("{ignored} tests ignored");
        }
        println!("{passed} passed, {red} failed");
        failed.is_empty() && red == 0
    }

    fn add(&mut self, name: String, started: Instant, failure: Option<String>) -> bool {
        let passed = failure.is_none();
        if let Some(failure) = &failure {
            println!("FAILED {name}: {failure}");
        }
        self.rows.push(Row { name, took: now() - started, failure });
        passed
    }

    fn table(&self) -> String {
        let width =
            self.rows.iter().map(|row| row.name.len()).max().unwrap_or(0).max("total".len());
        let mut text = String::new();
        for row in &self.rows {
            let outcome = if row.failure.is_none() { "ok" } else { "FAILED" };
            let seconds = row.took.as_secs_f64();
            text.push_str(&format!("{:<width$}  {seconds:>7.1} s  {outcome}\n", row.name));
        }
        let total: f64 = self.rows.iter().map(|row| row.took.as_secs_f64()).sum();
        text.push_str(&format!("{:<width$}  {total:>7.1} s\n", "total"));
        text
    }
}

impl Tally {
    /// Adds one line of `cargo test`, if it is a summary: `test result: ok. 3 passed; 0 failed;
    /// ..`.
    fn read(&mut self, line: &str) {
        let Some(rest) = line.strip_prefix("test result: ") else { return };
        for part in rest.split(['.', ';']) {
            let mut words = part.split_whitespace();
            let (Some(Ok(count)), Some(word)) = (words.next().map(str::parse::<u64>), words.next())
            else {
                continue;
            };
            match word {
                "passed" => self.passed += count,
                "failed" => self.failed += count,
                "ignored" => self.ignored += count,
                _ => {}
            }
        }
    }
}

fn run_child(
    mut command: Command,
    limit: Duration,
    expected: &Expected,
    tally: &mut Tally,
) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start `{program}`: {error}"))?;
    let lines = stream_lines(&mut child);
    let mut found = false;
    let status = follow(&mut child, &lines, limit, |line| {
        println!("{line}");
        tally.read(line);
        found |= matches!(expected, Expected::Finding(text) if line.contains(text));
    })?;
    match expected {
        Expected::Success if status.success() => Ok(()),
        Expected::Success => Err(format!("{status}")),
        Expected::Finding(_) if status.code() == Some(1) && found => Ok(()),
        Expected::Finding(text) => {
            Err(format!("had to exit with 1 and print `{text}`, but ended with {status}"))
        }
    }
}

/// The standard output of `child`, line by line, until it ends.
fn stream_lines(child: &mut Child) -> Receiver<String> {
    let (sender, receiver) = channel();
    if let Some(stdout) = child.stdout.take() {
        std::thread::spawn(move || {
            let mut reader = BufReader::new(stdout);
            let mut line = Vec::new();
            while matches!(reader.read_until(b'\n', &mut line), Ok(count) if count > 0) {
                let text = String::from_utf8_lossy(&line);
                if sender.send(text.trim_end_matches(['\r', '\n']).to_owned()).is_err() {
                    return;
                }
                line.clear();
            }
        });
    }
    receiver
}

/// Hands every line to `each` until the child is gone, or ends it with its children at the limit.
fn follow(
    child: &mut Child,
    lines: &Receiver<String>,
    limit: Duration,
    mut each: impl FnMut(&str),
) -> Result<ExitStatus, String> {
    let deadline = now() + limit;
    let mut ended: Option<(ExitStatus, Instant)> = None;
    loop {
        match lines.recv_timeout(POLL) {
            Ok(line) => each(&line),
            Err(RecvTimeoutError::Timeout) => match ended {
                // A process that the child left behind may hold its output open for ever.
                Some((status, at)) if now() - at > LINGER => return Ok(status),
                _ => {}
            },
            Err(RecvTimeoutError::Disconnected) => {
                if let Some((status, _)) = ended {
                    return Ok(status);
                }
                // Standard output is closed but the child lives: there is nothing to wake us.
                std::thread::park_timeout(POLL);
            }
        }
        if ended.is_none() {
            let status = child.try_wait().map_err(|error| format!("cannot wait: {error}"))?;
            ended = status.map(|status| (status, now()));
        }
        if ended.is_none() && now() > deadline {
            end_with_children(child);
            return Err(format!("took longer than {} s and was ended", limit.as_secs()));
        }
    }
}

/// Ends `child` and what it started. The children share our process group, so that Ctrl-C reaches
/// them; hence they are found by their parents in `/proc`, where there is one.
fn end_with_children(child: &mut Child) {
    let family = descendants(child.id());
    if !family.is_empty() {
        // The shell's own `kill`: a small machine has no program of that name.
        let mut kill = Command::new("sh");
        kill.args(["-c", "kill -KILL \"$@\"", "sh"]).args(family.iter().map(u32::to_string));
        let _ = kill.status();
    }
    let _ = child.kill();
    let _ = child.wait();
}

fn descendants(ancestor: u32) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let parents: Vec<(u32, u32)> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid: u32| Some((pid, parent_of(pid)?)))
        .collect();
    let mut family = vec![ancestor];
    let mut next = 0;
    while next < family.len() {
        let parent = family[next];
        family.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    family.split_off(1)
}

/// The fourth field of `/proc/PID/stat`; the second, the name, may contain spaces and brackets.
fn parent_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn command_line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

#[expect(clippy::disallowed_methods, reason = "measures child processes; no loop runs in here")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    const LIMIT: Duration = Duration::from_secs(20);

    #[test]
    fn summaries_of_cargo_test_are_summed() {
        let mut tally = Tally::default();
        tally.read("test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.02s");
        tally
            .read("test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out");
        tally.read("test says 9 passed; 9 failed");
        assert_eq!(tally, Tally { passed: 16, failed: 2, ignored: 1 });
    }

    #[test]
    #[cfg(unix)]
    fn a_step_fails_by_its_exit_code_and_the_report_with_it() {
        let mut report = Report::new(LIMIT);
        assert!(report.run(Step::new("good", shell("exit 0"), LIMIT)));
        assert!(!report.run(Step::new("bad", shell("exit 3"), LIMIT)));
        assert!(report.table().contains("bad"));
        assert!(!report.finish());
    }

    #[test]
    #[cfg(unix)]
    fn a_step_that_must_find_fails_on_success_and_on_other_exit_codes() {
        let mut report = Report::new(LIMIT);
        let mut run = |script| report.run(Step::new("x", shell(script), LIMIT).must_find("seed"));
        assert!(run("echo seed 7 failed; exit 1"));
        assert!(!run("echo seed 7 failed; exit 101"));
        assert!(!run("echo nothing; exit 1"));
        assert!(!run("echo seed; exit 0"));
    }

    #[test]
    #[cfg(unix)]
    fn a_step_over_its_limit_is_ended() {
        let mut report = Report::new(LIMIT);
        let started = now();
        let step = Step::new("slow", shell("sleep 60"), Duration::from_millis(300));
        assert!(!report.run(step));
        assert!(now() - started < Duration::from_secs(10));
        assert!(report.rows[0].failure.as_deref().unwrap().contains("longer than"));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_children_of_a_child_are_ended_with_it() {
        let mut child = shell("sleep 60 & sleep 61; true").spawn().unwrap();
        let started = now();
        let mut family = Vec::new();
        while family.len() < 2 && now() - started < LIMIT {
            family = descendants(child.id());
        }
        assert_eq!(family.len(), 2, "the shell did not start its two children");
        end_with_children(&mut child);
        // What nobody has waited for yet stays as a zombie: state Z.
        let alive = |pid: &u32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit_once(')')
                .is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
        };
        while family.iter().any(alive) && now() - started < LIMIT {}
        assert!(!family.iter().any(alive), "{family:?} outlived their parent");
    }

    #[test]
    #[cfg(unix)]
    fn a_process_left_behind_does_not_hold_the_step() {
        let mut report = Report::new(LIMIT);
        assert!(report.run(Step::new("leaves", shell("sleep 8 & exit 0"), Duration::from_secs(6))));
    }

    #[test]
    fn nothing_is_run_when_the_whole_time_is_used_up() {
        let mut report = Report::new(Duration::ZERO);
        assert!(!report.run(Step::new("late", shell("exit 0"), LIMIT)));
        assert!(report.rows[0].failure.as_deref().unwrap().contains("not run"));
    }
}
