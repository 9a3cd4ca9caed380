//! A log that panics. Alone in its binary: the subscriber is the process's.

mod support;

use std::io;
use support::*;

/// Where nobody listens any more.
struct Broken;

impl io::Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        panic!("nobody reads the log");
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_subscriber_that_panics_ends_nothing() {
    let _bound = bound(30);
    tracing_subscriber::fmt().with_writer(|| Broken).init();
    let log = Log::new();
    let probe = log.clone();
    let running = start(move || {
        Probe::new(&probe).data(|conn, input| {
            assert!(input.bytes() != b"boom", "boom");
            conn.out().extend_from_slice(input.take());
            mainspring_loop::Action::Continue
        })
    });
    let mut victim = Client::tcp(inet(&running));
    victim.send(b"boom");
    victim.expect_gone();
    assert_eq!(log.wait_for(1, "close")[0], "close 1 Panicked");
    let mut other = Client::tcp(inet(&running));
    other.send(b"hello");
    other.expect(b"hello");
    assert_eq!(running.handle().stats().total.panics, 1);
    stop(running);
}
