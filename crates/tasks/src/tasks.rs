//! The handler whose connections are served by futures.

use crate::executor::{Executor, TaskStats};
use crate::join::{JoinHandle, spawn_on};
use crate::link::{Link, Mark, WINDOW};
use crate::local::{self, Entered};
use crate::stream::Stream;
use crate::task::{LocalFuture, Payload, Task, TaskPanic, message};
use crate::waiting::Waiting;
use mainspring_loop::{
    Action, CloseReason, Conn, ConnId, Cx, Handler, Input, Opened, ServerInfo, TimerId,
};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

/// A handler that makes a future for each connection, and polls it on the loop.
pub struct Tasks {
    serve: Box<dyn FnMut(Stream) -> LocalFuture>,
    per_turn: usize,
    executor: Rc<Executor>,
}

/// What the loop keeps for a connection of [`Tasks`].
pub struct Served {
    link: Rc<Link>,
    /// The task that was made for it; a dialled connection belongs to the task that dialled.
    task: Option<Rc<Task>>,
}

impl Served {
    pub(crate) fn dialled(link: Rc<Link>) -> Self {
        Self { link, task: None }
    }

    /// The connection's task, if it waits for input. It is to be polled then, not woken.
    fn reader(&self) -> Option<&Task> {
        self.task.as_deref().filter(|task| self.link.reader.release(&task.waker))
    }
}

impl Tasks {
    /// Ready tasks that are polled in one turn, unless [`per_turn`](Tasks::per_turn) says
    /// otherwise.
    pub const PER_TURN: usize = 256;

    /// A handler that serves each accepted connection by the future that `serve` makes of it.
    ///
    /// When the future is ready, its stream has been dropped, unless it gave it away, and so the
    /// connection is closed after what was written has been sent. See the
    /// [crate](crate) for the other ends.
    pub fn serve<F, T>(mut serve: F) -> Self
    where
        F: FnMut(Stream) -> T + 'static,
        T: Future<Output = ()> + 'static,
    {
        let executor = Rc::new(Executor::new());
        local::add(&executor);
        let serve = Box::new(move |stream| Box::pin(serve(stream)) as LocalFuture);
        Self { serve, per_turn: Self::PER_TURN, executor }
    }

    /// Has `hook` called for each panic of a task, before the connection of the task is closed with
    /// [`CloseReason::Panicked`]. The loop counts and logs the panic in any case.
    #[must_use]
    pub fn on_panic(self, hook: impl FnMut(&TaskPanic) + 'static) -> Self {
        self.executor.set_hook(Box::new(hook));
        self
    }

    /// How many ready tasks are polled in one turn, at least one. Tasks that wait for input, and get
    /// it, are polled where it is delivered and do not count.
    #[must_use]
    pub fn per_turn(mut self, per_turn: usize) -> Self {
        self.per_turn = per_turn.max(1);
        self
    }

    /// Runs a future on the loop, which is of no connection: from a callback, or from another thread
    /// by [`Remote::post`](mainspring_loop::Remote::post).
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
    {
        spawn_on(&self.executor, future)
    }

    /// What has been counted of tasks, on this loop.
    #[must_use]
    pub fn stats(&self) -> TaskStats {
        self.executor.stats.get()
    }

    /// Polls the connection's task, if it is the one that waits there; else wakes who does.
    fn stir(&self, served: &Served, waiting: &Waiting) -> Result<(), Payload> {
        match &served.task {
            Some(task) if waiting.release(&task.waker) => self.executor.run(task),
            _ => {
                waiting.wake();
                Ok(())
            }
        }
    }

    /// Gives whoever waits for input one piece after the other, as long as somebody waits: at most
    /// `most` bytes to the task that is polled here.
    #[inline(never)]
    fn hand_out(&self, served: &Served, input: &mut Input<'_>, most: usize) -> Result<(), Payload> {
        let link = &served.link;
        while !input.is_empty() && link.reader.is_awaited() {
            if let Some(task) = served.reader() {
                link.take_in(input, most);
                self.executor.run(task)?;
                link.leave(input);
            } else {
                link.take_in(input, usize::MAX);
                link.reader.wake();
            }
        }
        Ok(())
    }

    /// Ends a callback of a connection: the loop hears of all that has changed.
    fn finish(&self, link: &Link, conn: &mut Conn<'_>, ran: Result<(), Payload>) -> Action {
        link.settle_in(conn);
        self.executor.settle(&mut conn.cx());
        if let Err(payload) = ran {
            link.end(CloseReason::Panicked);
            resume_unwind(payload);
        }
        link.action()
    }

    /// A task for a connection that was accepted.
    fn start(&mut self, link: &Rc<Link>) -> Result<Rc<Task>, Payload> {
        let _entered = Entered::new(self.executor.number());
        let stream = Stream::new(link.clone());
        let conn = link.id.get();
        match catch_unwind(AssertUnwindSafe(|| (self.serve)(stream))) {
            Ok(future) => Ok(self.executor.insert(future, conn)),
            Err(payload) => {
                self.executor.tell_panic(&TaskPanic { conn, message: message(&payload) });
                Err(payload)
            }
        }
    }
}

impl Handler for Tasks {
    type State = Served;

    fn on_start(&mut self, cx: &mut Cx<'_>, _: &ServerInfo) -> Action {
        self.executor.output_high.set(cx.limits().output_high);
        self.executor.mailbox.set_notifier(cx.waker());
        // For what was spawned before.
        self.executor.mailbox.notify();
        Action::Continue
    }

    fn on_open(&mut self, conn: &mut Conn<'_>) -> Opened<Served> {
        let link = Link::new(self.executor.clone(), Some(conn.id()));
        link.begin_callback();
        link.came_up(conn);
        let (task, ran) = match self.start(&link) {
            Ok(task) => {
                let ran = self.executor.run(&task);
                (Some(task), ran)
            }
            Err(payload) => (None, Err(payload)),
        };
        let action = self.finish(&link, conn, ran);
        Opened::AcceptThen(Served { link, task }, action)
    }

    fn on_connected(&mut self, served: &mut Served, conn: &mut Conn<'_>) -> Action {
        let link = &served.link;
        link.begin_callback();
        link.came_up(conn);
        link.writer.wake();
        self.finish(link, conn, Ok(()))
    }

    fn on_data(
        &mut self,
        served: &mut Served,
        conn: &mut Conn<'_>,
        input: &mut Input<'_>,
    ) -> Action {
        let link = &served.link;
        link.begin_callback();
        // What was held back is taken over whole: if a part stayed, more could come on top of it
        // each time.
        let most = if link.take(Mark::RESUMED) { usize::MAX } else { WINDOW };
        if (1..=most).contains(&input.len())
            && let Some(task) = served.reader()
        {
            link.take_in_whole(input);
            let ran = self.executor.run_here(task);
            link.leave(input);
            if let Err(payload) = ran {
                return self.finish(link, conn, Err(payload));
            }
            if input.is_empty() && link.is_in_course() && !self.executor.is_unsettled() {
                link.settle_output(conn);
                return Action::Continue;
            }
        }
        let ran = self.hand_out(served, input, most);
        match self.finish(link, conn, ran) {
            Action::Continue if !input.is_empty() => {
                link.set(Mark::PAUSED);
                Action::Pause
            }
            action => action,
        }
    }

    fn on_wake(&mut self, served: &mut Served, conn: &mut Conn<'_>) -> Action {
        let link = &served.link;
        link.begin_callback();
        let ran = served.task.as_ref().map_or(Ok(()), |task| self.executor.run(task));
        self.finish(link, conn, ran)
    }

    fn on_eof(&mut self, served: &mut Served, conn: &mut Conn<'_>) -> Action {
        let link = &served.link;
        link.begin_callback();
        link.set(Mark::EOF);
        let ran = self.stir(served, &link.reader);
        self.finish(link, conn, ran)
    }

    fn on_drained(&mut self, served: &mut Served, conn: &mut Conn<'_>) -> Action {
        let link = &served.link;
        link.begin_callback();
        link.clear(Mark::CHOKED);
        let ran = self.stir(served, &link.writer);
        self.finish(link, conn, ran)
    }

    fn on_close(&mut self, served: Served, _: ConnId, _: &mut Cx<'_>, reason: CloseReason) {
        served.link.end(reason);
        served.link.reader.wake();
        served.link.writer.wake();
        if let Some(task) = served.task {
            // Polled without callbacks of the connection from now on; a wake of which one has been
            // asked for may have been lost with it.
            task.conn.set(None);
            task.waker.wake_by_ref();
        }
    }

    fn on_alarm(&mut self, _: &mut Cx<'_>, id: TimerId) {
        self.executor.wake_sleeper(id);
    }

    fn on_notify(&mut self, cx: &mut Cx<'_>) {
        let executor = self.executor.clone();
        let ready = executor.ready();
        let mut ran = Ok(());
        for _ in 0..ready.min(self.per_turn) {
            let Some(task) = executor.next() else { break };
            // A task of a connection is polled in its callback, to which a panic then belongs.
            let in_callback = task.conn.get().is_some_and(|id| cx.wake(id));
            if !in_callback {
                ran = executor.run(&task);
            }
            if ran.is_err() {
                break;
            }
        }
        executor.settle(cx);
        if executor.ready() > 0 {
            executor.mailbox.notify();
        }
        if let Err(payload) = ran {
            resume_unwind(payload);
        }
    }

    fn on_drain(&mut self, cx: &mut Cx<'_>) {
        self.executor.drain.begin();
        self.executor.settle(cx);
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.executor.clear();
        local::remove(self.executor.number());
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Served({:?})", self.link.id.get())
    }
}
