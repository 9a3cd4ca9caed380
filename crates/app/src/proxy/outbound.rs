//! Puts a header in front of a dialled connection.

use super::NAME;
use super::addresses::{Names, told};
use mainspring_io::Addr;
use mainspring_loop::{Layer, LayerFault, LayerIo};
use mainspring_wire::proxy::{Addresses, Tlv, Version, append_v1, append_v2};

/// What is told to whoever is connected to, before everything else.
///
/// # Examples
///
/// ```
/// use mainspring_app::proxy::{Outbound, Tlv, Version};
/// use mainspring_io::Addr;
/// use mainspring_loop::Layers;
///
/// let client = Addr::Inet("192.0.2.1:4711".parse()?);
/// let here = Addr::Inet("198.51.100.1:443".parse()?);
/// let header = Outbound::for_client(Version::Two, client, here)
///     .tlv(Tlv::AUTHORITY, b"example.org")
///     .with_checksum();
/// let layers = Layers::new().above(header.layer());
/// # drop(layers);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Outbound {
    version: Version,
    announce: Announce,
    tlvs: Vec<(u8, Vec<u8>)>,
    checksum: bool,
}

#[derive(Clone, Debug)]
enum Announce {
    /// The ends of the connection itself.
    Own,
    /// Nobody: a check of health.
    Nobody,
    Client {
        client: Addr,
        destination: Addr,
    },
}

impl Outbound {
    /// Speaks for a client and says where it connected to: as a rule `Conn::peer` and `Conn::local`
    /// of the connection that is passed on.
    ///
    /// Version 1 can only tell of IP addresses, and neither can tell of an IP address beside a unix
    /// socket; then it says that it cannot say.
    #[must_use]
    pub fn for_client(version: Version, client: Addr, destination: Addr) -> Self {
        Self::new(version, Announce::Client { client, destination })
    }

    /// Speaks for this process: the ends are those of the dialled connection.
    #[must_use]
    pub fn for_itself(version: Version) -> Self {
        Self::new(version, Announce::Own)
    }

    /// Speaks for nobody, as for a check of health: `LOCAL` of version 2. Version 1, which does not
    /// know it, says that it cannot say.
    #[must_use]
    pub fn local(version: Version) -> Self {
        Self::new(version, Announce::Nobody)
    }

    /// Adds a value of version 2; version 1 has none, nor has a header without addresses.
    #[must_use]
    pub fn tlv(mut self, kind: u8, value: &[u8]) -> Self {
        self.tlvs.push((kind, value.to_vec()));
        self
    }

    /// Adds the checksum of version 2.
    #[must_use]
    pub fn with_checksum(mut self) -> Self {
        self.checksum = true;
        self
    }

    /// The layer of one connection, which puts the header in front and is done.
    #[must_use]
    pub fn layer(&self) -> impl Layer + use<> {
        let outbound = self.clone();
        move |io: &mut LayerIo<'_>| outbound.append(io)
    }

    fn new(version: Version, announce: Announce) -> Self {
        Self { version, announce, tlvs: Vec::new(), checksum: false }
    }

    fn append(&self, io: &mut LayerIo<'_>) -> Result<(), &'static LayerFault> {
        let (local, peer) = (io.local(), io.peer());
        let mut names = Names::default();
        let addresses = match &self.announce {
            Announce::Own => told(&local, &peer, &mut names),
            Announce::Nobody => Addresses::Local,
            Announce::Client { client, destination } => told(client, destination, &mut names),
        };
        match self.version {
            Version::One => append_v1(&addresses, io.wire),
            Version::Two => {
                let tlvs = self.tlvs.iter().map(|(kind, value)| Tlv { kind: *kind, value });
                let tlvs = tlvs.chain(self.checksum.then_some(Tlv::CHECKSUM));
                append_v2(&addresses, tlvs, io.wire).map_err(|error| {
                    tracing::error!(%error, "cannot be told");
                    &UNTELLABLE
                })?;
            }
        }
        Ok(())
    }
}

static UNTELLABLE: LayerFault = LayerFault::new(NAME, "what it is to tell has no place in one");
