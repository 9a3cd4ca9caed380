//! Whom one trusts: root certificates and revocation lists.

use crate::pem::Pem;
use crate::{Error, Flaw};
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use std::fmt;
use std::path::{Path, PathBuf};

/// The certificates that may be at the root of a peer's chain, and lists of what was revoked.
///
/// A certificate that is not in any list of its issuer counts as good, and so does one whose issuer
/// gave no list.
#[derive(Clone, Default)]
pub struct Roots {
    certificates: Vec<Pem>,
    lists: Vec<Pem>,
    #[cfg(feature = "webpki-roots")]
    web: bool,
    #[cfg(feature = "platform-verifier")]
    platform: bool,
}

/// What was read.
#[derive(Default, PartialEq)]
pub(crate) struct Trust {
    pub(crate) certificates: Vec<CertificateDer<'static>>,
    pub(crate) lists: Vec<CertificateRevocationListDer<'static>>,
}

impl Roots {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the certificates of a PEM file.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.certificates.push(Pem::File(path.into()));
        self
    }

    /// Adds the certificates of PEM text in memory.
    #[must_use]
    pub fn pem(mut self, text: impl AsRef<[u8]>) -> Self {
        self.certificates.push(Pem::Memory(text.as_ref().into()));
        self
    }

    /// Adds the revocation lists of a PEM file.
    #[must_use]
    pub fn revoked_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.lists.push(Pem::File(path.into()));
        self
    }

    /// Adds the revocation lists of PEM text in memory.
    #[must_use]
    pub fn revoked_pem(mut self, text: impl AsRef<[u8]>) -> Self {
        self.lists.push(Pem::Memory(text.as_ref().into()));
        self
    }

    /// Adds what Mozilla trusts, as it was when the program was compiled.
    #[cfg(feature = "webpki-roots")]
    #[must_use]
    pub fn web(mut self) -> Self {
        self.web = true;
        self
    }

    /// Lets the operating system judge in place of this list: what its store trusts is trusted.
    /// For clients only, and not beside other roots.
    #[cfg(feature = "platform-verifier")]
    #[must_use]
    pub fn platform() -> Self {
        Self { platform: true, ..Self::default() }
    }

    /// What is trusted when nobody says whom: the system's store or else Mozilla's list, whichever
    /// is compiled in.
    pub(crate) fn usual() -> Option<Self> {
        #[cfg(feature = "platform-verifier")]
        return Some(Self::platform());
        #[cfg(all(feature = "webpki-roots", not(feature = "platform-verifier")))]
        return Some(Self::new().web());
        #[cfg(not(any(feature = "webpki-roots", feature = "platform-verifier")))]
        None
    }

    #[cfg(feature = "platform-verifier")]
    pub(crate) fn is_platform(&self) -> bool {
        self.platform
    }

    pub(crate) fn load(&self) -> Result<Trust, Error> {
        let mut trust = Trust::default();
        for pem in &self.certificates {
            trust.certificates.extend(pem.certificates()?);
        }
        for pem in &self.lists {
            trust.lists.extend(pem.lists()?);
        }
        Ok(trust)
    }

    /// The store of what was loaded. One certificate that cannot be a root, as old bundles hold,
    /// does not spoil the others.
    pub(crate) fn store(&self, trust: &Trust) -> Result<RootCertStore, Error> {
        let mut store = RootCertStore::empty();
        let (_, ignored) = store.add_parsable_certificates(trust.certificates.iter().cloned());
        if ignored > 0 {
            tracing::warn!(ignored, "certificates that cannot serve as roots");
        }
        #[cfg(feature = "webpki-roots")]
        if self.web {
            store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        if store.is_empty() {
            let at = self.certificates.first();
            return Err(at.map_or(Error::Misuse(NO_ROOTS), |pem| pem.invalid(Flaw::NoRoot)));
        }
        Ok(store)
    }

    pub(crate) fn bad_list(&self) -> Error {
        let at = self.lists.first();
        at.map_or(Error::Misuse(NO_ROOTS), |pem| pem.invalid(Flaw::BadList))
    }

    /// The files that they are read from.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.certificates.iter().chain(&self.lists).filter_map(Pem::file)
    }
}

/// Names files, and counts nothing of what is in memory.
impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.paths()).finish()
    }
}

const NO_ROOTS: &str = "no root certificates: give Roots at least one";
