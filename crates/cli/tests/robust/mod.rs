//! What the fault tests share: the program as a child process, clients on blocking sockets, and
//! what the system tells of a process.
//!
//! The program is that of `MAINSPRING_BIN` where the variable is set (an optimized or instrumented
//! build), else the one that cargo has built for these tests.
#![allow(dead_code, reason = "each of the test programs uses a part")]
#![allow(
    clippy::disallowed_methods,
    reason = "the clients of these tests live in real time, and wait for real processes"
)]

pub(crate) mod client;
pub(crate) mod process;
pub(crate) mod server;
pub(crate) mod strace;

use std::time::{Duration, Instant};

/// No answer for this long is a connection that hangs. Long, because the machine may be busy.
pub(crate) const HANG: Duration = Duration::from_secs(10);

/// Waits until `holds`, and says whether it did before `limit` was over.
pub(crate) fn wait_until(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !holds() {
        if start.elapsed() >= limit {
            return false;
        }
        pause(Duration::from_millis(5));
    }
    true
}

pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}
