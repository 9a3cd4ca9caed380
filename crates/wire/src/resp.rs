//! The [Redis serialization protocol], version 2: commands of clients and replies of servers.
//!
//! A server cuts [`Command`]s from its input with [`Commands`] and appends replies with the functions of
//! [`reply`]. Clients and tests append commands with [`request`] and cut [`Reply`]s with [`Replies`].
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
