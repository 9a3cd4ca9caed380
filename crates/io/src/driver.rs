//! The seam between a loop and the kernel.
//!
//! A driver *delivers bytes*. It is neither a readiness poller, which would starve a completion
//! ring, nor a set of operations with owned buffers, which would tax a readiness poller with a
//! buffer per idle connection. The loop gives *standing orders* ([`listen`](Driver::listen),
//! [`recv_start`](Driver::recv_start), ..) and outboxes ([`send`](Driver::send)); the driver
//! answers through a [`Sink`] while it [`poll`](Driver::poll)s, lending bytes for the length of one
//! call. During `poll` the driver is mutably borrowed, so nothing downstream can call it: data
//! flows one way because the compiler sees to it.
//!
//! # The contract
//!
//! One suite in the test kit checks these clauses on every driver and cites them by number.
//!
//! * **D1** Events of one key arrive in order: `[connected] data* [eof] ... end`, where the end is
//!   exactly one of `closed` or `released`, comes exactly once and last. The loop reuses the slot
//!   only then. A listener and a datagram socket end with `closed` too.
//! * **D2** `data` and `datagram` lend their bytes for the call. The driver does not look at them
//!   again; the callee may scribble (unmask, decrypt in place). Where a driver can do without the
//!   memory it calls [`loan`](Sink::loan) in place of `data`, and what the callee [keeps](Loan::keep)
//!   stays as it is until that is dropped, whatever becomes of the key and the driver.
//! * **D3** Nothing is delivered before the first `recv_start`. After `recv_stop` a bounded amount
//!   may still be delivered, and the loop keeps it. (ready: none; ring: what the ring had taken;
//!   sim: by seed.)
//! * **D4** [`Flow::Pause`] returned from `data` or `datagram` is a `recv_stop` that takes effect
//!   before the next read that the driver itself would start.
//! * **D5** The driver drains readiness or remembers that it has not: no event is lost because a
//!   budget ran out. While something is remembered, `poll` does not sleep, and serves it before it
//!   asks the kernel for more.
//! * **D6** `send` takes what it can. [`SendState::Done`]: the outbox is empty and nothing is in
//!   flight. [`SendState::Waiting`]: exactly one `sent` will follow, and only then may `send` be
//!   called again. Order is kept. Bytes taken out of the outbox but not yet gone are counted [in
//!   flight](Outbox::put_in_flight) until `sent` reports them or the key ends. A `sent` that the
//!   loop has [let wait](Driver::let_sent_wait) does not end a `poll`, but comes within 10 ms.
//! * **D7** The driver tries the socket first and waits for writability only after a short write.
//!   Spurious wakeups are its own affair.
//! * **D8** An accepted socket is a value. It is adopted by this or another loop's driver, or
//!   dropped, which closes it.
//! * **D9** All failure is per key, `failed` and then `closed`, except the loss of the poller
//!   itself, which is the `Err` of `poll`. A lack of descriptors or memory, or an aborted
//!   handshake, never stops a listener: accepting pauses with back-off, each failure is reported by
//!   `accept_failed`, and accepting resumes within a second of relief.
//! * **D10** [`waker`](Driver::waker)`().wake()` from any thread ends the current or the next
//!   `poll`. Wakes coalesce; a wake never blocks, and does no harm when the driver is gone.
//! * **D11** The driver owns no policy: no timers beyond its own back-off, no limits but
//!   [`DriverLimits`](crate::DriverLimits), no logging above debug. The clock is read once per
//!   `poll` and told by `begin`.
//! * **D12** No allocation per event after warm-up, except for an accepted or connected socket.
//! * **D13** Each datagram is one `datagram` call, empty ones included. Queued datagrams leave in
//!   one system call where the kernel can.
//! * **D14** A signal that is [caught](Driver::catch_signal) ends the current or the next `poll` and
//!   is one `signal` call of it; those of its kind that arrive before that are the same one. What the
//!   system would have done does not happen, even when the driver is gone.
//!
//! Orders for a key that the driver does not know, or knows in another generation, do nothing; a
//! send for one answers `Done` if nothing is queued and otherwise `Waiting`, with no `sent` to
//! follow.

use crate::{Addr, DatagramOutbox, Key, ListenOptions, Loan, Outbox, OwnedStream, SocketOptions};
use std::io;
use std::task::Waker;
use std::time::{Duration, Instant};

/// The kernel, or a simulation of it, seen from one loop. The contract stands in the
/// [module documentation](self).
pub trait Driver {
    /// The present time by the clock that `begin` tells.
    fn now(&self) -> Instant;

    /// Opens a listening stream socket and starts to accept. Returns the bound address.
    ///
    /// At a unix path a stale *socket* is replaced; any other file is an error. The path is removed
    /// when the listener closes.
    ///
    /// # Errors
    ///
    /// Whatever the system says to the address or an option that cannot be had. Nothing is left
    /// half open.
    fn listen(&mut self, key: Key, at: &Addr, options: &ListenOptions) -> io::Result<Addr>;

    /// Opens a datagram socket and returns its bound address. It delivers after `recv_start`.
    ///
    /// # Errors
    ///
    /// As for [`listen`](Driver::listen).
    fn bind(&mut self, key: Key, at: &Addr, options: &ListenOptions) -> io::Result<Addr>;

    /// Starts to connect a stream. `connected`, or `failed` and `closed`, follows.
    ///
    /// # Errors
    ///
    /// What failed before the handshake could start. The key is then unknown and no event follows.
    fn connect(&mut self, key: Key, to: &Addr, options: &SocketOptions) -> io::Result<()>;

    /// Opens a datagram socket that talks with one peer only, and returns its own address.
    ///
    /// # Errors
    ///
    /// As for [`connect`](Driver::connect).
    fn connect_datagram(
        &mut self,
        key: Key,
        to: &Addr,
        options: &ListenOptions,
    ) -> io::Result<Addr>;

    /// Takes an accepted or otherwise connected socket in under `key`.
    ///
    /// # Errors
    ///
    /// If the poller cannot take it; the socket is then closed and no event follows.
    fn adopt(&mut self, key: Key, stream: OwnedStream) -> io::Result<()>;

    /// Gives the socket up: `released` follows in place of `closed`. Not to be called while a send
    /// is `Waiting`.
    fn release(&mut self, key: Key);

    /// Changes options of an open stream or datagram socket.
    ///
    /// # Errors
    ///
    /// The first option that the system refused; the others are set all the same.
    fn set_options(&mut self, key: Key, options: &SocketOptions) -> io::Result<()>;

    /// Joins (`true`) or leaves a multicast group on a datagram socket.
    ///
    /// # Errors
    ///
    /// What the system said, `NotFound` for an unknown key.
    fn multicast(&mut self, key: Key, group: std::net::IpAddr, join: bool) -> io::Result<()>;

    /// Starts, or resumes, delivering what arrives.
    fn recv_start(&mut self, key: Key);

    /// Stops delivering; the kernel's buffer fills and slows the peer down.
    fn recv_stop(&mut self, key: Key);

    /// Sends from the front of `outbox`. See D6.
    fn send(&mut self, key: Key, outbox: &mut Outbox) -> SendState;

    /// Nobody waits for the `sent` of what the last sends have taken: the next poll need not end
    /// before something else happens, and may tell them up to 10 ms later. For a driver whose kernel
    /// tells of sends by events, those are wakes saved; others have nothing to do.
    fn let_sent_wait(&mut self) {}

    /// Sends queued datagrams. One that the system refuses for itself (too long, unreachable) is
    /// dropped and reported by `datagram_dropped`; a full socket answers `Waiting`.
    fn send_datagrams(&mut self, key: Key, outbox: &mut DatagramOutbox) -> SendState;

    /// Sends the end of the stream; receiving goes on. Not to be called while a send is `Waiting`.
    fn shutdown(&mut self, key: Key);

    /// Closes the socket in good order. `closed` follows in the next `poll`.
    fn close(&mut self, key: Key);

    /// Closes the socket at once and resets the connection. `closed` follows in the next `poll`.
    fn abort(&mut self, key: Key);

    /// What other threads end a sleeping `poll` with.
    fn waker(&self) -> Waker;

    /// Catches a signal of the process from now on, by its number: see D14. Each driver that does is
    /// told of each.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a number that is none, or of a signal that cannot be caught, as SIGKILL;
    /// `Unsupported` on a system without signals.
    fn catch_signal(&mut self, number: i32) -> io::Result<()>;

    /// Sleeps until something happens, but at most for `timeout` (`None`: without limit), and
    /// delivers it.
    ///
    /// # Errors
    ///
    /// Only the loss of the poller itself. An interrupted sleep is a normal return without events.
    fn poll(&mut self, timeout: Option<Duration>, sink: &mut impl Sink) -> io::Result<()>;
}

/// What a driver delivers to.
pub trait Sink {
    /// A turn begins: `now` holds for all of it. The first call of every `poll`.
    fn begin(&mut self, now: Instant);
    /// A connection arrived at a listener.
    fn accepted(&mut self, listener: Key, accepted: Accepted);
    /// A listener could not accept, and tries again by itself (D9).
    fn accept_failed(&mut self, listener: Key, error: io::Error);
    /// A connection that `connect` had started is up; `local` is its own address.
    fn connected(&mut self, key: Key, local: Addr);
    /// Bytes arrived.
    fn data(&mut self, key: Key, bytes: &mut [u8]) -> Flow;
    /// Bytes arrived, so many that to keep them is cheaper than to copy them.
    fn loan(&mut self, key: Key, mut bytes: Loan<'_>) -> Flow {
        self.data(key, bytes.bytes())
    }
    /// A datagram arrived.
    fn datagram(&mut self, key: Key, from: &Addr, bytes: &mut [u8]) -> Flow;
    /// Queued datagrams were given up, each for the given reason.
    fn datagram_dropped(&mut self, key: Key, count: usize, error: io::Error);
    /// The peer will send nothing more.
    fn eof(&mut self, key: Key);
    /// A waiting send may go on, and `bytes` of those in flight have left.
    fn sent(&mut self, key: Key, bytes: usize);
    /// The socket broke; `closed` follows at once.
    fn failed(&mut self, key: Key, error: io::Error);
    /// The socket is gone. The last event of its key.
    fn closed(&mut self, key: Key);
    /// The socket is the loop's to give away. The last event of its key.
    fn released(&mut self, key: Key, stream: OwnedStream);
    /// A caught signal arrived.
    fn signal(&mut self, number: i32);
}

/// A connection as a listener hands it over.
#[derive(Debug)]
pub struct Accepted {
    /// The socket. Dropping it closes the connection.
    pub stream: OwnedStream,
    /// The other end.
    pub peer: Addr,
    /// This end: the address that the peer connected to, not the listener's wildcard.
    pub local: Addr,
}

/// What the callee wants of further deliveries to the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Continue,
    /// As if `recv_stop` had been called (D4).
    Pause,
}

/// How far a send has come (D6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum SendState {
    /// Everything has left.
    Done,
    /// `sent` will tell when to go on.
    Waiting,
}
