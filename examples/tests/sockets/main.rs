//! Every example over sockets of the kernel: started as a process on a free port, spoken to, ended.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "tests over sockets wait in real time")]

mod broadcast;
mod chat;
mod client;
mod deflate_echo;
mod detach;
mod echo;
mod hello;
mod http;
mod hyper_axum;
mod in_turn;
#[cfg(unix)]
mod multi_address;
mod packet_extraction;
mod process;
#[cfg(unix)]
mod prometheus;
mod proxy;
mod redis;
#[cfg(unix)]
mod services;
mod tasks_echo;
mod ticker;
mod tls;

use std::time::Duration;

/// No step of a test takes longer.
const PATIENCE: Duration = Duration::from_secs(20);
