//! The accepting side: certificates, whom to let in, and both anew while connections go on.

mod settings;

use crate::engine::Engine;
use crate::pem::Stamp;
use crate::roots::Trust;
use crate::watch::Watch;
use crate::{ClientAuth, Error, Identity, Roots, TlsLayer, TlsVersion};
use mainspring_io::{Addr, Address, ListenOptions};
use mainspring_loop::{Handler, HostId, Layers, Shard};
use rustls::ServerConfig;
use rustls::server::{ProducesTickets, StoresServerSessions};
use settings::Settings;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

/// What makes TLS layers for accepted connections.
///
/// Make one for all loops and clone it into each: clones share certificates, session tickets and
/// [`reload`](TlsServer::reload). A client that comes back is recognised by whichever loop it meets.
///
/// # Examples
///
/// ```no_run
/// use mainspring_loop::{Action, Conn, Input, Server};
/// use mainspring_tls::{Identity, TlsServer};
///
/// let tls = TlsServer::builder().identity(Identity::files("cert.pem", "key.pem")).build()?;
/// let running = Server::builder().start(move |shard| {
///     let echo = shard.host(|conn: &mut Conn<'_>, input: &mut Input<'_>| {
///         conn.out().extend_from_slice(input.take());
///         Action::Continue
///     });
///     tls.listen(shard, echo, "tcp://127.0.0.1:5443")?;
///     Ok(())
/// });
/// # Ok::<(), mainspring_tls::Error>(())
/// ```
#[derive(Clone)]
pub struct TlsServer {
    shared: Arc<Shared>,
}

/// A server that does not keep the files' contents alive.
pub(crate) struct WeakServer(Weak<Shared>);

/// What a [`TlsServer`] is made of.
#[derive(Debug, Default)]
#[must_use]
pub struct TlsServerBuilder {
    settings: Settings,
}

pub(crate) struct Shared {
    settings: Settings,
    /// What the next handshake uses: read once for each accepted connection.
    current: RwLock<Arc<ServerConfig>>,
    /// What a reload needs to know of the last one. Held while one is under way.
    loaded: Mutex<Loaded>,
}

struct Loaded {
    /// Whom the server trusted, and the memory of clients that it let in then.
    trust: Trust,
    memory: Memory,
    stamps: Vec<Stamp>,
}

/// What lets a client that was here before leave out most of its handshake.
#[derive(Clone)]
struct Memory {
    tickets: Arc<dyn ProducesTickets>,
    sessions: Arc<dyn StoresServerSessions>,
}

impl TlsServer {
    /// Starts with TLS 1.2 and 1.3, no client certificates, no ALPN.
    pub fn builder() -> TlsServerBuilder {
        TlsServerBuilder::default()
    }

    /// The layer for one connection, with the certificates of now.
    #[must_use]
    pub fn layer(&self) -> TlsLayer {
        TlsLayer::accepting(self.current())
    }

    /// Listens for a handler, with this layer on every connection; `tls://` addresses are listened on
    /// too, whatever certificates they name.
    ///
    /// # Errors
    ///
    /// As [`Shard::listen`] does.
    ///
    /// # Panics
    ///
    /// If `host` is the id of another server's handler, or the address is a datagram address.
    pub fn listen<H: Handler, A>(
        &self,
        shard: &mut Shard<'_>,
        host: HostId<H>,
        address: A,
    ) -> Result<Addr, mainspring_loop::Error>
    where
        A: TryInto<Address>,
        mainspring_loop::Error: From<A::Error>,
    {
        let address = address.try_into()?;
        self.listen_with(shard, host, &address, address.listen_options())
    }

    /// As [`listen`](TlsServer::listen), with options from code in place of those in the address.
    ///
    /// # Errors
    ///
    /// As [`Shard::listen_with`] does.
    ///
    /// # Panics
    ///
    /// If `host` is the id of another server's handler, or the address is a datagram address.
    pub fn listen_with<H: Handler>(
        &self,
        shard: &mut Shard<'_>,
        host: HostId<H>,
        address: &Address,
        options: &ListenOptions,
    ) -> Result<Addr, mainspring_loop::Error> {
        let server = self.clone();
        let layers = move || Layers::new().above(server.layer());
        shard.listen_layered(host, &address.transport(), options, layers)
    }

    /// Has the files looked at in this interval, on the offload pool, and read again when they have
    /// changed. A change that cannot be used is logged, and the old certificates stay.
    ///
    /// Like all set-up it has to be called on every loop; loop 0 looks.
    pub fn watch(&self, shard: &mut Shard<'_>, every: Duration) {
        shard.host(Watch { server: self.clone(), every });
    }

    /// Reads all files again. Handshakes that begin afterwards use what was read; connections that
    /// are up go on as they are.
    ///
    /// Sessions can still be resumed, unless it is whom the server trusts that has changed: then
    /// every client has to show its certificate again.
    ///
    /// # Errors
    ///
    /// What is wrong with the files. The server then goes on with what it had.
    pub fn reload(&self) -> Result<(), Error> {
        let mut loaded = self.shared.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        self.reload_into(&mut loaded)
    }

    /// As [`reload`](TlsServer::reload), if a file has another length or time than at the last
    /// attempt. Whether it did. Blocks on the file system: for the offload pool, or see
    /// [`watch`](TlsServer::watch).
    ///
    /// # Errors
    ///
    /// What is wrong with the files. The server goes on with what it had, and tries again when a
    /// file has changed again.
    pub fn reload_if_changed(&self) -> Result<bool, Error> {
        let mut loaded = self.shared.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if loaded.stamps == self.shared.settings.stamps() {
            return Ok(false);
        }
        self.reload_into(&mut loaded).map(|()| true)
    }

    /// The files that certificates, keys, roots and lists are read from.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        self.shared.settings.paths().map(PathBuf::from).collect()
    }

    /// The machine under a layer.
    pub(crate) fn engine(&self) -> Result<Engine, rustls::Error> {
        Engine::server(self.current())
    }

    pub(crate) fn downgrade(&self) -> WeakServer {
        WeakServer(Arc::downgrade(&self.shared))
    }

    fn current(&self) -> Arc<ServerConfig> {
        self.shared.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn reload_into(&self, loaded: &mut Loaded) -> Result<(), Error> {
        let settings = &self.shared.settings;
        // Before the files are read: what changes meanwhile is seen as a change by the next look.
        loaded.stamps = settings.stamps();
        let trust = settings.trust()?;
        let memory = if trust == loaded.trust { loaded.memory.clone() } else { Memory::new()? };
        let config = settings.configure(&trust, &memory)?;
        (loaded.trust, loaded.memory) = (trust, memory);
        let mut current = self.shared.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(config);
        Ok(())
    }
}

impl WeakServer {
    pub(crate) fn upgrade(&self) -> Option<TlsServer> {
        self.0.upgrade().map(|shared| TlsServer { shared })
    }
}

/// What it was built from, without the contents.
impl fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsServer").field("settings", &self.shared.settings).finish()
    }
}

impl TlsServerBuilder {
    /// Adds a certificate. A client gets the one whose names match what it asks for (SNI), exactly
    /// or by a wildcard; with several of one name, as RSA beside ECDSA, the first that it can
    /// verify. The first of all is for clients that ask for none, or for another.
    pub fn identity(mut self, identity: Identity) -> Self {
        self.settings.identities.push(identity);
        self
    }

    /// Asks clients for certificates that these roots vouch for (mutual TLS), or not. Default: not.
    pub fn client_auth(mut self, auth: ClientAuth, roots: Roots) -> Self {
        self.settings.clients = (auth != ClientAuth::None).then_some((auth, roots));
        self
    }

    /// The application protocols in the order of preference (ALPN, RFC 7301). A client that offers
    /// others only is refused; one that offers none is let in without. Default: none.
    pub fn alpn<P: Into<Vec<u8>>>(mut self, protocols: impl IntoIterator<Item = P>) -> Self {
        self.settings.alpn = protocols.into_iter().map(Into::into).collect();
        self
    }

    /// The oldest version to speak. Default: TLS 1.2.
    pub fn oldest(mut self, version: TlsVersion) -> Self {
        self.settings.oldest = Some(version);
        self
    }

    /// Reads the files and makes the server.
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`] without a certificate, else what is wrong with the files.
    pub fn build(self) -> Result<TlsServer, Error> {
        let settings = self.settings;
        let stamps = settings.stamps();
        let trust = settings.trust()?;
        let memory = Memory::new()?;
        let config = settings.configure(&trust, &memory)?;
        let loaded = Mutex::new(Loaded { trust, memory, stamps });
        let current = RwLock::new(Arc::new(config));
        Ok(TlsServer { shared: Arc::new(Shared { settings, current, loaded }) })
    }
}

impl Memory {
    /// Sessions kept for clients of TLS 1.2 that take no tickets. One more displaces an old one.
    const SESSIONS_MAX: usize = 1024;

    fn new() -> Result<Self, Error> {
        let tickets = crate::provider::ticketer();
        let tickets = tickets.map_err(|_| Error::Misuse("the system gives no random bytes"))?;
        let sessions = rustls::server::ServerSessionMemoryCache::new(Self::SESSIONS_MAX);
        Ok(Self { tickets, sessions })
    }
}
