//! What a `tls://` address says beyond its socket. Nothing here knows TLS: a layer reads it.

use std::fmt::{self, Write};
use std::path::PathBuf;

/// The options of a `tls://` address: files in PEM, names, and whom to ask for a certificate.
///
/// Several values of one option are separated by commas. A byte of a value that has a meaning in an
/// address, `%`, `&`, `#` or `,`, is written as `%` and two hexadecimal digits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// `cert`: certificate chains, one for each of `key`; several are told apart by the names in
    /// them (SNI).
    pub cert: Vec<PathBuf>,
    /// `key`: the private keys of these certificates, in the same order.
    pub key: Vec<PathBuf>,
    /// `ca`: the roots that vouch for the peer.
    pub ca: Vec<PathBuf>,
    /// `crl`: lists of what they have revoked.
    pub crl: Vec<PathBuf>,
    /// `client_auth`: whether a listener asks for client certificates. `None`: required if `ca` is
    /// given, else none.
    pub client_auth: Option<ClientAuth>,
    /// `alpn`: application protocols in the order of preference.
    pub alpn: Vec<String>,
    /// `server_name`: the name that the dialled server's certificate is for. `None`: the host.
    pub server_name: Option<String>,
}

/// How clients are asked for a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ClientAuth {
    /// They are not asked.
    None,
    /// A client may show none; one that it shows has to be good.
    Optional,
    /// A client has to show one that the roots vouch for.
    #[default]
    Required,
}

impl ClientAuth {
    const ALL: [Self; 3] = [Self::None, Self::Optional, Self::Required];

    fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Optional => "optional",
            Self::Required => "required",
        }
    }
}

/// The options of this kind, as [`OptionName`](crate::options::OptionName) lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TlsName {
    Cert,
    Key,
    Ca,
    Crl,
    ClientAuth,
    Alpn,
    ServerName,
}

impl TlsName {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Cert => "cert",
            Self::Key => "key",
            Self::Ca => "ca",
            Self::Crl => "crl",
            Self::ClientAuth => "client_auth",
            Self::Alpn => "alpn",
            Self::ServerName => "server_name",
        }
    }

    pub(crate) fn values(self) -> &'static str {
        match self {
            Self::Cert | Self::Key | Self::Ca | Self::Crl => {
                "paths of PEM files, separated by commas; write %, &, # and , as %25, %26, %23, %2C"
            }
            Self::ClientAuth => "none, optional, required",
            Self::Alpn => "protocols of 1 to 255 bytes, separated by commas, such as h2,http/1.1",
            Self::ServerName => "a DNS name or an IP address",
        }
    }
}

impl TlsOptions {
    /// Takes one pair; `None` when the option does not take this value.
    pub(crate) fn set(&mut self, name: TlsName, value: &str) -> Option<()> {
        let paths = || -> Option<Vec<PathBuf>> {
            value.split(',').map(|path| text(path).map(PathBuf::from)).collect()
        };
        match name {
            TlsName::Cert => self.cert = paths()?,
            TlsName::Key => self.key = paths()?,
            TlsName::Ca => self.ca = paths()?,
            TlsName::Crl => self.crl = paths()?,
            TlsName::ClientAuth => {
                let found = ClientAuth::ALL.into_iter().find(|auth| auth.as_str() == value);
                self.client_auth = Some(found?);
            }
            TlsName::Alpn => {
                let protocols: Option<Vec<String>> = value.split(',').map(text).collect();
                self.alpn = protocols.filter(|all| all.iter().all(|one| one.len() <= 255))?;
            }
            TlsName::ServerName => self.server_name = Some(text(value)?),
        }
        Some(())
    }

    /// The value of an option as an address carries it.
    pub(crate) fn text_of(&self, name: TlsName) -> Option<String> {
        let list = |texts: Vec<String>| (!texts.is_empty()).then(|| texts.join(","));
        // What is in an address came from text.
        let paths = |paths: &[PathBuf]| {
            list(paths.iter().map(|at| escaped(&at.to_string_lossy())).collect())
        };
        match name {
            TlsName::Cert => paths(&self.cert),
            TlsName::Key => paths(&self.key),
            TlsName::Ca => paths(&self.ca),
            TlsName::Crl => paths(&self.crl),
            TlsName::ClientAuth => self.client_auth.map(|auth| auth.as_str().to_owned()),
            TlsName::Alpn => list(self.alpn.iter().map(|one| escaped(one)).collect()),
            TlsName::ServerName => self.server_name.as_deref().map(escaped),
        }
    }
}

/// Text with its escapes undone; `None` if it is empty, or an escape or what it gives is no text.
fn text(value: &str) -> Option<String> {
    let mut parts = value.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let digits =
            part.get(..2).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    let is_whole = !bytes.is_empty() && !bytes.contains(&0);
    String::from_utf8(bytes).ok().filter(|_| is_whole)
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '%' | '&' | '#' | ',') || c.is_ascii_control() {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{:02X}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

impl fmt::Display for ClientAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
