use std::fmt;

/// Why bytes are not a command. `Display` is the text of redis-server, `Protocol error: ` included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A quoted argument of an inline command has no end, or something other than a space behind
    /// it.
    UnbalancedQuotes,
    /// The number of arguments is not a canonical decimal number, or over the limit.
    InvalidMultibulkLength,
    /// The length of an argument is not a canonical decimal number, negative, or over the limit.
    InvalidBulkLength,
    /// An argument does not start with `$`.
    ExpectedDollar {
        /// What it starts with.
        got: u8,
    },
    /// An inline command has no end within the limit.
    InlineTooLong,
    /// A number of arguments has no end within the limit.
    MultibulkCountTooLong,
    /// The length of an argument has no end within the limit.
    BulkCountTooLong,
}

impl Error {
    /// Appends the reply that redis-server sends before it closes: `-ERR Protocol error: ...`.
    ///
    /// The same text as `Display`, but the byte of [`Error::ExpectedDollar`] stays a byte when it
    /// is not ASCII, and is a space when it would end the line.
    pub fn append_reply(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"-ERR Protocol error: ");
        if let Error::ExpectedDollar { got } = *self {
            out.extend_from_slice(b"expected '$', got '");
            out.push(if matches!(got, b'\r' | b'\n') { b' ' } else { got });
            out.push(b'\'');
        } else {
            out.extend_from_slice(self.text().as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }

    fn text(&self) -> &'static str {
        match self {
            Error::UnbalancedQuotes => "unbalanced quotes in request",
            Error::InvalidMultibulkLength => "invalid multibulk length",
            Error::InvalidBulkLength => "invalid bulk length",
            Error::ExpectedDollar { .. } => "expected '$'",
            Error::InlineTooLong => "too big inline request",
            Error::MultibulkCountTooLong => "too big mbulk count string",
            Error::BulkCountTooLong => "too big bulk count string",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Protocol error: {}", self.text())?;
        if let Error::ExpectedDollar { got } = *self {
            write!(f, ", got '{}'", char::from(got))?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// Why bytes are not a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplyError {
    /// The first byte is none of `+`, `-`, `:`, `$`, `*`.
    UnknownType {
        /// The byte.
        got: u8,
    },
    /// A line ends with something other than CR LF.
    LineEnd,
    /// A bulk string ends with something other than CR LF.
    BulkEnd,
    /// A line has no end within 64 KiB.
    LineTooLong,
    /// A number is not a canonical decimal number of 64 bits.
    InvalidNumber,
    /// A length is negative and not -1, or over the limit.
    InvalidLength,
    /// Arrays are nested deeper than allowed.
    TooDeep {
        /// The depth allowed.
        max: usize,
    },
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            ReplyError::UnknownType { got } => {
                write!(f, "reply starts with '{}', not with + - : $ or *", got.escape_ascii())
            }
            ReplyError::LineEnd => write!(f, "line of a reply does not end with CR LF"),
            ReplyError::BulkEnd => write!(f, "bulk reply does not end with CR LF"),
            ReplyError::LineTooLong => {
                write!(f, "line of a reply is longer than {} bytes", super::LINE_BYTES_MAX)
            }
            ReplyError::InvalidNumber => write!(f, "number of a reply is not a 64-bit decimal"),
            ReplyError::InvalidLength => {
                write!(f, "length of a reply is negative or over the limit")
            }
            ReplyError::TooDeep { max } => {
                write!(f, "reply is nested deeper than {max} arrays")
            }
        }
    }
}

impl std::error::Error for ReplyError {}
