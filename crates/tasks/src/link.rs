//! What the loop's callbacks and the task's streams share of one connection.

use crate::executor::Executor;
use crate::local;
use crate::output::Output;
use crate::waiting::Waiting;
use crate::window::Window;
use mainspring_io::Addr;
use mainspring_loop::{Action, CloseReason, Conn, ConnId, Cx, Input};
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
    input: Cell<Window>,
    /// Waits only while `input` is empty.
    pub(crate) reader: Waiting,
    output: RefCell<Output>,
    pub(crate) writer: Waiting,
    marks: Cell<u32>,
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
pub(crate) struct Mark(u32);

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
    /// The loop has been told the contrary of what is marked as [`BUSY`](Mark::BUSY).
    pub(crate) const BUSY_UNTOLD: Self = Self(1 << 9);
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
    /// The connection has ended; there is a reason.
    pub(crate) const ENDED: Self = Self(1 << 16);
    /// Nothing has been delivered since the loop was resumed.
    pub(crate) const RESUMED: Self = Self(1 << 13);
}

impl Link {
    pub(crate) fn new(executor: Rc<Executor>, id: Option<ConnId>) -> Rc<Self> {
        Rc::new(Self {
            executor,
            id: Cell::new(id),
            ends: OnceCell::new(),
            input: Cell::default(),
            reader: Waiting::default(),
            output: RefCell::default(),
            writer: Waiting::default(),
            marks: Cell::new(Mark::BUSY.0 | Mark::BUSY_UNTOLD.0),
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

    /// Sets the mark if it is clear, and clears it if it is set.
    pub(crate) fn flip(&self, mark: Mark) {
        self.marks.set(self.marks.get() ^ mark.0);
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

    /// Whether any of the marks is set.
    fn has_any(&self, marks: u32) -> bool {
        self.marks.get() & marks != 0
    }

    /// Has the loop hear of what has changed, soon.
    #[inline]
    pub(crate) fn touch(self: &Rc<Self>) {
        if self.raise(Mark::TOUCHED) {
            self.have_settled();
        }
    }

    #[inline(never)]
    fn have_settled(self: &Rc<Self>) {
        self.executor.touch(self.clone());
        if !local::is_current(self.executor.number()) {
            // No poll is going on after which the executor settles.
            self.executor.mailbox.notify();
        }
    }

    /// Whether all streams of the connection are gone.
    pub(crate) fn is_let_go(&self) -> bool {
        self.has(Mark::UNREAD) && self.has(Mark::UNWRITTEN)
    }

    /// Whether it goes on as before: the loop has to hear of nothing but output.
    pub(crate) fn is_in_course(&self) -> bool {
        const CHANGES: u32 = Mark::FINISH.0
            | Mark::PAUSED.0
            | Mark::BUSY_UNTOLD.0
            | Mark::ABORT.0
            | Mark::UNREAD.0
            | Mark::UNWRITTEN.0;
        !self.has_any(CHANGES) && !self.writer.is_awaited()
    }

    /// The connection is up.
    pub(crate) fn came_up(&self, conn: &mut Conn<'_>) {
        let (peer, local, listener) = (conn.peer(), conn.local(), conn.listener());
        let _ = self.ends.set(Ends { peer, local, listener });
        self.set(Mark::UP);
        // A task that does not write in time does not read either: what holds input back is that
        // it is not read, not that output waits. Two streams of one task could wait for each other.
        conn.set_relay(true);
    }

    /// Takes over what was received: where it lies, or a copy.
    #[inline(always)]
    pub(crate) fn take_in_whole(&self, input: &mut Input<'_>) {
        self.put_in(match input.keep() {
            Some(kept) => Window::kept(kept),
            None => Window::copied(input.take()),
        });
    }

    /// As [`take_in_whole`](Link::take_in_whole), but no copy of more than `most` bytes.
    pub(crate) fn take_in(&self, input: &mut Input<'_>, most: usize) {
        if let Some(kept) = input.keep() {
            return self.put_in(Window::kept(kept));
        }
        let count = input.len().min(most);
        self.put_in(Window::copied(&input.bytes()[..count]));
        input.consume(count);
    }

    #[inline]
    fn put_in(&self, window: Window) {
        let before = self.input.replace(window);
        debug_assert!(before.is_empty(), "more than one delivery at a time");
    }

    /// Leaves to the loop what the task has not taken of memory that was kept: the loop counts it,
    /// and the driver gets its memory back.
    #[inline]
    pub(crate) fn leave(&self, input: &mut Input<'_>) {
        let window = self.input.take();
        if !window.is_empty() {
            self.leave_window(window, input);
        }
    }

    #[inline(never)]
    fn leave_window(&self, window: Window, input: &mut Input<'_>) {
        match window.into_kept() {
            // It is of this delivery, all of which was taken.
            Ok(kept) => input.give_back(kept).expect("what was kept of an input can go back"),
            Err(window) => self.input.set(window),
        }
    }

    /// Has `take` take a part of the received bytes, or says why there are none; 0 is the end.
    #[inline]
    pub(crate) fn poll_input(
        self: &Rc<Self>,
        waker: &Waker,
        take: impl FnOnce(&[u8]) -> usize,
    ) -> Poll<io::Result<usize>> {
        let mut window = self.input.take();
        if window.is_empty() {
            return self.poll_more(waker).map_ok(|()| 0);
        }
        let count = take(window.rest());
        window.take(count);
        self.input.set(window);
        Poll::Ready(Ok(count))
    }

    /// Gives away all received bytes with their memory, or says why there are none; an empty window
    /// is the end.
    #[inline]
    pub(crate) fn poll_window(self: &Rc<Self>, waker: &Waker) -> Poll<io::Result<Window>> {
        let window = self.input.take();
        if window.is_empty() {
            return self.poll_more(waker).map_ok(|()| Window::default());
        }
        Poll::Ready(Ok(window))
    }

    /// Waits for more input; ready when there will be none.
    #[inline]
    fn poll_more(self: &Rc<Self>, waker: &Waker) -> Poll<io::Result<()>> {
        if self.has_any(Mark::EOF.0 | Mark::ENDED.0 | Mark::PAUSED.0) {
            return self.poll_held(waker);
        }
        self.reader.register(waker);
        Poll::Pending
    }

    /// As [`poll_more`](Link::poll_more), where it may be in vain, or asks something of the loop.
    #[inline(never)]
    fn poll_held(self: &Rc<Self>, waker: &Waker) -> Poll<io::Result<()>> {
        if self.has(Mark::EOF) {
            return Poll::Ready(Ok(()));
        }
        if let Some(reason) = self.reason.get() {
            return Poll::Ready(ended(reason));
        }
        self.reader.register(waker);
        self.touch();
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
            return self.poll_room(waker).map_ok(|()| 0);
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
        output.append(&bytes[..count]);
        count
    }

    /// Takes all that was received elsewhere as it lies, unless too much is unsent.
    #[inline]
    pub(crate) fn poll_forward(
        self: &Rc<Self>,
        waker: &Waker,
        window: &mut Window,
    ) -> Poll<io::Result<()>> {
        if self.has_any(Mark::NO_OUTPUT.0 | Mark::CHOKED.0) {
            return self.poll_room(waker);
        }
        let mut output = self.output.borrow_mut();
        if !output.is_empty() && output.len() > self.executor.output_high.get() {
            drop(output);
            return self.poll_room(waker);
        }
        output.forward(std::mem::take(window));
        drop(output);
        self.touch();
        Poll::Ready(Ok(()))
    }

    /// Waits until more can be written; ready when nothing can.
    #[inline(never)]
    fn poll_room(self: &Rc<Self>, waker: &Waker) -> Poll<io::Result<()>> {
        if self.has(Mark::NO_OUTPUT) {
            return Poll::Ready(self.refuse_output());
        }
        self.writer.register(waker);
        self.touch();
        Poll::Pending
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
        self.set(Mark::ENDED);
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
        self.settle_output(conn);
        if self.has(Mark::FINISH) && self.raise(Mark::FINISHED) {
            conn.finish();
        }
        if self.take(Mark::BUSY_UNTOLD) {
            conn.set_busy(self.has(Mark::BUSY));
        }
        if self.has(Mark::PAUSED) && self.reader.is_awaited() {
            self.clear(Mark::PAUSED);
            self.set(Mark::RESUMED);
            let id = conn.id();
            conn.cx().resume(id);
        }
        if self.writer.is_awaited() && self.has(Mark::UP) && !self.has(Mark::CHOKED) {
            self.writer.wake();
        }
    }

    /// As [`settle_in`](Link::settle_in), for a connection that [goes on](Link::is_in_course) and may
    /// have output. The loop hears of what is changed from now on.
    #[inline(always)]
    pub(crate) fn settle_output(&self, conn: &mut Conn<'_>) {
        self.clear(Mark::TOUCHED);
        let mut output = self.output.borrow_mut();
        if !output.is_empty() && output.hand_over(conn) > self.executor.output_high.get() {
            self.set(Mark::CHOKED);
        }
    }

    fn drop_output(&self) {
        let dropped = self.output.take().len();
        if dropped > 0 {
            self.executor.count(|stats| stats.dropped_bytes += dropped as u64);
        }
    }

    /// The loop is told of nothing more while this connection's callback runs: it ends with a look
    /// at the link, by [`settle_in`](Link::settle_in).
    pub(crate) fn begin_callback(&self) -> bool {
        self.raise(Mark::TOUCHED)
    }

    /// How the connection goes on after a callback.
    pub(crate) fn action(&self) -> Action {
        if self.has(Mark::ABORT) {
            Action::Abort
        } else if self.is_let_go() {
            Action::Close
        } else {
            Action::Continue
        }
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
