//! The kernel as a deliverer of bytes.
//!
//! This crate holds everything that touches a socket, and the only unsafe code of the house. It
//! does not know connections, handlers, protocols or policy: it carries [`Key`]s, takes orders, and
//! lends bytes to a [`Sink`].
//!
//! ```text
//!              orders: listen, connect, recv_start, send(outbox), close
//!    loop  ------------------------------------------------------------>  Driver  <-->  kernel
//!    Sink  <------------------------------------------------------------
//!              accepted, connected, data(&mut [u8]), eof, sent, closed
//! ```
//!
//! The contract between the two stands above the trait, in [`driver`].

pub mod driver;

mod address;
mod bits;
mod codes;
mod datagrams;
mod key;
mod limits;
mod loan;
mod options;
mod os;
mod outbox;
mod ready;
mod region;
#[cfg(target_os = "linux")]
mod ring;
mod signals;
mod stream;
mod taken;
mod unavailable;
mod wake;

pub use address::{
    Addr, Address, AddressError, AddressFault, ClientAuth, Role, Scheme, TlsOptions, UnixAddr,
};
pub use datagrams::DatagramOutbox;
pub use driver::{Accepted, Driver, Flow, SendState, Sink};
pub use key::Key;
pub use limits::DriverLimits;
pub use loan::{Kept, Loan};
pub use options::{Keepalive, Linger, ListenOptions, SocketOptions};
pub use os::{DriverKind, UnknownDriver};
pub use outbox::{Chunk, Outbox, SpareChunks};
pub use ready::ReadyDriver;
pub use region::ReadBuffers;
#[cfg(target_os = "linux")]
pub use ring::RingDriver;
pub use stream::{OwnedStream, PipedStream, SimulatedStream};
pub use unavailable::{RingReason, RingUnavailable};
