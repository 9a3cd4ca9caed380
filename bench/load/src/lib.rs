//! A load generator for benchmarks on one machine.
//!
//! One thread on raw epoll keeps `connections` connections busy, either in a *closed loop* (each
//! connection has `depth` requests in flight; a reply lets the next one go) or in an *open loop*
//! (requests are due at a fixed rate whatever the server does, and latency counts from the moment a
//! request was due, so that a server that stalls cannot hide it: Tene, "How not to measure
//! latency"). Every reply is verified.
//!
//! The one line that it prints is a [`Report`] in JSON.
#![forbid(unsafe_code)]

mod arguments;
mod cores;
mod datagram;
mod engine;
mod error;
mod fixed;
mod http;
mod idle;
mod in_flight;
mod meter;
mod report;
mod resident;
mod resp;
mod target;
mod tls;
mod usage;
mod window;

pub use arguments::{Arguments, ProtocolName};
pub use cores::CoreTime;
pub use engine::{Pace, Plan, Protocol, Taken};
pub use error::Error;
pub use report::{Idle, Report};
pub use target::Target;
pub use usage::Usage;
pub use window::{Snapshot, Window};
