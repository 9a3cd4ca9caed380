//! Bugs that are planted between a driver and its loop, in layers, and in what stands between loop
//! and handler: the checkers must find them.

use crate::coat::Flaw;
use mainspring_io::{
    Accepted, Addr, DatagramOutbox, Driver, Flow, Key, ListenOptions, Loan, Outbox, OwnedStream,
    SendState, Sink, SocketOptions,
};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

/// A bug that a driver, a layer or a strategy could have. It strikes once in a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A wake is lost.
    LostWake,
    /// A `sent` is lost.
    LostSent,
    /// A `closed` is lost.
    LostClosed,
    /// A `closed` is told twice.
    ClosedTwice,
    /// Delivered bytes are lost.
    LostData,
    /// Two deliveries change places.
    SwappedData,
    /// An end of stream is lost.
    LostEnd,
    /// Something goes wrong between a layer and its connection.
    Seam(Flaw),
    /// A frame is delivered twice.
    FrameTwice,
    /// A worker of a pool gives its answer to another connection.
    StrayAnswer,
    /// A task takes a short write for a whole one.
    ShortTask,
    /// A message of a broadcaster does not reach one target, and is not counted as dropped.
    LostCast,
    /// A link that has failed is dialled without waiting.
    EagerLink,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::LostWake,
        Self::LostSent,
        Self::LostClosed,
        Self::ClosedTwice,
        Self::LostData,
        Self::SwappedData,
        Self::LostEnd,
        Self::Seam(Flaw::OpensEarly),
        Self::Seam(Flaw::ForgetsLastWords),
        Self::Seam(Flaw::LosesRest),
        Self::Seam(Flaw::MissesEnd),
        Self::FrameTwice,
        Self::StrayAnswer,
        Self::ShortTask,
        Self::LostCast,
        Self::EagerLink,
    ];
}

/// When the bug of a world strikes: at the so-and-so-manieth occasion, whichever loop has it.
#[derive(Clone, Debug)]
pub(super) struct Trap {
    bug: Option<Bug>,
    left: Arc<AtomicU64>,
    wakes_left: Arc<AtomicU64>,
}

impl Trap {
    pub(super) fn new(bug: Option<Bug>, seed: u64) -> Self {
        // What has fewer occasions strikes at one of the first.
        let place = if matches!(bug, Some(Bug::Seam(_))) { seed % 3 } else { seed % 8 };
        let wakes_left = if bug == Some(Bug::LostWake) { place + 1 } else { 0 };
        Self {
            bug,
            left: Arc::new(AtomicU64::new(place + 1)),
            wakes_left: Arc::new(AtomicU64::new(wakes_left)),
        }
    }

    /// Whether the bug strikes at this occasion for it.
    pub(super) fn strikes(&self, bug: Bug) -> bool {
        if self.bug != Some(bug) {
            return false;
        }
        let left = self.left();
        self.set_left(left.saturating_sub(1));
        left == 1
    }

    fn left(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }

    fn set_left(&self, left: u64) {
        self.left.store(left, Ordering::Relaxed);
    }
}

/// A driver with or without a bug.
#[derive(Debug)]
pub(super) struct Planted<D> {
    driver: D,
    trap: Trap,
}

impl<D> Planted<D> {
    pub(super) fn new(driver: D, trap: &Trap) -> Self {
        Self { driver, trap: trap.clone() }
    }
}

/// What the driver tells, with the bug in it.
struct Distorted<'a, S> {
    sink: &'a mut S,
    trap: &'a Trap,
    /// A delivery that waits for the next one of its key.
    held: Option<(Key, Vec<u8>)>,
}

impl<S: Sink> Distorted<'_, S> {
    fn let_go(&mut self) {
        if let Some((key, mut bytes)) = self.held.take() {
            self.sink.data(key, &mut bytes);
        }
    }
}

impl<S: Sink> Sink for Distorted<'_, S> {
    fn begin(&mut self, now: Instant) {
        self.sink.begin(now);
    }

    fn accepted(&mut self, listener: Key, accepted: Accepted) {
        self.sink.accepted(listener, accepted);
    }

    fn accept_failed(&mut self, listener: Key, error: io::Error) {
        self.sink.accept_failed(listener, error);
    }

    fn connected(&mut self, key: Key, local: Addr) {
        self.sink.connected(key, local);
    }

    fn data(&mut self, key: Key, bytes: &mut [u8]) -> Flow {
        if self.trap.strikes(Bug::LostData) {
            return Flow::Continue;
        }
        if self.trap.bug == Some(Bug::SwappedData) && self.trap.left() > 0 {
            match &self.held {
                Some((held, _)) if *held == key => {
                    // Deliveries of one byte value would not show it: the trap stays until it
                    // counts.
                    if self.trap.left() > 1 {
                        self.trap.set_left(self.trap.left() - 1);
                        self.let_go();
                    }
                    let flow = self.sink.data(key, bytes);
                    if self.held.is_some() {
                        self.trap.set_left(0);
                    }
                    self.let_go();
                    return flow;
                }
                Some(_) => self.let_go(),
                None => {}
            }
            self.held = Some((key, bytes.to_vec()));
            return Flow::Continue;
        }
        self.sink.data(key, bytes)
    }

    fn loan(&mut self, key: Key, mut bytes: Loan<'_>) -> Flow {
        match self.trap.bug {
            Some(Bug::LostData | Bug::SwappedData) => self.data(key, bytes.bytes()),
            _ => self.sink.loan(key, bytes),
        }
    }

    fn datagram(&mut self, key: Key, from: &Addr, bytes: &mut [u8]) -> Flow {
        self.sink.datagram(key, from, bytes)
    }

    fn datagram_dropped(&mut self, key: Key, count: usize, error: io::Error) {
        self.sink.datagram_dropped(key, count, error);
    }

    fn eof(&mut self, key: Key) {
        self.let_go();
        if !self.trap.strikes(Bug::LostEnd) {
            self.sink.eof(key);
        }
    }

    fn sent(&mut self, key: Key, bytes: usize) {
        if !self.trap.strikes(Bug::LostSent) {
            self.sink.sent(key, bytes);
        }
    }

    fn signal(&mut self, number: i32) {
        self.sink.signal(number);
    }

    fn failed(&mut self, key: Key, error: io::Error) {
        self.let_go();
        self.sink.failed(key, error);
    }

    fn closed(&mut self, key: Key) {
        self.let_go();
        if self.trap.strikes(Bug::LostClosed) {
            return;
        }
        self.sink.closed(key);
        if self.trap.strikes(Bug::ClosedTwice) {
            self.sink.closed(key);
        }
    }

    fn released(&mut self, key: Key, stream: OwnedStream) {
        self.let_go();
        self.sink.released(key, stream);
    }
}

impl<D: Driver> Driver for Planted<D> {
    fn now(&self) -> Instant {
        self.driver.now()
    }

    fn listen(&mut self, key: Key, at: &Addr, options: &ListenOptions) -> io::Result<Addr> {
        self.driver.listen(key, at, options)
    }

    fn bind(&mut self, key: Key, at: &Addr, options: &ListenOptions) -> io::Result<Addr> {
        self.driver.bind(key, at, options)
    }

    fn connect(&mut self, key: Key, to: &Addr, options: &SocketOptions) -> io::Result<()> {
        self.driver.connect(key, to, options)
    }

    fn connect_datagram(
        &mut self,
        key: Key,
        to: &Addr,
        options: &ListenOptions,
    ) -> io::Result<Addr> {
        self.driver.connect_datagram(key, to, options)
    }

    fn adopt(&mut self, key: Key, stream: OwnedStream) -> io::Result<()> {
        self.driver.adopt(key, stream)
    }

    fn release(&mut self, key: Key) {
        self.driver.release(key);
    }

    fn set_options(&mut self, key: Key, options: &SocketOptions) -> io::Result<()> {
        self.driver.set_options(key, options)
    }

    fn multicast(&mut self, key: Key, group: IpAddr, join: bool) -> io::Result<()> {
        self.driver.multicast(key, group, join)
    }

    fn recv_start(&mut self, key: Key) {
        self.driver.recv_start(key);
    }

    fn recv_stop(&mut self, key: Key) {
        self.driver.recv_stop(key);
    }

    fn send(&mut self, key: Key, outbox: &mut Outbox) -> SendState {
        self.driver.send(key, outbox)
    }

    fn send_datagrams(&mut self, key: Key, outbox: &mut DatagramOutbox) -> SendState {
        self.driver.send_datagrams(key, outbox)
    }

    fn shutdown(&mut self, key: Key) {
        self.driver.shutdown(key);
    }

    fn close(&mut self, key: Key) {
        self.driver.close(key);
    }

    fn abort(&mut self, key: Key) {
        self.driver.abort(key);
    }

    fn catch_signal(&mut self, number: i32) -> io::Result<()> {
        self.driver.catch_signal(number)
    }

    fn waker(&self) -> Waker {
        let (waker, left) = (self.driver.waker(), self.trap.wakes_left.clone());
        Waker::from(Arc::new(DeafWaker { waker, left }))
    }

    fn poll(&mut self, timeout: Option<Duration>, sink: &mut impl Sink) -> io::Result<()> {
        let mut distorted = Distorted { sink, trap: &self.trap, held: None };
        self.driver.poll(timeout, &mut distorted)?;
        distorted.let_go();
        Ok(())
    }
}

/// A waker that may lose one wake.
struct DeafWaker {
    waker: Waker,
    left: Arc<AtomicU64>,
}

impl Wake for DeafWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let left = self.left.load(Ordering::Relaxed);
        self.left.store(left.saturating_sub(1), Ordering::Relaxed);
        if left != 1 {
            self.waker.wake_by_ref();
        }
    }
}
