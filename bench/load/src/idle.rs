//! Connections that ask once and then stay open: what does each cost?

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::report::Idle;
use crate::resident::resident_bytes;
use crate::target::reset_at_close;
use crate::{Error, Target};

/// Opened before memory is read first, so that what a server makes once is made.
const WARM: usize = 64;
/// With more, the kernel searches long for a free port.
const PER_SOURCE: usize = 3000;
/// How long the server's memory may settle before it is read.
const SETTLE: Duration = Duration::from_millis(200);
const REPLY_MAX: Duration = Duration::from_secs(5);

/// Open connections without traffic, and what they cost.
pub(crate) struct Sleepers {
    _streams: Vec<TcpStream>,
    pub(crate) report: Idle,
}

impl Sleepers {
    /// Opens `count` connections one after another; each sends one message of `size` bytes and
    /// takes it back.
    pub(crate) fn open(
        address: SocketAddr,
        count: usize,
        size: usize,
        watch: Option<u32>,
    ) -> Result<Self, Error> {
        let message = vec![b'i'; size];
        let mut streams = Vec::with_capacity(WARM + count);
        for index in 0..WARM {
            streams.push(greet(address, index, &message)?);
        }
        let resident_before = settled(watch)?;
        let started = Instant::now();
        for index in WARM..WARM + count {
            streams.push(greet(address, index, &message)?);
        }
        let seconds = started.elapsed().as_secs_f64();
        let resident_after = settled(watch)?;
        let report = Idle { connections: count, resident_before, resident_after, seconds };
        Ok(Self { _streams: streams, report })
    }
}

fn settled(watch: Option<u32>) -> Result<u64, Error> {
    std::thread::sleep(SETTLE);
    watch.map_or(Ok(0), resident_bytes)
}

fn greet(address: SocketAddr, index: usize, message: &[u8]) -> Result<TcpStream, Error> {
    let target = Target::Tcp(address);
    let failed =
        || Error::io(format!("connection {index} to {target}, which is to do nothing later"));
    let mut stream = connect(address, index).map_err(failed())?;
    stream.set_nodelay(true).map_err(failed())?;
    stream.set_read_timeout(Some(REPLY_MAX)).map_err(failed())?;
    reset_at_close(&stream).map_err(failed())?;
    stream.write_all(message).map_err(failed())?;
    let mut reply = vec![0; message.len()];
    stream.read_exact(&mut reply).map_err(failed())?;
    if reply != message {
        return Err(Error::WrongReply("other bytes than were sent".to_owned()));
    }
    Ok(stream)
}

/// To loopback from many source addresses, for each has a limited number of ports.
fn connect(address: SocketAddr, index: usize) -> std::io::Result<TcpStream> {
    let Some(source) = source(address.ip(), index) else { return TcpStream::connect(address) };
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    rustix::net::bind(&socket, &SocketAddr::new(source, 0))?;
    rustix::net::connect(&socket, &address)?;
    Ok(socket.into())
}

fn source(to: IpAddr, index: usize) -> Option<IpAddr> {
    let host = u8::try_from(1 + index / PER_SOURCE).ok()?;
    matches!(to, IpAddr::V4(to) if to.is_loopback()).then(|| Ipv4Addr::new(127, 0, 1, host).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn sources_change_before_their_ports_are_used_up() {
        let to = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(source(to, 0), Some(IpAddr::from([127, 0, 1, 1])));
        assert_eq!(source(to, PER_SOURCE), Some(IpAddr::from([127, 0, 1, 2])));
        assert_eq!(source(IpAddr::from([10, 0, 0, 1]), 0), None);
    }

    #[test]
    fn each_connection_is_answered_once_and_stays() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut message = [0; 16];
                stream.read_exact(&mut message).unwrap();
                stream.write_all(&message).unwrap();
                kept.push(stream);
            }
        });
        let sleepers = Sleepers::open(address, 100, 16, Some(std::process::id())).unwrap();
        assert_eq!(sleepers.report.connections, 100);
        assert_eq!(sleepers._streams.len(), WARM + 100);
        assert!(sleepers.report.resident_before > 0);
    }
}
