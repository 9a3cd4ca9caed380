//! The world test: servers and clients that follow from one seed, and the laws that they must keep.
//!
//! # What a world is
//!
//! A seed chooses a plan (`plan.rs`): one to four loops and how connections are shared out among
//! them, limits (often so small that back-pressure is the rule), the faults of the network, up to
//! forty scripted clients with their manners, and how and when the server is told to end. The
//! handlers are echoes of every make (in owned and shared bytes, in lines and frames, with pauses,
//! after a hand-off, from outside of the loop after a detach, through a proxy that dials, through
//! posts and the offload pool), a room whose messages go to everyone, an echo of datagrams, and a
//! handler that does whatever a handler may do: refuse, close, abort, panic, detach, shut the
//! server down.
//!
//! The strategies take part as well: echoes that a `Framed` takes apart, that a `Pool` gives in
//! portions, and that a task serves; a feed whose messages go through one to three `Broadcaster`s
//! with marks, deadlines and policies of their own; and up to four links that a `Reconnect` keeps
//! up to the world's own listeners. Four listeners in ten have a stack of [layers](crate::coat): a
//! cipher, deflate, records with a handshake and last words, or several of them. Clients have the
//! same, as have the proxy and the links that dial there. One kind puts its layers on in the middle
//! of a connection.
//!
//! Then loops that are due are turned in the order that the seed chooses, clients act,
//! and when none has anything to do the clock moves on.
//!
//! # What is checked
//!
//! * Every state that was made gets exactly one `on_close` or `on_detach`, last; no callback comes
//!   before a connection is up, after its end, with another connection's state, or while it is
//!   paused.
//! * Clients get the bytes that they sent, in order: all of them where the server ended the
//!   connection for the peer's end of stream, and a beginning otherwise. Room messages are whole
//!   and in order.
//! * Nobody waits in vain: a client that does nothing wrong in a network that loses nothing is
//!   served.
//! * Every end has a reason that the world explains: no `WriteTimeout` where all peers read, no
//!   `SlowConsumer` where limits are wide, no `Failed` where nobody resets.
//! * No outbox and no loop buffers more than the limits say, plus what one turn can bring; at the
//!   end nothing is buffered.
//! * Timers, ticks and idle timeouts are never early. `on_drained` comes only after the high mark.
//! * Above layers the bytes are those that were sent, and each side hears the other's last words.
//!   Plain bytes and bytes on the wire agree with what clients count.
//! * Frames are whole, in order and told once; what is too long is left out, and nothing else. The
//!   meters have counted what handlers have seen.
//! * A portion of a pool, and what a connection gets of a turn, is within the pool's limits.
//! * Between two turns every broadcaster's account is balanced; at the end nothing is under way, it
//!   has counted every message to every target that it was given, it has dropped for no reason that
//!   its limits do not have, and what it says was delivered has been heard.
//! * No link is dialled before its back-off is over, beside a connection of its own, or after its
//!   end. When the faults end, every link comes back, and is answered.
//! * The server ends by the drain deadline, and every client sees the end.
//! * The counters add up: accepted and dialled connections are closed; every byte accepted from a
//!   handler was sent or is counted as dropped; no stale event; no panic that was not planned;
//!   every completion was called exactly once.
//! * The same seed gives the same trace.
//!
//! # On real sockets
//!
//! [`SocketRun`] plays the same plans with the same handlers, clients, books and laws over TCP,
//! unix and UDP sockets of this machine: loops on threads of their own over a driver of the system,
//! the scripts on one thread beside them. What is different:
//!
//! * Faults are those that sockets have by themselves: buffers so small that every write is a short
//!   one, small reads, peers that never read, half-closes, resets, connections that end as soon as
//!   they are begun. No datagrams or dials are lost on purpose, no accept fails, no wake is late.
//! * Times that every world waits for are milliseconds. Times that no world should wait for are
//!   long, so that a busy machine breaks no law.
//! * A seed does not decide the order of threads and packets: there is no trace, and a seed that
//!   failed may pass the next time.
//! * What a loop buffers is measured against all connections that it ever had, because the figure
//!   may be older than the end of one.
//! * A unix socket that is reset looks to its peer like one that is closed, so that where the
//!   server cuts connections nothing is said about the bytes that such a peer has got.
//! * A ring delivers what it has taken before it is told to stop, so that an unread input may be as
//!   long as what the peer sends.
//! * Of `on_drained` one call more than there were rises over the high mark is allowed.
//! * The offload pool has one thread, because a worker's answers have to come in their order.
//!
//! A world that hangs is a failure like any other: scripts have deadlines, and a watchdog stands
//! behind them.
//!
//! # How to repeat a seed
//!
//! `cargo xtask sim --seed S --log` runs one world and prints every order to the drivers and every
//! event that they told. Seeds that once found a bug stand in [`REGRESSIONS`], which is always run.
//! `cargo xtask sim --canary` plants [bugs](Bug) between driver and loop, in layers and in
//! strategies, which must be found; `--sockets DRIVER` does all of it on real sockets.

mod check;
mod client;
mod conduct;
mod detached;
mod feed;
mod frames;
mod ledger;
mod life;
mod links;
mod plan;
mod planted;
mod relay;
mod run;
mod served_tasks;
mod service;
mod simulated;
mod socket_peer;
mod sockets;
mod stage;
mod wrapped;

pub use planted::Bug;
pub use run::{Failure, Passed, WorldRun};
pub use sockets::SocketRun;

/// Seeds that have found a bug: each is run before all others.
///
/// A seed names its world only as long as the plan draws the same choices; when the plan changes,
/// what a seed of the past has found needs a scenario of its own (`tests/sim_server.rs`).
pub const REGRESSIONS: &[u64] = &[3785, 4790, 6432];
