//! Servers to measure against, each as small as its way of working allows.
//!
//! The *floors* are what the kernel asks at least, on raw epoll and on raw io_uring, the reply sent
//! at once from where it lies. The *peers* are what one would write on the library that they are
//! named for. All have TCP_NODELAY on and read up to 64 KiB at once, where the library allows.
//!
//! Unsafe code stands in files whose names say so.
#![deny(unsafe_code)]

mod arguments;
mod compio_echo;
mod floor;
mod framed_echo;
mod hyper_http;
mod listen;
mod may_http;
mod message_io_echo;
mod mio_echo;
mod mio_udp;
mod monoio_echo;
mod nginx_http;
mod tasks_echo;
mod threads;
mod tokio_echo;
mod tokio_tls;
mod tokio_udp;
mod unsafe_libuv;
mod unsafe_socket;

pub use arguments::{Arguments, ServerName};

/// For all TLS servers here and those who dial them; it protects nothing.
pub const CERTIFICATE: &str = include_str!("../../tls/certificate.pem");
/// The key of [`CERTIFICATE`].
pub const KEY: &str = include_str!("../../tls/key.pem");

/// Bytes that every server reads at once.
const BUFFER_SIZE: usize = 64 * 1024;

/// The reply of all HTTP servers here: evio's, without what depends on the time.
const HTTP_REPLY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nHello World!";
