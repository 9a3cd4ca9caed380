//! What the suite needs of a driver under test: the driver, and peers that play against it.

use mainspring_io::{Addr, Driver, DriverLimits, Sink};
use std::time::Duration;

/// Sets up one kind of driver and its peers. Everything is bounded in time.
pub trait Harness {
    /// The driver under test.
    type Driver: Driver;
    /// A scripted stream peer.
    type Peer: Peer;
    /// A scripted listener.
    type PeerListener: PeerListener<Peer = Self::Peer>;
    /// A scripted datagram socket.
    type DatagramPeer: DatagramPeer;

    /// Two loops' drivers with these limits, the first of them current.
    fn start(limits: DriverLimits) -> Self;
    /// The current driver.
    fn driver(&mut self) -> &mut Self::Driver;
    /// Makes the other driver current.
    fn swap_loops(&mut self);
    /// One poll of the current driver, after which time has moved on a little if nothing was due.
    fn turn(&mut self, sink: &mut impl Sink);
    /// One poll that really sleeps, and how long it did by the driver's clock.
    fn sleep(&mut self, timeout: Option<Duration>, sink: &mut impl Sink) -> Duration;
    /// Wakes the current driver from elsewhere when `after` has passed.
    fn wake_later(&mut self, after: Duration);
    /// Sends this process a signal, where there are such.
    fn raise(&mut self, number: i32);
    /// A peer that connects.
    fn dial(&mut self, to: &Addr) -> Self::Peer;
    /// A peer that listens on a free port.
    fn peer_listener(&mut self) -> (Self::PeerListener, Addr);
    /// A datagram peer on a free port.
    fn datagram_peer(&mut self) -> (Self::DatagramPeer, Addr);
    /// A unix address that nobody uses, where there are such.
    fn unix_address(&mut self) -> Option<Addr>;
    /// An inet address at which nobody listens.
    fn silent_address(&mut self) -> Addr;
}

/// A harness that can take the descriptors away.
pub trait Starve: Harness {
    /// Makes accepting fail for lack of descriptors, or ends that.
    fn starve(&mut self, starve: bool);
}

/// One end of a stream, played by a test. No call waits.
pub trait Peer {
    /// Sends what fits and returns how many bytes that were.
    fn send(&mut self, bytes: &[u8]) -> usize;
    /// Takes what has arrived.
    fn receive(&mut self) -> Vec<u8>;
    /// Whether the other end has ended its direction. Reads on to find out.
    fn eof(&mut self) -> bool;
    /// Whether the connection was reset. Reads on to find out.
    fn reset_seen(&mut self) -> bool;
    /// Ends this direction.
    fn shutdown_write(&mut self);
    /// Resets the connection.
    fn reset(self);
    /// Leaves what arrives unread until the next [`receive`](Peer::receive).
    fn stop_reading(&mut self);
}

/// A listener, played by a test.
pub trait PeerListener {
    /// What it accepts.
    type Peer: Peer;
    /// The oldest connection that waits.
    fn accept(&mut self) -> Option<Self::Peer>;
}

/// A datagram socket, played by a test.
pub trait DatagramPeer {
    /// Sends one datagram.
    fn send_to(&mut self, to: &Addr, payload: &[u8]);
    /// The next datagram that has arrived, and its sender.
    fn receive(&mut self) -> Option<(Addr, Vec<u8>)>;
}
