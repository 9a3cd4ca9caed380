//! What a socket can be told: as plain data, and as the `name=value` pairs of an address.

use std::fmt;
use std::time::Duration;

use crate::Scheme;
use crate::address::tls::{TlsName, TlsOptions};

/// How to open a listening or datagram socket. `Default` is what an address without options asks
/// for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListenOptions {
    /// Whether several sockets may share the address, the kernel choosing among them
    /// (`SO_REUSEPORT`). `None`: only where a server opens one listener per loop.
    pub reuseport: Option<bool>,
    /// How many connections may wait to be accepted. `None`: 4096. The kernel lowers it to its own
    /// limit (`net.core.somaxconn`).
    pub backlog: Option<u32>,
    /// Whether an IPv6 socket refuses IPv4 peers. `None`: no, an IPv6 socket serves both.
    pub ipv6only: Option<bool>,
    /// The options that every socket has, accepted ones included.
    pub socket: SocketOptions,
    /// Whether datagrams of one size to one peer leave as one segmented buffer (UDP, Linux).
    /// Default: no.
    pub gso: bool,
    /// Whether the kernel may join received datagrams of one sender; they are delivered one by one
    /// all the same (UDP, Linux). Default: no.
    pub gro: bool,
}

/// How to treat one socket. `Default` leaves everything at the documented defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SocketOptions {
    /// Whether small writes leave at once (`TCP_NODELAY`). `None`: yes for TCP.
    pub nodelay: Option<bool>,
    /// Probing of idle peers (`SO_KEEPALIVE`). `None`: off.
    pub keepalive: Option<Keepalive>,
    /// Size of the kernel's receive buffer in bytes (`SO_RCVBUF`). `None`: the system's choice.
    pub recv_buffer: Option<usize>,
    /// Size of the kernel's send buffer in bytes (`SO_SNDBUF`). `None`: the system's choice.
    pub send_buffer: Option<usize>,
    /// What closing does with unsent bytes (`SO_LINGER`). `None`: the system's default, to send
    /// them in the background.
    pub linger: Option<Linger>,
}

/// When an idle TCP peer is probed, and when it is given up.
///
/// Systems count these times in whole seconds. What is set is rounded up, so that a time below a
/// second becomes one second and not none: see [`in_whole_seconds`](Keepalive::in_whole_seconds).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// How long the peer is silent before the first probe.
    pub idle: Duration,
    /// The time between probes. `None`: the system's default (Linux: 75 s).
    pub interval: Option<Duration>,
    /// How many unanswered probes end the connection. `None`: the system's default (Linux: 9).
    pub count: Option<u32>,
}

impl Keepalive {
    /// Probes after `idle`, for the rest as the system does by default.
    #[must_use]
    pub fn after(idle: Duration) -> Self {
        Self { idle, interval: None, count: None }
    }

    /// The same with times as systems take them: whole seconds, rounded up, at least one.
    #[must_use]
    pub fn in_whole_seconds(self) -> Self {
        let interval = self.interval.map(|time| whole_seconds(time).max(Duration::from_secs(1)));
        Self { idle: whole_seconds(self.idle).max(Duration::from_secs(1)), interval, ..self }
    }
}

/// What closing a socket does with bytes that have not been sent (`SO_LINGER`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linger {
    /// Closing returns at once; the kernel goes on sending.
    Off,
    /// The kernel keeps trying for this long, in whole seconds, rounded up. Zero drops the bytes
    /// and resets the connection.
    For(Duration),
}

impl Linger {
    /// The time as `SO_LINGER` takes it: whole seconds, rounded up; `None` for
    /// [`Off`](Linger::Off).
    #[must_use]
    pub fn time(self) -> Option<Duration> {
        match self {
            Self::Off => None,
            Self::For(time) => Some(whole_seconds(time)),
        }
    }
}

fn whole_seconds(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0)))
}

/// The options that an address can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OptionName {
    Reuseport,
    Backlog,
    Ipv6only,
    Nodelay,
    Keepalive,
    KeepaliveInterval,
    KeepaliveCount,
    Rcvbuf,
    Sndbuf,
    Linger,
    Gso,
    Gro,
    Tls(TlsName),
}

const BOOL: &str = "true, false, 1, 0, yes, no, on, off";
/// Linux: `MAX_TCP_KEEPIDLE`, `MAX_TCP_KEEPINTVL` (seconds) and `MAX_TCP_KEEPCNT` of net/tcp.h.
const KEEPALIVE_MAX: Duration = Duration::from_secs(32_767);
const KEEPALIVE_COUNT_MAX: u64 = 127;
/// The field is 16 bits wide on some systems.
const LINGER_MAX: Duration = Duration::from_secs(65_535);
/// Socket options of sizes are C ints.
const BUFFER_MAX: u64 = i32::MAX as u64;

impl OptionName {
    pub(crate) const ALL: [Self; 19] = [
        Self::Reuseport,
        Self::Backlog,
        Self::Ipv6only,
        Self::Nodelay,
        Self::Keepalive,
        Self::KeepaliveInterval,
        Self::KeepaliveCount,
        Self::Rcvbuf,
        Self::Sndbuf,
        Self::Linger,
        Self::Gso,
        Self::Gro,
        Self::Tls(TlsName::Cert),
        Self::Tls(TlsName::Key),
        Self::Tls(TlsName::Ca),
        Self::Tls(TlsName::Crl),
        Self::Tls(TlsName::ClientAuth),
        Self::Tls(TlsName::Alpn),
        Self::Tls(TlsName::ServerName),
    ];

    pub(crate) fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|option| option.as_str() == name)
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Reuseport => "reuseport",
            Self::Backlog => "backlog",
            Self::Ipv6only => "ipv6only",
            Self::Nodelay => "nodelay",
            Self::Keepalive => "keepalive",
            Self::KeepaliveInterval => "keepalive_interval",
            Self::KeepaliveCount => "keepalive_count",
            Self::Rcvbuf => "rcvbuf",
            Self::Sndbuf => "sndbuf",
            Self::Linger => "linger",
            Self::Gso => "gso",
            Self::Gro => "gro",
            Self::Tls(name) => name.as_str(),
        }
    }

    pub(crate) fn applies_to(self, scheme: Scheme) -> bool {
        match self {
            Self::Reuseport => scheme != Scheme::Unix,
            Self::Backlog => !scheme.is_datagram(),
            Self::Ipv6only => {
                matches!(
                    scheme,
                    Scheme::Tcp | Scheme::Tcp6 | Scheme::Tls | Scheme::Udp | Scheme::Udp6
                )
            }
            Self::Nodelay
            | Self::Keepalive
            | Self::KeepaliveInterval
            | Self::KeepaliveCount
            | Self::Linger => {
                matches!(scheme, Scheme::Tcp | Scheme::Tcp4 | Scheme::Tcp6 | Scheme::Tls)
            }
            Self::Rcvbuf | Self::Sndbuf => true,
            Self::Gso | Self::Gro => scheme.is_datagram(),
            Self::Tls(_) => scheme == Scheme::Tls,
        }
    }

    /// The values that it takes, for error messages.
    pub(crate) fn values(self) -> &'static str {
        match self {
            Self::Reuseport | Self::Ipv6only | Self::Nodelay | Self::Gso | Self::Gro => BOOL,
            Self::Backlog => "1 to 65535",
            Self::Keepalive => {
                "seconds or a duration such as 30s, 500ms or 2m, to 32767 s; 0 or off"
            }
            Self::KeepaliveInterval => {
                "seconds or a duration such as 30s, 500ms or 2m, above 0, to 32767 s"
            }
            Self::KeepaliveCount => "1 to 127",
            Self::Rcvbuf | Self::Sndbuf => "bytes, with k or m for KiB or MiB, 1 to 2147483647",
            Self::Linger => {
                "seconds or a duration such as 30s, 500ms or 2m, to 65535 s; 0 (reset); off"
            }
            Self::Tls(name) => name.values(),
        }
    }
}

/// The pairs of one address, on the way to [`ListenOptions`].
#[derive(Default)]
pub(crate) struct OptionPairs {
    options: ListenOptions,
    tls: TlsOptions,
    keepalive: Option<Duration>,
    keepalive_interval: Option<Duration>,
    keepalive_count: Option<u32>,
}

impl OptionPairs {
    /// Takes one pair; `None` when the option does not take this value.
    pub(crate) fn set(&mut self, name: OptionName, value: &str) -> Option<()> {
        let options = &mut self.options;
        match name {
            OptionName::Reuseport => options.reuseport = Some(boolean(value)?),
            OptionName::Backlog => options.backlog = Some(number(value, 65_535)? as u32),
            OptionName::Ipv6only => options.ipv6only = Some(boolean(value)?),
            OptionName::Nodelay => options.socket.nodelay = Some(boolean(value)?),
            OptionName::Keepalive => {
                let idle = if is_off(value) { Duration::ZERO } else { duration(value)? };
                self.keepalive = (!at_most(idle, KEEPALIVE_MAX)?.is_zero()).then_some(idle);
            }
            OptionName::KeepaliveInterval => {
                let interval = at_most(duration(value)?, KEEPALIVE_MAX)?;
                self.keepalive_interval = Some((!interval.is_zero()).then_some(interval)?);
            }
            OptionName::KeepaliveCount => {
                self.keepalive_count = Some(number(value, KEEPALIVE_COUNT_MAX)? as u32);
            }
            OptionName::Rcvbuf => options.socket.recv_buffer = Some(size(value)?),
            OptionName::Sndbuf => options.socket.send_buffer = Some(size(value)?),
            OptionName::Linger if is_off(value) => options.socket.linger = Some(Linger::Off),
            OptionName::Linger => {
                let time = whole_seconds(at_most(duration(value)?, LINGER_MAX)?);
                options.socket.linger = Some(Linger::For(time));
            }
            OptionName::Gso => options.gso = boolean(value)?,
            OptionName::Gro => options.gro = boolean(value)?,
            OptionName::Tls(name) => self.tls.set(name, value)?,
        }
        Some(())
    }

    /// The options, once all pairs are taken. `Err` names an option that says how to probe while
    /// probing is off.
    pub(crate) fn finish(self) -> Result<(ListenOptions, TlsOptions), OptionName> {
        let mut options = self.options;
        let (interval, count) = (self.keepalive_interval, self.keepalive_count);
        match self.keepalive {
            Some(idle) => {
                let keepalive = Keepalive { idle, interval, count }.in_whole_seconds();
                options.socket.keepalive = Some(keepalive);
            }
            None if interval.is_some() => return Err(OptionName::KeepaliveInterval),
            None if count.is_some() => return Err(OptionName::KeepaliveCount),
            None => {}
        }
        Ok((options, self.tls))
    }
}

/// Writes the options as an address carries them, in the order of [`OptionName::ALL`].
pub(crate) fn write_options(
    options: &ListenOptions,
    tls: Option<&TlsOptions>,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let mut separator = '?';
    for name in OptionName::ALL {
        if let Some(value) = text_of(options, tls, name) {
            write!(f, "{separator}{}={value}", name.as_str())?;
            separator = '&';
        }
    }
    Ok(())
}

fn text_of(options: &ListenOptions, tls: Option<&TlsOptions>, name: OptionName) -> Option<String> {
    let socket = &options.socket;
    let keepalive = socket.keepalive.map(Keepalive::in_whole_seconds);
    let seconds = |time: Duration| format!("{}s", time.as_secs());
    match name {
        OptionName::Reuseport => options.reuseport.map(|on| on.to_string()),
        OptionName::Backlog => options.backlog.map(|count| count.to_string()),
        OptionName::Ipv6only => options.ipv6only.map(|on| on.to_string()),
        OptionName::Nodelay => socket.nodelay.map(|on| on.to_string()),
        OptionName::Keepalive => keepalive.map(|keepalive| seconds(keepalive.idle)),
        OptionName::KeepaliveInterval => keepalive?.interval.map(seconds),
        OptionName::KeepaliveCount => keepalive?.count.map(|count| count.to_string()),
        OptionName::Rcvbuf => socket.recv_buffer.map(|bytes| bytes.to_string()),
        OptionName::Sndbuf => socket.send_buffer.map(|bytes| bytes.to_string()),
        OptionName::Linger => {
            socket.linger.map(|linger| linger.time().map_or("off".to_owned(), seconds))
        }
        OptionName::Gso => options.gso.then(|| "true".to_owned()),
        OptionName::Gro => options.gro.then(|| "true".to_owned()),
        OptionName::Tls(name) => tls?.text_of(name),
    }
}

fn boolean(value: &str) -> Option<bool> {
    let is = |word: &&str| value.eq_ignore_ascii_case(word);
    if ["true", "1", "yes", "on"].iter().any(is) {
        return Some(true);
    }
    ["false", "0", "no", "off"].iter().any(is).then_some(false)
}

fn is_off(value: &str) -> bool {
    value.eq_ignore_ascii_case("off")
}

/// Decimal digits and nothing else: `str::parse` would take a sign.
fn digits(value: &str) -> Option<u64> {
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    value.parse().ok()
}

/// A number from 1.
fn number(value: &str, max: u64) -> Option<u64> {
    digits(value).filter(|number| (1..=max).contains(number))
}

/// A number of seconds, or a whole number with a unit.
fn duration(value: &str) -> Option<Duration> {
    let unit_at = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let (count, unit) = value.split_at(unit_at);
    let count = digits(count)?;
    let minutes = |minutes: u64| count.checked_mul(minutes * 60).map(Duration::from_secs);
    match unit {
        "" | "s" => Some(Duration::from_secs(count)),
        "ms" => Some(Duration::from_millis(count)),
        "m" => minutes(1),
        "h" => minutes(60),
        _ => None,
    }
}

fn at_most(time: Duration, max: Duration) -> Option<Duration> {
    (time <= max).then_some(time)
}

fn size(value: &str) -> Option<usize> {
    let lower = value.to_ascii_lowercase();
    let (count, unit) = match (lower.strip_suffix('k'), lower.strip_suffix('m')) {
        (Some(count), _) => (count, 1 << 10),
        (_, Some(count)) => (count, 1 << 20),
        _ => (&*lower, 1),
    };
    let bytes = digits(count)?.checked_mul(unit)?;
    (1..=BUFFER_MAX).contains(&bytes).then_some(bytes as usize)
}
