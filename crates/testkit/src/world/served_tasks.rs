//! Connections that a task serves: an echo that reads, peeks, waits, spawns and writes by turns.

use super::ledger::Book;
use super::plan::{Kind, Plan};
use super::planted::Bug;
use fastrand::Rng;
use futures_io::AsyncWrite;
use mainspring_loop::{
    Action, CloseReason, Conn, ConnId, Cx, Handler, Input, Opened, ServerInfo, TimerId,
};
use mainspring_tasks::{Stream, Tasks, sleep, spawn, timeout, yield_now};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// The handler of one loop, and the ledger for what only it knows.
pub(super) struct ServedTasks {
    tasks: Tasks,
    book: Book,
}

impl ServedTasks {
    pub(super) fn new(plan: &Arc<Plan>, book: &Book, loop_index: usize) -> Self {
        Self { tasks: tasks(plan, book, loop_index), book: book.clone() }
    }
}

impl Handler for ServedTasks {
    type State = <Tasks as Handler>::State;

    fn on_start(&mut self, cx: &mut Cx<'_>, server: &ServerInfo) -> Action {
        self.tasks.on_start(cx, server)
    }

    fn on_open(&mut self, conn: &mut Conn<'_>) -> Opened<Self::State> {
        self.tasks.on_open(conn)
    }

    fn on_data(
        &mut self,
        served: &mut Self::State,
        conn: &mut Conn<'_>,
        input: &mut Input<'_>,
    ) -> Action {
        self.tasks.on_data(served, conn, input)
    }

    fn on_wake(&mut self, served: &mut Self::State, conn: &mut Conn<'_>) -> Action {
        self.tasks.on_wake(served, conn)
    }

    fn on_eof(&mut self, served: &mut Self::State, conn: &mut Conn<'_>) -> Action {
        self.tasks.on_eof(served, conn)
    }

    fn on_drained(&mut self, served: &mut Self::State, conn: &mut Conn<'_>) -> Action {
        self.tasks.on_drained(served, conn)
    }

    fn on_close(&mut self, served: Self::State, id: ConnId, cx: &mut Cx<'_>, reason: CloseReason) {
        self.book.open().end_of_task(id, reason);
        self.tasks.on_close(served, id, cx, reason);
    }

    fn on_alarm(&mut self, cx: &mut Cx<'_>, id: TimerId) {
        self.tasks.on_alarm(cx, id);
    }

    fn on_notify(&mut self, cx: &mut Cx<'_>) {
        self.tasks.on_notify(cx);
    }

    fn on_drain(&mut self, cx: &mut Cx<'_>) {
        self.tasks.on_drain(cx);
    }
}

impl Drop for ServedTasks {
    fn drop(&mut self) {
        let stats = self.tasks.stats();
        let mut book = self.book.open();
        book.task_bytes_dropped += stats.dropped_bytes;
        book.check(stats.panicked == 0, || format!("tasks have panicked: {stats:?}"));
    }
}

fn tasks(plan: &Arc<Plan>, book: &Book, loop_index: usize) -> Tasks {
    let (plan, book) = (plan.clone(), book.clone());
    let mut rng = Rng::with_seed(plan.seed ^ ((loop_index as u64) << 32) ^ 0x7461_736b);
    let per_turn = rng.usize(1..=8);
    let serve = move |stream: Stream| {
        let visit = Visit::begin(&stream, &book);
        let (plan, rng) = (plan.clone(), rng.fork());
        async move {
            let mut visit = visit;
            if visit.echo(stream, &plan, rng).await.is_ok() {
                visit.is_whole = true;
            }
        }
    };
    Tasks::serve(serve).per_turn(per_turn)
}

/// A task as the ledger knows it, from its beginning until it is dropped.
struct Visit {
    book: Book,
    token: usize,
    id: ConnId,
    is_whole: bool,
}

impl Visit {
    fn begin(stream: &Stream, book: &Book) -> Self {
        let from = (stream.listener().expect("it was accepted"), stream.peer().clone());
        let id = stream.id();
        let mut ledger = book.open();
        let token = ledger.add(id, Kind::Tasks, Some(from), None);
        ledger.conns[token].has_state = true;
        drop(ledger);
        Self { book: book.clone(), token, id, is_whole: false }
    }

    /// Until the peer's end, which is told by an answer to everything.
    async fn echo(&self, mut stream: Stream, plan: &Plan, mut rng: Rng) -> io::Result<()> {
        let mut buffer = vec![0; rng.usize(1..=2048)];
        loop {
            let count = match rng.u8(..4) {
                0 => {
                    let most = stream.peek(1).await?.len().min(buffer.len());
                    stream.read(&mut buffer[..most]).await?
                }
                1 => {
                    let patience = Duration::from_micros(rng.u64(..3_000));
                    match timeout(patience, stream.read(&mut buffer)).await {
                        Ok(count) => count?,
                        // What has been read is not lost with the wait.
                        Err(_) => continue,
                    }
                }
                _ => stream.read(&mut buffer).await?,
            };
            if count == 0 {
                return Ok(());
            }
            match rng.u8(..16) {
                0 => sleep(Duration::from_micros(rng.u64(..5_000))).await,
                1 => yield_now().await,
                2 => {
                    let bytes = buffer[..count].to_vec();
                    let elsewhere = spawn(async move {
                        yield_now().await;
                        bytes
                    });
                    let bytes = elsewhere.await.map_err(io::Error::other)?;
                    buffer[..count].copy_from_slice(&bytes);
                }
                _ => {}
            }
            self.say(&mut stream, &buffer[..count], plan).await?;
        }
    }

    async fn say(&self, stream: &mut Stream, bytes: &[u8], plan: &Plan) -> io::Result<()> {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let count = poll_fn(|cx| Pin::new(&mut *stream).poll_write(cx, rest)).await?;
            self.book.open().offer(self.id, count);
            at += count;
            if at < bytes.len() && plan.trap.strikes(Bug::ShortTask) {
                return Ok(());
            }
        }
        Ok(())
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.book.open().end_task(self.token, self.id, self.is_whole);
    }
}
