//! Two streams of bytes between a thread and a connection that stays on its loop, because layers
//! stand between it and its socket.

use crate::{Action, CloseReason, Conn, Input};
use mainspring_io::{OwnedStream, PipedStream};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

/// Bytes that wait in each direction at most.
const PIPE_MAX: usize = 64 << 10;

/// The loop's end.
#[derive(Debug)]
pub(super) struct LoopEnd(Arc<Pipe>);

/// The thread's end, which closes the connection when its last copy goes.
#[derive(Clone, Debug)]
struct ThreadEnd(Arc<Hold>);

#[derive(Debug)]
struct Hold(Arc<Pipe>);

#[derive(Debug)]
struct Pipe {
    state: Mutex<State>,
    /// Something has changed that the thread may wait for.
    moved: Condvar,
    /// Of the connection.
    waker: Waker,
}

#[derive(Debug, Default)]
struct State {
    inbound: VecDeque<u8>,
    outbound: Vec<u8>,
    /// The peer's stream has ended.
    has_ended: bool,
    /// The connection is gone, and what a thread that waits is told.
    gone: Option<Option<String>>,
    /// The loop has kept input back, for want of room.
    is_held: bool,
    /// The thread has shut its writing half, its reading half, or has gone.
    is_finished: bool,
    is_deaf: bool,
    is_left: bool,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
    is_nonblocking: bool,
}

/// A pipe for a connection, and the stream for its thread.
pub(super) fn pipe(conn: &Conn<'_>) -> (LoopEnd, OwnedStream) {
    let (state, moved, waker) = (Mutex::default(), Condvar::new(), conn.waker());
    let pipe = Arc::new(Pipe { state, moved, waker });
    let thread = ThreadEnd(Arc::new(Hold(pipe.clone())));
    (LoopEnd(pipe), OwnedStream::Piped(Box::new(thread)))
}

impl LoopEnd {
    /// Hands input to the thread, as much as there is room for.
    pub(super) fn take_in(&self, input: &mut Input<'_>) -> Action {
        let mut state = self.0.lock();
        if state.is_deaf || state.is_left {
            input.take();
            return Action::Continue;
        }
        let count = input.len().min(PIPE_MAX.saturating_sub(state.inbound.len()));
        state.inbound.extend(&input.bytes()[..count]);
        input.consume(count);
        state.is_held = !input.is_empty();
        self.0.moved.notify_all();
        if state.is_held { Action::Pause } else { Action::Continue }
    }

    /// Takes what the thread has written, if the connection is not choked, and goes on with input
    /// that was kept back, if there is room.
    pub(super) fn give_out(&self, conn: &mut Conn<'_>) -> Action {
        let mut state = self.0.lock();
        if !conn.is_choked() {
            conn.out().append(&mut state.outbound);
            self.0.moved.notify_all();
        }
        if state.is_held && (state.has_room() || state.is_deaf || state.is_left) {
            state.is_held = false;
            let id = conn.id();
            conn.cx().resume(id);
        }
        if !state.outbound.is_empty() {
            return Action::Continue;
        }
        if state.is_left {
            return Action::Close;
        }
        if state.is_finished {
            conn.finish();
        }
        Action::Continue
    }

    /// The peer's stream has ended.
    pub(super) fn end(&self) {
        self.0.lock().has_ended = true;
        self.0.moved.notify_all();
    }

    /// The connection is gone: reads that wait get the end, or the reason where it is a fault.
    pub(super) fn close(&self, reason: CloseReason) {
        let in_order = matches!(
            reason,
            CloseReason::Peer
                | CloseReason::Local
                | CloseReason::Shutdown
                | CloseReason::DrainTimeout
        );
        self.0.lock().gone = Some((!in_order).then(|| reason.to_string()));
        self.0.moved.notify_all();
    }
}

impl Pipe {
    /// A panic under the lock leaves bytes that are whole: there is nothing to be afraid of.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `is_ready`, no longer than the time that the thread has set for it.
    fn wait(
        &self,
        timeout: fn(&State) -> Option<Duration>,
        is_ready: fn(&State) -> bool,
    ) -> io::Result<MutexGuard<'_, State>> {
        let state = self.lock();
        let until = if state.is_nonblocking { Some(Duration::ZERO) } else { timeout(&state) };
        let state = match until {
            None => self.moved.wait_while(state, |state| !is_ready(state)),
            Some(time) => {
                let waited = self.moved.wait_timeout_while(state, time, |state| !is_ready(state));
                waited
                    .map(|(state, _)| state)
                    .map_err(|error| PoisonError::new(error.into_inner().0))
            }
        };
        let state = state.unwrap_or_else(PoisonError::into_inner);
        if is_ready(&state) { Ok(state) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }
}

impl State {
    /// Half empty, so that a thread that reads byte by byte does not wake the loop for each.
    fn has_room(&self) -> bool {
        self.inbound.len() <= PIPE_MAX / 2
    }

    fn is_readable(&self) -> bool {
        !self.inbound.is_empty() || self.has_ended || self.is_deaf || self.gone.is_some()
    }

    fn is_writable(&self) -> bool {
        self.outbound.len() < PIPE_MAX || self.is_finished || self.gone.is_some()
    }
}

impl Read for ThreadEnd {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let pipe = self.pipe();
        if buffer.is_empty() {
            return Ok(0);
        }
        let mut state = pipe.wait(|state| state.read_timeout, State::is_readable)?;
        let count = state.inbound.read(buffer)?;
        let resumes = state.is_held && state.has_room();
        if let (0, Some(Some(reason))) = (count, &state.gone)
            && !state.has_ended
            && !state.is_deaf
        {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, reason.clone()));
        }
        drop(state);
        if resumes {
            pipe.waker.wake_by_ref();
        }
        Ok(count)
    }
}

impl Write for ThreadEnd {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let pipe = self.pipe();
        let mut state = pipe.wait(|state| state.write_timeout, State::is_writable)?;
        if state.is_finished || state.gone.is_some() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let count = bytes.len().min(PIPE_MAX - state.outbound.len());
        let was_empty = state.outbound.is_empty();
        state.outbound.extend_from_slice(&bytes[..count]);
        drop(state);
        if was_empty {
            // Otherwise the loop was told and has not come, or comes when the peer has read.
            pipe.waker.wake_by_ref();
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl PipedStream for ThreadEnd {
    fn try_clone(&self) -> io::Result<Box<dyn PipedStream>> {
        Ok(Box::new(self.clone()))
    }

    fn set_nonblocking(&self, nonblocking: bool) {
        self.pipe().lock().is_nonblocking = nonblocking;
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) {
        self.pipe().lock().read_timeout = timeout;
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) {
        self.pipe().lock().write_timeout = timeout;
    }

    fn shutdown(&self, how: Shutdown) {
        let pipe = self.pipe();
        let mut state = pipe.lock();
        state.is_finished |= how != Shutdown::Read;
        state.is_deaf |= how != Shutdown::Write;
        drop(state);
        pipe.moved.notify_all();
        pipe.waker.wake_by_ref();
    }
}

impl ThreadEnd {
    fn pipe(&self) -> &Pipe {
        &self.0.0
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.lock().is_left = true;
        self.0.waker.wake_by_ref();
    }
}
