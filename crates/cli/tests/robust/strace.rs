//! System calls that fail, by strace(1): `inject=CALL:error=ERRNO:when=FIRST..LAST+STEP`.

use super::server::{Launch, Server};
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// Which calls of which name fail, and how. strace counts the calls of each thread by themselves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Injection {
    pub(crate) call: &'static str,
    pub(crate) error: &'static str,
    /// The first call that fails, counted from the first one after the program has got ready.
    pub(crate) after: usize,
    /// Every so many calls fail from then on.
    pub(crate) step: usize,
    /// How many fail at most, in each thread.
    pub(crate) times: usize,
}

impl Injection {
    /// The second call fails, and every third from then on, twelve times.
    pub(crate) const fn of(call: &'static str, error: &'static str) -> Self {
        Self { call, error, after: 2, step: 3, times: 12 }
    }

    pub(crate) const fn after(mut self, after: usize) -> Self {
        self.after = after;
        self
    }

    pub(crate) const fn step(mut self, step: usize) -> Self {
        self.step = step;
        self
    }

    pub(crate) const fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    fn when(&self, calls_before: usize) -> String {
        let first = calls_before + self.after;
        let last = first + self.step * (self.times - 1);
        format!("{first}..{last}+{}", self.step)
    }
}

/// A server with failing system calls, and the tracer's account of them.
#[derive(Debug)]
pub(crate) struct Traced {
    pub(crate) server: Server,
    trace: PathBuf,
}

impl Traced {
    /// Starts the program so that the calls fail only once it is ready: `calls_before` is what
    /// [`calls_until_ready`] has counted.
    pub(crate) fn start(launch: Launch, injection: &Injection, calls_before: usize) -> Self {
        let when = injection.when(calls_before);
        let inject = format!("inject={}:error={}:when={when}", injection.call, injection.error);
        let trace = trace_file();
        let words = words(&trace, injection.call, &["-e", &inject]);
        Self { server: launch.wrapped_in(words).start(), trace }
    }

    /// How many calls were made to fail so far.
    pub(crate) fn injected(&self) -> usize {
        let trace = fs::read_to_string(&self.trace).expect("strace writes its file");
        trace.lines().filter(|line| line.ends_with("(INJECTED)")).count()
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.trace);
    }
}

/// How many calls of that name any one thread makes until the program is ready.
pub(crate) fn calls_until_ready(launch: Launch, call: &str) -> usize {
    let trace = trace_file();
    let server = launch.wrapped_in(words(&trace, call, &[])).start();
    let text = fs::read_to_string(&trace).expect("strace writes its file");
    drop(server);
    let _ = fs::remove_file(&trace);
    let threads: Vec<&str> = text
        .lines()
        .filter(|line| line.contains(&format!("{call}(")))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    threads
        .iter()
        .map(|thread| threads.iter().filter(|other| *other == thread).count())
        .max()
        .unwrap_or(0)
}

fn words(trace: &std::path::Path, call: &str, more: &[&str]) -> Vec<String> {
    let trace = trace.display().to_string();
    let traced = format!("trace={call}");
    let fixed = ["strace", "-f", "-qq", "-o", &trace, "-e", "signal=none", "-e", &traced];
    fixed.iter().chain(more).map(ToString::to_string).collect()
}

fn trace_file() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("mainspring-strace-{}-{count}", std::process::id());
    std::env::temp_dir().join(name)
}
