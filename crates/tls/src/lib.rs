//! x
#![forbid(unsafe_code)]
mod client;
mod engine;
mod error;
mod identity;
mod names;
mod pem;
mod provider;
mod roots;
mod server;
mod version;
pub use client::{TlsClient, TlsClientBuilder};
pub use error::{Error, Flaw};
pub use identity::Identity;
pub use roots::Roots;
pub use server::{ClientAuth, TlsServer, TlsServerBuilder};
pub use version::TlsVersion;
pub struct TlsLayer;
impl TlsLayer {
    fn accepting(_: std::sync::Arc<rustls::ServerConfig>) -> Self {
        Self
    }
    fn dialling(
        _: std::sync::Arc<rustls::ClientConfig>,
        _: rustls_pki_types::ServerName<'static>,
    ) -> Self {
        Self
    }
}
