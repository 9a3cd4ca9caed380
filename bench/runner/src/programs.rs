//! The programs of a run: which servers there are, how each is started and ended.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::contenders::{Server, Start};
use crate::pin::spawn_on;

/// A server that says nothing for so long will not come.
const READY_MAX: Duration = Duration::from_secs(10);

/// Hundreds of datagrams find no room in the usual buffer of a socket; all servers have as much.
const DATAGRAM_ROOM: &str = "4m";

/// Where programs are found.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    /// This program, which also holds the load generator and the servers to measure against.
    pub(crate) own: PathBuf,
    /// Ours; `None`: not built.
    pub(crate) mainspring: Option<PathBuf>,
    pub(crate) redis_server: Option<PathBuf>,
    pub(crate) redis_benchmark: Option<PathBuf>,
    /// The certificate and the key for TLS, as files.
    pub(crate) tls: (String, String),
}

/// A server that listens; it is ended when this is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    /// Where it listens.
    pub(crate) address: String,
    /// A file to take away at the end.
    socket: Option<PathBuf>,
    /// The error on its standard error, or the last line there.
    complaint: Arc<Mutex<String>>,
}

/// Where a server shall listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Tcp,
    /// TLS over TCP.
    Tls,
    Unix,
    Udp,
}

impl Programs {
    /// This program; what is installed; and `mainspring`, if it is there.
    pub(crate) fn find(mainspring: Option<PathBuf>) -> std::io::Result<Self> {
        Ok(Self {
            own: std::env::current_exe()?,
            mainspring: mainspring.filter(|path| path.is_file()),
            redis_server: in_path("redis-server"),
            redis_benchmark: in_path("redis-benchmark"),
            tls: certificate_files()?,
        })
    }

    /// Why there is no such server; `None`: there is.
    pub(crate) fn lacks(&self, server: &Server) -> Option<&'static str> {
        let is_there = match server.start {
            Start::Own(_) => true,
            Start::Mainspring { .. } => self.mainspring.is_some(),
            Start::RedisServer => self.redis_server.is_some(),
        };
        match (server.is_built(), is_there) {
            (false, _) => Some("not built"),
            (true, false) => Some("not installed"),
            (true, true) => None,
        }
    }

    /// Starts a server on `cores` and waits until it listens.
    pub(crate) fn serve(
        &self,
        server: &Server,
        scheme: Scheme,
        cores: &[usize],
    ) -> Result<Running, String> {
        let socket = (scheme == Scheme::Unix).then(|| {
            let name = format!("mainspring-bench-{}.sock", std::process::id());
            std::env::temp_dir().join(name)
        });
        if let Some(path) = &socket {
            let _ = std::fs::remove_file(path);
        }
        let listen = match &socket {
            Some(path) => format!("unix://{}", path.display()),
            None if scheme == Scheme::Udp => "udp://127.0.0.1:0".to_owned(),
            None => "tcp://127.0.0.1:0".to_owned(),
        };
        let (mut command, fixed) = self.command(server, &listen)?;
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        // Where the address is known, nobody reads what the server prints.
        command.stdout(if fixed.is_none() { Stdio::piped() } else { Stdio::null() });
        let mut child = spawn_on(cores, &mut command)
            .map_err(|error| format!("cannot start {}: {error}", server.name))?;
        let complaint = complaint(child.stderr.take());
        let mut running = Running { child, address: String::new(), socket, complaint };
        running.address = match fixed {
            None => running.announced().map_err(|error| format!("{}: {error}", server.name))?,
            Some(address) => {
                wait_until_it_accepts(&address)
                    .map_err(|error| format!("{}: {error}", server.name))?;
                format!("tcp://{address}")
            }
        };
        if scheme == Scheme::Tls
            && let Some(place) = running.address.strip_prefix("tcp://")
        {
            running.address = format!("tls://{place}");
        }
        Ok(running)
    }

    /// The command, and the address of a server that does not choose a free port itself.
    fn command(&self, server: &Server, listen: &str) -> Result<(Command, Option<String>), String> {
        let lacking = || format!("{} is not installed", server.name);
        match server.start {
            Start::Own(name) => {
                let mut command = Command::new(&self.own);
                command.args(["serve", name, "--listen", listen]);
                Ok((command, None))
            }
            Start::Mainspring { command: subcommand, driver, loops } => {
                let program = self.mainspring.as_ref().ok_or_else(lacking)?;
                let mut command = Command::new(program);
                let options = match (listen.starts_with("udp:"), server.offload) {
                    (true, true) => format!("?rcvbuf={DATAGRAM_ROOM}&gro=1&gso=1"),
                    (true, false) => format!("?rcvbuf={DATAGRAM_ROOM}"),
                    (false, _) => String::new(),
                };
                command.args([subcommand, "--listen", &format!("{listen}{options}")]);
                if server.tls {
                    command.args(["--tls-cert", &self.tls.0, "--tls-key", &self.tls.1]);
                }
                command.args(["--driver", driver.name(), "--loops", &loops.to_string()]);
                Ok((command, None))
            }
            Start::RedisServer => {
                let program = self.redis_server.as_ref().ok_or_else(lacking)?;
                let port = free_port().map_err(|error| error.to_string())?;
                let mut command = Command::new(program);
                command.current_dir(std::env::temp_dir());
                command.args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
                command.args(["--save", "", "--appendonly", "no", "--daemonize", "no"]);
                Ok((command, Some(format!("127.0.0.1:{port}"))))
            }
        }
    }
}

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What the server said last, if it did not end well.
    fn complaint(&self) -> String {
        self.complaint.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the line `NAME: ready on ADDRESS`, and goes on reading so that the server never waits
    /// for us.
    fn announced(&mut self) -> Result<String, String> {
        let stdout = self.child.stdout.take().ok_or("its output is not ours")?;
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let deadline = Instant::now() + READY_MAX;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = receiver.recv_timeout(left) else {
                // What it complained about may still be on its way to us.
                std::thread::sleep(Duration::from_millis(50));
                return Err(format!("not ready: {}", self.complaint()));
            };
            if let Some(address) = ready_address(&line) {
                return Ok(address.to_owned());
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(path) = &self.socket {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Reads to the end, so that the server never waits for us, and keeps the line with the error, or
/// the last one.
fn complaint(stderr: Option<ChildStderr>) -> Arc<Mutex<String>> {
    let kept = Arc::new(Mutex::new(String::new()));
    let Some(stderr) = stderr else { return kept };
    let shared = Arc::clone(&kept);
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let mut kept = shared.lock().unwrap_or_else(PoisonError::into_inner);
            if !line.trim().is_empty() && !kept.starts_with("error") {
                *kept = line;
            }
        }
    });
    kept
}

/// The address in `mainspring echo: ready on tcp://127.0.0.1:5000`, up to a space.
fn ready_address(line: &str) -> Option<&str> {
    line.split_once(": ready on ")?.1.split_whitespace().next()
}

fn in_path(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| Path::is_file(path))
}

/// What the servers of this program have compiled in, for those that read files. The same text for
/// every run, so that runs may write it at the same time.
fn certificate_files() -> std::io::Result<(String, String)> {
    let write = |name: &str, text: &str| {
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text)?;
        Ok::<_, std::io::Error>(path.display().to_string())
    };
    let certificate = write("mainspring-bench-certificate.pem", bench_servers::CERTIFICATE)?;
    Ok((certificate, write("mainspring-bench-key.pem", bench_servers::KEY)?))
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn wait_until_it_accepts(address: &str) -> Result<(), String> {
    let deadline = Instant::now() + READY_MAX;
    while Instant::now() < deadline {
        if TcpStream::connect(address).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Err(format!("does not accept at {address}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contenders::Driver;

    #[test]
    fn the_address_is_read_from_the_line_of_any_server() {
        let line = "mainspring echo: ready on tcp://127.0.0.1:5000";
        assert_eq!(ready_address(line), Some("tcp://127.0.0.1:5000"));
        let line = "floor-echo: ready on unix:///run/a.sock (1 loop)";
        assert_eq!(ready_address(line), Some("unix:///run/a.sock"));
        assert_eq!(ready_address("mainspring echo: starting"), None);
    }

    #[test]
    fn a_program_that_is_not_there_is_lacking() {
        let mut programs = Programs::find(Some("no-such-folder/mainspring".into())).unwrap();
        let [ready, _] = Server::ours("echo");
        assert_eq!(programs.lacks(&ready), Some("not installed"));
        assert_eq!(programs.lacks(&Server::peer("no-such-echo")), Some("not built"));
        assert_eq!(programs.lacks(&Server::floor("floor-echo")), None);
        programs.redis_server = None;
        let error = programs.command(&Server::redis(), "tcp://127.0.0.1:0").unwrap_err();
        assert_eq!(error, "redis-server is not installed");
    }

    #[test]
    fn ours_gets_its_driver_its_loops_and_what_datagrams_shall_do() {
        let programs = Programs {
            own: "runner".into(),
            mainspring: Some("mainspring".into()),
            redis_server: None,
            redis_benchmark: None,
            tls: ("cert.pem".to_owned(), "key.pem".to_owned()),
        };
        let server = Server::our("echo", Driver::Ring, 2).with_offload();
        let (command, _) = programs.command(&server, "udp://127.0.0.1:0").unwrap();
        let args: Vec<_> = command.get_args().collect();
        let wanted =
            "echo --listen udp://127.0.0.1:0?rcvbuf=4m&gro=1&gso=1 --driver ring --loops 2";
        assert_eq!(args, wanted.split(' ').collect::<Vec<_>>());
        let server = Server::our("echo", Driver::Ready, 1).with_tls();
        let (command, _) = programs.command(&server, "tcp://127.0.0.1:0").unwrap();
        let args: Vec<_> = command.get_args().collect();
        let wanted = "echo --listen tcp://127.0.0.1:0 --tls-cert cert.pem --tls-key key.pem \
                      --driver ready --loops 1";
        assert_eq!(args, wanted.split(' ').collect::<Vec<_>>());
    }
}
