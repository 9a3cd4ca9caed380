use super::{Error, HEADER_BYTES_MAX, Header, Version, binary, line};
use crate::codec::{Decode, Step};

/// Reads the header at the start of a connection, of both versions unless told otherwise.
///
/// Call it until it returns its one frame; what follows is the proxied connection's. "The receiver
/// may be tolerant to partial headers": this one is, however the header was cut. An input that
/// cannot become one is an error as soon as that shows: "it is recommended to abort the connection
/// as soon as possible".
#[derive(Debug, Clone)]
pub struct HeaderDecoder {
    only: Option<Version>,
    max: usize,
    error: Option<Error>,
}

impl HeaderDecoder {
    /// A decoder of both versions.
    pub fn new() -> Self {
        HeaderDecoder { only: None, max: HEADER_BYTES_MAX, error: None }
    }

    /// Accepts this version only.
    pub fn only(mut self, version: Version) -> Self {
        self.only = Some(version);
        self
    }

    /// Sets the most bytes that a header of version 2 may have: 4 KiB unless set, and never more
    /// than its length can say, 65,551. Version 1 has a fixed limit of 107.
    pub fn max(mut self, bytes: usize) -> Self {
        self.max = bytes;
        self
    }

    /// The version that `input` starts like, as far as it goes; none where that is not known yet.
    fn version(&self, input: &[u8]) -> Result<Option<Version>, Error> {
        let (version, signature) = match input.first() {
            None => return Ok(None),
            Some(_) if starts_alike(input, line::SIGNATURE) => (Version::One, line::SIGNATURE),
            Some(_) if starts_alike(input, binary::SIGNATURE) => (Version::Two, binary::SIGNATURE),
            // "Otherwise the protocol is not covered by this specification and the connection must
            // be dropped."
            Some(_) => return Err(Error::Signature),
        };
        match self.only {
            // Only what has a whole signature is of the other version.
            Some(only) if only != version && input.len() < signature.len() => Ok(None),
            Some(only) if only != version => Err(Error::VersionRefused(version)),
            _ => Ok(Some(version)),
        }
    }
}

impl Default for HeaderDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decode for HeaderDecoder {
    type Frame<'a> = Header<'a>;
    type Error = Error;

    fn decode<'a>(&'a mut self, input: &'a mut [u8]) -> Result<Step<Header<'a>>, Error> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let header = self.version(input).and_then(|version| match version {
            None => Ok(Step::need(1)),
            Some(Version::One) => line::decode(input),
            Some(Version::Two) => binary::decode(input, self.max),
        });
        header.inspect_err(|&error| self.error = Some(error))
    }
}

fn starts_alike(input: &[u8], signature: &[u8]) -> bool {
    input.iter().zip(signature).all(|(byte, wanted)| byte == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::Addresses;

    #[test]
    fn a_signature_is_refused_at_its_first_wrong_byte() {
        for (input, sound) in [(&b"PROXY "[..], 5), (b"\r\n\r\n\0\r\nQUIT\n", 12)] {
            for end in 0..sound {
                let mut good = input[..end].to_vec();
                assert_eq!(HeaderDecoder::new().decode(&mut good), Ok(Step::need(1)));
                let mut bad = [&input[..end], b"#"].concat();
                let mut decoder = HeaderDecoder::new();
                assert_eq!(decoder.decode(&mut bad), Err(Error::Signature), "{end}");
                let mut sound = b"PROXY UNKNOWN\r\n".to_vec();
                assert_eq!(decoder.decode(&mut sound), Err(Error::Signature), "it stays");
            }
        }
        for other in [&b"GET / HTTP/1.1\r\n"[..], b"\x16\x03\x01", b"\r\n\r\nGET"] {
            assert_eq!(HeaderDecoder::new().decode(&mut other.to_vec()), Err(Error::Signature));
        }
    }

    #[test]
    fn a_version_can_be_refused() {
        let mut line = b"PROXY UNKNOWN\r\n".to_vec();
        let refused = HeaderDecoder::new().only(Version::Two).decode(&mut line).err();
        assert_eq!(refused, Some(Error::VersionRefused(Version::One)));
        let mut decoder = HeaderDecoder::new().only(Version::One);
        let Ok(Step::Frame { frame, used: 15 }) = decoder.decode(&mut line) else {
            panic!("the line is whole");
        };
        assert_eq!((frame.version, frame.addresses), (Version::One, Addresses::Unknown));
        let mut block = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
        let mut decoder = HeaderDecoder::new().only(Version::One);
        assert_eq!(decoder.decode(&mut block[..11]), Ok(Step::need(1)));
        let refused = decoder.decode(&mut block).err();
        assert_eq!(refused, Some(Error::VersionRefused(Version::Two)));
    }
}
