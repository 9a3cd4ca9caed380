//! What the drivers of the operating system do alike. Each of them runs all of it, in all of its
//! ways: `ready.rs` and `ring.rs` say by `under_test` which driver that is.
#![allow(clippy::disallowed_methods, reason = "tests bound their own patience")]

mod datagram;
#[cfg(target_os = "linux")]
mod exhaustion;
mod flow;
mod recorder;
mod stream;
#[cfg(unix)]
mod unix;
mod wake;
