//! The properties that decoders keep on any input, as functions over bytes.
//!
//! A fuzzer calls one of [`TARGETS`] with bytes of its own; [`run`] makes inputs from a seed by
//! mutating a small corpus, so that a number of rounds can run anywhere, without a clock. A body
//! panics when a property fails:
//!
//! * Fed whole, split at every byte, and split at random, a decoder gives the same frames and then
//!   the same error or the same rest.
//! * `used` is within the input, and `Need(n)` is honest: with fewer than n further bytes nothing
//!   comes.
//! * After an error the same error comes whatever follows.
//! * Without a frame that is too long, and is left out, the others are as if there were no maximum.
//! * What is decoded encodes, and decodes again to the same.
//! * Frames are those of a splitter that is too plain to be wrong, and those of a blocking reader.
//!
//! The first byte or two of an input choose the decoder's settings, with limits low enough to be
//! met.

mod corpus;
mod feed;
mod proxy;
mod reference;
mod targets;
mod values;

pub use corpus::{run, run_over};
#[cfg(test)]
pub(crate) use feed::frames_and_skipped;
pub use proxy::proxy;
pub use targets::{
    http1_body, http1_head, length_prefix, resp_commands, resp_replies, separator, varint,
};
pub use values::primitive;

/// A fuzz body: it panics when a property fails.
pub type Target = fn(&[u8]);

/// Every fuzz body with its name.
pub const TARGETS: &[(&str, Target)] = &[
    ("separator", separator),
    ("length_prefix", length_prefix),
    ("varint", varint),
    ("primitive", primitive),
    ("proxy", proxy),
    ("resp_commands", resp_commands),
    ("resp_replies", resp_replies),
    ("http1_head", http1_head),
    ("http1_body", http1_body),
];
