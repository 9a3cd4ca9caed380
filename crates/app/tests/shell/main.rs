//! What stands around a server, in simulation and over sockets, judged by programs that were not
//! written here.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "sockets and processes are waited for in real time")]

mod admin;
mod guard;
mod hooks;
mod metrics;
mod proxy;
mod signals;
mod stage;
mod tls;
