//! TLS over a client's connection.

use crate::client::Stream;
use crate::dial::dial;
use crate::timed::now;
use crate::{Client, Error, Timeouts};
use mainspring_io::Address;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::io;
use std::sync::Arc;

impl Client {
    /// Connects as [`connect`](Client::connect) does, and shakes hands before it returns.
    ///
    /// `name` is whom the certificate has to name; `None` takes the `server_name` of a `tls://`
    /// address, or the host. Of that address's other options for TLS none counts: certificates and
    /// roots are those of `config`. A stream that ends without `close_notify` is an `UnexpectedEof`,
    /// not an end.
    ///
    /// # Errors
    ///
    /// As [`Error`] says; a certificate that is refused is an [`Error::Handshake`] with the
    /// `rustls::Error` inside.
    pub fn connect_tls<A>(
        address: A,
        timeouts: &Timeouts,
        config: Arc<ClientConfig>,
        name: Option<&str>,
    ) -> Result<Self, Error>
    where
        A: TryInto<Address>,
        Error: From<A::Error>,
    {
        let address = address.try_into()?;
        let failed = |cause| Error::Handshake { address: address.to_string(), cause };
        let asked = || address.tls_options().and_then(|options| options.server_name.clone());
        let host = name.map(str::to_owned).or_else(asked).or_else(|| address.host());
        let host = host.unwrap_or_default();
        let name = ServerName::try_from(host).map_err(|error| failed(invalid(error)))?;
        let (mut timed, peer) = dial(&address, timeouts)?;
        let mut session =
            ClientConnection::new(config, name).map_err(|error| failed(invalid(error)))?;
        timed.deadline = now().checked_add(timeouts.handshake);
        while session.is_handshaking() || session.wants_write() {
            session.complete_io(&mut timed).map_err(failed)?;
        }
        timed.deadline = None;
        let stream = Stream::Tls(Box::new(StreamOwned::new(session, timed)));
        Ok(Self::over(stream, peer, timeouts))
    }
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}
