use std::fmt;

/// Why bytes are not a request that can be answered. The connection cannot be used further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The first line is not a method, a target and a version with one space between them.
    RequestLine,
    /// A version other than HTTP/1.0 and HTTP/1.1.
    VersionUnsupported,
    /// A line ends with LF alone.
    BareLf,
    /// A header line continues the one before it (obs-fold).
    FoldedLine,
    /// A header line is not a name, a colon directly behind it, and a value.
    FieldLine,
    /// HTTP/1.1 without `Host`.
    HostMissing,
    /// Several `Host`, or one that is not a host and a port.
    HostInvalid,
    /// `Content-Length` is not a decimal number of 64 bits.
    ContentLengthInvalid,
    /// Several `Content-Length` that differ.
    ContentLengthConflict,
    /// Both `Content-Length` and `Transfer-Encoding`.
    LengthAndCoding,
    /// `Transfer-Encoding` in HTTP/1.0, or one that does not end with its only `chunked`.
    TransferEncodingInvalid,
    /// A transfer coding besides `chunked`.
    TransferCodingUnknown,
    /// The request line does not end within the limit of the head.
    TargetTooLong,
    /// The head does not end within its limit.
    HeadTooLong,
    /// More header fields than the limit.
    TooManyFields,
    /// The body is longer than the limit, as announced or as received.
    BodyTooLong,
    /// A chunk's size line is not a hexadecimal number of 64 bits, with or without extensions.
    ChunkSize,
    /// A chunk is longer or shorter than its size says.
    ChunkEnd,
    /// A chunk's size line does not end within 1 KiB.
    ChunkLineTooLong,
    /// A line behind the last chunk is not a header line.
    TrailerLine,
    /// The lines behind the last chunk do not end within 8 KiB.
    TrailersTooLong,
}

impl Error {
    /// The status code to answer with before closing.
    pub fn status(&self) -> u16 {
        match self {
            Error::BodyTooLong => 413,
            Error::TargetTooLong => 414,
            Error::HeadTooLong | Error::TooManyFields | Error::TrailersTooLong => 431,
            Error::TransferCodingUnknown => 501,
            Error::VersionUnsupported => 505,
            _ => 400,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::RequestLine => "request line is not method, target and version",
            Error::VersionUnsupported => "version is neither HTTP/1.0 nor HTTP/1.1",
            Error::BareLf => "line ends with LF alone, not with CR LF",
            Error::FoldedLine => "header line continues the line before it",
            Error::FieldLine => "header line is not name, colon and value",
            Error::HostMissing => "HTTP/1.1 request without Host",
            Error::HostInvalid => "Host is repeated, or not a host and a port",
            Error::ContentLengthInvalid => "Content-Length is not a number of 64 bits",
            Error::ContentLengthConflict => "Content-Length is given with different values",
            Error::LengthAndCoding => "both Content-Length and Transfer-Encoding",
            Error::TransferEncodingInvalid => {
                "Transfer-Encoding does not end with its only chunked"
            }
            Error::TransferCodingUnknown => "transfer coding other than chunked",
            Error::TargetTooLong => "request line is longer than the limit of the head",
            Error::HeadTooLong => "head is longer than its limit",
            Error::TooManyFields => "more header fields than the limit",
            Error::BodyTooLong => "body is longer than its limit",
            Error::ChunkSize => "chunk size is not a hexadecimal number of 64 bits",
            Error::ChunkEnd => "chunk does not end where its size says",
            Error::ChunkLineTooLong => "chunk size line is longer than 1 KiB",
            Error::TrailerLine => "trailer line is not name, colon and value",
            Error::TrailersTooLong => "trailers are longer than 8 KiB",
        })
    }
}

impl std::error::Error for Error {}
