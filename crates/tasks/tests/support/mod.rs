//! Servers of tasks on real sockets, and clients that do not wait for ever.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::disallowed_methods, reason = "clients and deadlines of tests run by the clock")]

use mainspring_io::Addr;
use mainspring_loop::{CloseReason, Error, Limits, Remote, Running, Server};
use mainspring_tasks::{Stream, TaskStats, Tasks};
use std::fmt::Debug;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How long any single expectation may take to come true on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Ends the process if the test that holds it is not over in time.
pub(crate) struct Bound {
    _over: Sender<()>,
}

#[expect(clippy::print_stderr, reason = "the last words of a test that hangs")]
pub(crate) fn bound(seconds: u64) -> Bound {
    let (over, told) = channel::<()>();
    let test = thread::current().name().unwrap_or("a test").to_owned();
    thread::spawn(move || {
        if told.recv_timeout(Duration::from_secs(seconds)) == Err(RecvTimeoutError::Timeout) {
            eprintln!("{test} was not over after {seconds} s");
            std::process::exit(101);
        }
    });
    Bound { _over: over }
}

/// A server of tasks on one loop, and the way into it.
pub(crate) struct Served {
    pub(crate) running: Running,
    pub(crate) remote: Remote<Tasks>,
}

impl Served {
    pub(crate) fn start(tasks: impl Fn() -> Tasks + Send + Sync + 'static) -> Self {
        Self::with(Limits::default(), tasks)
    }

    pub(crate) fn with(limits: Limits, tasks: impl Fn() -> Tasks + Send + Sync + 'static) -> Self {
        let (give, given) = channel();
        let give = Mutex::new(give);
        let builder = Server::builder().limits(limits).drain(Duration::from_secs(3));
        let started = builder.start(move |shard| {
            let host = shard.host(tasks());
            shard.listen(host, "tcp://127.0.0.1:0")?;
            give.lock().unwrap().send(shard.remote(host)).unwrap();
            Ok::<(), Error>(())
        });
        Self { running: started.expect("starts"), remote: given.recv().unwrap() }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        inet(&self.running.addrs()[0])
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.addr())
    }

    /// What the tasks have counted.
    pub(crate) fn stats(&self) -> TaskStats {
        let (tell, told) = channel();
        self.remote.post(move |tasks, _| tell.send(tasks.stats()).unwrap()).unwrap();
        told.recv_timeout(PATIENCE).expect("the loop turns")
    }

    /// Waits until a figure of the tasks is as it should be.
    #[track_caller]
    pub(crate) fn eventually<T: PartialEq + Debug>(
        &self,
        figure: impl Fn(&TaskStats) -> T,
        wanted: T,
    ) {
        let until = Instant::now() + PATIENCE;
        loop {
            let stats = self.stats();
            let got = figure(&stats);
            if got == wanted {
                return;
            }
            assert!(Instant::now() < until, "not in time: {wanted:?}, but {got:?} in {stats:?}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Stops the server and waits for its end; no callback may have panicked unseen.
    pub(crate) fn stop(self, panics: u64) {
        assert_eq!(self.running.handle().stats().total.panics, panics);
        self.running.handle().stop();
        self.running.join().expect("ends in good order");
    }
}

pub(crate) fn inet(addr: &Addr) -> SocketAddr {
    match addr {
        Addr::Inet(addr) => *addr,
        Addr::Unix(_) => panic!("{addr} is not an internet address"),
    }
}

/// A list that tasks write and a test reads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn add(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, line: &str) {
        eventually(line, || self.lines().iter().any(|got| got == line));
    }
}

/// Waits until `holds`, and says `what` did not come true if it never does.
#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "not in time: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// The same bytes back, until the peer ends its stream.
pub(crate) async fn echo(mut stream: Stream) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

pub(crate) struct Client(pub(crate) TcpStream);

impl Client {
    pub(crate) fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&to, PATIENCE).expect("connects");
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("sends");
    }

    /// Receives exactly `wanted`.
    #[track_caller]
    pub(crate) fn expect(&mut self, wanted: &[u8]) {
        let mut got = vec![0; wanted.len()];
        self.0.read_exact(&mut got).expect("receives");
        assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(wanted));
    }

    /// Receives until the end of the stream; a reset is not one.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.0.read_to_end(&mut bytes).expect("receives to the end");
        bytes
    }

    /// Waits for the end of the connection, in good order or not.
    #[track_caller]
    pub(crate) fn expect_gone(&mut self) {
        let mut bytes = Vec::new();
        if let Err(error) = self.0.read_to_end(&mut bytes) {
            let gone = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
            assert!(gone.contains(&error.kind()), "still there: {error}");
        }
    }

    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.0).set_linger(Some(Duration::ZERO)).unwrap();
    }

    pub(crate) fn finish(&mut self) {
        self.0.shutdown(Shutdown::Write).unwrap();
    }
}

/// What an error kind is called in a log.
pub(crate) fn kind(error: &std::io::Error) -> String {
    format!("{:?}", error.kind())
}

/// The text of a reason, as errors carry it.
pub(crate) fn text(reason: CloseReason) -> String {
    reason.to_string()
}
