//! Programs under test and foreign ones, each bounded in time and ended by its own process id.

use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Whatever takes longer hangs.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// The program under test, running. Killed when dropped.
pub(crate) struct Program {
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: Option<JoinHandle<String>>,
    /// What the first line said, address by address.
    pub(crate) addresses: Vec<String>,
}

impl Program {
    /// Starts it and waits until it listens.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_from(&mut mainspring(arguments))
    }

    pub(crate) fn start_from(command: &mut Command) -> Self {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let stderr = Some(collect(child.stderr.take().expect("piped")));
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("a first line");
        let mut program = Self { child, stdout, stderr, addresses: Vec::new() };
        let Some((_, addresses)) = line.trim_end().split_once(": ready on ") else {
            let (status, _, stderr) = program.end();
            panic!("not ready: {line:?}, {status}, {stderr}");
        };
        program.addresses = addresses.split(',').map(str::to_owned).collect();
        program
    }

    /// The first address with a port.
    pub(crate) fn addr(&self) -> SocketAddr {
        let ports = self.addresses.iter().filter_map(|address| address.split_once("://"));
        let mut addrs = ports.filter_map(|(_, place)| place.parse().ok());
        addrs.next().expect("an address with a port")
    }

    pub(crate) fn port(&self) -> String {
        self.addr().port().to_string()
    }

    pub(crate) fn connect(&self) -> TcpStream {
        connect(self.addr())
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn threads(&self) -> usize {
        let tasks = format!("/proc/{}/task", self.id());
        std::fs::read_dir(tasks).expect("a child that runs").count()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a child of this process");
    }

    /// Waits for its end: how it ended, what followed on stdout, and what it logged.
    pub(crate) fn end(&mut self) -> (ExitStatus, String, String) {
        let deadline = Instant::now() + LIMIT;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                break status;
            }
            if Instant::now() > deadline {
                let _ = self.child.kill();
                panic!("it did not end within {LIMIT:?}");
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).expect("text");
        let stderr = self.stderr.take().map_or_else(String::new, |log| log.join().expect("a log"));
        (status, rest, stderr)
    }

    /// Ends it by SIGTERM, which has to go well.
    pub(crate) fn stop(mut self) -> String {
        self.signal(Signal::TERM);
        let (status, rest, stderr) = self.end();
        assert_eq!(status.code(), Some(0), "{stderr}");
        assert_eq!(rest, "", "stdout is for the first line");
        stderr
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program with a command line.
pub(crate) fn mainspring(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mainspring"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Output {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let name = format!("{command:?}");
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
    let stdout = collect(child.stdout.take().expect("piped"));
    let stderr = collect(child.stderr.take().expect("piped"));
    let deadline = Instant::now() + 4 * LIMIT;
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{name} did not end");
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let [stdout, stderr] =
        [stdout, stderr].map(|output| output.join().expect("output").into_bytes());
    Output { status, stdout, stderr }
}

/// Runs a foreign client, which has to be content; gives what it printed.
pub(crate) fn content(command: &mut Command) -> String {
    let output = run(command);
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{stdout}\n{stderr}", output.status);
    stdout
}

fn collect(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).expect("output");
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// A redis-server to compare with.
pub(crate) struct RedisServer {
    child: Child,
    pub(crate) addr: SocketAddr,
    _folder: Folder,
}

impl RedisServer {
    pub(crate) fn start() -> Self {
        let folder = Folder::new("redis-server");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--databases", "1"]);
        command.args(["--save", "", "--appendonly", "no", "--dir"]).arg(folder.path());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.expect("redis-server: run `cargo xtask test`, which installs it");
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        let mut server = Self { child, addr, _folder: folder };
        let deadline = Instant::now() + LIMIT;
        while TcpStream::connect(addr).is_err() {
            assert!(server.child.try_wait().unwrap().is_none(), "redis-server ended");
            assert!(Instant::now() < deadline, "redis-server does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        server
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder of one test's own, removed with all that is in it.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("mainspring-cli-{name}-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn join(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("a path in UTF-8").to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The folder with the client libraries of other languages.
pub(crate) fn peers() -> PathBuf {
    match std::env::var_os("MAINSPRING_PEERS") {
        Some(folder) => folder.into(),
        None => panic!(
            "MAINSPRING_PEERS is not set: run `cargo xtask test`, which installs the client libraries \
             and says where they are"
        ),
    }
}

/// A connection that gives up after [`LIMIT`].
pub(crate) fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).expect("it listens");
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_write_timeout(Some(LIMIT)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}
