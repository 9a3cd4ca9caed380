//! hyper's traits: streams, timers, and tasks of a loop.

use crate::adapter::stream_traits;
use crate::join::spawn;
use crate::sleep::{Sleep, sleep, sleep_until};
use crate::stream::{ReadHalf, Stream, WriteHalf};
use hyper::rt::{Executor, Read, ReadBufCursor, Timer, Write};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Runs what hyper spawns as tasks of the loop: streams of HTTP/2, for instance.
///
/// # Panics
///
/// When it is used outside of a task.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoopExecutor;

impl<F> Executor<F> for LoopExecutor
where
    F: Future + 'static,
{
    fn execute(&self, future: F) {
        spawn(future).detach();
    }
}

/// The loop's timers for hyper: its time-outs of heads and its keep-alive.
///
/// # Panics
///
/// When a sleep of it is polled outside of a task.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoopTimer;

impl Timer for LoopTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(sleep(duration))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(sleep_until(deadline))
    }
}

impl hyper::rt::Sleep for Sleep {}

stream_traits!(Read, Write, ReadBufCursor<'_>);
