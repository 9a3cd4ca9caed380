//! `tls://` addresses: from the options that they carry to layers.

use crate::pem::Stamp;
use crate::{ClientAuth, Error, Identity, Roots, TlsClient, TlsServer};
use mainspring_io::{Addr, Address, TlsOptions};
use mainspring_loop::{ConnId, Cx, Handler, HostId, Layers, Shard};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How often the files of a server that [`listen`] has made are looked at.
const WATCH_EVERY: Duration = Duration::from_secs(2);
/// Clients that are remembered, with the sessions by which servers recognise them.
const CLIENTS_MAX: usize = 64;

/// Listens on a `tls://` address with the certificates that its options name, which are read again
/// when a file changes. Every loop that listens with the same options shares one [`TlsServer`].
///
/// ```text
/// tls://:5443?cert=cert.pem&key=key.pem
/// tls://:5443?cert=rsa.pem,ecdsa.pem&key=rsa.key,ecdsa.key&ca=clients.pem&client_auth=optional&alpn=h2
/// ```
///
/// # Errors
///
/// [`mainspring_loop::Error::Bind`] if certificates or the address cannot be had, and what
/// [`Shard::listen`] says else.
///
/// # Panics
///
/// If `host` is the id of another server's handler.
pub fn listen<H: Handler, A>(
    shard: &mut Shard<'_>,
    host: HostId<H>,
    address: A,
) -> Result<Addr, mainspring_loop::Error>
where
    A: TryInto<Address>,
    mainspring_loop::Error: From<A::Error>,
{
    let address = address.try_into()?;
    let server = server_of(&address).map_err(|error| mainspring_loop::Error::Bind {
        address: address.to_string(),
        cause: std::io::Error::new(std::io::ErrorKind::InvalidInput, error),
    })?;
    server.watch(shard, WATCH_EVERY);
    server.listen_with(shard, host, &address, address.listen_options())
}

/// Dials a `tls://` address for the handler `host`. `on_connected` follows when the handshake is
/// over, or `on_close` with the reason; either gets the given state.
///
/// ```text
/// tls://example.org:443?alpn=http/1.1
/// tls://127.0.0.1:5443?server_name=inner.example&ca=ca.pem&cert=me.pem&key=me.key
/// ```
///
/// Files are read at the first dial and when they have changed; that is the one part that blocks.
///
/// # Errors
///
/// [`Error::Full`] if the server is full or stopping, else what is wrong with the options or the
/// files.
///
/// # Panics
///
/// If `host` is the id of another server's handler.
pub fn connect<H: Handler>(
    cx: &mut Cx<'_>,
    host: HostId<H>,
    address: &Address,
    state: H::State,
) -> Result<ConnId, Error> {
    let options = options_of(address)?;
    let name = options.server_name.clone().or_else(|| address.host());
    let name = name.ok_or(Error::Misuse("a dialled tls:// address needs a host"))?;
    let layers = Layers::new().above(client_of(options)?.layer(&name)?);
    cx.connect_layered(host, &address.transport(), state, layers).map_err(|_| Error::Full)
}

/// The server that the options of a `tls://` address describe: the same one for the same options,
/// as long as anybody uses it.
///
/// # Errors
///
/// What is wrong with the options or the files.
pub fn server_of(address: &Address) -> Result<TlsServer, Error> {
    static SERVERS: Mutex<Vec<(TlsOptions, crate::server::WeakServer)>> = Mutex::new(Vec::new());
    let options = options_of(address)?;
    let mut servers = SERVERS.lock().unwrap_or_else(PoisonError::into_inner);
    servers.retain(|(_, server)| server.upgrade().is_some());
    let known = servers.iter().find(|(known, _)| known == options);
    if let Some(server) = known.and_then(|(_, server)| server.upgrade()) {
        return Ok(server);
    }
    let server = make_server(options)?;
    servers.push((options.clone(), server.downgrade()));
    Ok(server)
}

fn make_server(options: &TlsOptions) -> Result<TlsServer, Error> {
    let mut builder = TlsServer::builder().alpn(options.alpn.iter().map(String::as_str));
    for identity in identities(options)? {
        builder = builder.identity(identity);
    }
    let asked = if options.ca.is_empty() { ClientAuth::None } else { ClientAuth::Required };
    let auth = options.client_auth.unwrap_or(asked);
    if auth != ClientAuth::None && options.ca.is_empty() {
        return Err(Error::Misuse("client_auth needs ca, the roots that vouch for clients"));
    }
    builder.client_auth(auth, roots(options)).build()
}

fn client_of(options: &TlsOptions) -> Result<TlsClient, Error> {
    struct Known {
        options: TlsOptions,
        stamps: Vec<Stamp>,
        client: TlsClient,
    }
    static CLIENTS: Mutex<Vec<Known>> = Mutex::new(Vec::new());
    let files = [&options.cert, &options.key, &options.ca, &options.crl];
    let stamps: Vec<Stamp> =
        files.into_iter().flatten().map(|path| Stamp::of(Path::new(path))).collect();
    let mut clients = CLIENTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(at) = clients.iter().position(|known| known.options == *options) {
        let known = clients.remove(at);
        if known.stamps == stamps {
            let client = known.client.clone();
            clients.push(known);
            return Ok(client);
        }
    }
    let client = make_client(options)?;
    if clients.len() >= CLIENTS_MAX {
        // The one that was not asked for the longest.
        clients.remove(0);
    }
    clients.push(Known { options: options.clone(), stamps, client: client.clone() });
    Ok(client)
}

fn make_client(options: &TlsOptions) -> Result<TlsClient, Error> {
    let mut builder = TlsClient::builder().alpn(options.alpn.iter().map(String::as_str));
    if !options.ca.is_empty() {
        builder = builder.roots(roots(options));
    }
    match &identities(options)?[..] {
        [] => {}
        [identity] => builder = builder.identity(identity.clone()),
        _ => return Err(Error::Misuse("a client has one certificate: give one cert and one key")),
    }
    builder.build()
}

fn identities(options: &TlsOptions) -> Result<Vec<Identity>, Error> {
    if options.cert.len() != options.key.len() {
        return Err(Error::Misuse("give as many files in key as in cert, in the same order"));
    }
    let pairs = options.cert.iter().zip(&options.key);
    Ok(pairs.map(|(cert, key)| Identity::files(cert, key)).collect())
}

fn roots(options: &TlsOptions) -> Roots {
    let with_roots = options.ca.iter().fold(Roots::new(), Roots::file);
    options.crl.iter().fold(with_roots, Roots::revoked_file)
}

fn options_of(address: &Address) -> Result<&TlsOptions, Error> {
    address.tls_options().ok_or(Error::Misuse("the address is not tls://"))
}
