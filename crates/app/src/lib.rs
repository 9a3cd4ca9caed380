//! The shell of an operated service: figures, guards in front of connections, start and stop.
//!
//! What this crate does not do: serve anything. It stands around the servers of `mainspring-loop`
//! and uses only what every program can use of them.
//!
//! | to | see |
//! |---|---|
//! | start services, and stop them by signal or at the first failure | [`Runner`] |
//! | say who may connect, how many at a time and how often | [`guard`] |
#![forbid(unsafe_code)]

mod error;
pub mod guard;
mod runner;

pub use error::Error;
pub use runner::{BoxError, Runner, Service, Stop, Stopper, Stopping};
