//! An example as a process of its own.

use crate::PATIENCE;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// A running example. Dropping it kills it, by its own process id.
pub(crate) struct Example {
    child: Child,
    lines: Receiver<String>,
}

impl Example {
    pub(crate) fn start(name: &str, arguments: &[&str]) -> Self {
        let mut child = command(name, arguments).spawn().expect("starts");
        let stdout = child.stdout.take().expect("piped");
        let (said, lines) = channel();
        thread::spawn(move || {
            let heard = BufReader::new(stdout).lines().map_while(Result::ok);
            heard.take_while(|line| said.send(line.clone()).is_ok()).for_each(drop);
        });
        Self { child, lines }
    }

    /// Waits for the next ready line, and returns the address in it.
    pub(crate) fn ready(&self) -> String {
        let line = self.lines.recv_timeout(PATIENCE).expect("a ready line");
        let (_, rest) = line.split_once(": listening on ").expect(&line);
        rest.split(',').next().unwrap_or(rest).to_owned()
    }

    /// As [`ready`](Example::ready), where the address is of IP.
    pub(crate) fn ready_inet(&self) -> SocketAddr {
        self.ready().parse().expect("an address and a port")
    }

    /// The next line that it prints.
    pub(crate) fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line")
    }

    #[cfg(unix)]
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, signal).expect("a child of this process");
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        wait(&mut self.child)
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts one example on an address of this host that the system chooses.
pub(crate) fn on_free_port(name: &str) -> (Example, SocketAddr) {
    let example = Example::start(name, &["tcp://127.0.0.1:0"]);
    let addr = example.ready_inet();
    (example, addr)
}

/// Runs an example that is to fail, and returns what it said on standard error.
pub(crate) fn fails(name: &str, arguments: &[&str]) -> String {
    let mut child = command(name, arguments).stderr(Stdio::piped()).spawn().expect("starts");
    let status = wait(&mut child);
    assert!(!status.success(), "{name} {arguments:?} succeeded");
    let mut said = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut said).expect("text");
    said
}

fn command(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(path_of(name));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// Cargo builds the examples of a package before it runs the package's tests, and puts them here.
fn path_of(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a path");
    let profile = test.parent().and_then(|deps| deps.parent()).expect("target/PROFILE/deps/TEST");
    let path = profile.join("examples").join(name).with_extension(std::env::consts::EXE_EXTENSION);
    assert!(
        path.exists(),
        "{} is missing: run `cargo build -p mainspring-examples --examples`, or all tests of the package",
        path.display()
    );
    path
}

fn wait(child: &mut Child) -> ExitStatus {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().expect("a child of this process") {
            return status;
        }
        if Instant::now() > until {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the example did not end");
        }
        thread::sleep(Duration::from_millis(5));
    }
}
