//! Text to [`Address`]: the parts are cut from the outside in, then read from left to right.

use std::fmt::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::ops::Range;
use std::path::PathBuf;

use super::tls::TlsOptions;
use super::{Address, AddressError, AddressFault, Place, Role, Scheme, UnixAddr};
use crate::ListenOptions;
use crate::options::{OptionName, OptionPairs};

const PLACES: &str = "allowed: host:port, [ipv6]:port, :port, or unix://path for a unix socket";
const HOSTS: &str = "allowed: a name of letters, digits, '-', '_' and '.', an IPv4 address, \
                     an IPv6 address in brackets, or nothing for any address";
const PORTS: &str = "allowed: 0 to 65535";
const BRACKETS: &str = "write [ipv6]:port, the scope as a number: [::1]:80, [fe80::1%2]:80";
const PATHS: &str = "allowed: unix://path, on Linux also unix://@name";
const ESCAPES: &str = "write %, ?, # and a leading @ of a path as %25, %3F, %23 and %40";
const PORTABLE: &str = "leave -net away and choose DriverKind::Portable for the server instead";

/// RFC 1035, 2.3.4: "names 255 octets or less", which leaves 253 characters of text.
const HOST_LEN_MAX: usize = 253;

/// A piece of the text that knows where it stands.
#[derive(Clone, Copy)]
struct Piece<'a> {
    text: &'a str,
    start: usize,
    end: usize,
}

impl<'a> Piece<'a> {
    fn whole(text: &'a str) -> Self {
        Self { text, start: 0, end: text.len() }
    }

    fn as_str(&self) -> &'a str {
        &self.text[self.start..self.end]
    }

    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    fn sub(&self, range: Range<usize>) -> Self {
        Self { start: self.start + range.start, end: self.start + range.end, ..*self }
    }

    /// What stands before and after the first `separator`.
    fn split(&self, separator: &str) -> Option<(Self, Self)> {
        let at = self.as_str().find(separator)?;
        Some((self.sub(0..at), self.sub(at + separator.len()..self.end - self.start)))
    }

    /// As `split`; without the separator, everything stands before it.
    fn cut(&self, separator: &str) -> (Self, Option<Self>) {
        self.split(separator).map_or((*self, None), |(before, after)| (before, Some(after)))
    }

    fn error(
        &self,
        fault: AddressFault,
        allowed: impl Into<std::borrow::Cow<'static, str>>,
    ) -> AddressError {
        AddressError::new(fault, self.text, self.start..self.end, allowed)
    }
}

pub(super) fn parse(text: &str) -> Result<Address, AddressError> {
    let (rest, role) = Piece::whole(text).cut("#");
    let (rest, pairs) = rest.cut("?");
    let (scheme, place) = match rest.split("://") {
        Some((scheme, place)) => (parse_scheme(scheme)?, place),
        None if rest.is_empty() => return Err(rest.error(AddressFault::Empty, PLACES)),
        None => (Scheme::Tcp, rest),
    };
    let place = match scheme {
        Scheme::Unix => Place::Unix(parse_unix(place)?),
        _ => parse_inet(scheme, place)?,
    };
    let (options, tls) =
        pairs.map_or(Ok(Default::default()), |pairs| parse_pairs(scheme, pairs))?;
    let role = role.map(parse_role).transpose()?;
    let tls = (scheme == Scheme::Tls).then(|| Box::new(tls));
    Ok(Address { scheme, place, options, tls, role })
}

fn parse_scheme(name: Piece<'_>) -> Result<Scheme, AddressError> {
    if let Some(scheme) = Scheme::find(name.as_str()) {
        return Ok(scheme);
    }
    if name.as_str().strip_suffix("-net").is_some_and(|name| Scheme::find(name).is_some()) {
        return Err(name.error(AddressFault::PortableSuffix, PORTABLE));
    }
    let allowed = format!("allowed: {}", list(Scheme::ALL.map(Scheme::as_str)));
    Err(name.error(AddressFault::UnknownScheme, allowed))
}

fn parse_inet(scheme: Scheme, place: Piece<'_>) -> Result<Place, AddressError> {
    if place.is_empty() {
        return Ok(Place::Any { port: 0 });
    }
    if let Some(at) = place.as_str().find('/') {
        let path = place.sub(at..place.end - place.start);
        return Err(path.error(AddressFault::UnexpectedPath, PLACES));
    }
    let found = if place.as_str().starts_with('[') {
        Place::Literal(parse_bracketed(place)?.into())
    } else {
        let (host, port) = place.cut(":");
        let Some(port) = port else {
            let end = place.sub(place.end - place.start..place.end - place.start);
            return Err(end.error(AddressFault::MissingPort, PLACES));
        };
        if port.as_str().contains(':') {
            let fault = match place.as_str().parse::<Ipv6Addr>().is_ok() {
                true => AddressFault::Unbracketed,
                false => AddressFault::BadHost,
            };
            return Err(place.error(fault, BRACKETS));
        }
        parse_host(host, parse_port(port)?)?
    };
    match found {
        Place::Literal(at) if !scheme.takes(at.ip()) => {
            let allowed = format!("{scheme} takes the other family, tcp and udp take both");
            Err(place.error(AddressFault::WrongFamily, allowed))
        }
        found => Ok(found),
    }
}

/// `[ipv6]:port` or `[ipv6%scope]:port`.
fn parse_bracketed(place: Piece<'_>) -> Result<SocketAddrV6, AddressError> {
    let inner = place.sub(1..place.end - place.start);
    let Some((inside, after)) = inner.split("]") else {
        return Err(place.error(AddressFault::BadHost, BRACKETS));
    };
    if !after.as_str().starts_with(':') {
        return Err(after.error(AddressFault::MissingPort, BRACKETS));
    }
    let port = parse_port(after.sub(1..after.end - after.start))?;
    let (ip, scope) = inside.cut("%");
    let scope = match scope {
        None => Some(0),
        Some(scope) => all_digits(scope.as_str()).and_then(|digits| digits.parse().ok()),
    };
    match (ip.as_str().parse(), scope) {
        (Ok(ip), Some(scope)) => Ok(SocketAddrV6::new(ip, port, 0, scope)),
        _ => Err(inside.error(AddressFault::BadHost, BRACKETS)),
    }
}

fn parse_port(port: Piece<'_>) -> Result<u16, AddressError> {
    if port.is_empty() {
        return Err(port.error(AddressFault::MissingPort, PORTS));
    }
    let number = all_digits(port.as_str()).and_then(|digits| digits.parse().ok());
    number.ok_or_else(|| port.error(AddressFault::BadPort, PORTS))
}

fn parse_host(host: Piece<'_>, port: u16) -> Result<Place, AddressError> {
    let text = host.as_str();
    if text.is_empty() {
        return Ok(Place::Any { port });
    }
    if let Ok(ip) = text.parse::<Ipv4Addr>() {
        return Ok(Place::Literal(SocketAddr::new(ip.into(), port)));
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    // Resolvers take 127.1 and 256.1.1.1 for strange IPv4 addresses; no name ends in a number (RFC
    // 3696, 2).
    let last_label = text.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let is_name = text.len() <= HOST_LEN_MAX
        && text.bytes().all(is_plain)
        && !text.starts_with('.')
        && !text.contains("..")
        && !text.starts_with('-')
        && all_digits(last_label).is_none();
    if !is_name {
        return Err(host.error(AddressFault::BadHost, HOSTS));
    }
    Ok(Place::Name { host: text.into(), port })
}

fn all_digits(text: &str) -> Option<&str> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some(text)
}

fn parse_unix(place: Piece<'_>) -> Result<UnixAddr, AddressError> {
    let is_abstract = place.as_str().starts_with('@');
    if is_abstract && !cfg!(any(target_os = "linux", target_os = "android")) {
        return Err(place.error(AddressFault::NoAbstractNames, "allowed: unix://path"));
    }
    let name = place.sub(usize::from(is_abstract)..place.end - place.start);
    let bytes = unescape(name)?;
    if bytes.is_empty() {
        return Err(name.error(AddressFault::MissingPath, PATHS));
    }
    if is_abstract {
        return Ok(UnixAddr::Abstract(bytes.into()));
    }
    // A path ends at the first zero byte in the kernel's eyes, and would name another file.
    if bytes.contains(&0) {
        return Err(name.error(AddressFault::ZeroByte, PATHS));
    }
    let path = path_of(bytes).ok_or_else(|| name.error(AddressFault::BadEscape, ESCAPES))?;
    Ok(UnixAddr::Path(path.into()))
}

#[cfg(unix)]
fn path_of(bytes: Vec<u8>) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    Some(std::ffi::OsString::from_vec(bytes).into())
}

#[cfg(not(unix))]
fn path_of(bytes: Vec<u8>) -> Option<PathBuf> {
    String::from_utf8(bytes).ok().map(PathBuf::from)
}

fn unescape(name: Piece<'_>) -> Result<Vec<u8>, AddressError> {
    let mut parts = name.as_str().split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    let mut at = bytes.len();
    for part in parts {
        let digits = part.get(..2).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) else {
            return Err(name.sub(at..at + 1).error(AddressFault::BadEscape, ESCAPES));
        };
        bytes.push(byte);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
        at += 1 + part.len();
    }
    Ok(bytes)
}

/// Writes a unix name as [`parse_unix`] reads it.
pub(super) fn write_unix(name: &UnixAddr, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let bytes = match name {
        UnixAddr::Path(path) => path.as_os_str().as_encoded_bytes(),
        UnixAddr::Abstract(name) => {
            f.write_char('@')?;
            name
        }
        UnixAddr::Unnamed => return Ok(()),
    };
    let mut leads = matches!(name, UnixAddr::Path(_));
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '%' | '?' | '#' => write!(f, "%{:02X}", u32::from(c))?,
                '@' if leads => f.write_str("%40")?,
                c if c.is_ascii_control() => write!(f, "%{:02X}", u32::from(c))?,
                c => f.write_char(c)?,
            }
            leads = false;
        }
        for byte in chunk.invalid() {
            write!(f, "%{byte:02X}")?;
            leads = false;
        }
    }
    Ok(())
}

fn parse_pairs(
    scheme: Scheme,
    pairs: Piece<'_>,
) -> Result<(ListenOptions, TlsOptions), AddressError> {
    let mut taken = OptionPairs::default();
    let mut seen: Vec<(OptionName, Piece<'_>)> = Vec::new();
    let mut rest = Some(pairs);
    while let Some(pieces) = rest {
        let (pair, after) = pieces.cut("&");
        rest = after;
        let (name, value) = parse_pair(scheme, pair)?;
        if seen.iter().any(|seen| seen.0 == name) {
            return Err(pair.error(AddressFault::RepeatedOption, "give each option once"));
        }
        if taken.set(name, value.as_str()).is_none() {
            let allowed = format!("{} takes {}", name.as_str(), name.values());
            return Err(value.error(AddressFault::BadValue, allowed));
        }
        seen.push((name, pair));
    }
    taken.finish().map_err(|name| {
        let pair = seen.iter().find(|seen| seen.0 == name).map_or(pairs, |seen| seen.1);
        pair.error(AddressFault::WithoutKeepalive, "give keepalive=<duration> too")
    })
}

fn parse_pair<'a>(
    scheme: Scheme,
    pair: Piece<'a>,
) -> Result<(OptionName, Piece<'a>), AddressError> {
    let Some((name, value)) = pair.split("=") else {
        return Err(pair.error(AddressFault::MalformedOption, "write option=value"));
    };
    let allowed = || {
        let names = OptionName::ALL.into_iter().filter(|name| name.applies_to(scheme));
        format!("{scheme} takes {}", list(names.map(OptionName::as_str)))
    };
    match OptionName::find(name.as_str()) {
        None => Err(name.error(AddressFault::UnknownOption, allowed())),
        Some(option) if !option.applies_to(scheme) => {
            Err(name.error(AddressFault::InapplicableOption, allowed()))
        }
        Some(option) => Ok((option, value)),
    }
}

fn parse_role(role: Piece<'_>) -> Result<Role, AddressError> {
    match role.as_str() {
        "listen" => Ok(Role::Listen),
        "dial" => Ok(Role::Dial),
        _ => Err(role.error(AddressFault::UnknownRole, "allowed: #listen, #dial")),
    }
}

fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().collect::<Vec<_>>().join(", ")
}
