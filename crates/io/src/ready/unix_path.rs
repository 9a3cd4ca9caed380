//! The file that a unix listener leaves in the file system.

use crate::UnixAddr;
use socket2::{Domain, SockAddr, Socket, Type};
use std::fs;
use std::io::{self, ErrorKind};
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// A socket file made by this process; dropping it removes the file, if it is still that one.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    /// Binds `socket`. A socket file that nobody listens on any more is replaced; any other file
    /// there is an error. `None` if the name is not in the file system.
    pub(crate) fn bind(socket: &Socket, at: &UnixAddr) -> io::Result<Option<Self>> {
        let address = address_of(at)?;
        let UnixAddr::Path(path) = at else {
            return socket.bind(&address).map(|()| None);
        };
        if let Err(error) = socket.bind(&address) {
            if error.kind() != ErrorKind::AddrInUse {
                return Err(error);
            }
            remove_stale(path, &address)?;
            socket.bind(&address)?;
        }
        Self::of(path).map(Some)
    }

    fn of(path: &Path) -> io::Result<Self> {
        // The process may have changed its directory when the listener closes.
        let path = std::path::absolute(path)?;
        let made = fs::symlink_metadata(&path)?;
        Ok(Self { path, device: made.dev(), inode: made.ino() })
    }

    fn is_still_ours(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|found| {
            found.file_type().is_socket() && (found.dev(), found.ino()) == (self.device, self.inode)
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_still_ours()
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::debug!(path = %self.path.display(), %error, "cannot remove the socket file");
        }
    }
}

/// The name as the system takes it.
pub(crate) fn address_of(at: &UnixAddr) -> io::Result<SockAddr> {
    match at {
        UnixAddr::Path(path) => SockAddr::unix(path),
        // unix(7): "sun_path[0] is a null byte ('\0'). The socket's address in this namespace is
        // given by the additional bytes".
        #[cfg(any(target_os = "linux", target_os = "android"))]
        UnixAddr::Abstract(name) => {
            let mut path = vec![0];
            path.extend_from_slice(name);
            SockAddr::unix(std::ffi::OsStr::from_bytes(&path))
        }
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        UnixAddr::Abstract(_) => Err(io::Error::new(
            ErrorKind::Unsupported,
            "only Linux has unix addresses outside the file system",
        )),
        UnixAddr::Unnamed => Err(io::Error::new(
            ErrorKind::InvalidInput,
            "a unix address needs a path or an abstract name",
        )),
    }
}

/// Removes a socket file that refuses connections: its owner died without removing it.
fn remove_stale(path: &Path, address: &SockAddr) -> io::Result<()> {
    let found = fs::symlink_metadata(path)?;
    if !found.file_type().is_socket() {
        let what = if found.is_dir() { "a directory" } else { "a file that is not a socket" };
        return Err(io::Error::new(
            ErrorKind::AlreadyExists,
            format!("{} is {what}, and is left alone", path.display()),
        ));
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    match probe.connect(address) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        // Gone in the meantime.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        // Whoever answers, has a full backlog, or may not be asked, is alive.
        _ => Err(ErrorKind::AddrInUse.into()),
    }
}
