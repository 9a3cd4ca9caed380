//! Why a connection ended.

use crate::LayerFault;
use std::fmt;
use std::io;

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// The peer ended the stream, and the handler had nothing against closing.
    Peer,
    /// This side closed it: a returned [`Action::Close`](crate::Action::Close), or a `close` by id.
    Local,
    /// This side reset it: a returned [`Action::Abort`](crate::Action::Abort), or an `abort` by id.
    Aborted,
    /// The server stopped.
    Shutdown,
    /// The server was draining and the connection was not done by the deadline.
    DrainTimeout,
    /// No byte in either direction for the idle timeout.
    IdleTimeout,
    /// A waiting send made no progress for the write timeout.
    WriteTimeout,
    /// An outgoing connection was not up in time.
    DialTimeout,
    /// The layers of the connection were not open in time.
    HandshakeTimeout,
    /// The peer read so slowly that a limit on unsent output was passed.
    SlowConsumer,
    /// The handler, or a layer, left more input unconsumed than `Limits::input_max`.
    InputTooLong,
    /// A frame was over its maximum; see [`Framed`](crate::Framed).
    FrameTooLong,
    /// The bytes are not what the connection's codec allows.
    FrameInvalid,
    /// Nothing came for the time that the handler waits for input.
    ReadTimeout,
    /// A frame was not whole in time.
    FrameTimeout,
    /// A callback of the connection panicked.
    Panicked,
    /// A layer of the connection could not go on.
    Layer(&'static LayerFault),
    /// The socket broke, or could not be opened.
    Failed(SystemError),
}

impl CloseReason {
    /// Whether the peer may still be sending and has something to read that says why it ends.
    pub(crate) fn lets_the_peer_read(self) -> bool {
        matches!(
            self,
            Self::Local
                | Self::Layer(_)
                | Self::FrameTooLong
                | Self::FrameInvalid
                | Self::ReadTimeout
                | Self::FrameTimeout
        )
    }
}

/// What the operating system said, kept small enough to stand in every connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SystemError {
    kind: io::ErrorKind,
    code: i32,
}

impl SystemError {
    /// The portable kind of the error.
    #[must_use]
    pub fn kind(self) -> io::ErrorKind {
        self.kind
    }
}

impl From<&io::Error> for SystemError {
    fn from(error: &io::Error) -> Self {
        Self { kind: error.kind(), code: error.raw_os_error().unwrap_or(0) }
    }
}

impl From<SystemError> for io::Error {
    fn from(error: SystemError) -> Self {
        match error.code {
            0 => error.kind.into(),
            code => Self::from_raw_os_error(code),
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Peer => "closed by the peer",
            Self::Local => "closed by this side",
            Self::Aborted => "reset by this side",
            Self::Shutdown => "server stopped",
            Self::DrainTimeout => "not done when the drain time was over",
            Self::IdleTimeout => "idle for too long",
            Self::WriteTimeout => "the peer took nothing for too long",
            Self::DialTimeout => "not connected in time",
            Self::HandshakeTimeout => "its layers did not agree with the peer in time",
            Self::SlowConsumer => "the peer reads too slowly: output limit passed",
            Self::InputTooLong => "input limit passed",
            Self::FrameTooLong => "frame too long",
            Self::FrameInvalid => "the bytes are no frame",
            Self::ReadTimeout => "nothing came in time",
            Self::FrameTimeout => "a frame was not whole in time",
            Self::Panicked => "a callback panicked",
            Self::Layer(fault) => return fault.fmt(f),
            Self::Failed(error) => return io::Error::from(*error).fmt(f),
        };
        f.write_str(text)
    }
}
