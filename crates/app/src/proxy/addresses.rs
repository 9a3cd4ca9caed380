//! Addresses of the wire and of sockets.

use mainspring_io::{Addr, UnixAddr};
use mainspring_wire::proxy::{Addresses, Transport};
use std::path::Path;
use std::sync::Arc;

/// The client and where it connected to, if the header names them.
pub(super) fn announced(addresses: &Addresses<'_>) -> Option<(Addr, Addr)> {
    match addresses {
        Addresses::Local | Addresses::Unknown => None,
        Addresses::Ip { source, destination, .. } => {
            Some((Addr::Inet(*source), Addr::Inet(*destination)))
        }
        Addresses::Unix { source, destination, .. } => {
            Some((Addr::Unix(name(source)), Addr::Unix(name(destination))))
        }
    }
}

/// A socket's name in a header: `buffers` holds what paths are borrowed from. Ends of two kinds
/// have no form in one.
pub(super) fn told<'a>(source: &Addr, destination: &Addr, buffers: &'a mut Names) -> Addresses<'a> {
    let transport = Transport::Stream;
    match (source, destination) {
        (Addr::Inet(source), Addr::Inet(destination)) => {
            Addresses::Ip { transport, source: *source, destination: *destination }
        }
        (Addr::Unix(source), Addr::Unix(destination)) => {
            *buffers = Names(bytes(source), bytes(destination));
            Addresses::Unix { transport, source: &buffers.0, destination: &buffers.1 }
        }
        _ => Addresses::Unknown,
    }
}

/// Two names of unix sockets.
#[derive(Default)]
pub(super) struct Names(Vec<u8>, Vec<u8>);

fn name(bytes: &[u8]) -> UnixAddr {
    match bytes {
        [] => UnixAddr::Unnamed,
        [0, name @ ..] => UnixAddr::Abstract(Arc::from(name)),
        path => UnixAddr::Path(Arc::from(path_of(path).as_ref())),
    }
}

fn bytes(name: &UnixAddr) -> Vec<u8> {
    match name {
        UnixAddr::Unnamed => Vec::new(),
        UnixAddr::Abstract(name) => [&[0], &name[..]].concat(),
        UnixAddr::Path(path) => bytes_of(path),
    }
}

#[cfg(unix)]
fn path_of(bytes: &[u8]) -> impl AsRef<Path> {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::OsStr::from_bytes(bytes)
}

#[cfg(unix)]
fn bytes_of(path: &Path) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    path.as_os_str().as_bytes().to_vec()
}

#[cfg(not(unix))]
fn path_of(bytes: &[u8]) -> impl AsRef<Path> {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(not(unix))]
fn bytes_of(path: &Path) -> Vec<u8> {
    path.to_string_lossy().into_owned().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_comes_back_as_it_was_told() {
        let inet = |text: &str| Addr::Inet(text.parse().unwrap());
        let unix = |name| Addr::Unix(name);
        for (source, destination) in [
            (inet("192.0.2.1:1"), inet("192.0.2.2:2")),
            (inet("[2001:db8::1]:1"), inet("[::1]:65535")),
            (unix(UnixAddr::Unnamed), unix(UnixAddr::Path(Arc::from(Path::new("/run/x.sock"))))),
            (unix(UnixAddr::Abstract(Arc::from(&b"a\0b"[..]))), unix(UnixAddr::Unnamed)),
        ] {
            let mut names = Names::default();
            let addresses = told(&source, &destination, &mut names);
            assert_eq!(announced(&addresses), Some((source, destination)));
        }
        let (ip, path) = (inet("192.0.2.1:1"), unix(UnixAddr::Unnamed));
        assert_eq!(told(&ip, &path, &mut Names::default()), Addresses::Unknown);
        assert_eq!(announced(&Addresses::Local), None);
    }
}
