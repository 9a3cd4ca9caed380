//! The [PROXY protocol], versions 1 and 2: the header in which a proxy says whom it speaks for.
//!
//! ```text
//!  input --> HeaderDecoder --> Header { version, addresses, tlvs } --> the bytes behind `used`
//!
//!  Addresses (, Tlv ..) --> append_v1, append_v2 --> out
//! ```
//!
//! The header is the first thing on a connection, also in front of TLS, and comes once. "The
//! receiver MUST NOT start processing the connection before it receives a complete and valid PROXY
//! protocol header", and it "MUST not try to guess whether the protocol header is present or not":
//! whether one is expected is a matter of configuration, anything else is an error here, and who may
//! send one is for the caller to decide ("only trusted proxies are allowed to use this protocol").
//! So is the deadline: "a short timeout [..] (at least 3 seconds to cover a TCP retransmit)".
//!
//! [PROXY protocol]: https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt
//!
//! # Example
//!
//! ```
//! use mainspring_wire::proxy::{Addresses, HeaderDecoder, Tlv, Transport, append_v1, append_v2};
//! use mainspring_wire::{Decode, Step};
//!
//! let client = Addresses::Ip {
//!     transport: Transport::Stream,
//!     source: "192.168.0.1:56324".parse()?,
//!     destination: "192.168.0.11:443".parse()?,
//! };
//! let mut line = Vec::new();
//! append_v1(&client, &mut line);
//! assert_eq!(line, b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n");
//!
//! let mut block = Vec::new();
//! let tlvs = [Tlv { kind: Tlv::AUTHORITY, value: b"example.org" }, Tlv::CHECKSUM];
//! append_v2(&client, tlvs, &mut block)?;
//! for mut received in [line, block] {
//!     received.extend_from_slice(b"GET / HTTP/1.1\r\n");
//!     match HeaderDecoder::new().decode(&mut received)? {
//!         Step::Frame { frame, used } => {
//!             assert_eq!(frame.addresses, client);
//!             println!("{}, {used} bytes", frame.version);
//!         }
//!         Step::Need(_) => unreachable!("it is whole"),
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;

use core::net::SocketAddr;

mod binary;
mod crc32c;
mod decoder;
mod error;
mod line;
mod tlv;

pub use binary::append_v2;
pub use decoder::HeaderDecoder;
pub use error::{Error, Part};
pub use line::append_v1;
pub use tlv::{Ssl, Tlv, Tlvs};

/// The most bytes of a line of version 1, its CRLF included: "worst case [..] 107 chars".
pub const LINE_BYTES_MAX: usize = 107;

/// The default maximum of a header of version 2: 4 KiB.
///
/// The protocol was "designed to fit in the smallest TCP segment that any TCP/IP host is required
/// to support (576 - 40 = 536 bytes)", but a sender that says all that there are types for is over
/// that: 216 bytes of unix addresses, a server name of 255, a unique id of 128, and what is to be
/// told of TLS and a client's certificate.
pub const HEADER_BYTES_MAX: usize = 4096;

/// The most bytes of a path of a unix socket: "the addresses are exactly 108 bytes each".
pub const UNIX_PATH_BYTES_MAX: usize = 108;

/// The form of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// One line of text.
    One,
    /// A binary block.
    Two,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Version::One => write!(f, "PROXY protocol version 1"),
            Version::Two => write!(f, "PROXY protocol version 2"),
        }
    }
}

/// What kind of socket the client's connection has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TCP, or a unix stream.
    Stream,
    /// UDP, or unix datagrams.
    Datagram,
}

/// Between whom the connection is that the proxy speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addresses<'a> {
    /// `LOCAL` of version 2: "the connection was established on purpose by the proxy without being
    /// relayed", as for a health check. "The receiver must accept this connection as valid and must
    /// use the real connection endpoints".
    Local,
    /// `UNKNOWN` of version 1, `UNSPEC` of version 2: relayed, but the sender cannot say for whom.
    /// The receiver "SHOULD accept the connection and use the real connection's parameters".
    Unknown,
    /// Addresses and ports.
    ///
    /// Decoded, both are of one family. To be encoded, an IPv4 address beside an IPv6 one is mapped
    /// into IPv6 (`::ffff:a.b.c.d`). Flow and scope of IPv6 have no place in the protocol.
    Ip {
        /// TCP or UDP.
        transport: Transport,
        /// The client.
        source: SocketAddr,
        /// Where it connected to.
        destination: SocketAddr,
    },
    /// Paths of unix sockets, of at most [`UNIX_PATH_BYTES_MAX`] bytes; empty for a socket without a
    /// name. One that starts with a zero byte is in Linux's abstract namespace.
    ///
    /// Paths are padded with zero bytes: one ends at its first zero byte, an abstract one before
    /// the zero bytes at its end.
    Unix {
        /// Stream or datagrams.
        transport: Transport,
        /// The client's path, as a rule empty.
        source: &'a [u8],
        /// The path that it connected to.
        destination: &'a [u8],
    },
}

/// What a proxy says of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Header<'a> {
    /// The form it came in.
    pub version: Version,
    /// Whom the proxy speaks for.
    pub addresses: Addresses<'a>,
    /// What else it says; only version 2 can, and only with [`Addresses::Ip`] and
    /// [`Addresses::Unix`]: of the others "the receiver should ignore address information", whose
    /// length is not known.
    pub tlvs: Tlvs<'a>,
}
