//! The threads themselves: started, watched, ended.

use super::desk::Desk;
use super::meter::ThreadMeter;
use super::{Place, ThreadFault, ThreadLimits};
use crate::panic;
use crate::{Conn, ConnId, Detached};
use std::net::Shutdown;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(super) type Hook = Box<dyn Fn(ConnId, &ThreadFault<'_>) + Send + Sync>;

/// What the threads of one [`Threads`](crate::Threads) and its copies on the loops share.
pub(super) struct Crew<F> {
    pub(super) limits: ThreadLimits,
    pub(super) meter: ThreadMeter,
    code: F,
    hook: Option<Hook>,
    desk: Mutex<Desk>,
    /// A place has become free.
    freed: Condvar,
}

/// Held by the copies on the loops, and not by the threads.
pub(super) struct Keeper<F>(pub(super) Arc<Crew<F>>);

impl<F> Drop for Keeper<F> {
    fn drop(&mut self) {
        self.0.finish();
    }
}

impl<F> Crew<F> {
    pub(super) fn new(limits: ThreadLimits, code: F, hook: Option<Hook>) -> Self {
        Self {
            limits,
            meter: ThreadMeter::default(),
            code,
            hook,
            desk: Mutex::default(),
            freed: Condvar::new(),
        }
    }

    /// A place for a new connection, if there is one.
    pub(super) fn enter(&self, conn: &mut Conn<'_>) -> Option<Place> {
        let mut desk = self.desk();
        if desk.sit_down(self.limits.threads_max) {
            return Some(Place::Thread);
        }
        let ticket = desk.queue_up(self.limits.waiting_max, conn.waker());
        drop(desk);
        if ticket.is_none() {
            self.meter.figures().refused.add();
            self.tell(conn.id(), &ThreadFault::Refused);
        } else {
            self.meter.figures().waiting.add();
        }
        ticket.map(|ticket| Place::Queue { ticket })
    }

    /// Whether a connection that was woken has been called.
    pub(super) fn redeem(&self, ticket: u64) -> bool {
        let called = self.desk().redeem(ticket);
        if called {
            self.meter.figures().waiting.sub();
        }
        called
    }

    /// Takes a connection out of the queue that has waited long enough. `false` if it is there no
    /// more.
    pub(super) fn give_up(&self, ticket: u64, id: ConnId) -> bool {
        let waited = self.desk().give_up(ticket);
        if waited {
            self.meter.figures().waiting.sub();
            self.meter.figures().waited_too_long.add();
            self.tell(id, &ThreadFault::WaitedTooLong);
        }
        waited
    }

    /// A connection is gone before it had a thread.
    pub(super) fn leave(&self, place: &Place) {
        match place {
            Place::Thread => self.free_place(),
            Place::Piped(_) => {}
            Place::Queue { ticket } => {
                let mut desk = self.desk();
                let (waited, called) = (desk.give_up(*ticket), desk.redeem(*ticket));
                drop(desk);
                if waited || called {
                    self.meter.figures().waiting.sub();
                }
                if called {
                    self.free_place();
                }
            }
        }
    }

    /// Threads may finish by themselves.
    pub(super) fn drain(&self) {
        self.desk().is_draining = true;
    }

    fn free_place(&self) {
        self.desk().call_next();
        self.freed.notify_all();
    }

    /// Ends all threads, or leaves them alone when they do not end.
    fn finish(&self) {
        let mut desk = self.desk();
        desk.is_closed = true;
        if desk.is_draining {
            desk = self.wait(desk, self.limits.drain);
        }
        for socket in desk.running.values() {
            // It may have ended already.
            let _ = socket.shutdown(Shutdown::Both);
        }
        desk = self.wait(desk, self.limits.stop);
        let ended = desk.take_ended();
        let left: Vec<ConnId> = desk.threads.drain().map(|(id, _)| id).collect();
        drop(desk);
        ended.into_iter().for_each(|thread| drop(thread.join()));
        for id in left {
            self.meter.figures().abandoned.add();
            panic::log(|| tracing::warn!(?id, "a thread goes on when the server has ended"));
            self.tell(id, &ThreadFault::Abandoned);
        }
    }

    /// Waits until no place is taken, but no longer than `time`.
    fn wait<'a>(&self, desk: MutexGuard<'a, Desk>, time: Duration) -> MutexGuard<'a, Desk> {
        let waited = self.freed.wait_timeout_while(desk, time, |desk| desk.taken > 0);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// The hook is user code: a panic in it ends neither a loop nor a thread.
    fn tell(&self, id: ConnId, fault: &ThreadFault<'_>) {
        if let Some(hook) = &self.hook
            && let Err(panic) = panic::caught(|| hook(id, fault))
        {
            panic.log(&"hook of threads");
        }
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F> Crew<F> {
    /// Starts the thread of a connection that has a place.
    pub(super) fn start<S>(this: &Arc<Self>, socket: Detached)
    where
        S: TryFrom<Detached> + 'static,
        F: Fn(S) + Send + Sync + 'static,
    {
        let id = socket.id();
        let mut desk = this.desk();
        let ended = desk.take_ended();
        let started = socket.stream().try_clone().and_then(|second| {
            let mut builder =
                std::thread::Builder::new().name(format!("{} {id}", this.limits.name));
            if let Some(bytes) = this.limits.stack_bytes {
                builder = builder.stack_size(bytes);
            }
            let crew = this.clone();
            // Its first act is to wait for the desk, so that it finds itself in the books.
            let thread = builder.spawn(move || crew.run(id, socket))?;
            desk.running.insert(id, second);
            desk.threads.insert(id, thread);
            Ok(())
        });
        drop(desk);
        ended.into_iter().for_each(|thread| drop(thread.join()));
        if let Err(error) = started {
            this.meter.figures().failed.add();
            this.free_place();
            this.tell(id, &ThreadFault::Failed(&error));
        }
    }

    fn run<S>(&self, id: ConnId, socket: Detached)
    where
        S: TryFrom<Detached>,
        F: Fn(S),
    {
        drop(self.desk());
        let figures = self.meter.figures();
        let live = figures.live.add();
        figures.live_max.raise_to(live);
        match S::try_from(socket) {
            Ok(stream) => match panic::caught(|| (self.code)(stream)) {
                Ok(()) => {
                    figures.served.add();
                }
                Err(panic) => {
                    figures.panicked.add();
                    panic.log(&id);
                    self.tell(id, &ThreadFault::Panicked(panic.message()));
                }
            },
            Err(_) => {
                figures.unsuitable.add();
                self.tell(id, &ThreadFault::Unsuitable);
            }
        }
        figures.live.sub();
        let mut desk = self.desk();
        // With it the connection closes, unless the code has kept it.
        desk.running.remove(&id);
        desk.ended.push(id);
        drop(desk);
        self.free_place();
    }
}
