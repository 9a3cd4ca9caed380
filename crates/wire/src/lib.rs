//! Turns bytes into frames and frames into bytes.
//!
//! Protocol code that does no I/O, reads no clock, owns no socket buffer and starts nothing. What
//! it is given it looks at, what it makes it appends; when to read, how long to wait and what to do
//! about a peer is for the caller, as a rule a connection of `mainspring-loop`.
//!
//! ```text
//!   received bytes                                                    bytes to be sent
//!   &mut [u8] ----> Decode::decode ----> frame, used                  &mut Vec<u8>
//!       ^               |       \                                          ^
//!       |               |        +--> Error: latched, close                |
//!       +-- more -- Need(n)                    item ----> Encode::encode --+
//! ```
//!
//! | to cut | use | for |
//! |---|---|---|
//! | at separators | [`Separator`] | lines, and anything that ends with a known sequence |
//! | by lengths | [`LengthPrefix`] | u8 to u64 of both byte orders, varint, varlong |
//! | RESP | [`resp`] | Redis commands as redis-server 7 reads them; replies of RESP2 both ways, of RESP3 outwards |
//! | HTTP/1.1 | [`http1`] | heads and bodies of requests; heads of responses |
//! | the PROXY protocol | [`proxy`] | whom a proxy speaks for, versions 1 and 2, both ways |
//! | single values | [`primitive`] | booleans, integers, floats, varints, byte arrays, strings |
//! | single numbers | [`varint`] | LEB128 of 32 and 64 bits |
//!
//! Of these [`blocking`] has extension traits on `std::io::{Read, Write}` for code that may wait; it
//! is the one module that knows of readers and writers, and does nothing but call those it is given.
//!
//! # Example
//!
//! Bytes come as the network cut them; frames come as the sender made them.
//!
//! ```
//! use mainspring_wire::{Decode, Encode, LengthPrefix, Step};
//!
//! let mut codec = LengthPrefix::u16_be().max(1024);
//! let mut sent = Vec::new();
//! codec.encode(b"hello", &mut sent)?;
//! codec.encode(b"", &mut sent)?;
//! codec.encode(b"world", &mut sent)?;
//!
//! let (mut received, mut frames) = (Vec::new(), Vec::new());
//! for segment in sent.chunks(3) {
//!     received.extend_from_slice(segment);
//!     let mut start = 0;
//!     while let Step::Frame { frame, used } = codec.decode(&mut received[start..])? {
//!         frames.push(frame.to_vec());
//!         start += used;
//!     }
//!     received.drain(..start);
//! }
//! assert_eq!(frames, [&b"hello"[..], b"", b"world"]);
//! # Ok::<(), mainspring_wire::framing::Error>(())
//! ```
//!
//! # What every codec keeps
//!
//! * Frames do not depend on how the input was cut. [`fuzz`] holds each decoder to that.
//! * What a peer announces allocates nothing and has a limit, which is an error at once.
//! * A frame that comes byte by byte costs time linear in its length.
//! * Decoders of whole frames allocate nothing per frame once warm ([`resp::Replies`], for clients
//!   and tests, allocates its arrays).
//! * An error of a decoder stays: the only sound answer is to close. A frame that is only too long can
//!   be left out where its end can be found ([`Decode::skip`]).

#![forbid(unsafe_code)]
#![doc(test(attr(deny(warnings))))]

pub mod blocking;
mod codec;
mod decimal;
pub mod framing;
pub mod fuzz;
pub mod http1;
pub mod primitive;
pub mod proxy;
pub mod resp;
pub mod varint;

pub use codec::{Decode, Encode, Skipped, Step};
pub use framing::{LengthPrefix, Separator};
