//! What the loop's callbacks and the task's streams share of one connection.

use crate::executor::Executor;
use crate::local;
use crate::output::Output;
use crate::waiting::Waiting;
use crate::window::Window;
use mainspring_io::Addr;
use mainspring_loop::{CloseReason, Conn, ConnId, Cx, Input};
use std::cell::{Cell, OnceCell, RefCell};
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Poll, Waker};

/// The most received bytes that are taken over at once for a task that reads them at once: they are
/// in cache then. What it does not take stays in the loop's memory.
pub(crate) const WINDOW: usize = 16 << 10;

/// One connection between its callbacks and its streams.
pub(crate) struct Link {
    pub(crate) executor: Rc<Executor>,
    /// `None` before a dial has been ordered.
    pub(crate) id: Cell<Option<ConnId>>,
    pub(crate) ends: OnceCell<Ends>,
    input: RefCell<Window>,
    pub(crate) reader: Waiting,
    output: RefCell<Output>,
    pub(crate) writer: Waiting,
    marks: Cell<u16>,
    pub(crate) reason: Cell<Option<CloseReason>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Ends {
    pub(crate) peer: Addr,
    pub(crate) local: Addr,
    pub(crate) listener: Option<usize>,
}

/// A one-bit fact about a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark(u16);

impl Mark {
    /// The loop will hear of what has changed: the link is on the list, or in its own callback.
    pub(crate) const TOUCHED: Self = Self(1);
    /// The peer has ended its stream, and all before that has been delivered.
    pub(crate) const EOF: Self = Self(1 << 1);
    /// The loop keeps input back until it is resumed.
    pub(crate) const PAUSED: Self = Self(1 << 2);
    /// Unsent output is over its high mark.
    pub(crate) const CHOKED: Self = Self(1 << 3);
    /// This side's stream is to end after what has been written.
    pub(crate) const FINISH: Self = Self(1 << 4);
    /// The loop has been told that.
    pub(crate) const FINISHED: Self = Self(1 << 5);
    /// Nobody reads any more.
    pub(crate) const UNREAD: Self = Self(1 << 6);
    /// Nobody writes any more.
    pub(crate) const UNWRITTEN: Self = Self(1 << 7);
    /// A drain has to wait for this connection.
    pub(crate) const BUSY: Self = Self(1 << 8);
    /// The loop has been told that.
    pub(crate) const TOLD_BUSY: Self = Self(1 << 9);
    /// The connection is to be reset.
    pub(crate) const ABORT: Self = Self(1 << 10);
    /// The connection is up.
    pub(crate) const UP: Self = Self(1 << 11);
    /// The loop had no room for another connection.
    pub(crate) const REFUSED: Self = Self(1 << 12);
    /// The handler cannot have connections of its own.
    pub(crate) const HOSTLESS: Self = Self(1 << 15);
    /// Nothing can be written: the connection, or this side of it, has ended.
    pub(crate) const NO_OUTPUT: Self = Self(1 << 14);
    /// Nothing has been delivered since the loop was resumed.
    pub(crate) const RESUMED: Self = Self(1 << 13);
}

impl Link {
    pub(crate) fn new(executor: Rc<Executor>, id: Option<ConnId>) -> Rc<Self> {
        Rc::new(Self {
            executor,
            id: Cell::new(id),
            ends: OnceCell::new(),
            input: RefCell::default(),
            reader: Waiting::default(),
            output: RefCell::default(),
            writer: Waiting::default(),
            marks: Cell::new(Mark::BUSY.0),
            reason: Cell::new(None),
        })
    }

    pub(crate) fn has(&self, mark: Mark) -> bool {
        self.marks.get() & mark.0 != 0
    }

    pub(crate) fn set(&self, mark: Mark) {
        self.marks.set(self.marks.get() | mark.0);
    }

    pub(crate) fn clear(&self, mark: Mark) {
        self.marks.set(self.marks.get() & !mark.0);
    }

    /// Sets the mark and tells whether it was clear.
    fn raise(&self, mark: Mark) -> bool {
        let was = self.has(mark);
        self.set(mark);
        !was
    }

    /// Clears the mark and tells whether it was set.
    pub(crate) fn take(&self, mark: Mark) -> bool {
        let was = self.has(mark);
        self.clear(mark);
        was
    }

    /// Has the loop hear of what has changed, soon.
    pub(crate) fn touch(self: &Rc<Self>) {
        if self.raise(Mark::TOUCHED) {
            self.executor.touch(self.clone());
            if !local::is_current(self.executor.number()) {
                // No poll is going on after which the executor settles.
                self.executor.mailbox.notify();
            }
        }
    }

    /// Whether all streams of the connection are gone.
    pub(crate) fn is_let_go(&self) -> bool {
        self.has(Mark::UNREAD) && self.has(Mark::UNWRITTEN)
    }

    /// Whether none of its streams is gone, and nobody has reset it.
    pub(crate) fn is_in_use(&self) -> bool {
        const ENDS: u16 = Mark::ABORT.0 | Mark::UNREAD.0 | Mark::UNWRITTEN.0;
        self.marks.get() & ENDS == 0
    }

    /// The connection is up.
    pub(crate) fn came_up(&self, conn: &mut Conn<'_>) {
        let (peer, local, listener) = (conn.peer(), conn.local(), conn.listener());
        let _ = self.ends.set(Ends { peer, local, listener });
        self.set(Mark::UP);
        // A task that does not write in time does not read either: what holds input back is that
        // it is not read, not that output waits. Two streams of one task could wait for each other.
        conn.set_relay(true);
        self.settle_in(conn);
    }

    /// Whether delivered bytes would be read at once.
    pub(crate) fn awaits_input(&self) -> bool {
        self.reader.is_awaited() && self.input.borrow().is_empty()
    }

    /// Takes over what was received: where it lies, or a copy of its front of `most` bytes.
    pub(crate) fn take_in(&self, input: &mut Input<'_>, most: usize) {
        let window = input.keep().map_or_else(|| self.copy_in(input, most), Window::kept);
        // The one before is empty, and has given its vector away.
        self.input.replace(window);
    }

    fn copy_in(&self, input: &mut Input<'_>, most: usize) -> Window {
        let mut bytes = self.executor.spares.take();
        let count = input.len().min(most);
        bytes.extend_from_slice(&input.bytes()[..count]);
        input.consume(count);
        Window::copied(bytes)
    }

    /// Leaves to the loop what the task has not taken of memory that was kept: the loop counts it,
    /// and the driver gets its memory back.
    pub(crate) fn leave(&self, input: &mut Input<'_>) {
        if !self.input.borrow().is_empty() {
            self.leave_kept(input);
        }
    }

    #[inline(never)]
    fn leave_kept(&self, input: &mut Input<'_>) {
        match self.input.take().into_kept() {
            // It is of this delivery, all of which was taken.
            Ok(kept) => input.give_back(kept).expect("what was kept of an input can go back"),
            Err(window) => *self.input.borrow_mut() = window,
        }
    }

    /// Has `take` take a part of the received bytes, or says why there are none; 0 is the end.
    pub(crate) fn poll_input(
        self: &Rc<Self>,
        waker: &Waker,
        take: impl FnOnce(&[u8]) -> usize,
    ) -> Poll<io::Result<usize>> {
        let mut window = self.input.borrow_mut();
        if window.is_empty() {
            drop(window);
            return self.poll_more(waker).map_ok(|()| 0);
        }
        let count = take(window.rest());
        window.take(count);
        if window.is_empty() {
            std::mem::take(&mut *window).recycle(&self.executor.spares);
        }
        Poll::Ready(Ok(count))
    }

    /// Gives away all received bytes with their memory, or says why there are none; an empty window
    /// is the end.
    pub(crate) fn poll_window(self: &Rc<Self>, waker: &Waker) -> Poll<io::Result<Window>> {
        let window = std::mem::take(&mut *self.input.borrow_mut());
        if window.is_empty() {
            return self.poll_more(waker).map_ok(|()| Window::default());
        }
        Poll::Ready(Ok(window))
    }

    /// Waits for more input; ready when there will be none.
    fn poll_more(self: &Rc<Self>, waker: &Waker) -> Poll<io::Result<()>> {
        if self.has(Mark::EOF) {
            return Poll::Ready(Ok(()));
        }
        if let Some(reason) = self.reason.get() {
            return Poll::Ready(ended(reason));
        }
        self.reader.register(waker);
        if self.has(Mark::PAUSED) {
            self.touch();
        }
        Poll::Pending
    }

    /// Takes what there is room for.
    pub(crate) fn poll_output(
        self: &Rc<Self>,
        waker: &Waker,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.has(Mark::NO_OUTPUT) {
            return Poll::Ready(self.refuse_output().map(|()| 0));
        }
        let count = self.take_output(bytes);
        if count == 0 && !bytes.is_empty() {
            self.writer.register(waker);
            self.touch();
            return Poll::Pending;
        }
        self.touch();
        Poll::Ready(Ok(count))
    }

    /// As [`poll_output`](Link::poll_output), for several pieces in their order.
    pub(crate) fn poll_pieces(
        self: &Rc<Self>,
        waker: &Waker,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut pieces = pieces.iter().filter(|piece| !piece.is_empty());
        let first = pieces.next().map_or(&[][..], |piece| piece);
        let mut count = std::task::ready!(self.poll_output(waker, first))?;
        if count == first.len() {
            for piece in pieces {
                let taken = self.take_output(piece);
                count += taken;
                if taken < piece.len() {
                    break;
                }
            }
        }
        Poll::Ready(Ok(count))
    }

    fn take_output(&self, bytes: &[u8]) -> usize {
        if self.has(Mark::CHOKED) {
            return 0;
        }
        let mut output = self.output.borrow_mut();
        // One byte over the mark is what makes the loop tell when it has come down.
        let room = self.executor.output_high.get().saturating_add(1).saturating_sub(output.len());
        let count = bytes.len().min(room);
        output.append(&bytes[..count], &self.executor.spares);
        count
    }

    /// Takes all that was received elsewhere as it lies, unless too much is unsent.
    pub(crate) fn poll_forward(
        self: &Rc<Self>,
        waker: &Waker,
        window: impl FnOnce() -> Window,
    ) -> Poll<io::Result<()>> {
        if self.has(Mark::NO_OUTPUT) {
            return Poll::Ready(self.refuse_output());
        }
        let mut output = self.output.borrow_mut();
        let is_full = output.len() > self.executor.output_high.get() || self.has(Mark::CHOKED);
        if !is_full {
            output.forward(window(), &self.executor.spares);
        }
        drop(output);
        self.touch();
        if is_full {
            self.writer.register(waker);
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    /// Why nothing can be written any more.
    #[cold]
    fn refuse_output(&self) -> io::Result<()> {
        match self.reason.get() {
            Some(reason) => Err(broken(reason)),
            None => Err(io::Error::new(
                io::ErrorKind::BrokenPipe,
                "this side of the connection has been closed",
            )),
        }
    }

    /// This side writes nothing more.
    pub(crate) fn finish(self: &Rc<Self>) {
        if self.raise(Mark::FINISH) {
            self.set(Mark::NO_OUTPUT);
            self.touch();
        }
    }

    /// The connection has ended.
    pub(crate) fn end(&self, reason: CloseReason) {
        self.reason.set(self.reason.get().or(Some(reason)));
        self.set(Mark::NO_OUTPUT);
        self.drop_output();
    }

    /// Tells the loop what has changed, from anywhere.
    pub(crate) fn settle(&self, cx: &mut Cx<'_>) {
        self.clear(Mark::TOUCHED);
        let Some(id) = self.id.get() else { return };
        let Some(mut conn) = cx.conn(id) else { return self.drop_output() };
        self.settle_in(&mut conn);
        if self.has(Mark::ABORT) {
            cx.abort(id);
        } else if self.is_let_go() {
            cx.close(id);
        }
    }

    /// Tells the loop what has changed, but for the end of the connection.
    pub(crate) fn settle_in(&self, conn: &mut Conn<'_>) {
        self.hand_over_output(conn);
        if self.is_unsettled() {
            self.settle_rest(conn);
        }
    }

    /// Whether the loop has to hear of more than output.
    fn is_unsettled(&self) -> bool {
        const RARE: u16 = Mark::FINISH.0 | Mark::PAUSED.0;
        let marks = self.marks.get();
        let told = (marks & Mark::BUSY.0 == 0) == (marks & Mark::TOLD_BUSY.0 == 0);
        marks & RARE != 0 || !told || self.writer.is_awaited()
    }

    #[inline(never)]
    fn settle_rest(&self, conn: &mut Conn<'_>) {
        if self.has(Mark::FINISH) && self.raise(Mark::FINISHED) {
            conn.finish();
        }
        if self.has(Mark::BUSY) != self.has(Mark::TOLD_BUSY) {
            let busy = self.has(Mark::BUSY);
            if busy {
                self.set(Mark::TOLD_BUSY)
            } else {
                self.clear(Mark::TOLD_BUSY)
            }
            conn.set_busy(busy);
        }
        if self.has(Mark::PAUSED) && self.awaits_input() {
            self.clear(Mark::PAUSED);
            self.set(Mark::RESUMED);
            let id = conn.id();
            conn.cx().resume(id);
        }
        if self.writer.is_awaited() && self.has(Mark::UP) && !self.has(Mark::CHOKED) {
            self.writer.wake();
        }
    }

    fn hand_over_output(&self, conn: &mut Conn<'_>) {
        let mut output = self.output.borrow_mut();
        if output.is_empty() {
            return;
        }
        output.hand_over(conn, &self.executor.spares);
        if conn.is_choked() {
            self.set(Mark::CHOKED);
        }
    }

    fn drop_output(&self) {
        let dropped = self.output.borrow_mut().clear(&self.executor.spares);
        if dropped > 0 {
            self.executor.count(|stats| stats.dropped_bytes += dropped as u64);
        }
    }

    /// The loop is told of nothing more while this connection's callback runs: it ends with a look
    /// at the link.
    pub(crate) fn begin_callback(&self) -> bool {
        self.raise(Mark::TOUCHED)
    }

    /// The callback's look at the link.
    pub(crate) fn end_callback(&self, conn: &mut Conn<'_>) {
        self.take(Mark::TOUCHED);
        self.settle_in(conn);
    }
}

/// How reads end on a connection that has ended for `reason`.
fn ended(reason: CloseReason) -> io::Result<()> {
    if reason == CloseReason::Peer { Ok(()) } else { Err(broken(reason)) }
}

/// What to tell who uses a connection that has ended for `reason`.
pub(crate) fn broken(reason: CloseReason) -> io::Error {
    let kind = match reason {
        CloseReason::Failed(error) => return error.into(),
        CloseReason::Peer => io::ErrorKind::BrokenPipe,
        CloseReason::IdleTimeout | CloseReason::WriteTimeout | CloseReason::DialTimeout => {
            io::ErrorKind::TimedOut
        }
        _ => io::ErrorKind::ConnectionAborted,
    };
    io::Error::new(kind, reason.to_string())
}
