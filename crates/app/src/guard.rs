//! Who may connect, how many at a time, and how often.
//!
//! ```text
//!  accepted --> [PROXY header] --> Guard --> [TLS] --> handler
//!                  sets the peer     |
//!                                    +-- refused: closed at once, counted by reason
//! ```
//!
//! A [`Guard`] is shared by all loops of a server. As a [layer](Guard::layer) it judges the peer of
//! every accepted connection before its handler hears of it; above a PROXY header that is the
//! announced client, below it the proxy.

mod clients;
mod layer;
mod network;
mod rate;

pub use network::{Network, NetworkFault, NetworkSet};
pub use rate::Rate;

use clients::{Client, Clients};
use mainspring_io::Addr;
use rate::Bucket;
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What a guard lets in. Unix sockets have no IP address: of all this only `rate` is for them.
///
/// Fields may be added: write `GuardLimits { client_rate: .., ..GuardLimits::default() }`.
#[derive(Clone, Debug)]
pub struct GuardLimits {
    /// Who may connect. Default `None`: everybody.
    pub allow: Option<NetworkSet>,
    /// Who may not, even if allowed. Default: nobody.
    pub deny: NetworkSet,
    /// Connections that one client may have open: an IPv4 address, or a /64 network of IPv6.
    /// Default `None`: no limit.
    pub client_connections_max: Option<NonZeroU32>,
    /// How often one client may connect. Default `None`: no limit.
    pub client_rate: Option<Rate>,
    /// How often connections may come in all, to the listeners that share the guard: make one for
    /// each that is to have a rate of its own. Refused ones do not count. Default `None`: no limit.
    pub rate: Option<Rate>,
    /// Clients that are remembered, at about a hundred bytes each. One more takes the place of
    /// whoever has had no connection for longest; while all of them have connections it is refused
    /// as [`Refusal::TableFull`]. Nobody is remembered if there is no limit on one client. Default
    /// 65,536.
    pub clients_max: usize,
}

impl Default for GuardLimits {
    fn default() -> Self {
        Self {
            allow: None,
            deny: NetworkSet::default(),
            client_connections_max: None,
            client_rate: None,
            rate: None,
            clients_max: 1 << 16,
        }
    }
}

/// Why a connection was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// [`GuardLimits::deny`] names it.
    Denied,
    /// [`GuardLimits::allow`] does not name it.
    NotAllowed,
    /// [`GuardLimits::client_connections_max`].
    ClientConnections,
    /// [`GuardLimits::client_rate`].
    ClientRate,
    /// [`GuardLimits::rate`].
    Rate,
    /// [`GuardLimits::clients_max`].
    TableFull,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Denied,
        Self::NotAllowed,
        Self::ClientConnections,
        Self::ClientRate,
        Self::Rate,
        Self::TableFull,
    ];

    /// Its name as a label of metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::NotAllowed => "not_allowed",
            Self::ClientConnections => "client_connections",
            Self::ClientRate => "client_rate",
            Self::Rate => "rate",
            Self::TableFull => "table_full",
        }
    }

    const fn reason(self) -> &'static str {
        match self {
            Self::Denied => "the address is denied",
            Self::NotAllowed => "the address is not allowed",
            Self::ClientConnections => "the client has too many connections",
            Self::ClientRate => "the client connects too often",
            Self::Rate => "connections come too often",
            Self::TableFull => "too many clients have connections",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for Refusal {}

/// What a guard has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GuardStats {
    /// Connections let in.
    pub admitted: u64,
    /// Connections let in that are open now.
    pub open: u64,
    /// Clients remembered now.
    pub clients: u64,
    refused: [u64; Refusal::ALL.len()],
}

impl GuardStats {
    /// Connections turned away for one reason.
    #[must_use]
    pub fn refused(&self, reason: Refusal) -> u64 {
        self.refused[reason as usize]
    }

    /// Connections turned away.
    #[must_use]
    pub fn refused_total(&self) -> u64 {
        self.refused.iter().sum()
    }
}

/// Judges connections. Clones are the same guard.
///
/// One lock is taken when a connection comes and when it goes, and nothing in between. Time is an
/// argument, the turn's of the loop that asks.
///
/// # Examples
///
/// ```
/// use mainspring_app::guard::{Guard, GuardLimits, Rate, Refusal};
/// use mainspring_io::Addr;
/// use std::time::Instant;
///
/// let guard = Guard::new(GuardLimits {
///     deny: "192.0.2.0/24".parse()?,
///     client_connections_max: Some(2.try_into()?),
///     client_rate: Some(Rate::per_second(10)),
///     ..GuardLimits::default()
/// });
/// let now = Instant::now();
/// let peer = Addr::Inet("198.51.100.7:4711".parse()?);
/// let (first, second) = (guard.admit(&peer, now)?, guard.admit(&peer, now)?);
/// assert_eq!(guard.admit(&peer, now).err(), Some(Refusal::ClientConnections));
/// drop(first);
/// assert!(guard.admit(&peer, now).is_ok());
/// # drop(second);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Guard {
    shared: Arc<Shared>,
}

struct Shared {
    judge: Mutex<Judge>,
    admitted: AtomicU64,
    open: AtomicU64,
    refused: [AtomicU64; Refusal::ALL.len()],
}

struct Judge {
    limits: GuardLimits,
    clients: Clients,
    /// Of all clients together.
    bucket: Bucket,
}

impl Guard {
    /// A guard that has seen nobody.
    #[must_use]
    pub fn new(limits: GuardLimits) -> Self {
        let clients = Clients::new(limits.clients_max);
        let judge = Mutex::new(Judge { limits, clients, bucket: Bucket::default() });
        let shared = Shared {
            judge,
            admitted: AtomicU64::new(0),
            open: AtomicU64::new(0),
            refused: Default::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Lets a connection in, for as long as the permit lives.
    ///
    /// # Errors
    ///
    /// The first of its limits that does not allow it, in the order in which they stand in
    /// [`Refusal`]. Who is refused uses no tokens.
    pub fn admit(&self, peer: &Addr, now: Instant) -> Result<Permit, Refusal> {
        let ip = match peer {
            Addr::Inet(at) => Some(at.ip()),
            Addr::Unix(_) => None,
        };
        let verdict = self.shared.lock().admit(ip, now);
        match verdict {
            Ok(place) => {
                self.shared.admitted.fetch_add(1, Ordering::Relaxed);
                self.shared.open.fetch_add(1, Ordering::Relaxed);
                Ok(Permit { shared: self.shared.clone(), place })
            }
            Err(refusal) => {
                self.shared.refused[refusal as usize].fetch_add(1, Ordering::Relaxed);
                Err(refusal)
            }
        }
    }

    /// Replaces the networks, for connections to come; those that are open stay.
    pub fn set_networks(&self, allow: Option<NetworkSet>, deny: NetworkSet) {
        let mut judge = self.shared.lock();
        (judge.limits.allow, judge.limits.deny) = (allow, deny);
    }

    /// What it has counted.
    #[must_use]
    pub fn stats(&self) -> GuardStats {
        GuardStats {
            admitted: self.shared.admitted.load(Ordering::Relaxed),
            open: self.shared.open.load(Ordering::Relaxed),
            clients: self.shared.lock().clients.len() as u64,
            refused: self.shared.refused.each_ref().map(|count| count.load(Ordering::Relaxed)),
        }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// One connection's place among those let in; dropping it gives the place back.
#[must_use = "the connection is let in while this lives"]
pub struct Permit {
    shared: Arc<Shared>,
    /// The client's, if clients are remembered.
    place: Option<u32>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shared.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(place) = self.place {
            self.shared.lock().clients.close(place);
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Judge> {
        self.judge.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Judge {
    /// The client's place, if clients are remembered.
    fn admit(&mut self, ip: Option<IpAddr>, now: Instant) -> Result<Option<u32>, Refusal> {
        if let Some(ip) = ip {
            self.check_networks(ip)?;
        }
        let counts =
            self.limits.client_connections_max.is_some() || self.limits.client_rate.is_some();
        let client = ip.filter(|_| counts).map(Client::from);
        let known = client.and_then(|client| self.clients.find(client));
        if let Some(place) = known {
            self.check_client(place, now)?;
        }
        if let Some(rate) = &self.limits.rate
            && !self.bucket.has_token(rate, now)
        {
            return Err(Refusal::Rate);
        }
        let place = match (client, known) {
            (Some(client), None) => Some(self.clients.insert(client).ok_or(Refusal::TableFull)?),
            _ => known,
        };
        if let Some(place) = place {
            self.clients.open(place, self.limits.client_rate.as_ref(), now);
        }
        if let Some(rate) = &self.limits.rate {
            self.bucket.take(rate, now);
        }
        Ok(place)
    }

    fn check_networks(&self, ip: IpAddr) -> Result<(), Refusal> {
        if self.limits.deny.contains(ip) {
            return Err(Refusal::Denied);
        }
        match &self.limits.allow {
            Some(allow) if !allow.contains(ip) => Err(Refusal::NotAllowed),
            _ => Ok(()),
        }
    }

    fn check_client(&self, place: u32, now: Instant) -> Result<(), Refusal> {
        let max = self.limits.client_connections_max;
        if max.is_some_and(|max| self.clients.connections(place) >= max.get()) {
            return Err(Refusal::ClientConnections);
        }
        match &self.limits.client_rate {
            Some(rate) if !self.clients.has_token(place, rate, now) => Err(Refusal::ClientRate),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
