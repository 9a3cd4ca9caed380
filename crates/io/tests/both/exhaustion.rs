//! Out of descriptors: the server serves on, takes no processor time, and accepts again after
//! relief (D9). The limit holds for a process, hence the children.

use super::recorder::{Rig, Told};
use crate::under_test;
use mainspring_io::{Driver, Key};
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

const CHILD: &str = "MAINSPRING_IO_EXHAUSTION_CHILD";
const DESCRIPTORS: u64 = 32;

/// Runs the test `name` again, alone, in a process of its own with few descriptors.
fn in_child(name: &str, body: impl FnOnce()) {
    if std::env::var_os(CHILD).is_some() {
        limit_descriptors();
        return body();
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    assert!(
        child.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&child.stdout),
        String::from_utf8_lossy(&child.stderr)
    );
    assert!(String::from_utf8_lossy(&child.stdout).contains("1 passed"), "the child ran nothing");
}

fn limit_descriptors() {
    let limit = libc::rlimit { rlim_cur: DESCRIPTORS, rlim_max: DESCRIPTORS };
    // SAFETY: the limit lives until the call returns.
    let refused = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
    assert_eq!(refused, 0);
}

fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the time lives until the call returns.
    let refused = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    assert_eq!(refused, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Opens files until no descriptor is left.
fn hoard() -> Vec<File> {
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

#[test]
fn serves_on_rests_and_accepts_again() {
    in_child("both::exhaustion::serves_on_rests_and_accepts_again", || {
        let mut rig = Rig::new();
        let (_, at) = rig.listen();
        let mut clients: Vec<TcpStream> = (0..4).map(|_| TcpStream::connect(at).unwrap()).collect();
        let served: Vec<Key> = (0..4).map(|_| rig.accept()).collect();
        let waiting = TcpStream::connect(at).unwrap();
        let mut hoard = hoard();
        rig.until("a failed accept", |seen| !seen.accept_errors.is_empty());
        let error = rig.seen.accept_errors[0].raw_os_error();
        assert_eq!(error, Some(libc::EMFILE));

        let (before, start) = (processor_time(), Instant::now());
        rig.seen.accept_errors.clear();
        while start.elapsed() < Duration::from_millis(1500) {
            rig.turn(Duration::from_secs(10));
        }
        let spent = processor_time() - before;
        assert!(spent < Duration::from_millis(30), "resting took {spent:?} of processor time");
        let retries = rig.seen.accept_errors.len();
        assert!((3..=10).contains(&retries), "{retries} retries in 1.5 s");

        // Those connected are served all the while.
        for (key, client) in served.iter().zip(&mut clients) {
            client.write_all(b"ping").unwrap();
            rig.until("ping", |seen| seen.received(*key) == b"ping");
            rig.send_all(*key, b"pong");
            let mut pong = [0; 4];
            client.read_exact(&mut pong).unwrap();
        }

        // Relief that the driver does not see: it finds out within a second.
        hoard.truncate(hoard.len() - 1);
        let start = Instant::now();
        rig.until("the waiting client", |seen| !seen.accepted.is_empty());
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
        drop(waiting);
    });
}

#[test]
fn a_socket_that_the_driver_closes_is_relief_at_once() {
    in_child("both::exhaustion::a_socket_that_the_driver_closes_is_relief_at_once", || {
        let mut rig = Rig::new();
        let (_, at) = rig.listen();
        let _client = TcpStream::connect(at).unwrap();
        let served = rig.accept();
        let _waiting = TcpStream::connect(at).unwrap();
        let _hoard = hoard();
        // Until the rests are long, so that a timer cannot be mistaken for the relief.
        rig.until("five failed accepts", |seen| seen.accept_errors.len() >= 6);
        rig.driver.close(served);
        let start = Instant::now();
        rig.turn(Duration::from_secs(10));
        assert!(start.elapsed() < Duration::from_millis(100), "{:?}", start.elapsed());
        assert!(rig.seen.has(served, Told::Closed));
        assert_eq!(rig.seen.accepted.len(), 1);
    });
}

#[test]
fn no_descriptor_for_a_poller_or_a_socket_is_an_error_not_a_panic() {
    in_child(
        "both::exhaustion::no_descriptor_for_a_poller_or_a_socket_is_an_error_not_a_panic",
        || {
            let mut rig = Rig::new();
            let (_, at) = rig.listen();
            let hoard = hoard();
            let limits = mainspring_io::DriverLimits::default();
            assert!(under_test::OPENERS[0](limits).is_err());
            let key = rig.key();
            let options = mainspring_io::SocketOptions::default();
            let error = rig.driver.connect(key, &at.into(), &options).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
            drop(hoard);
            rig.driver.connect(key, &at.into(), &options).unwrap();
            rig.until("connected", |seen| seen.has(key, Told::Connected));
        },
    );
}
