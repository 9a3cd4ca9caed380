//! What callbacks want of the driver: carried out by the next `flush`, in order.

use mainspring_io::{Addr, Key, ListenOptions, OwnedStream, SocketOptions};
use std::net::IpAddr;

pub(crate) enum Order {
    /// Take in an accepted connection.
    Adopt { key: Key, stream: OwnedStream },
    /// Connect to the next candidate of a dialling connection.
    Dial { key: Key },
    /// Open a datagram socket to one peer.
    DialDatagram { key: Key, to: Addr, options: ListenOptions },
    /// Set options of a socket.
    SetOptions { key: Key, options: SocketOptions },
    /// Join or leave a multicast group.
    Multicast { key: Key, group: IpAddr, join: bool },
    /// Close a listener or a datagram socket.
    CloseSocket { key: Key },
}
