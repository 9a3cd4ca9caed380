//! What can be wrong with an address.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::ops::Range;

/// Why a text is not an address: what was wrong, where in the text, and what is allowed there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError {
    fault: AddressFault,
    text: Box<str>,
    at: Range<usize>,
    allowed: Cow<'static, str>,
}

/// What was wrong with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AddressFault {
    /// There is no address before the options.
    Empty,
    /// No scheme has this name.
    UnknownScheme,
    /// The suffix `-net` of evio, which chose the portable driver for the whole server.
    PortableSuffix,
    /// A host without a port.
    MissingPort,
    /// Not a port number.
    BadPort,
    /// Not a host name or an IP address.
    BadHost,
    /// An IPv6 address outside brackets.
    Unbracketed,
    /// An IP address of the family that the scheme excludes.
    WrongFamily,
    /// A path after host and port.
    UnexpectedPath,
    /// A unix socket without a name.
    MissingPath,
    /// A `%` without two hexadecimal digits, or one that gives what a path cannot hold.
    BadEscape,
    /// A zero byte in a path.
    ZeroByte,
    /// An abstract name on a system without them.
    NoAbstractNames,
    /// An option without a name or without a value.
    MalformedOption,
    /// No option has this name.
    UnknownOption,
    /// An option that is there already.
    RepeatedOption,
    /// An option that has no meaning for the scheme.
    InapplicableOption,
    /// A value that the option does not take.
    BadValue,
    /// An option that says how to probe, where `keepalive` is off.
    WithoutKeepalive,
    /// A role other than `listen` and `dial`.
    UnknownRole,
}

impl AddressError {
    pub(super) fn new(
        fault: AddressFault,
        text: &str,
        at: Range<usize>,
        allowed: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { fault, text: text.into(), at, allowed: allowed.into() }
    }

    /// What was wrong.
    #[must_use]
    pub fn fault(&self) -> AddressFault {
        self.fault
    }

    /// The part of the text that was wrong, in bytes; empty where something is missing.
    #[must_use]
    pub fn position(&self) -> Range<usize> {
        self.at.clone()
    }

    /// The text that was to be an address.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl AddressFault {
    fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "no address",
            Self::UnknownScheme => "unknown scheme",
            Self::PortableSuffix => "no scheme chooses a driver",
            Self::MissingPort => "missing port",
            Self::BadPort => "bad port",
            Self::BadHost => "bad host",
            Self::Unbracketed => "IPv6 address without brackets",
            Self::WrongFamily => "address of the wrong family",
            Self::UnexpectedPath => "unexpected path",
            Self::MissingPath => "missing path",
            Self::BadEscape => "bad escape",
            Self::ZeroByte => "zero byte in a path",
            Self::NoAbstractNames => "no abstract names on this system",
            Self::MalformedOption => "malformed option",
            Self::UnknownOption => "unknown option",
            Self::RepeatedOption => "repeated option",
            Self::InapplicableOption => "inapplicable option",
            Self::BadValue => "bad value",
            Self::WithoutKeepalive => "option without keepalive",
            Self::UnknownRole => "unknown role",
        }
    }
}

impl fmt::Display for AddressFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "address {:?}: {}", self.text, self.fault)?;
        if !self.at.is_empty() {
            write!(f, " {:?}", &self.text[self.at.clone()])?;
        }
        write!(f, " at byte {}; {}", self.at.start, self.allowed)
    }
}

impl Error for AddressError {}
