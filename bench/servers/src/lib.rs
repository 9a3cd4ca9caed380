//! Servers to measure against, each as small as its way of working allows.
//!
//! The *floors* are what the kernel asks at least: raw epoll, level-triggered, one 64 KiB buffer
//! shared by all connections, the reply sent at once from where it lies. The *peers* are what one
//! would write on the library that they are named for. All have TCP_NODELAY on and read up to 64
//! KiB at once.
#![forbid(unsafe_code)]

mod arguments;
mod floor;
mod hyper_http;
mod listen;
mod mio_echo;
mod threads;
mod tokio_echo;

pub use arguments::{Arguments, ServerName};

/// Bytes that every server reads at once.
const BUFFER_SIZE: usize = 64 * 1024;

/// The reply of all HTTP servers here: evio's, without what depends on the time.
const HTTP_REPLY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nHello World!";
