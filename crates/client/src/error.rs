//! What can go wrong before a client is there.

use mainspring_io::AddressError;
use std::fmt;
use std::io;

/// Why a client could not be had. What goes wrong afterwards is an [`io::Error`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// An address that cannot be understood.
    Address(AddressError),
    /// An address of datagrams, which this client does not carry.
    Datagrams {
        /// The address as it was given.
        address: String,
    },
    /// An address that asks for TLS where none was given: `Client::connect_tls` is for it.
    TlsWanted {
        /// The address as it was given.
        address: String,
    },
    /// The connection could not be had; for a name with several addresses, the last one's answer.
    Dial {
        /// The address as it was given.
        address: String,
        /// What the system said; `TimedOut` when the time was over.
        cause: io::Error,
    },
    /// The connection was up and TLS failed: the certificate, the version, or the time.
    Handshake {
        /// The address as it was given.
        address: String,
        /// What was wrong; a `rustls::Error` stands inside where TLS itself said no.
        cause: io::Error,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(error) => error.fmt(f),
            Self::Datagrams { address } => {
                write!(f, "'{address}' carries datagrams: allowed are tcp, tcp4, tcp6, tls, unix")
            }
            Self::TlsWanted { address } => {
                write!(f, "'{address}' asks for TLS: dial it with Client::connect_tls")
            }
            Self::Dial { address, cause } => write!(f, "cannot connect to {address}: {cause}"),
            Self::Handshake { address, cause } => {
                write!(f, "no TLS session with {address}: {cause}")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Address(error) => Some(error),
            Self::Datagrams { .. } | Self::TlsWanted { .. } => None,
            Self::Dial { cause, .. } | Self::Handshake { cause, .. } => Some(cause),
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
