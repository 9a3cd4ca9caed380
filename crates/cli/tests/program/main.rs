//! The built program, judged from outside: by raw bytes, by redis-server, and by clients that were
//! not written here.
//!
//! They steer it by signals.
#![cfg(unix)]
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_methods,
    reason = "the tests wait for other processes by the real clock"
)]

mod admin;
mod append_log;
mod arguments;
mod clients;
mod echo;
mod http;
mod load;
mod packaging;
mod process;
mod raw;
mod redis_clients;
mod redis_differential;
mod redis_random;
mod redis_server;
mod stopping;
mod tls;
