//! The driver over the completion ring of Linux (io_uring).

mod probe;

use crate::{
    Addr, DatagramOutbox, Driver, DriverLimits, Key, ListenOptions, Outbox, OwnedStream,
    RingUnavailable, SendState, Sink, SocketOptions,
};
use io_uring::IoUring;
use probe::Features;
use std::io;
use std::net::IpAddr;
use std::task::Waker;
use std::time::{Duration, Instant};

/// The kernel as a [`Driver`], by completions.
pub struct RingDriver {
    ring: IoUring,
    features: Features,
    limits: DriverLimits,
}

impl RingDriver {
    /// A driver that uses the best that this kernel's ring has.
    ///
    /// # Errors
    ///
    /// If this process cannot have a ring, and why.
    pub fn new(limits: DriverLimits) -> Result<Self, RingUnavailable> {
        let ring = probe::open()?;
        let features = Features::of(ring.params());
        Ok(Self { ring, features, limits })
    }
}

fn early() -> io::Error {
    io::ErrorKind::Unsupported.into()
}

impl Driver for RingDriver {
    fn now(&self) -> Instant {
        clock()
    }
    fn listen(&mut self, _: Key, _: &Addr, _: &ListenOptions) -> io::Result<Addr> {
        Err(early())
    }
    fn bind(&mut self, _: Key, _: &Addr, _: &ListenOptions) -> io::Result<Addr> {
        Err(early())
    }
    fn connect(&mut self, _: Key, _: &Addr, _: &SocketOptions) -> io::Result<()> {
        Err(early())
    }
    fn connect_datagram(&mut self, _: Key, _: &Addr, _: &ListenOptions) -> io::Result<Addr> {
        Err(early())
    }
    fn adopt(&mut self, _: Key, _: OwnedStream) -> io::Result<()> {
        Err(early())
    }
    fn release(&mut self, _: Key) {}
    fn set_options(&mut self, _: Key, _: &SocketOptions) -> io::Result<()> {
        Err(early())
    }
    fn multicast(&mut self, _: Key, _: IpAddr, _: bool) -> io::Result<()> {
        Err(early())
    }
    fn recv_start(&mut self, _: Key) {}
    fn recv_stop(&mut self, _: Key) {}
    fn send(&mut self, _: Key, outbox: &mut Outbox) -> SendState {
        if outbox.is_empty() { SendState::Done } else { SendState::Waiting }
    }
    fn send_datagrams(&mut self, _: Key, outbox: &mut DatagramOutbox) -> SendState {
        if outbox.is_empty() { SendState::Done } else { SendState::Waiting }
    }
    fn shutdown(&mut self, _: Key) {}
    fn close(&mut self, _: Key) {}
    fn abort(&mut self, _: Key) {}
    fn waker(&self) -> Waker {
        Waker::noop().clone()
    }
    fn poll(&mut self, timeout: Option<Duration>, sink: &mut impl Sink) -> io::Result<()> {
        tracing::debug!(?timeout, ?self.features, ?self.limits, entries = self.ring.params().sq_entries(), "poll");
        probe::enable(&self.ring)?;
        sink.begin(clock());
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "a driver is where the clock comes from")]
fn clock() -> Instant {
    Instant::now()
}
