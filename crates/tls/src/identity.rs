//! Who one is: a certificate with its chain, and the private key.

use crate::pem::Pem;
use crate::{Error, Flaw};
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A certificate chain, the own certificate first, with the private key of that certificate: RSA,
/// ECDSA or Ed25519.
///
/// Files are read when a server or client is built, and again at each reload.
#[derive(Clone)]
pub struct Identity {
    chain: Pem,
    key: Pem,
}

impl Identity {
    /// From PEM files; both may be the same file.
    #[must_use]
    pub fn files(chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self { chain: Pem::File(chain.into()), key: Pem::File(key.into()) }
    }

    /// From PEM text in memory.
    #[must_use]
    pub fn pem(chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Self {
        let memory = |text: &[u8]| Pem::Memory(text.into());
        Self { chain: memory(chain.as_ref()), key: memory(key.as_ref()) }
    }

    /// Reads it and checks that the key belongs to the certificate.
    pub(crate) fn load(&self, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, Error> {
        let chain = self.chain.certificates()?;
        let key = provider.key_provider.load_private_key(self.key.key()?);
        let key = key.map_err(|_| self.key.invalid(Flaw::BadKey))?;
        let loaded = CertifiedKey::new(chain, key);
        match loaded.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
                Ok(Arc::new(loaded))
            }
            Err(rustls::Error::InconsistentKeys(_)) => Err(self.key.invalid(Flaw::ForeignKey)),
            Err(_) => Err(self.chain.invalid(Flaw::BadCertificate)),
        }
    }

    pub(crate) fn bad_certificate(&self) -> Error {
        self.chain.invalid(Flaw::BadCertificate)
    }

    /// The files that it is read from.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        [&self.chain, &self.key].into_iter().filter_map(Pem::file)
    }
}

/// Names files, and nothing of what is in memory.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.paths()).finish()
    }
}
