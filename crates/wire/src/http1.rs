//! HTTP/1.1 ([RFC 9112]): heads and bodies of requests in, responses out.
//!
//! ```text
//!  input --> Heads --> Head { method, target, fields, Body } --+
//!    |                                                         v
//!    +-------------> BodyDecoder::new(head.body(), max) --> Piece .. Piece { last: true }
//!
//!  ResponseHead --> out
//! ```
//!
//! A server reads a head, then the body that it announces down to its last piece, and is then at
//! the next head. Where a sender's framing leaves a doubt, so that two readers could disagree about
//! where a message ends, it is an error: answer with [`Error::status`] and close.
//!
//! Not done here: deadlines, routing, content codings, what a target means.
//!
//! [RFC 9112]: https://www.rfc-editor.org/rfc/rfc9112

mod body;
mod date;
mod error;
mod fields;
mod head;
mod lines;
mod response;

pub use body::{BodyDecoder, Piece};
pub use date::imf_fixdate;
pub use error::Error;
pub use head::{Field, Fields, Head, Heads};
pub use response::{ResponseHead, append_chunk, append_last_chunk};

/// How the body of a message is framed (RFC 9112, section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// There is none.
    None,
    /// This many bytes.
    Length(u64),
    /// Chunks, the last of them empty.
    Chunked,
}
