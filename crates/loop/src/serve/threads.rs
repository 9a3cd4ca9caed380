//! Blocking code on a thread for each connection.

mod crew;
mod desk;
pub(crate) mod meter;
mod pipe;

use self::crew::{Crew, Keeper};
use self::meter::ThreadMeter;
use self::pipe::LoopEnd;
use crate::{Action, CloseReason, Conn, ConnId, Cx, Detached, Handler, Input, Opened, TimerId};
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// The limits of a [`Threads`], of all its copies together. Each has a defined answer.
///
/// Fields may be added: write `ThreadLimits { threads_max: .., ..ThreadLimits::default() }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadLimits {
    /// Connections that are served at a time, each by a thread of its own and with two descriptors.
    /// One more waits. Default 64.
    pub threads_max: usize,
    /// Connections that wait for a thread, in the order in which they came. One more is refused:
    /// closed at once and counted. Default 64.
    pub waiting_max: usize,
    /// How long one waits before it is closed and counted. Default 10 s.
    pub waiting_timeout: Duration,
    /// How long a graceful stop of the server lets threads finish by themselves. Default 10 s.
    pub drain: Duration,
    /// How long the end of the server waits for threads when their sockets have been shut down. Those
    /// that still run then are left alone, counted and logged. Default 5 s.
    pub stop: Duration,
    /// The stack of each thread. Default `None`: as `std` has it.
    pub stack_bytes: Option<usize>,
    /// What threads are called, with the number of their connection behind it. Default `"conn"`.
    pub name: String,
}

impl Default for ThreadLimits {
    fn default() -> Self {
        Self {
            threads_max: 64,
            waiting_max: 64,
            waiting_timeout: Duration::from_secs(10),
            drain: Duration::from_secs(10),
            stop: Duration::from_secs(5),
            stack_bytes: None,
            name: "conn".to_owned(),
        }
    }
}

/// What went wrong with a connection of a [`Threads`].
#[derive(Debug)]
#[non_exhaustive]
pub enum ThreadFault<'a> {
    /// The code that served it panicked, with this message; the log has the backtrace.
    Panicked(&'a str),
    /// All threads were busy and the queue full.
    Refused,
    /// It waited for a thread for [`ThreadLimits::waiting_timeout`].
    WaitedTooLong,
    /// It is not of the kind that the code is for.
    Unsuitable,
    /// There was no thread or no descriptor to be had.
    Failed(&'a io::Error),
    /// Its thread had not ended when the server had.
    Abandoned,
}

impl fmt::Display for ThreadFault<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(message) => write!(f, "its thread panicked: {message}"),
            Self::Refused => f.write_str("all threads are busy and enough connections wait"),
            Self::WaitedTooLong => f.write_str("no thread had time for it"),
            Self::Unsuitable => f.write_str("not a connection of the kind that is served"),
            Self::Failed(error) => write!(f, "no thread for it: {error}"),
            Self::Abandoned => f.write_str("its thread goes on when the server has ended"),
        }
    }
}

/// Serves each connection by blocking code on a thread of its own: a [`Handler`] that gives its
/// connections away as soon as they are accepted.
///
/// `S` is what the code gets: a [`TcpStream`](std::net::TcpStream), a `UnixStream`, or a
/// [`Detached`], which is either. The connection closes when the code returns or panics, and drops
/// it. At the end of the server its socket is shut down, so that a read or write that waits ends.
///
/// A connection with [layers](crate::Layer), such as TLS, stays on its loop, which is where layers
/// are; its bytes go to the thread and back in memory, at most 64 KiB each way. That is for code that
/// takes a [`Detached`]; for one that wants a socket, such a connection is
/// [`Unsuitable`](ThreadFault::Unsuitable). A graceful stop waits for it as for any that is
/// [busy](Conn::set_busy).
///
/// Copies share their threads and limits: move one into each loop of a server. When the last one is
/// dropped, which is when the last loop ends, the threads are joined. Simulated connections cannot be
/// waited for by a thread; they are closed as [`ThreadFault::Failed`].
///
/// # Examples
///
/// ```
/// use mainspring_loop::{Server, ThreadLimits, Threads};
/// use std::io::{Read, Write};
/// use std::net::TcpStream;
///
/// let threads = Threads::serve(ThreadLimits::default(), |mut stream: TcpStream| {
///     let mut buffer = [0; 4096];
///     while let Ok(count @ 1..) = stream.read(&mut buffer) {
///         if stream.write_all(&buffer[..count]).is_err() {
///             break;
///         }
///     }
/// });
/// let server = Server::builder().start(move |shard| {
///     let host = shard.host(threads.clone());
///     shard.listen(host, "tcp://127.0.0.1:0").map(drop)
/// })?;
///
/// let mut client = TcpStream::connect(server.addrs()[0].to_string())?;
/// client.write_all(b"hello")?;
/// let mut reply = [0; 5];
/// client.read_exact(&mut reply)?;
/// assert_eq!(&reply, b"hello");
///
/// server.handle().stop();
/// server.join()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Threads<S, F> {
    crew: Arc<Crew<F>>,
    /// Joins the threads when the last copy goes.
    _keeper: Arc<Keeper<F>>,
    stream: PhantomData<fn(S)>,
}

/// The place of a connection of a [`Threads`]: with a thread, or in the queue for one.
#[derive(Debug)]
pub struct Seat(Place);

#[derive(Debug)]
enum Place {
    Thread,
    Queue {
        ticket: u64,
    },
    /// With a thread, while its layers are here.
    Piped(LoopEnd),
}

impl<S, F> Threads<S, F>
where
    S: TryFrom<Detached> + 'static,
    F: Fn(S) + Send + Sync + 'static,
{
    /// Calls `code` with each connection.
    pub fn serve(limits: ThreadLimits, code: F) -> Self {
        Self::over(limits, code, None)
    }

    /// As [`serve`](Self::serve), and calls `hook` with everything that goes wrong, on the thread on
    /// which it does.
    pub fn serve_with_hook(
        limits: ThreadLimits,
        code: F,
        hook: impl Fn(ConnId, &ThreadFault<'_>) + Send + Sync + 'static,
    ) -> Self {
        Self::over(limits, code, Some(Box::new(hook)))
    }

    fn over(limits: ThreadLimits, code: F, hook: Option<crew::Hook>) -> Self {
        let crew = Arc::new(Crew::new(limits, code, hook));
        let keeper = Arc::new(Keeper(crew.clone()));
        Self { crew, _keeper: keeper, stream: PhantomData }
    }

    /// Gives a connection that has a place to its thread.
    fn sit_down(&self, conn: &mut Conn<'_>) -> (Place, Action) {
        if !conn.is_layered() {
            return (Place::Thread, Action::Detach);
        }
        let (pipe, stream) = pipe::pipe(conn);
        conn.set_busy(true);
        let peer = conn.peer();
        match Detached::new(stream, Vec::new(), conn.id(), peer) {
            Ok(socket) => {
                Crew::start(&self.crew, socket);
                (Place::Piped(pipe), Action::Continue)
            }
            Err(_) => (Place::Thread, Action::Close),
        }
    }

    /// What is counted, to be read from any thread, also when all is over.
    #[must_use]
    pub fn meter(&self) -> ThreadMeter {
        self.crew.meter.clone()
    }
}

impl<S, F> Clone for Threads<S, F> {
    fn clone(&self) -> Self {
        Self { crew: self.crew.clone(), _keeper: self._keeper.clone(), stream: PhantomData }
    }
}

impl<S, F> Handler for Threads<S, F>
where
    S: TryFrom<Detached> + 'static,
    F: Fn(S) + Send + Sync + 'static,
{
    type State = Seat;

    fn on_open(&mut self, conn: &mut Conn<'_>) -> Opened<Seat> {
        match self.crew.enter(conn) {
            Some(Place::Thread) => {
                let (place, action) = self.sit_down(conn);
                Opened::AcceptThen(Seat(place), action)
            }
            Some(place) => {
                conn.set_timer(self.crew.limits.waiting_timeout);
                Opened::AcceptThen(Seat(place), Action::Pause)
            }
            None => Opened::Refuse,
        }
    }

    /// Nothing is read from a socket before a thread reads it.
    fn on_data(&mut self, seat: &mut Seat, _: &mut Conn<'_>, input: &mut Input<'_>) -> Action {
        match &seat.0 {
            Place::Piped(pipe) => pipe.take_in(input),
            _ => Action::Continue,
        }
    }

    fn on_eof(&mut self, seat: &mut Seat, _: &mut Conn<'_>) -> Action {
        if let Place::Piped(pipe) = &seat.0 {
            pipe.end();
        }
        Action::Continue
    }

    /// It is this connection's turn, or its thread has done something.
    fn on_wake(&mut self, seat: &mut Seat, conn: &mut Conn<'_>) -> Action {
        match &seat.0 {
            Place::Queue { ticket } if self.crew.redeem(*ticket) => {
                let (place, action) = self.sit_down(conn);
                seat.0 = place;
                let id = conn.id();
                conn.cx().resume(id);
                action
            }
            Place::Piped(pipe) => pipe.give_out(conn),
            _ => Action::Continue,
        }
    }

    fn on_drained(&mut self, seat: &mut Seat, conn: &mut Conn<'_>) -> Action {
        match &seat.0 {
            Place::Piped(pipe) => pipe.give_out(conn),
            _ => Action::Continue,
        }
    }

    fn on_timer(&mut self, seat: &mut Seat, conn: &mut Conn<'_>, _: TimerId) -> Action {
        match seat.0 {
            Place::Queue { ticket } if self.crew.give_up(ticket, conn.id()) => Action::Close,
            _ => Action::Continue,
        }
    }

    fn on_close(&mut self, seat: Seat, _: ConnId, _: &mut Cx<'_>, reason: CloseReason) {
        match seat.0 {
            // Its place is the thread's until that has returned.
            Place::Piped(pipe) => pipe.close(reason),
            place => self.crew.leave(&place),
        }
    }

    fn on_detach(&mut self, _: Seat, socket: Detached, _: &mut Cx<'_>) {
        Crew::start(&self.crew, socket);
    }

    fn on_drain(&mut self, _: &mut Cx<'_>) {
        self.crew.drain();
    }
}

impl<S, F> fmt::Debug for Threads<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Threads");
        shown.field("limits", &self.crew.limits).field("stats", &self.crew.meter.snapshot());
        shown.finish()
    }
}
