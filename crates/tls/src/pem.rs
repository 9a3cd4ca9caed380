//! PEM text from a file or from memory, and whether a file has changed.

use crate::{Error, Flaw};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// Where PEM text is.
#[derive(Clone)]
pub(crate) enum Pem {
    File(PathBuf),
    Memory(Arc<[u8]>),
}

/// What tells one state of a file from another: its length and when it was written. `None`: it
/// cannot be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(Option<(u64, Option<SystemTime>)>);

impl Pem {
    pub(crate) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, Error> {
        self.sections(Flaw::NoCertificate)
    }

    pub(crate) fn lists(&self) -> Result<Vec<CertificateRevocationListDer<'static>>, Error> {
        self.sections(Flaw::NoList)
    }

    /// The first private key.
    pub(crate) fn key(&self) -> Result<PrivateKeyDer<'static>, Error> {
        PrivateKeyDer::from_pem_slice(&self.text()?).map_err(|error| match error {
            pem::Error::NoItemsFound => self.invalid(Flaw::NoKey),
            _ => self.invalid(Flaw::NotPem),
        })
    }

    /// An error about this text.
    pub(crate) fn invalid(&self, flaw: Flaw) -> Error {
        let at = match self {
            Self::File(path) => path.display().to_string(),
            Self::Memory(_) => "memory".to_owned(),
        };
        Error::Invalid { at, flaw }
    }

    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Memory(_) => None,
        }
    }

    fn sections<T: PemObject>(&self, none: Flaw) -> Result<Vec<T>, Error> {
        let text = self.text()?;
        let found: Result<Vec<T>, _> = T::pem_slice_iter(&text).collect();
        let found = found.map_err(|_| self.invalid(Flaw::NotPem))?;
        if found.is_empty() { Err(self.invalid(none)) } else { Ok(found) }
    }

    fn text(&self) -> Result<Cow<'_, [u8]>, Error> {
        match self {
            Self::Memory(text) => Ok(Cow::Borrowed(text)),
            Self::File(path) => std::fs::read(path)
                .map(Cow::Owned)
                .map_err(|cause| Error::Read { path: path.clone(), cause }),
        }
    }
}

impl Stamp {
    pub(crate) fn of(path: &Path) -> Self {
        let found = std::fs::metadata(path);
        Self(found.ok().map(|found| (found.len(), found.modified().ok())))
    }
}
