//! A blocking TLS client over rustls' buffered connection and a standard socket.

use super::{Authority, Issued, PATIENCE};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

/// How to dial.
#[derive(Clone)]
pub(crate) struct Dial {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) name: &'static str,
}

/// A connection with its handshake done.
pub(crate) struct Client {
    pub(crate) stream: StreamOwned<ClientConnection, TcpStream>,
}

impl Dial {
    pub(crate) fn to(name: &'static str, authority: &Authority) -> Self {
        Self::with(name, authority, None, rustls::DEFAULT_VERSIONS)
    }

    pub(crate) fn with(
        name: &'static str,
        authority: &Authority,
        identity: Option<&Issued>,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(issued) => {
                let chain = vec![CertificateDer::from_pem_slice(issued.cert.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        Self { config: Arc::new(config), name }
    }

    pub(crate) fn alpn(mut self, protocols: &[&str]) -> Self {
        let config = Arc::make_mut(&mut self.config);
        config.alpn_protocols = protocols.iter().map(|one| one.as_bytes().to_vec()).collect();
        self
    }

    /// Connects and shakes hands.
    pub(crate) fn connect(&self, addr: SocketAddr) -> io::Result<Client> {
        let mut socket = TcpStream::connect(addr)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let name = self.name.try_into().expect("a good name");
        let mut connection =
            ClientConnection::new(self.config.clone(), name).expect("a good configuration");
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        Ok(Client { stream: StreamOwned::new(connection, socket) })
    }
}

impl Client {
    /// Sends bytes and expects them back.
    pub(crate) fn echo(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()?;
        let mut back = vec![0; bytes.len()];
        self.stream.read_exact(&mut back)?;
        assert!(back == bytes, "other bytes came back");
        Ok(())
    }

    /// The certificate that the server has shown.
    pub(crate) fn server_certificate(&self) -> Vec<u8> {
        self.stream.conn.peer_certificates().expect("a server shows one")[0].to_vec()
    }

    /// Ends this side with a close_notify; what the server still says, to its own close_notify.
    pub(crate) fn close(mut self) -> io::Result<Vec<u8>> {
        self.stream.conn.send_close_notify();
        self.stream.flush()?;
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest)?;
        Ok(rest)
    }
}
