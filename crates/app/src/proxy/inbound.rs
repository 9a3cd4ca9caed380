//! Takes the header off that a proxy puts in front.

use super::NAME;
use super::addresses::announced;
use crate::guard::NetworkSet;
use mainspring_io::Addr;
use mainspring_loop::{Input, Layer, LayerFault, LayerIo, LayerState};
use mainspring_wire::proxy::{Error, Header, HeaderDecoder, Tlvs, Version};
use mainspring_wire::{Decode, Step};
use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// From whom a header is taken. Clones share it.
///
/// The proxies are named by their networks, because a header from anybody else would let him be
/// whoever he likes. A unix socket's peers are taken for proxies: whom it is open for is said by its
/// file.
///
/// A header has to be whole within `Limits::handshake_timeout`.
///
/// # Examples
///
/// ```no_run
/// use mainspring_app::proxy::Inbound;
/// use mainspring_loop::{Action, Conn, Input, Layers, Server};
///
/// let inbound = Inbound::required("10.0.0.0/8, 127.0.0.1".parse()?);
/// Server::builder().start(move |shard| {
///     let host = shard.host(|conn: &mut Conn<'_>, input: &mut Input<'_>| {
///         input.take();
///         println!("{}", conn.peer()); // The client, not the proxy.
///         Action::Continue
///     });
///     let address = "tcp://0.0.0.0:443".parse()?;
///     let inbound = inbound.clone();
///     let layers = move || Layers::new().above(inbound.layer());
///     shard.listen_layered(host, &address, address.listen_options(), layers).map(drop)
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Inbound {
    trusted: Arc<NetworkSet>,
    required: bool,
    decoder: HeaderDecoder,
}

impl Inbound {
    /// Every connection comes from a trusted proxy and starts with a header; any other is turned
    /// away.
    #[must_use]
    pub fn required(trusted: NetworkSet) -> Self {
        Self { trusted: Arc::new(trusted), required: true, decoder: HeaderDecoder::new() }
    }

    /// Trusted proxies may send a header; from others it is not taken for one. Where clients wait
    /// for the server to speak first, a trusted peer without a header waits as well, until the
    /// handshake's deadline.
    #[must_use]
    pub fn optional(trusted: NetworkSet) -> Self {
        Self { required: false, ..Self::required(trusted) }
    }

    /// Takes one version only. Default both.
    #[must_use]
    pub fn only(mut self, version: Version) -> Self {
        self.decoder = self.decoder.only(version);
        self
    }

    /// The most bytes of a header of version 2. Default 4 KiB.
    #[must_use]
    pub fn max(mut self, bytes: usize) -> Self {
        self.decoder = self.decoder.max(bytes);
        self
    }

    /// The layer of one connection.
    #[must_use]
    pub fn layer(&self) -> InboundLayer {
        let decoder = self.decoder.clone();
        InboundLayer { inbound: self.clone(), decoder, info: None }
    }

    fn trusts(&self, peer: &Addr) -> bool {
        match peer {
            Addr::Inet(at) => self.trusted.contains(at.ip()),
            Addr::Unix(_) => true,
        }
    }
}

/// What a proxy has said of a connection: `conn.layer_info::<ProxyInfo>()`.
#[derive(Clone, Debug)]
pub struct ProxyInfo {
    version: Version,
    proxy: Addr,
    announced: Option<(Addr, Addr)>,
    tlvs: Box<[u8]>,
}

impl ProxyInfo {
    /// The form of the header.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The proxy: the other end of the socket.
    #[must_use]
    pub fn proxy(&self) -> &Addr {
        &self.proxy
    }

    /// The client, which `Conn::peer` tells too. `None` if the proxy speaks for itself, as for a
    /// health check, or cannot say; then the connection's ends are those of the socket.
    #[must_use]
    pub fn client(&self) -> Option<&Addr> {
        self.announced.as_ref().map(|(client, _)| client)
    }

    /// Where the client has connected to, which `Conn::local` tells too.
    #[must_use]
    pub fn destination(&self) -> Option<&Addr> {
        self.announced.as_ref().map(|(_, destination)| destination)
    }

    /// What else it said: the name that the client asked for, its TLS, a unique id.
    #[must_use]
    pub fn tlvs(&self) -> Tlvs<'_> {
        Tlvs::new(&self.tlvs).expect("they were read once")
    }
}

/// The layer that takes a header off and is done. See [`Inbound`].
pub struct InboundLayer {
    inbound: Inbound,
    decoder: HeaderDecoder,
    info: Option<ProxyInfo>,
}

impl Layer for InboundLayer {
    fn start(&mut self, io: &mut LayerIo<'_>) -> Result<LayerState, &'static LayerFault> {
        match (self.inbound.trusts(&io.peer()), self.inbound.required) {
            (true, _) => Ok(LayerState::Handshake),
            (false, true) => Err(&UNTRUSTED),
            (false, false) => Ok(LayerState::Done),
        }
    }

    fn receive(
        &mut self,
        input: &mut Input<'_>,
        io: &mut LayerIo<'_>,
    ) -> Result<LayerState, &'static LayerFault> {
        match self.decoder.decode(input.bytes()) {
            Ok(Step::Frame { frame, used }) => {
                let info = info(&frame, io.peer());
                input.consume(used);
                if let Some((client, destination)) = &info.announced {
                    io.set_ends(client.clone(), destination.clone());
                }
                self.info = Some(info);
                Ok(LayerState::Done)
            }
            Ok(Step::Need(count)) => {
                input.need(count);
                Ok(LayerState::Handshake)
            }
            Err(Error::Signature) if !self.inbound.required => Ok(LayerState::Done),
            Err(error) => {
                tracing::debug!(peer = %io.peer(), %error, "refused");
                Err(fault(error))
            }
        }
    }

    fn send(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), &'static LayerFault> {
        wire.extend_from_slice(plain);
        Ok(())
    }

    fn eof(&mut self) -> Result<(), &'static LayerFault> {
        Err(&CUT)
    }

    fn info(&self) -> Option<&dyn Any> {
        self.info.as_ref().map(|info| info as &dyn Any)
    }
}

impl fmt::Debug for InboundLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboundLayer").field("info", &self.info).finish_non_exhaustive()
    }
}

fn info(header: &Header<'_>, proxy: Addr) -> ProxyInfo {
    ProxyInfo {
        version: header.version,
        proxy,
        announced: announced(&header.addresses),
        tlvs: header.tlvs.as_bytes().into(),
    }
}

static UNTRUSTED: LayerFault = LayerFault::refusal(NAME, "the peer is no trusted proxy");
static CUT: LayerFault = LayerFault::new(NAME, "the stream ended before it was whole");
static MISSING: LayerFault = LayerFault::new(NAME, "there is none");
static VERSION: LayerFault = LayerFault::new(NAME, "of a version that is not taken");
static LINE: LayerFault = LayerFault::new(NAME, "a line that is not as it must be");
static BLOCK: LayerFault = LayerFault::new(NAME, "a block that is not as it must be");
static TOO_LONG: LayerFault = LayerFault::new(NAME, "longer than allowed");
static CHECKSUM: LayerFault = LayerFault::new(NAME, "with a wrong checksum");

fn fault(error: Error) -> &'static LayerFault {
    match error {
        Error::Signature => &MISSING,
        Error::VersionRefused(_) | Error::BinaryVersion(_) => &VERSION,
        Error::Line(_) => &LINE,
        Error::LineTooLong | Error::TooLong { .. } => &TOO_LONG,
        Error::Checksum { .. } | Error::ChecksumForm => &CHECKSUM,
        _ => &BLOCK,
    }
}
