//! Turns bytes into frames and frames into bytes.

#![forbid(unsafe_code)]

mod codec;
pub mod framing;
pub mod resp;
pub mod varint;

pub use codec::{Decode, Encode, Step};
pub use framing::{LengthPrefix, Separator};
