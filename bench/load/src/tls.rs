//! The dialling side of TLS, by rustls in memory.

use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::Error;

/// What every TLS server in a run shows.
const CERTIFICATE: &str = include_str!("../../tls/certificate.pem");
const NAME: &str = "bench.example";
/// A record of the largest size, and its head.
const HANDSHAKE_BUFFER: usize = 18 * 1024;

/// One connection's cryptography.
pub(crate) struct Tls {
    connection: ClientConnection,
    plain: Vec<u8>,
}

/// The configuration of all connections of a run.
pub(crate) fn config() -> Result<Arc<ClientConfig>, Error> {
    let wrong = |error: &dyn std::fmt::Display| Error::Usage(format!("TLS: {error}"));
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE.as_bytes());
    roots.add(certificate.map_err(|error| wrong(&error))?).map_err(|error| wrong(&error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| wrong(&error))?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

impl Tls {
    /// Shakes hands over a socket that does not block: here it is waited for.
    pub(crate) fn connect(config: Arc<ClientConfig>, socket: &OwnedFd) -> Result<Self, Error> {
        let failed = || Error::io("TLS handshake");
        let name = NAME.try_into().expect("a name of a DNS host");
        let connection = ClientConnection::new(config, name)
            .map_err(|error| failed()(std::io::Error::other(error)))?;
        let mut tls = Self { connection, plain: Vec::new() };
        tls.connection.set_buffer_limit(None);
        rustix::io::ioctl_fionbio(socket, false).map_err(|error| failed()(error.into()))?;
        let mut buffer = vec![0; HANDSHAKE_BUFFER];
        while tls.connection.is_handshaking() {
            let mut wire = Vec::new();
            tls.take_wire(&mut wire);
            let mut rest = &wire[..];
            while !rest.is_empty() {
                let sent = rustix::net::send(socket, rest, SendFlags::NOSIGNAL);
                rest = &rest[sent.map_err(|error| failed()(error.into()))?..];
            }
            if tls.connection.is_handshaking() {
                let length = match rustix::net::recv(socket, &mut buffer[..], RecvFlags::empty()) {
                    Ok((0, _)) => return Err(Error::Closed),
                    Ok((length, _)) => length,
                    Err(Errno::INTR) => continue,
                    Err(error) => return Err(failed()(error.into())),
                };
                tls.decrypt(&buffer[..length])?;
            }
        }
        rustix::io::ioctl_fionbio(socket, true).map_err(|error| failed()(error.into()))?;
        Ok(tls)
    }

    /// Appends requests as records.
    pub(crate) fn encrypt(&mut self, plain: &[u8], wire: &mut Vec<u8>) {
        self.connection.writer().write_all(plain).expect("its buffer has no limit");
        self.take_wire(wire);
    }

    /// What received bytes carry.
    pub(crate) fn decrypt(&mut self, mut wire: &[u8]) -> Result<&[u8], Error> {
        self.plain.clear();
        while !wire.is_empty() {
            self.connection.read_tls(&mut wire).map_err(Error::io("TLS"))?;
            let state = self.connection.process_new_packets();
            let state = state.map_err(|error| Error::WrongReply(error.to_string()))?;
            let at = self.plain.len();
            self.plain.resize(at + state.plaintext_bytes_to_read(), 0);
            let read = self.connection.reader().read_exact(&mut self.plain[at..]);
            read.map_err(Error::io("TLS"))?;
        }
        Ok(&self.plain)
    }

    /// Appends what the connection itself has to say, such as the last flight of the handshake.
    fn take_wire(&mut self, wire: &mut Vec<u8>) {
        while self.connection.wants_write() {
            self.connection.write_tls(wire).expect("a vector takes all");
        }
    }
}
