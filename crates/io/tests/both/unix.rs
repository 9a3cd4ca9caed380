//! Unix stream sockets: names, stale files, full backlogs.
#![cfg(unix)]

use super::recorder::{PATIENCE, Rig, Told};
use mainspring_io::{Addr, Driver, ListenOptions, UnixAddr};
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// A directory of this test's own, removed at its end.
struct Place(PathBuf);

impl Place {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ms-io-{test}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn addr(path: &Path) -> Addr {
    Addr::Unix(UnixAddr::Path(path.into()))
}

fn listen(rig: &mut Rig, at: &Addr) -> io::Result<mainspring_io::Key> {
    let key = rig.key();
    rig.driver.listen(key, at, &ListenOptions::default()).map(|_| key)
}

#[test]
fn echoes_and_removes_its_file() {
    let place = Place::new("echo");
    let path = place.at("s");
    let mut rig = Rig::new();
    let listener = listen(&mut rig, &addr(&path)).unwrap();
    let mut peer = UnixStream::connect(&path).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    let key = rig.accept();
    peer.write_all(b"ping").unwrap();
    rig.until("ping", |seen| seen.received(key) == b"ping");
    rig.send_all(key, b"pong");
    let mut pong = [0; 4];
    peer.read_exact(&mut pong).unwrap();
    assert_eq!(&pong, b"pong");
    peer.shutdown(std::net::Shutdown::Write).unwrap();
    rig.until("eof", |seen| seen.has(key, Told::Eof));
    rig.driver.close(key);
    rig.driver.close(listener);
    rig.until("closed", |seen| seen.has(listener, Told::Closed));
    assert!(!path.exists());
    assert_eq!(peer.read(&mut pong).unwrap(), 0);
}

#[test]
fn tells_both_addresses() {
    let place = Place::new("addresses");
    let path = place.at("s");
    let mut rig = Rig::new();
    listen(&mut rig, &addr(&path)).unwrap();
    let _peer = UnixStream::connect(&path).unwrap();
    rig.until("a connection", |seen| !seen.accepted.is_empty());
    let (_, accepted) = rig.seen.accepted.remove(0);
    assert_eq!(accepted.local, addr(&path));
    assert_eq!(accepted.peer, Addr::Unix(UnixAddr::Unnamed));
}

#[test]
fn dropping_the_driver_removes_the_file() {
    let place = Place::new("drop");
    let path = place.at("s");
    let mut rig = Rig::new();
    listen(&mut rig, &addr(&path)).unwrap();
    assert!(path.exists());
    drop(rig);
    assert!(!path.exists());
}

#[test]
fn a_stale_socket_file_is_replaced() {
    let place = Place::new("stale");
    let path = place.at("s");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "std leaves its file behind");
    let mut rig = Rig::new();
    listen(&mut rig, &addr(&path)).unwrap();
    let _peer = UnixStream::connect(&path).unwrap();
    rig.until("a connection", |seen| !seen.accepted.is_empty());
}

#[test]
fn a_living_socket_is_left_alone() {
    let place = Place::new("living");
    let path = place.at("s");
    let living = UnixListener::bind(&path).unwrap();
    let mut rig = Rig::new();
    let error = listen(&mut rig, &addr(&path)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert!(path.exists());
    drop(living);
}

#[test]
fn files_and_directories_are_left_alone() {
    let place = Place::new("files");
    let mut rig = Rig::new();
    let file = place.at("file");
    fs::write(&file, b"precious").unwrap();
    let error = listen(&mut rig, &addr(&file)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert!(error.to_string().contains("a file that is not a socket"), "{error}");
    assert_eq!(fs::read(&file).unwrap(), b"precious");

    let directory = place.at("directory");
    fs::create_dir(&directory).unwrap();
    let error = listen(&mut rig, &addr(&directory)).unwrap_err();
    assert!(error.to_string().contains("a directory"), "{error}");
    assert!(directory.is_dir());
}

#[test]
fn a_file_that_another_has_put_there_since_is_not_removed() {
    let place = Place::new("usurped");
    let path = place.at("s");
    let mut rig = Rig::new();
    let listener = listen(&mut rig, &addr(&path)).unwrap();
    // The usurper is bound before the first file goes, so that it cannot inherit its inode.
    let usurper = UnixListener::bind(place.at("t")).unwrap();
    fs::rename(place.at("t"), &path).unwrap();
    rig.driver.close(listener);
    rig.until("closed", |seen| seen.has(listener, Told::Closed));
    UnixStream::connect(&path).unwrap();
    drop(usurper);
}

#[test]
#[cfg(target_os = "linux")]
fn abstract_names_need_no_file() {
    let name = format!("mainspring-io-test-{}", std::process::id());
    let at = Addr::Unix(UnixAddr::Abstract(name.into_bytes().into()));
    let mut rig = Rig::new();
    listen(&mut rig, &at).unwrap();
    let client = rig.connect(&at);
    rig.until("connected", |seen| seen.has(client, Told::Connected));
    let server = rig.accept();
    rig.send_all(client, b"hello");
    rig.until("hello", |seen| seen.received(server) == b"hello");
}

#[test]
fn connecting_to_nobody_fails_and_closes() {
    let place = Place::new("nobody");
    let mut rig = Rig::new();
    let key = rig.connect(&addr(&place.at("s")));
    rig.until("closed", |seen| seen.has(key, Told::Closed));
    assert_eq!(rig.seen.history(key), [Told::Failed(ErrorKind::NotFound), Told::Closed]);
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_backlog_fails_the_connection() {
    let place = Place::new("backlog");
    let path = place.at("s");
    let mut rig = Rig::new();
    let options = ListenOptions { backlog: Some(1), ..Default::default() };
    let listener = rig.key();
    rig.driver.listen(listener, &addr(&path), &options).unwrap();
    // Nobody polls, hence nobody accepts.
    let keys: Vec<_> = (0..8).map(|_| rig.connect(&addr(&path))).collect();
    let last = *keys.last().unwrap();
    rig.until("closed", |seen| seen.has(last, Told::Closed));
    assert_eq!(rig.seen.failure(last), Some(ErrorKind::WouldBlock));
}
