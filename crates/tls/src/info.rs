//! What the handshake has agreed on.

use crate::TlsVersion;
use mainspring_loop::Conn;
use rustls_pki_types::CertificateDer;
use std::fmt;

/// What a TLS connection has agreed on; of a plain one there is none.
#[derive(Clone)]
pub struct TlsInfo {
    pub(crate) version: TlsVersion,
    pub(crate) cipher_suite: &'static str,
    pub(crate) server_name: Option<Box<str>>,
    pub(crate) alpn: Option<Box<[u8]>>,
    pub(crate) peer_certificates: Vec<CertificateDer<'static>>,
    pub(crate) resumed: bool,
}

/// What TLS has agreed on for this connection. `None` if it is plain, or if its handshake is not
/// over.
#[must_use]
pub fn tls_info<'a>(conn: &'a Conn<'_>) -> Option<&'a TlsInfo> {
    conn.layer_info::<TlsInfo>()
}

impl TlsInfo {
    /// The version of the protocol.
    #[must_use]
    pub fn version(&self) -> TlsVersion {
        self.version
    }

    /// The name of the cipher suite in IANA's registry, such as `TLS_AES_128_GCM_SHA256`.
    #[must_use]
    pub fn cipher_suite(&self) -> &'static str {
        self.cipher_suite
    }

    /// The DNS name that the client asked for (SNI), in lower case; on the dialling side the name or
    /// address that the certificate had to be for.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// The application protocol (ALPN).
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        self.alpn.as_deref()
    }

    /// The certificates that the peer has shown, in DER, its own first. They have been verified.
    pub fn peer_certificates(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.peer_certificates.iter().map(AsRef::as_ref)
    }

    /// Whether an earlier session was resumed, so that nothing was signed nor verified anew.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.resumed
    }
}

impl fmt::Debug for TlsInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsInfo")
            .field("version", &self.version)
            .field("cipher_suite", &self.cipher_suite)
            .field("server_name", &self.server_name)
            .field("alpn", &self.alpn.as_deref().map(|alpn| alpn.escape_ascii().to_string()))
            .field("peer_certificates", &self.peer_certificates.len())
            .field("resumed", &self.resumed)
            .finish()
    }
}
