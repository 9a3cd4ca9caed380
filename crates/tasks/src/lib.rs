//! Sequential code on a loop: one future per connection.
//!
//! [`Tasks`] is a [`Handler`](mainspring_loop::Handler) like any other. It makes a future for each
//! connection and polls it on the loop's own thread when there is something for it: no other
//! threads, no locks, and futures need not be `Send`.
//!
//! ```
//! use mainspring_loop::Server;
//! use mainspring_tasks::{Stream, Tasks};
//! use std::io::{Read, Write};
//!
//! async fn echo(mut stream: Stream) -> std::io::Result<()> {
//!     while let Some(received) = stream.receive().await? {
//!         stream.forward(received).await?;
//!     }
//!     Ok(())
//! }
//!
//! let server = Server::builder().start(|shard| {
//!     let host = shard.host(Tasks::serve(|stream| async {
//!         let _ = echo(stream).await;
//!     }));
//!     shard.listen(host, "tcp://127.0.0.1:0")?;
//!     Ok(())
//! })?;
//!
//! let mut client = std::net::TcpStream::connect(server.addrs()[0].to_string())?;
//! client.write_all(b"hello")?;
//! let mut echoed = [0; 5];
//! client.read_exact(&mut echoed)?;
//! assert_eq!(&echoed, b"hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Reading and writing
//!
//! | for | is | copies of a long delivery, of a short one |
//! |---|---|---|
//! | [`receive`](Stream::receive) | all that has come, as a value | 0, 1 |
//! | `AsyncBufRead`, [`peek`](Stream::peek) | all that has come, shown in its place | 0, 1; to join two, 1 more |
//! | [`read`](Stream::read), `AsyncRead` | as much as fits a buffer of the task's | 1, 2 |
//! | [`forward`](Stream::forward), [`copy`] | what was received, to be sent | 0, 0 |
//! | [`write_all`](Stream::write_all), `AsyncWrite` | bytes of the task's | 1, 1 |
//!
//! Long is from 4 KiB on, where the driver has the memory to spare and no layer is between. So a task
//! that parses what it [receives](Stream::receive) and writes its answers has no buffer of its own
//! while it waits, and none that is cold when it goes on:
//!
//! ```
//! use mainspring_tasks::{Received, Stream};
//! use std::io;
//!
//! /// Answers lines with their lengths.
//! async fn measure(mut stream: Stream) -> io::Result<()> {
//!     let mut begun = 0;
//!     while let Some(received) = stream.receive().await? {
//!         let mut rest: &[u8] = &received;
//!         while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
//!             stream.write_all(format!("{}\n", begun + end).as_bytes()).await?;
//!             (rest, begun) = (&rest[end + 1..], 0);
//!         }
//!         begun += rest.len();
//!     }
//!     Ok(())
//! }
//! # let _ = measure;
//! ```
//!
//! # What a future does not have to fear
//!
//! A future never lends memory to the kernel. What it has received is its own, until it is dropped;
//! written bytes are copied into the connection's output. So
//! reads and writes may borrow, and any of them may be dropped half-way, on every driver: nothing is
//! lost but what the dropped future itself held.
//!
//! # How a byte gets to its task
//!
//! A delivery for a connection whose task waits in a read polls that task at once, in the callback;
//! the reply is in the connection's output when the callback returns. Only wakes from elsewhere go
//! through a queue, of which a bounded part is run in each turn.
//!
//! # Limits
//!
//! | at | answer |
//! |---|---|
//! | unsent output over [`Limits::output_high`](mainspring_loop::Limits::output_high) | writes wait until it has drained |
//! | input that the task does not read | stays in the loop's memory, and no more is received |
//! | received memory that tasks hold on to | half of the ring's buffers, 8 MiB on ready: beyond that, deliveries are copied |
//! | tasks ready at the same time | [`Tasks::per_turn`] of them, the others in the next turn |
//! | a panic | ends the task and its connection, see [`Tasks::on_panic`] |
//!
//! # The ends
//!
//! * A connection ends when its [`Stream`], or both halves of it, have been dropped; what was written
//!   is sent first.
//! * When a connection ends otherwise, its task goes on: reads and writes tell it, so that it can
//!   clean up and return.
//! * [`spawn`] gives a [`JoinHandle`] which cancels its task when it is dropped, or lets it run by
//!   [`detach`](JoinHandle::detach).
//! * When the server ends, all tasks are dropped.
//! * While a server drains, a connection counts as busy as long as its stream lives, unless the task
//!   says otherwise by [`Stream::set_busy`]; [`draining`] tells a task that it has begun.
#![forbid(unsafe_code)]

#[cfg(any(feature = "hyper", feature = "tokio"))]
mod adapter;
mod dial;
mod drain;
mod executor;
mod futures;
#[cfg(feature = "hyper")]
mod hyper;
mod join;
mod link;
mod local;
mod output;
mod received;
mod sleep;
mod spares;
mod stream;
mod task;
mod tasks;
#[cfg(feature = "tokio")]
mod tokio;
mod waiting;
mod window;

#[cfg(feature = "hyper")]
pub use crate::hyper::{LoopExecutor, LoopTimer};
pub use dial::connect;
pub use drain::{Draining, draining};
pub use executor::TaskStats;
pub use join::{JoinError, JoinHandle, spawn, yield_now};
pub use received::{Forward, Receive, Received, copy};
pub use sleep::{Elapsed, Sleep, sleep, sleep_until, timeout};
pub use stream::{Read, ReadHalf, Stream, WriteAll, WriteHalf};
pub use task::TaskPanic;
pub use tasks::Tasks;
