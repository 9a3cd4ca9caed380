use std::fmt;

use super::Version;

/// Why bytes are not a PROXY header, or why one cannot be written. The connection is to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The connection does not start with the signature of either version.
    Signature,
    /// A version that the decoder was told not to accept.
    VersionRefused(Version),
    /// No CRLF within the 107 bytes of version 1.
    LineTooLong,
    /// This part of the line is not what it must be.
    Line(Part),
    /// The version in a binary header, which must be 2.
    BinaryVersion(u8),
    /// The command, which must be 0 (LOCAL) or 1 (PROXY).
    Command(u8),
    /// The address family, which must be 0 to 3.
    Family(u8),
    /// The transport protocol, which must be 0 to 2.
    Transport(u8),
    /// A binary header is longer than allowed: as announced, or as it would be written.
    TooLong {
        /// Its bytes.
        bytes: usize,
        /// The most bytes allowed.
        max: usize,
    },
    /// The header ends inside of its addresses.
    AddressesCut {
        /// The bytes announced behind the first 16.
        bytes: usize,
        /// The bytes that addresses of this family take.
        needed: usize,
    },
    /// A TLV is longer than what is left of the header.
    TlvCut {
        /// Where it starts, counted from the end of the addresses.
        offset: usize,
    },
    /// What the header says of TLS is cut short.
    SslCut,
    /// A checksum that is not of four bytes, or a second one.
    ChecksumForm,
    /// The checksum is of other bytes.
    Checksum {
        /// As the header says.
        found: u32,
        /// As its bytes are.
        computed: u32,
    },
    /// To be written: a path that is over 108 bytes, or would be read as another one because of the
    /// zero bytes in it.
    UnixPath,
    /// To be written: a value of over 65,535 bytes.
    TlvTooLong {
        /// Its bytes.
        bytes: usize,
    },
}

/// A part of the line of version 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// `TCP4`, `TCP6` or `UNKNOWN`, with one space in front.
    Protocol,
    /// The first address, of the family announced.
    Source,
    /// The second address.
    Destination,
    /// The first port.
    SourcePort,
    /// The second port.
    DestinationPort,
    /// Bytes between the second port and the CRLF.
    End,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PROXY header: ")?;
        match self {
            Error::Signature => write!(f, "there is none"),
            Error::VersionRefused(version) => write!(f, "{version} is not accepted here"),
            Error::LineTooLong => write!(f, "no CRLF within 107 bytes"),
            Error::Line(part) => write!(f, "the line's {part} is not as it must be"),
            Error::BinaryVersion(version) => write!(f, "binary version {version}, must be 2"),
            Error::Command(command) => write!(f, "command {command}, must be 0 or 1"),
            Error::Family(family) => write!(f, "address family {family}, must be 0 to 3"),
            Error::Transport(transport) => write!(f, "transport {transport}, must be 0 to 2"),
            Error::TooLong { bytes, max } => {
                write!(f, "{bytes} bytes, at most {max} are allowed")
            }
            Error::AddressesCut { bytes, needed } => {
                write!(f, "{bytes} bytes announced, its addresses take {needed}")
            }
            Error::TlvCut { offset } => {
                write!(f, "the value at {offset} behind the addresses ends outside of it")
            }
            Error::SslCut => write!(f, "its value about TLS is cut short"),
            Error::ChecksumForm => write!(f, "checksum not of four bytes, or a second one"),
            Error::Checksum { found, computed } => {
                write!(f, "checksum {found:08x}, its bytes have {computed:08x}")
            }
            Error::UnixPath => write!(f, "path over 108 bytes or with a zero byte"),
            Error::TlvTooLong { bytes } => {
                write!(f, "value of {bytes} bytes, at most 65535 are allowed")
            }
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Protocol => "protocol",
            Part::Source => "source address",
            Part::Destination => "destination address",
            Part::SourcePort => "source port",
            Part::DestinationPort => "destination port",
            Part::End => "end",
        })
    }
}

impl std::error::Error for Error {}
