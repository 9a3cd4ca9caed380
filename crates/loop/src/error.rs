//! What can go wrong with a server as a whole.

use mainspring_io::AddressError;
use std::fmt;
use std::io;

/// Why a server could not start, or ended early.
///
/// Nothing that peers do is among these: that ends a connection, with a
/// [`CloseReason`](crate::CloseReason).
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// An address that cannot be understood.
    Address(AddressError),
    /// An address that cannot be had.
    Bind {
        /// The address as it was given.
        address: String,
        /// What the system said.
        cause: io::Error,
    },
    /// The driver could not be made, or its poller was lost.
    Driver(io::Error),
    /// A signal that cannot be caught.
    Signal {
        /// Its number.
        number: i32,
        /// What the system said.
        cause: io::Error,
    },
    /// A thread could not be started.
    Thread(io::Error),
    /// The library was called wrongly; the text says how.
    Misuse(&'static str),
    /// The program ended the server by [`Handle::abort`](crate::Handle::abort), and this is why.
    Aborted(Box<dyn std::error::Error + Send + Sync>),
    /// What is named panicked; the log has the backtrace.
    Panicked(&'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(error) => error.fmt(f),
            Self::Bind { address, cause } => write!(f, "cannot listen on {address}: {cause}"),
            Self::Driver(cause) => write!(f, "cannot wait for events: {cause}"),
            Self::Signal { number, cause } => write!(f, "cannot catch signal {number}: {cause}"),
            Self::Thread(cause) => write!(f, "cannot start a thread: {cause}"),
            Self::Misuse(what) => f.write_str(what),
            Self::Aborted(cause) => write!(f, "aborted: {cause}"),
            Self::Panicked(what) => write!(f, "{what} panicked"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Address(error) => Some(error),
            Self::Bind { cause, .. }
            | Self::Signal { cause, .. }
            | Self::Driver(cause)
            | Self::Thread(cause) => Some(cause),
            Self::Aborted(cause) => Some(&**cause),
            Self::Misuse(_) | Self::Panicked(_) => None,
        }
    }
}

impl From<AddressError> for Error {
    fn from(error: AddressError) -> Self {
        Self::Address(error)
    }
}

impl From<std::convert::Infallible> for Error {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}
