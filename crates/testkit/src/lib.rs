//! What the tests stand on: the driver suite, simulated servers, scripted peers.
//!
//! [`driver_suite!`] checks the contract of [`mainspring_io::driver`], clause by clause, on any
//! driver that a [`Harness`] sets up. The bodies of the tests are written once, in
//! [`driver_suite`](mod@driver_suite).

#![forbid(unsafe_code)]

pub mod coat;
pub mod driver_suite;
pub mod framing;
pub mod fuzz;
pub mod harness;
pub mod link_watch;
pub mod world;

mod bed;
mod os_harness;
mod recorder;
mod sim_harness;
mod sim_server;

pub use bed::Bed;
pub use harness::{DatagramPeer, Harness, Peer, PeerListener};
pub use os_harness::{
    OsDatagramPeer, OsDriverKind, OsHarness, OsPeer, OsPeerListener, Portable, Ready,
};
#[cfg(target_os = "linux")]
pub use os_harness::{PlainRing, Ring};
pub use recorder::{Event, Recorder};
pub use sim_harness::{Calm, Rough, SimHarness, Weather};
pub use sim_server::{Reached, SimServer};
