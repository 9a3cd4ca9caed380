//! The event loop: connections, handlers, timers and servers over a driver.
//!
//! A **loop** is one thread with its connections, timers and handlers; nothing below is shared between
//! loops. It turns through named phases; one of them delivers what the kernel has, another sends what
//! the handlers have answered, so that a busy connection costs one receive and one send per turn.
//!
//! ```text
//!   driver -> loop -> connection -> codec -> your Handler
//!                        ^                       |
//!                        +---- bytes in out() ---+---- Action
//! ```
//!
//! What this crate does not do: it opens no socket itself (that is a driver of `mainspring-io`, or the
//! simulated one of `mainspring-sim`), and it knows no protocol (those are codecs of `mainspring-wire`
//! called by handlers).
//!
//! Start with [`serve`] for one closure, [`Server::builder`] for the rest, and [`Handler`] for the events.
#![forbid(unsafe_code)]

mod alarm;
mod balance;
mod buffers;
mod completion;
mod conn;
mod core;
mod cx;
mod datagram;
mod detached;
mod dial;
mod dispatch;
mod error;
mod flush;
mod handler;
mod host;
mod id;
pub mod inbox;
mod input;
mod life;
mod limits;
mod offload;
mod order;
mod panic;
mod post;
mod reason;
mod remote;
mod serve;
mod server;
mod shard;
mod shared;
pub mod simple;
mod slab;
mod slot;
mod state;
mod stats;
mod timer;
mod turn;

pub use balance::Balance;
pub use completion::SendOutcome;
pub use conn::Conn;
pub use cx::Cx;
pub use datagram::Datagram;
pub use detached::Detached;
pub use error::Error;
pub use handler::{Action, Handler, Opened, ServerInfo, Tick};
pub use host::HostId;
pub use id::ConnId;
pub use inbox::Full;
pub use input::Input;
pub use limits::Limits;
pub use reason::{CloseReason, SystemError};
pub use remote::Remote;
pub use serve::serve;
pub use server::{Handle, Loops, Running, Server, ServerBuilder, SimLoop};
pub use shard::Shard;
pub use stats::{ConnStats, LoopStats, ServerStats};
pub use timer::TimerId;
