//! Dialling and waiting, for those who have no loop.

use super::OwnedStream;
use crate::ready::settings;
#[cfg(unix)]
use crate::ready::unix_path;
use crate::{Addr, SocketOptions};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

impl OwnedStream {
    /// Connects and waits for it, at most `timeout`; the stream blocks. On a running loop use the
    /// driver's [`connect`](crate::Driver::connect) instead, which waits for nothing.
    ///
    /// # Errors
    ///
    /// What the system says, and `TimedOut` when the time is over. Where a system's unix sockets
    /// know no send timeout while they connect (Linux' do), a full backlog is waited for.
    pub fn connect(to: &Addr, options: &SocketOptions, timeout: Duration) -> io::Result<Self> {
        // No time at all would mean for ever, or be refused.
        let timeout = timeout.max(Duration::from_millis(1));
        match to {
            Addr::Inet(to) => connect_tcp(*to, options, timeout).map(Self::Tcp),
            #[cfg(unix)]
            Addr::Unix(to) => {
                connect_unix(&unix_path::address_of(to)?, options, timeout).map(Self::Unix)
            }
            #[cfg(not(unix))]
            Addr::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

fn connect_tcp(
    to: SocketAddr,
    options: &SocketOptions,
    timeout: Duration,
) -> io::Result<std::net::TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    settings::apply(&SockRef::from(&socket), options, true)?;
    socket.connect_timeout(&SockAddr::from(to), timeout)?;
    Ok(socket.into())
}

#[cfg(unix)]
fn connect_unix(
    to: &SockAddr,
    options: &SocketOptions,
    timeout: Duration,
) -> io::Result<std::os::unix::net::UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    settings::apply(&SockRef::from(&socket), options, false)?;
    socket.set_write_timeout(Some(timeout))?;
    socket.connect(to).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    })?;
    socket.set_write_timeout(None)?;
    Ok(socket.into())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::UnixAddr;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    const SHORT: Duration = Duration::from_millis(100);

    #[test]
    fn bytes_pass_over_tcp() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = Addr::Inet(listener.local_addr().unwrap());
        let options = SocketOptions::default();
        let mut dialled =
            OwnedStream::connect(&to, &options, Duration::from_secs(10)).expect("it listens");
        let (mut accepted, _) = listener.accept().unwrap();
        dialled.write_all(b"hello").unwrap();
        let mut seen = [0; 5];
        accepted.read_exact(&mut seen).unwrap();
        assert_eq!(&seen, b"hello");
        let OwnedStream::Tcp(stream) = dialled else { panic!("{dialled:?}") };
        assert!(stream.nodelay().unwrap(), "as by default everywhere");
    }

    #[test]
    fn a_full_backlog_of_a_unix_socket_is_not_waited_for_longer_than_was_said() {
        let name = format!("mainspring-io-dial-{}", std::process::id());
        let name = UnixAddr::Abstract(name.into_bytes().into());
        let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        listener.bind(&unix_path::address_of(&name).unwrap()).unwrap();
        listener.listen(0).unwrap();
        let (to, options) = (Addr::Unix(name), SocketOptions::default());
        // A backlog of 0 takes one.
        let _first = OwnedStream::connect(&to, &options, SHORT).expect("it takes one");
        let error = OwnedStream::connect(&to, &options, SHORT).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn nobody_there_is_the_systems_error() {
        // Nobody listens on tcpmux.
        let to = Addr::Inet(SocketAddr::from(([127, 0, 0, 1], 1)));
        let error = OwnedStream::connect(&to, &SocketOptions::default(), SHORT).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
