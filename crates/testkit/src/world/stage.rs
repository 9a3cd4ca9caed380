//! What a world is played on: a simulated network or the sockets of this machine.
//!
//! Clients, detached connections and the operator are scripts; a stage gives them peers to play,
//! tells them the time, and lets the server go on between two looks of theirs.

use fastrand::Rng;
use mainspring_io::Addr;
use mainspring_loop::Handle;
use std::io;
use std::time::Duration;

/// A server on its way, and the network around it.
pub(super) trait Stage {
    type Peer: Played;
    type Datagrams: PlayedDatagrams;

    /// Whether the server stands still while a script looks at it, so that figures of two places
    /// are of the same moment.
    const STANDS_STILL: bool;

    /// The age of the world.
    fn now(&self) -> Duration;

    fn handle(&self) -> &Handle;

    /// Whether every loop has ended.
    fn is_over(&mut self) -> bool;

    fn connect(&mut self, to: &Addr) -> Self::Peer;

    fn bind(&mut self) -> Self::Datagrams;

    /// Lets the server do what it has to do now. Whether there was something.
    fn turn(&mut self) -> bool;

    /// Lets time go on until something may have happened, and not beyond the age `latest`.
    fn wait(&mut self, latest: Option<Duration>);

    /// Wakes a loop now and then for nothing.
    fn jog(&mut self, rng: &mut Rng);

    /// Ends the faults of the network, where they are in somebody's hand.
    fn calm(&mut self);

    /// What the loops buffer now, loop by loop.
    fn buffered_bytes(&self) -> impl Iterator<Item = usize>;
}

/// One end of a connection, played by a script. Nothing waits; dropping it closes it.
pub(super) trait Played {
    /// Sends what fits, and returns how many bytes that were.
    fn send(&mut self, bytes: &[u8]) -> usize;

    /// Takes what has come, unless it does not read. Not necessarily all of it.
    fn take_received(&mut self) -> Vec<u8>;

    /// Leaves what arrives unread.
    fn stop_reading(&mut self);

    fn resume_reading(&mut self);

    /// Ends this direction.
    fn shutdown_write(&mut self);

    /// Resets the connection, or closes it where there are no resets.
    fn reset(&mut self);

    fn close(&mut self);

    /// Whether it is up and neither closed here nor reset.
    fn is_connected(&mut self) -> bool;

    /// Why it did not come up.
    fn connect_error(&mut self) -> Option<io::ErrorKind>;

    /// Whether the other side's end has come, and every byte before it was taken.
    fn eof(&mut self) -> bool;

    fn reset_seen(&mut self) -> bool;

    /// Whether nothing more can be sent.
    fn write_ended(&mut self) -> bool;

    /// This end, as the server sees it.
    fn local_addr(&self) -> Addr;
}

/// A datagram socket, played by a script.
pub(super) trait PlayedDatagrams {
    fn send_to(&mut self, to: &Addr, payload: &[u8]);

    fn receive(&mut self) -> Option<(Addr, Vec<u8>)>;
}

/// How long the scripts wait for what.
#[derive(Clone, Debug)]
pub(super) struct Tempo {
    /// No honest wait of a client is longer.
    pub(super) patience: Duration,
    /// A client that never reads gives up after so long.
    pub(super) stubbornness: Duration,
    /// What may be added to the drain time: late wakes, and time that leaps.
    pub(super) grace: Duration,
    /// The longest time from `close_all` to `stop`, and from `drain` to `stop`.
    pub(super) close_to_stop: Duration,
    pub(super) drain_to_stop: Duration,
    /// How long clients may take to see the end of the server.
    pub(super) afterlife: Duration,
    /// How often a client that waits doubles the time to its next look.
    pub(super) doublings: u32,
}

impl Tempo {
    /// Virtual time costs nothing.
    pub(super) const SIMULATED: Self = Self {
        patience: Duration::from_secs(120),
        stubbornness: Duration::from_secs(8),
        grace: Duration::from_secs(1),
        close_to_stop: Duration::from_secs(3),
        drain_to_stop: Duration::from_millis(500),
        afterlife: Duration::from_secs(60),
        doublings: 5,
    };

    /// What is waited for in vain is long, because a busy machine must not break a law; what every
    /// other world waits for is short.
    pub(super) const SOCKETS: Self = Self {
        patience: Duration::from_secs(10),
        stubbornness: Duration::from_millis(400),
        grace: Duration::from_secs(3),
        close_to_stop: Duration::from_millis(100),
        drain_to_stop: Duration::from_millis(50),
        afterlife: Duration::from_secs(5),
        doublings: 1,
    };
}
