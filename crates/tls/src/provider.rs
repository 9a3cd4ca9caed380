//! The cryptography: chosen by features, handed to every configuration, never made the process'
//! default.

use rustls::crypto::CryptoProvider;
use rustls::server::ProducesTickets;
use std::sync::Arc;

#[cfg(feature = "aws-lc-rs")]
use rustls::crypto::aws_lc_rs as chosen;
#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
use rustls::crypto::ring as chosen;

#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
compile_error!("mainspring-tls needs one of its features aws-lc-rs and ring");

/// The provider; aws-lc-rs where both are compiled in.
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(chosen::default_provider())
}

/// A maker of session tickets with fresh keys, which it replaces every six hours (rustls).
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
pub(crate) fn ticketer() -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
    chosen::Ticketer::new()
}
