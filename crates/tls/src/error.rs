//! What can be wrong with a configuration.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why TLS could not be set up, or set up anew.
///
/// What peers do is not among these: that ends a connection, with a
/// [`CloseReason::Layer`](mainspring_loop::CloseReason::Layer) that names the reason.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A file that cannot be read.
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Certificates, keys or lists that cannot be used.
    Invalid {
        /// The file, or `memory`.
        at: String,
        /// What is wrong.
        flaw: Flaw,
    },
    /// A name that no certificate can be asked for.
    ServerName(String),
    /// No further connection: the server is full or stopping.
    Full,
    /// The library was called wrongly; the text says how.
    Misuse(&'static str),
}

/// What is wrong with certificates, keys or lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Flaw {
    /// The text is not PEM: a line between the dashes cannot be read.
    NotPem,
    /// There is no `CERTIFICATE` section.
    NoCertificate,
    /// There is no `PRIVATE KEY`, `RSA PRIVATE KEY` or `EC PRIVATE KEY` section.
    NoKey,
    /// There is no `X509 CRL` section.
    NoList,
    /// The first certificate is not one of X.509, version 3.
    BadCertificate,
    /// The key is of a kind that the provider does not know, or is damaged.
    BadKey,
    /// The key does not belong to the first certificate.
    ForeignKey,
    /// No certificate can serve as a root.
    NoRoot,
    /// The revocation list is damaged or of an unknown kind.
    BadList,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotPem => "not PEM",
            Self::NoCertificate => "no CERTIFICATE section",
            Self::NoKey => "no PRIVATE KEY section (PKCS#8, RSA or EC, not encrypted)",
            Self::NoList => "no X509 CRL section",
            Self::BadCertificate => "the first certificate is not X.509 version 3",
            Self::BadKey => "the private key is damaged, or not RSA, ECDSA or Ed25519",
            Self::ForeignKey => "the private key does not belong to the first certificate",
            Self::NoRoot => "no certificate that can serve as a root",
            Self::BadList => "the revocation list is damaged or of an unknown kind",
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, cause } => write!(f, "cannot read {}: {cause}", path.display()),
            Self::Invalid { at, flaw } => write!(f, "{at}: {flaw}"),
            Self::ServerName(name) => {
                write!(f, "{name:?} is no server name; allowed: a DNS name or an IP address")
            }
            Self::Full => f.write_str("no further connection: the server is full or stopping"),
            Self::Misuse(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { cause, .. } => Some(cause),
            _ => None,
        }
    }
}
