//! What can go wrong with a program as a whole.

use crate::guard::NetworkFault;
use crate::runner::BoxError;
use std::fmt;
use std::io;

/// Why a program could not start, or ended early, or what about its settings is wrong.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A text that names no network.
    Network {
        /// The text.
        text: String,
        /// What is wrong with it.
        fault: NetworkFault,
    },
    /// A text that is no rate.
    Rate {
        /// The text.
        text: String,
    },
    /// A service could not start.
    Start {
        /// Which.
        service: String,
        /// What it said.
        cause: BoxError,
    },
    /// A service ended with an error.
    Failed {
        /// Which.
        service: String,
        /// What it said.
        cause: BoxError,
    },
    /// A service, its start, or one of the runner's hooks panicked.
    Panicked {
        /// Which.
        service: String,
        /// What it said.
        message: String,
    },
    /// Services were told to stop and had not when the deadline was over.
    NotStopped {
        /// Which.
        services: Vec<String>,
    },
    /// A second signal did not wait for the services to stop.
    Interrupted {
        /// Its number.
        signal: i32,
    },
    /// Signals cannot be caught.
    Signals(io::Error),
    /// A thread could not be started.
    Thread(io::Error),
}

impl Error {
    /// How a process ends that ends by this: 128 and the signal's number when a signal cut it short,
    /// as a shell reports a process that a signal ended, and else 1.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Interrupted { signal } => u8::try_from(128 + signal).unwrap_or(1),
            _ => 1,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network { text, fault } => write!(f, "'{text}' is no network: {fault}"),
            Self::Rate { text } => {
                write!(
                    f,
                    "'{text}' is no rate: wanted is one as 10/s, 90/m, or 10/s:100 for 100 at once"
                )
            }
            Self::Start { service, cause } => write!(f, "{service} cannot start: {cause}"),
            Self::Failed { service, cause } => write!(f, "{service} failed: {cause}"),
            Self::Panicked { service, message } => write!(f, "{service} panicked: {message}"),
            Self::NotStopped { services } => {
                write!(f, "still running after the deadline to stop: {}", services.join(", "))
            }
            Self::Interrupted { signal } => write!(f, "ended at once by signal {signal}"),
            Self::Signals(cause) => write!(f, "cannot handle signals: {cause}"),
            Self::Thread(cause) => write!(f, "cannot start a thread: {cause}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Start { cause, .. } | Self::Failed { cause, .. } => Some(cause.as_ref()),
            Self::Signals(cause) | Self::Thread(cause) => Some(cause),
            _ => None,
        }
    }
}
