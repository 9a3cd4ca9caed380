//! Blocking clients for scripts and tests.
//!
//! A [`Client`] is one connection that the calling thread waits for: it dials with a deadline,
//! reads and writes with deadlines, and tells once why it ended. It has no loop, no thread and no
//! callback but that one. For clients by the thousand, or beside a server, dial on a loop
//! (`Cx::connect` of `mainspring-loop`), and keep such connections up with its `Reconnect`: that
//! needs a loop's timers, and lives where they are, so that nothing here depends on a loop.
//!
//! ```
//! use mainspring_client::{Client, ReadFrame, Timeouts, WriteFrame};
//! # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let address = listener.local_addr()?.to_string();
//! # let echo = std::thread::spawn(move || {
//! #     let (stream, _) = listener.accept().unwrap();
//! #     std::io::copy(&mut &stream, &mut &stream).unwrap();
//! # });
//!
//! let mut client = Client::connect(address, &Timeouts::default())?;
//! client.on_close(|reason| println!("gone: {reason}"));
//! client.write_separated(b"hello", "\r\n")?;
//! assert_eq!(client.read_separated("\r\n", 80)?, Some(b"hello".to_vec()));
//! client.close();
//! # echo.join().unwrap();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod client;
mod closed;
mod dial;
mod error;
mod timed;
mod timeouts;
#[cfg(feature = "tls")]
mod tls;

pub use client::Client;
pub use closed::Closed;
pub use error::Error;
pub use mainspring_io::{Addr, Address};
pub use mainspring_wire::blocking::{ReadFrame, ReadPrimitive, WriteFrame, WritePrimitive};
pub use timeouts::Timeouts;
