//! The [Redis serialization protocol]: commands of clients and replies of servers.
//!
//! A server cuts [`Command`]s from its input with [`Commands`] and appends replies with the
//! functions of [`reply`], which has the types of version 2 and those of version 3 that a server
//! needs. Clients and tests append commands with [`request`] and cut [`Reply`]s, of version 2, with
//! [`Replies`].
//!
//! ```
//! use mainspring_wire::resp::{Commands, reply};
//! use mainspring_wire::{Decode, Step};
//!
//! let mut received = b"*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\nPING\r\n".to_vec();
//! let (mut commands, mut start, mut out) = (Commands::new(), 0, Vec::new());
//! loop {
//!     match commands.decode(&mut received[start..]) {
//!         Ok(Step::Frame { frame: command, used }) => {
//!             match (command.name(), command.get(1)) {
//!                 (None, _) => {} // a blank request has no answer
//!                 (Some(b"PING"), _) => reply::simple(&mut out, b"PONG"),
//!                 (Some(b"ECHO"), Some(text)) => reply::bulk(&mut out, text),
//!                 _ => reply::error(&mut out, b"ERR unknown command"),
//!             }
//!             start += used;
//!         }
//!         Ok(Step::Need(_)) => break,
//!         Err(error) => {
//!             error.append_reply(&mut out); // and close
//!             break;
//!         }
//!     }
//! }
//! assert_eq!(out, b"$2\r\nhi\r\n+PONG\r\n");
//! ```
//!
//! What redis-server 7 does with an input is the reference, wherever the documents leave room.
//!
//! [Redis serialization protocol]: https://redis.io/docs/latest/develop/reference/protocol-spec/

mod command;
mod error;
mod inline;
mod number;
mod replies;
pub mod reply;

pub use command::{Arguments, Command, Commands, request};
pub use error::{Error, ReplyError};
pub use replies::{Replies, Reply};

/// The most bytes of an inline command, and of a line that announces a count: 64 KiB.
pub const LINE_BYTES_MAX: usize = 64 * 1024;
/// The most arguments that a command may announce: 2^31 - 1.
pub const ARGUMENTS_MAX: usize = i32::MAX as usize;
/// The most bytes of one argument or one bulk reply: 512 MiB.
pub const BULK_BYTES_MAX: usize = 512 * 1024 * 1024;
