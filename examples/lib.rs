//! Servers of under two hundred lines, each a file to copy and each with its test.
//!
//! `cargo run --example NAME -- ADDRESS..` starts one of them. This library holds the same files as
//! modules, so that tests run each `setup` over sockets of the kernel and in simulation.
#![forbid(unsafe_code)]

#[path = "broadcast.rs"]
pub mod broadcast;
#[path = "chat.rs"]
pub mod chat;
#[path = "deflate_echo.rs"]
pub mod deflate_echo;
#[path = "detach.rs"]
pub mod detach;
#[path = "echo.rs"]
pub mod echo;
#[path = "echo_simple.rs"]
pub mod echo_simple;
#[path = "echo_udp.rs"]
pub mod echo_udp;
#[path = "hello.rs"]
pub mod hello;
#[path = "http.rs"]
pub mod http;
#[path = "hyper_axum.rs"]
pub mod hyper_axum;
#[path = "in_turn.rs"]
pub mod in_turn;
#[path = "multi_address.rs"]
pub mod multi_address;
#[path = "packet_extraction.rs"]
pub mod packet_extraction;
#[path = "prometheus.rs"]
pub mod prometheus;
#[path = "proxy.rs"]
pub mod proxy;
#[path = "redis.rs"]
pub mod redis;
#[path = "services.rs"]
pub mod services;
#[path = "tasks_echo.rs"]
pub mod tasks_echo;
#[path = "ticker.rs"]
pub mod ticker;

/// The Rust code of the guide compiles.
#[cfg(doctest)]
#[doc = include_str!("../docs/from-go.md")]
struct FromGo;
