//! The dialling side: whom to trust, and who one is.

use crate::engine::Engine;
use crate::provider::provider;
use crate::roots::Trust;
use crate::{Error, Identity, Roots, TlsLayer, TlsVersion};
use rustls::ClientConfig;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls_pki_types::ServerName;
use std::fmt;
use std::sync::Arc;

/// What makes TLS layers for dialled connections.
///
/// Make one and clone it: clones share the sessions by which a server recognises them again.
#[derive(Clone)]
pub struct TlsClient {
    config: Arc<ClientConfig>,
}

/// What a [`TlsClient`] is made of.
#[derive(Debug, Default)]
#[must_use]
pub struct TlsClientBuilder {
    roots: Option<Roots>,
    identity: Option<Identity>,
    alpn: Vec<Vec<u8>>,
    oldest: Option<TlsVersion>,
}

impl TlsClient {
    /// Starts with TLS 1.2 and 1.3, no certificate of its own, no ALPN.
    pub fn builder() -> TlsClientBuilder {
        TlsClientBuilder::default()
    }

    /// The layer for one connection to a server that has to show a certificate for this name: a DNS
    /// name, which the server is also told (SNI), or an IP address.
    ///
    /// # Errors
    ///
    /// [`Error::ServerName`] if it is neither.
    pub fn layer(&self, server_name: &str) -> Result<TlsLayer, Error> {
        let name = ServerName::try_from(server_name)
            .map_err(|_| Error::ServerName(server_name.to_owned()))?;
        Ok(TlsLayer::dialling(self.config.clone(), name.to_owned()))
    }

    /// The machine under a layer, for a name that is known to be good.
    pub(crate) fn engine(&self, server_name: &'static str) -> Result<Engine, rustls::Error> {
        let name =
            ServerName::try_from(server_name).map_err(|_| rustls::Error::UnsupportedNameType)?;
        Engine::client(self.config.clone(), name)
    }
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClient").finish_non_exhaustive()
    }
}

impl TlsClientBuilder {
    /// Whom to trust. Without it: what the features `platform-verifier` or `webpki-roots` give.
    pub fn roots(mut self, roots: Roots) -> Self {
        self.roots = Some(roots);
        self
    }

    /// The certificate for servers that ask for one (mutual TLS).
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// The application protocols to offer, in the order of preference (ALPN, RFC 7301). Default:
    /// none.
    pub fn alpn<P: Into<Vec<u8>>>(mut self, protocols: impl IntoIterator<Item = P>) -> Self {
        self.alpn = protocols.into_iter().map(Into::into).collect();
        self
    }

    /// The oldest version to speak. Default: TLS 1.2.
    pub fn oldest(mut self, version: TlsVersion) -> Self {
        self.oldest = Some(version);
        self
    }

    /// Reads the files and makes the client.
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`] without roots, else what is wrong with the files.
    pub fn build(self) -> Result<TlsClient, Error> {
        let provider = provider();
        let roots = self.roots.or_else(Roots::usual).ok_or(Error::Misuse(NO_ROOTS))?;
        let verifier = verifier(&roots, &roots.load()?, &provider)?;
        let versions = self.oldest.unwrap_or(TlsVersion::V1_2).and_later();
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&versions)
            .map_err(|_| Error::Misuse("the provider has no cipher suite for these versions"))?
            // No danger: the verifiers are rustls' own.
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let key = identity.load(&provider)?;
                let only = rustls::sign::SingleCertAndKey::from(key);
                builder.with_client_cert_resolver(Arc::new(only))
            }
        };
        config.alpn_protocols = self.alpn;
        Ok(TlsClient { config: Arc::new(config) })
    }
}

fn verifier(
    roots: &Roots,
    trust: &Trust,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    #[cfg(feature = "platform-verifier")]
    if roots.is_platform() {
        let verifier = rustls_platform_verifier::Verifier::new(provider.clone());
        let verifier =
            verifier.map_err(|_| Error::Misuse("the system has no root certificates"))?;
        return Ok(Arc::new(verifier));
    }
    let store = Arc::new(roots.store(trust)?);
    let verifier = WebPkiServerVerifier::builder_with_provider(store, provider.clone())
        .with_crls(trust.lists.iter().cloned())
        .allow_unknown_revocation_status()
        .build()
        .map_err(|_| roots.bad_list())?;
    Ok(verifier)
}

const NO_ROOTS: &str = "a TLS client needs roots: give it Roots, or compile mainspring-tls with \
                        its feature platform-verifier or webpki-roots";
