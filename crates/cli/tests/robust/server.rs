//! The program as a child process that ends with the test.

use super::process::Process;
use super::{HANG, wait_until};
use rustix::process::Signal;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How to start the program.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    demo: &'static str,
    listen: Vec<String>,
    args: Vec<String>,
    /// Words in front of the program: a tracer and its flags.
    wrap: Vec<String>,
    /// The words in front give way to the program, as those of a shell's `exec` do.
    by_exec: bool,
    /// Set, or taken out where there is no value.
    variables: Vec<(&'static str, Option<String>)>,
    descriptors: Option<u32>,
    deaf: bool,
}

/// The running program. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    process: Process,
    addresses: Vec<String>,
    log: Arc<Mutex<String>>,
}

/// How a program that did not run has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Launch {
    /// The demo on a free port of 127.0.0.1.
    pub(crate) fn of(demo: &'static str) -> Self {
        Self {
            demo,
            listen: Vec::new(),
            args: Vec::new(),
            wrap: Vec::new(),
            by_exec: false,
            variables: Vec::new(),
            descriptors: None,
            deaf: false,
        }
    }

    /// Listens there in place of the free port. May be given several times.
    pub(crate) fn listen(mut self, address: impl Into<String>) -> Self {
        self.listen.push(address.into());
        self
    }

    pub(crate) fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(ToString::to_string));
        self
    }

    pub(crate) fn wrapped_in(mut self, words: Vec<String>) -> Self {
        self.wrap = words;
        self
    }

    /// Behind words that do not stay as the program's parent.
    pub(crate) fn exec_by(mut self, words: Vec<String>) -> Self {
        self.by_exec = true;
        self.wrapped_in(words)
    }

    pub(crate) fn variable(mut self, name: &'static str, value: &str) -> Self {
        self.variables.push((name, Some(value.to_owned())));
        self
    }

    pub(crate) fn without_variable(mut self, name: &'static str) -> Self {
        self.variables.push((name, None));
        self
    }

    /// As after `ulimit -n COUNT`.
    pub(crate) fn descriptors(mut self, count: u32) -> Self {
        self.descriptors = Some(count);
        self
    }

    /// Closes the reading end of its standard error at once.
    pub(crate) fn deaf(mut self) -> Self {
        self.deaf = true;
        self
    }

    /// Starts the program and waits until it is ready.
    pub(crate) fn start(self) -> Server {
        let traced = !self.wrap.is_empty() && !self.by_exec;
        let mut child = self.command().spawn().expect("the program, or its tracer, can be started");
        let log = Arc::new(Mutex::new(String::new()));
        if self.deaf {
            drop(child.stderr.take());
        } else {
            keep_log(&mut child, &log);
        }
        let lines = read_lines(&mut child);
        // Made first, so that a failure to get ready ends the child too.
        let process = Process(child.id());
        let mut server = Server { child, process, addresses: Vec::new(), log };
        let line = lines.recv_timeout(HANG).expect("the program says when it is ready");
        let (_, addresses) = line.split_once(": ready on ").expect("a line as documented");
        server.addresses = addresses.split(',').map(str::to_owned).collect();
        if traced {
            server.process = server.process.child().expect("the tracer runs the program");
        }
        server
    }

    /// Runs the program, which is expected to end by itself.
    pub(crate) fn run(self) -> Ended {
        let mut child = self.command().spawn().expect("the program can be started");
        let ended = wait_until(HANG, || child.try_wait().expect("a child").is_some());
        if !ended {
            let _ = child.kill();
        }
        let output = child.wait_with_output().expect("a child");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert!(ended, "the program did not end by itself: {stdout}{stderr}");
        Ended { code: output.status.code(), stdout, stderr }
    }

    fn command(&self) -> Command {
        let mut words = self.wrap.clone();
        words.push(program().display().to_string());
        words.push(self.demo.to_owned());
        let any = vec!["tcp://127.0.0.1:0".to_owned()];
        for address in if self.listen.is_empty() { &any } else { &self.listen } {
            words.extend(["--listen".to_owned(), address.clone()]);
        }
        words.extend(self.args.iter().cloned());
        let mut command = match self.descriptors {
            None => Command::new(&words[0]),
            Some(count) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("ulimit -n {count} && exec \"$0\" \"$@\""), &words[0]]);
                shell
            }
        };
        command.args(&words[1..]);
        for (name, value) in &self.variables {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        // Of use only to a build with sanitizers: leaks cannot be looked for in a traced process,
        // and memory held back to find late uses is not the program's.
        command.env("ASAN_OPTIONS", "detect_leaks=0:quarantine_size_mb=4");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

impl Server {
    /// The address of the first listener.
    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses[0]
            .split_once("://")
            .and_then(|(_, at)| at.parse().ok())
            .expect("a socket address")
    }

    /// Where the clients reach it, as the program has said.
    pub(crate) fn addresses(&self) -> &[String] {
        &self.addresses
    }

    pub(crate) fn process(&self) -> Process {
        self.process
    }

    /// What it has written to standard error.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("no reader panics").clone()
    }

    /// Fails the test if it has ended.
    pub(crate) fn assert_alive(&self, during: &str) {
        assert!(self.process.is_alive(), "the server died: {during}\n{}", self.log());
    }

    /// Waits for its end; `None` if it still runs after `limit`.
    pub(crate) fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let mut status = None;
        wait_until(limit, || {
            status = self.child.try_wait().expect("a child");
            status.is_some()
        });
        status
    }

    /// Ends it in good order, and tells its exit code and how long that took.
    pub(crate) fn terminate(&mut self, limit: Duration) -> (Option<i32>, Duration) {
        let start = Instant::now();
        self.process.signal(Signal::TERM);
        let status = self.wait(limit).unwrap_or_else(|| {
            panic!("still running {limit:?} after SIGTERM\n{}", self.log());
        });
        (status.code(), start.elapsed())
    }
}

impl Drop for Server {
    #[expect(clippy::print_stderr, reason = "a test that fails tells what the server had to say")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("---- standard error of the server ----\n{}", self.log());
        }
        // The program first: a tracer that is killed lets it run on.
        if self.process.0 != self.child.id() {
            self.process.signal(Signal::KILL);
            if self.wait(Duration::from_secs(2)).is_some() {
                return;
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> PathBuf {
    std::env::var_os("MAINSPRING_BIN")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_mainspring")), PathBuf::from)
}

fn read_lines(child: &mut Child) -> Receiver<String> {
    let stdout = BufReader::new(child.stdout.take().expect("piped"));
    let (to, lines) = channel();
    std::thread::spawn(move || {
        for line in stdout.lines().map_while(Result::ok) {
            // Read on when nobody listens: a full pipe would stop the program.
            let _ = to.send(line);
        }
    });
    lines
}

fn keep_log(child: &mut Child, log: &Arc<Mutex<String>>) {
    /// Enough to see what went wrong.
    const KEPT: usize = 64 * 1024;
    let mut stderr = child.stderr.take().expect("piped");
    let log = Arc::clone(log);
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stderr.read(&mut buffer) {
            let mut log = log.lock().expect("no reader panics");
            if log.len() < KEPT {
                log.push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        }
    });
}
