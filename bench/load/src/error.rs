//! What ends a run before its time.

use std::fmt;
use std::io;

/// Why a run gave no figures.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A combination of arguments that means nothing; the text names what is allowed.
    Usage(String),
    /// A system call failed while doing what the text says.
    Io {
        /// What was being done.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
    /// The server answered with something else than the right reply.
    WrongReply(String),
    /// The server closed a connection while requests were in flight.
    Closed,
    /// No reply came for this many seconds.
    Silent(u64),
    /// In an open loop more requests are unanswered than this: the rate is beyond the server.
    Overrun(usize),
}

impl Error {
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(message) => f.write_str(message),
            Self::Io { doing, source } => write!(f, "{doing}: {source}"),
            Self::WrongReply(what) => write!(f, "wrong reply: {what}"),
            Self::Closed => f.write_str("the server closed a connection that waited for replies"),
            Self::Silent(seconds) => write!(f, "no reply for {seconds} s"),
            Self::Overrun(count) => {
                write!(f, "over {count} requests unanswered; lower --rate or add --connections")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
