//! Event-loop networking: servers, clients and simulation on callback loops.
//!
//! This crate is the one to depend on. It re-exports the parts of the house under one roof:
//!
//! | module | what it is |
//! |---|---|
//! | the root | [`serve`], [`Server`], [`Handler`] and what a handler is given |
//! | [`simple`] | a server in five callbacks |
//! | [`app`] | around a server: figures, guards, start and stop by signal |
//! | [`layers`] | compression between a connection and its handler |
//! | [`client`] | blocking clients, for scripts and tests |
//! | [`tasks`] | sequential code on a loop: one future per connection |
//! | `tls` | rustls as a layer, with the feature `tls` |
//! | [`wire`] | codecs: framing, RESP, HTTP/1.1 heads |
//! | [`io`] | drivers, for those who write one or turn loops themselves |
//! | [`sim`] | the seeded driver, for tests without sockets |
//!
//! # The shortest server
//!
//! ```no_run
//! use mainspring::Action;
//!
//! mainspring::serve("tcp://localhost:5000", |conn, input| {
//!     conn.out().extend_from_slice(input.take());
//!     Action::Continue
//! })?;
//! # Ok::<(), mainspring::Error>(())
//! ```
//!
//! # Where things are
//!
//! | to | see |
//! |---|---|
//! | keep state for each connection | [`Handler::State`], made in [`Handler::on_open`] |
//! | see whole frames in place of bytes | [`Framed`], with a codec of [`wire`] |
//! | run blocking code for each connection | [`Threads`] |
//! | share a loop fairly among connections | [`Pool`], or [`Action::Yield`] |
//! | answer UDP | [`Shard::listen`] on `udp://..`, [`Handler::on_datagram`] |
//! | do something later, or regularly | [`Conn::set_timer`], [`Handler::on_tick`] |
//! | dial | [`Cx::connect`]; and keep it up, [`Reconnect`]; from a script, [`client::Client`] |
//! | reach a connection from another thread | [`Remote`] |
//! | send the same to many, some of whom read slowly | [`Broadcaster`], by [`Remote::broadcaster`] |
//! | do blocking work | [`Cx::offload`] |
//! | stop, drain, count | [`Handle`] |
//! | compress, encrypt, look before others do | [`Layer`], [`Shard::listen_layered`], [`Conn::add_layer`] |
//! | bound memory and time | [`Limits`], each with its default |
//! | test without sockets | [`ServerBuilder::simulate`] |
//!
//! The library installs no signal handler, unless a program asks [`app::Runner`] for it, and logs
//! through `tracing`; where that goes is for the program.
#![forbid(unsafe_code)]

pub use bytes::Bytes;
pub use mainspring_app as app;
pub use mainspring_client as client;
pub use mainspring_io as io;
pub use mainspring_io::{
    Addr, Address, AddressError, DriverKind, DriverLimits, Keepalive, Linger, ListenOptions,
    OwnedStream, Scheme, SocketOptions, UnixAddr,
};
pub use mainspring_layers as layers;
pub use mainspring_loop::{
    Action, Backoff, Balance, BroadcastDrops, BroadcastLimits, BroadcastStats, Broadcaster,
    CloseReason, Conn, ConnId, ConnInfo, ConnStats, Cx, Datagram, Detached, Error, FrameFault,
    FrameFn, FrameHandler, FrameMeter, FrameStats, Framed, FramedConn, FramedState, Full, Handle,
    Handler, HostId, Input, Layer, LayerFault, LayerIo, LayerState, Layers, Limits, Link,
    LinkChange, LinkId, LinkStatus, LoopStats, Loops, Opened, Pool, PoolLimits, PoolState,
    Reconnect, Remote, Retry, Running, Seat, SendOutcome, Server, ServerBuilder, ServerInfo,
    ServerStats, Shard, SimLoop, SlowPolicy, SystemError, Targets, ThreadFault, ThreadLimits,
    ThreadMeter, ThreadStats, Threads, Tick, TimerId, Unwired, serve, simple,
};
pub use mainspring_sim as sim;
pub use mainspring_tasks as tasks;
#[cfg(feature = "tls")]
pub use mainspring_tls as tls;
pub use mainspring_wire as wire;

/// The code in the pages is compiled, and run where it ends, by `cargo test --doc`; that of
/// `docs/from-go.md` is a doc test of the examples.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../../../README.md")]
    struct Readme;
    #[doc = include_str!("../../../docs/simulation.md")]
    struct Simulation;
    #[cfg(feature = "tls")]
    #[doc = include_str!("../../../docs/tls.md")]
    struct Tls;
}
