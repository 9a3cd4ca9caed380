//! Layers that need no secrets: compression as the useful one, a cipher as the example.
//!
//! No encryption is here, and no gzip: a gzip stream has a head for files, which no protocol of
//! connections asks for. A layer is put on a listener, a dialled connection, or a connection in
//! the middle ([`Layer`](mainspring_loop::Layer)).
//!
//! ```text
//!   socket -> Deflate -> Input -> handler      what came compressed is seen as it was
//!   socket <- Deflate <- out() <-              one flush a turn, so that nothing waits for more
//! ```
//!
//! # Examples
//!
//! ```no_run
//! use mainspring_layers::Deflate;
//! use mainspring_loop::{Action, Conn, Error, Input, Layers, Server};
//!
//! fn echo(conn: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
//!     conn.out().extend_from_slice(input.take());
//!     Action::Continue
//! }
//!
//! Server::builder().run(|shard| {
//!     let host = shard.host(echo);
//!     let address = "tcp://127.0.0.1:5000".try_into()?;
//!     shard.listen_layered(host, &address, &Default::default(), || {
//!         Layers::new().above(Deflate::zlib().plain_max(1 << 30))
//!     })?;
//!     Ok(())
//! })?;
//! # Ok::<(), Error>(())
//! ```
#![forbid(unsafe_code)]

mod deflate;
pub mod fuzz;
mod xor;

pub use deflate::{CORRUPT, CUT, Deflate, DeflateInfo, EXPANDS, TOO_LONG};
pub use xor::Xor;
