//! The shell of an operated service: figures, guards in front of connections, start and stop.
//!
//! What this crate does not do: serve anything. It stands around the servers of `mainspring-loop`
//! and uses only what every program can use of them.
//!
//! | to | see |
//! |---|---|
//! | start services, and stop them by signal or at the first failure | [`Runner`] |
//! | stop one server by signal, without a thread | [`stop_on_signals`] |
//! | take a server's figures, for a callback, the `metrics` facade or Prometheus | [`metrics`] |
//! | serve them, and answers about health, over HTTP | [`Admin`] |
//! | say who may connect, how many at a time and how often | [`guard`] |
//! | stand behind a proxy, or be one, and know whom for | [`proxy`] |
#![forbid(unsafe_code)]

mod admin;
mod error;
pub mod guard;
pub mod metrics;
pub mod proxy;
mod runner;
mod stop_on_signals;

pub use admin::Admin;
pub use error::Error;
pub use runner::{BoxError, Runner, Service, Stop, Stopper, Stopping};
pub use stop_on_signals::stop_on_signals;
