//! Turns bytes into frames and frames into bytes.

#![forbid(unsafe_code)]

mod codec;
mod decimal;
pub mod framing;
pub mod fuzz;
pub mod http1;
pub mod resp;
pub mod varint;

pub use codec::{Decode, Encode, Step};
pub use framing::{LengthPrefix, Separator};
