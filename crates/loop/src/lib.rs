//! The event loop: connections, handlers, timers and servers over a driver.
//!
//! A **loop** is one thread with its connections, timers and handlers; nothing below is shared
//! between loops. It turns through named phases; one of them delivers what the kernel has, another
//! sends what the handlers have answered, so that a busy connection costs one receive and one send
//! per turn.
//!
//! ```text
//!   driver -> loop -> connection -> codec -> your Handler
//!                        ^                       |
//!                        +---- bytes in out() ---+---- Action
//! ```
//!
//! What this crate does not do: it opens no socket itself (that is a driver of `mainspring-io`, or
//! the simulated one of `mainspring-sim`), and it knows no protocol (those are codecs of
//! `mainspring-wire` called by handlers).
//!
//! Start with [`serve`] for one closure, [`Server::builder`] for the rest, and [`Handler`] for the
//! events.
#![forbid(unsafe_code)]

mod broadcast;
mod buffers;
mod conn;
mod cx;
mod datagram;
mod dial;
mod error;
mod framed;
mod handler;
mod layer;
mod limits;
mod panic;
mod reconnect;
mod remote;
mod serve;
mod server;
pub mod simple;
mod slab;
mod state;
mod stats;
mod timer;
mod turn;

pub use broadcast::{
    BroadcastDrops, BroadcastLimits, BroadcastStats, Broadcaster, SlowPolicy, Targets,
};
pub use conn::Conn;
pub use conn::completion::SendOutcome;
pub use conn::detached::Detached;
pub use conn::id::ConnId;
pub use conn::info::ConnInfo;
pub use conn::input::Input;
pub use conn::reason::{CloseReason, SystemError};
pub use cx::Cx;
pub use datagram::Datagram;
pub use error::Error;
pub use framed::conn::FramedConn;
pub use framed::fault::FrameFault;
pub use framed::handler::{FrameFn, FrameHandler};
pub use framed::meter::{FrameMeter, FrameStats};
pub use framed::{Framed, FramedState};
pub use handler::host::HostId;
pub use handler::{Action, Handler, Opened, ServerInfo, Tick};
pub use layer::{Layer, LayerFault, LayerIo, LayerState, Layers, Unwired};
pub use limits::Limits;
pub use reconnect::{Backoff, Link, LinkChange, LinkId, LinkStatus, Reconnect, Retry};
pub use remote::Remote;
pub use remote::inbox::{self, Full};
pub use serve::pool::{Pool, PoolLimits, PoolState};
pub use serve::serve;
pub use serve::threads::meter::{ThreadMeter, ThreadStats};
pub use serve::threads::{Seat, ThreadFault, ThreadLimits, Threads};
pub use server::balance::Balance;
pub use server::shard::Shard;
pub use server::sim_loop::SimLoop;
pub use server::{Handle, Loops, Running, Server, ServerBuilder};
pub use stats::{ConnStats, LoopStats, ServerStats};
pub use timer::TimerId;
