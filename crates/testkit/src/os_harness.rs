//! The drivers of the operating system under test, against plain sockets of the standard library.

use crate::harness::{DatagramPeer, Harness, Peer, PeerListener};
use mainspring_io::{Addr, Driver, DriverLimits, OwnedStream, ReadyDriver, Sink};
use socket2::SockRef;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

/// Two drivers of the operating system.
#[derive(Debug)]
pub struct OsHarness<K: OsDriverKind> {
    drivers: [K::Driver; 2],
}

/// Which driver of the operating system, and which of its ways.
pub trait OsDriverKind {
    /// Its type.
    type Driver: Driver;
    /// A driver of this kind.
    ///
    /// # Errors
    ///
    /// If the system gives none.
    fn driver(limits: DriverLimits) -> io::Result<Self::Driver>;
}

/// [`ReadyDriver::new`].
#[derive(Debug)]
pub struct Ready;

/// [`ReadyDriver::portable`].
#[derive(Debug)]
pub struct Portable;

/// [`RingDriver::new`](mainspring_io::RingDriver::new).
#[cfg(target_os = "linux")]
#[derive(Debug)]
pub struct Ring;

/// [`RingDriver::plain`](mainspring_io::RingDriver::plain).
#[cfg(target_os = "linux")]
#[derive(Debug)]
pub struct PlainRing;

impl OsDriverKind for Ready {
    type Driver = ReadyDriver;

    fn driver(limits: DriverLimits) -> io::Result<ReadyDriver> {
        ReadyDriver::new(limits)
    }
}

impl OsDriverKind for Portable {
    type Driver = ReadyDriver;

    fn driver(limits: DriverLimits) -> io::Result<ReadyDriver> {
        ReadyDriver::portable(limits)
    }
}

#[cfg(target_os = "linux")]
impl OsDriverKind for Ring {
    type Driver = mainspring_io::RingDriver;

    fn driver(limits: DriverLimits) -> io::Result<mainspring_io::RingDriver> {
        Ok(mainspring_io::RingDriver::new(limits)?)
    }
}

#[cfg(target_os = "linux")]
impl OsDriverKind for PlainRing {
    type Driver = mainspring_io::RingDriver;

    fn driver(limits: DriverLimits) -> io::Result<mainspring_io::RingDriver> {
        Ok(mainspring_io::RingDriver::plain(limits)?)
    }
}

impl<K: OsDriverKind> Harness for OsHarness<K> {
    type Driver = K::Driver;
    type Peer = OsPeer;
    type PeerListener = OsPeerListener;
    type DatagramPeer = OsDatagramPeer;

    fn start(limits: DriverLimits) -> Self {
        let driver = || match K::driver(limits.clone()) {
            Ok(driver) => driver,
            Err(error) => panic!("the system gives no driver: {error}"),
        };
        Self { drivers: [driver(), driver()] }
    }

    fn driver(&mut self) -> &mut K::Driver {
        &mut self.drivers[0]
    }

    fn swap_loops(&mut self) {
        self.drivers.swap(0, 1);
    }

    fn turn(&mut self, sink: &mut impl Sink) {
        self.drivers[0].poll(Some(TURN), sink).expect("the poller is lost");
    }

    fn sleep(&mut self, timeout: Option<Duration>, sink: &mut impl Sink) -> Duration {
        let start = self.drivers[0].now();
        self.drivers[0].poll(timeout, sink).expect("the poller is lost");
        self.drivers[0].now() - start
    }

    fn wake_later(&mut self, after: Duration) {
        let waker = self.drivers[0].waker();
        std::thread::spawn(move || {
            #[expect(clippy::disallowed_methods, reason = "plays another thread, not a loop")]
            std::thread::sleep(after);
            waker.wake();
        });
    }

    fn raise(&mut self, number: i32) {
        #[cfg(unix)]
        {
            use rustix::process::{Signal, getpid, kill_process};
            let signal = Signal::from_named_raw(number).expect("a signal");
            kill_process(getpid(), signal).expect("a process may signal itself");
        }
        #[cfg(not(unix))]
        unreachable!("no driver caught {number} here");
    }

    fn dial(&mut self, to: &Addr) -> OsPeer {
        OsPeer::new(connect(to).expect("somebody listens"))
    }

    fn peer_listener(&mut self) -> (OsPeerListener, Addr) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket");
        let at = Addr::Inet(listener.local_addr().expect("a bound socket"));
        (OsPeerListener { listener }, at)
    }

    fn datagram_peer(&mut self) -> (OsDatagramPeer, Addr) {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        socket.set_nonblocking(true).expect("a socket");
        let at = Addr::Inet(socket.local_addr().expect("a bound socket"));
        (OsDatagramPeer { socket }, at)
    }

    #[cfg(unix)]
    fn unix_address(&mut self) -> Option<Addr> {
        use std::sync::atomic::{AtomicU32, Ordering};
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("mainspring-suite-{}-{number}.sock", std::process::id());
        let path = std::env::temp_dir().join(name);
        Some(Addr::Unix(mainspring_io::UnixAddr::Path(path.into())))
    }

    #[cfg(not(unix))]
    fn unix_address(&mut self) -> Option<Addr> {
        None
    }

    fn silent_address(&mut self) -> Addr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        Addr::Inet(listener.local_addr().expect("a bound socket"))
    }
}

/// Starving takes the descriptors of the whole process: only for a test that is alone in it.
#[cfg(target_os = "linux")]
impl<K: OsDriverKind> crate::harness::Starve for OsHarness<K> {
    fn starve(&mut self, starve: bool) {
        use rustix::process::{Resource, getrlimit, setrlimit};
        let mut limit = getrlimit(Resource::Nofile);
        // Descriptors that are open stay open; accept(2) then says EMFILE.
        limit.current = if starve { Some(0) } else { limit.maximum };
        setrlimit(Resource::Nofile, limit).expect("a limit under the hard one");
    }
}

/// A connected socket of the standard library.
#[derive(Debug)]
pub struct OsPeer {
    stream: OwnedStream,
    received: Vec<u8>,
    eof: bool,
    reset: bool,
}

impl OsPeer {
    fn new(stream: OwnedStream) -> Self {
        stream.set_nonblocking(true).expect("a socket");
        Self { stream, received: Vec::new(), eof: false, reset: false }
    }

    fn read_on(&mut self) {
        let mut buffer = [0; 16 * 1024];
        while !self.eof && !self.reset {
            match self.stream.read(&mut buffer) {
                Ok(0) => self.eof = true,
                Ok(count) => self.received.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.reset = true,
            }
        }
    }
}

impl Peer for OsPeer {
    fn send(&mut self, bytes: &[u8]) -> usize {
        let mut sent = 0;
        while sent < bytes.len() {
            match self.stream.write(&bytes[sent..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        sent
    }

    fn receive(&mut self) -> Vec<u8> {
        self.read_on();
        std::mem::take(&mut self.received)
    }

    fn eof(&mut self) -> bool {
        self.read_on();
        self.eof
    }

    fn reset_seen(&mut self) -> bool {
        self.read_on();
        self.reset
    }

    fn shutdown_write(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("an open socket");
    }

    fn reset(self) {
        let stream = self.stream.into_tcp().expect("only TCP resets");
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("an open socket");
    }

    fn stop_reading(&mut self) {
        // Plain sockets read only when asked.
    }
}

/// A listener of the standard library.
#[derive(Debug)]
pub struct OsPeerListener {
    listener: TcpListener,
}

impl PeerListener for OsPeerListener {
    type Peer = OsPeer;

    fn accept(&mut self) -> Option<OsPeer> {
        let (stream, _) = self.listener.accept().ok()?;
        Some(OsPeer::new(OwnedStream::Tcp(stream)))
    }
}

/// A datagram socket of the standard library.
#[derive(Debug)]
pub struct OsDatagramPeer {
    socket: UdpSocket,
}

impl DatagramPeer for OsDatagramPeer {
    fn send_to(&mut self, to: &Addr, payload: &[u8]) {
        self.socket.send_to(payload, inet(to)).expect("room for a datagram");
    }

    fn receive(&mut self) -> Option<(Addr, Vec<u8>)> {
        let mut buffer = vec![0; 65_536];
        let (count, from) = self.socket.recv_from(&mut buffer).ok()?;
        buffer.truncate(count);
        Some((Addr::Inet(from), buffer))
    }
}

fn connect(to: &Addr) -> io::Result<OwnedStream> {
    match to {
        Addr::Inet(to) => TcpStream::connect_timeout(to, CONNECT_TIMEOUT).map(OwnedStream::Tcp),
        #[cfg(unix)]
        Addr::Unix(mainspring_io::UnixAddr::Path(path)) => {
            std::os::unix::net::UnixStream::connect(path).map(OwnedStream::Unix)
        }
        Addr::Unix(_) => Err(ErrorKind::Unsupported.into()),
    }
}

fn inet(at: &Addr) -> SocketAddr {
    match at {
        Addr::Inet(at) => *at,
        Addr::Unix(_) => panic!("datagrams go to inet addresses"),
    }
}

const TURN: Duration = Duration::from_millis(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
