//! From what the builder was told to the configuration that rustls takes.

use super::Memory;
use crate::names::Names;
use crate::pem::Stamp;
use crate::provider::provider;
use crate::roots::Trust;
use crate::{ClientAuth, Error, Identity, Roots, TlsVersion};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use std::path::Path;
use std::sync::Arc;

/// What stays the same over reloads: where things are, and how to be.
#[derive(Debug, Default)]
pub(super) struct Settings {
    pub(super) identities: Vec<Identity>,
    pub(super) clients: Option<(ClientAuth, Roots)>,
    pub(super) alpn: Vec<Vec<u8>>,
    pub(super) oldest: Option<TlsVersion>,
}

impl Settings {
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        let roots = self.clients.iter().flat_map(|(_, roots)| roots.paths());
        self.identities.iter().flat_map(Identity::paths).chain(roots)
    }

    pub(super) fn stamps(&self) -> Vec<Stamp> {
        self.paths().map(Stamp::of).collect()
    }

    /// Reads whom to trust.
    pub(super) fn trust(&self) -> Result<Trust, Error> {
        self.clients.as_ref().map_or(Ok(Trust::default()), |(_, roots)| roots.load())
    }

    /// Reads the certificates and makes a configuration.
    pub(super) fn configure(&self, trust: &Trust, memory: &Memory) -> Result<ServerConfig, Error> {
        let provider = provider();
        let names = self.names(&provider)?;
        let verifier = self.verifier(trust, &provider)?;
        let versions = self.oldest.unwrap_or(TlsVersion::V1_2).and_later();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)
            .map_err(|_| Error::Misuse("the provider has no cipher suite for these versions"))?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(names));
        config.alpn_protocols.clone_from(&self.alpn);
        config.ticketer = memory.tickets.clone();
        config.session_storage = memory.sessions.clone();
        Ok(config)
    }

    fn names(&self, provider: &CryptoProvider) -> Result<Names, Error> {
        if self.identities.is_empty() {
            return Err(Error::Misuse("a TLS server needs a certificate: give it an Identity"));
        }
        let load = |identity: &Identity| identity.load(provider);
        let keys = self.identities.iter().map(load).collect::<Result<Vec<_>, _>>()?;
        Names::new(keys).map_err(|index| self.identities[index].bad_certificate())
    }

    fn verifier(
        &self,
        trust: &Trust,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, Error> {
        let Some((auth, roots)) = &self.clients else {
            return Ok(WebPkiClientVerifier::no_client_auth());
        };
        let store = Arc::new(roots.store(trust)?);
        let mut builder = WebPkiClientVerifier::builder_with_provider(store, provider.clone())
            .with_crls(trust.lists.iter().cloned())
            .allow_unknown_revocation_status();
        if *auth == ClientAuth::Optional {
            builder = builder.allow_unauthenticated();
        }
        builder.build().map_err(|_| roots.bad_list())
    }
}
