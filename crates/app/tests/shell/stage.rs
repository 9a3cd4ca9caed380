//! Servers to stand around, and programs to judge them; everything is bounded in time.

use mainspring_io::Addr;
use mainspring_loop::{Action, Conn, Error, Input, Running, Server, ServerBuilder, Shard};
use mainspring_sim::{Faults, SimPeer, World, WorldOptions};
use mainspring_testkit::{Reached, SimServer};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Whatever takes longer hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const TCP: &str = "tcp://127.0.0.1:0";

pub(crate) fn echo(conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
    conn.out().extend_from_slice(input.take());
    Action::Continue
}

/// A server over sockets.
pub(crate) fn start(
    builder: ServerBuilder,
    setup: impl Fn(&mut Shard<'_>) -> Result<(), Error> + Send + Sync + 'static,
) -> Running {
    builder.start(setup).expect("the server starts")
}

/// A server in a world without faults.
pub(crate) fn simulated(setup: impl Fn(&mut Shard<'_>) -> Result<(), Error>) -> SimServer {
    let world = World::new(7, WorldOptions::default());
    SimServer::start(&world, 1, Server::builder().seed(7), setup).expect("the server starts")
}

/// Runs the simulated server until `holds`, in at most `within` of its own time.
#[track_caller]
pub(crate) fn eventually_sim(
    server: &mut SimServer,
    within: Duration,
    mut holds: impl FnMut() -> bool,
) {
    assert_eq!(server.run_until(within, |_| holds()), Reached::Condition);
}

/// Has a simulated client send, as soon as it can.
#[track_caller]
pub(crate) fn say(server: &mut SimServer, peer: &mut SimPeer, mut bytes: &[u8]) {
    eventually_sim(server, PATIENCE, || {
        bytes = &bytes[peer.send(bytes)..];
        bytes.is_empty()
    });
}

/// What a simulated client has been sent when the server has closed.
#[track_caller]
pub(crate) fn rest(server: &mut SimServer, peer: &mut SimPeer, within: Duration) -> String {
    let mut got = Vec::new();
    eventually_sim(server, within, || {
        got.extend(peer.take_received());
        peer.eof()
    });
    String::from_utf8(got).expect("text")
}

pub(crate) fn inet(addr: &Addr) -> SocketAddr {
    match addr {
        Addr::Inet(addr) => *addr,
        Addr::Unix(_) => panic!("{addr} is not an internet address"),
    }
}

pub(crate) fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("above zero");
    stream.set_write_timeout(Some(PATIENCE)).expect("above zero");
    stream
}

/// Waits until `holds`.
#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) fn stop(running: Running) {
    running.handle().stop();
    running.join().expect("the server ends in good order");
}

/// Runs curl, and gives what it printed.
pub(crate) fn curl(arguments: &[&str]) -> Output {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "20"]).args(arguments);
    let output = command.stdin(Stdio::null()).output();
    output.expect("curl: run `cargo xtask test`, which installs it")
}

/// As [`curl`], which has to be content.
#[track_caller]
pub(crate) fn curled(arguments: &[&str]) -> String {
    let output = curl(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "curl {arguments:?}: {}\n{stderr}", output.status);
    String::from_utf8(output.stdout).expect("text")
}

/// The folder with the client libraries of other languages.
pub(crate) fn peers() -> PathBuf {
    match std::env::var_os("MAINSPRING_PEERS") {
        Some(folder) => folder.into(),
        None => panic!(
            "MAINSPRING_PEERS is not set: run `cargo xtask test`, which installs the client \
             libraries and says where they are"
        ),
    }
}

/// A server in a world with faults.
pub(crate) fn simulated_over(
    seed: u64,
    faults: Faults,
    setup: impl Fn(&mut Shard<'_>) -> Result<(), Error>,
) -> SimServer {
    let mut options = WorldOptions::default();
    options.faults = faults;
    let world = World::new(seed, options);
    SimServer::start(&world, 1, Server::builder().seed(seed), setup).expect("the server starts")
}

/// A folder of one test's own, removed with all that is in it.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let name = format!("mainspring-app-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Writes a file, and gives its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().expect("a path in UTF-8").to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// For an `http` section: folders below the prefix, which needs no rights elsewhere.
pub(crate) const OWN_FOLDERS: &str = "client_body_temp_path body; proxy_temp_path proxy; \
     fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;";

/// nginx in the foreground, as one process. Killed when dropped.
pub(crate) struct Nginx {
    child: Child,
    pub(crate) addr: SocketAddr,
}

impl Nginx {
    /// Starts it on a port of its own with the sections that `configure` makes, again on another
    /// one if somebody has been faster.
    pub(crate) fn start(folder: &Folder, configure: impl Fn(u16) -> String) -> Self {
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let prefix = folder.0.display();
            let text = format!(
                "daemon off; master_process off; pid {prefix}/pid; error_log {prefix}/error.log;
                 {}
                 events {{ }}",
                configure(port)
            );
            let path = folder.0.join("nginx.conf");
            std::fs::write(&path, text).unwrap();
            let mut command = Command::new("nginx");
            command.arg("-p").arg(&folder.0).arg("-c").arg(&path);
            command.args(["-e", &format!("{prefix}/error.log")]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let child = command.spawn();
            let child = child.expect("nginx: run `cargo xtask test`, which installs it");
            let addr = SocketAddr::from(([127, 0, 0, 1], port));
            let mut nginx = Self { child, addr };
            let until = Instant::now() + PATIENCE;
            while nginx.child.try_wait().unwrap().is_none() {
                if TcpStream::connect(addr).is_ok() {
                    return nginx;
                }
                assert!(Instant::now() < until, "nginx does not listen");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        let log = std::fs::read_to_string(folder.0.join("error.log")).unwrap_or_default();
        panic!("nginx does not start: {log}");
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
