use super::Error;
use crate::primitive::{AppendPrimitive, Cursor, Stop};

/// One value of a header of version 2, with its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tlv<'a> {
    /// Its type: one of the constants here, one of a sender's own from 0xe0 to 0xef, or one that is
    /// not known, to be ignored.
    pub kind: u8,
    /// The value, at most 65,535 bytes.
    pub value: &'a [u8],
}

impl Tlv<'_> {
    /// The protocol negotiated by ALPN, "a byte sequence defining the upper layer protocol".
    pub const ALPN: u8 = 0x01;
    /// "The host name value passed by the client, as an UTF8-encoded string", with TLS its SNI.
    pub const AUTHORITY: u8 = 0x02;
    /// The CRC32c of the whole header; checked by the decoder.
    pub const CRC32C: u8 = 0x03;
    /// Padding, "should be ignored".
    pub const NOOP: u8 = 0x04;
    /// "An opaque byte sequence of up to 128 bytes [..] that uniquely identifies the connection".
    pub const UNIQUE_ID: u8 = 0x05;
    /// What the client's TLS was like, see [`Ssl`].
    pub const SSL: u8 = 0x20;
    /// Inside of [`SSL`](Self::SSL): the version, as `TLSv1.3`.
    pub const SSL_VERSION: u8 = 0x21;
    /// Inside of [`SSL`](Self::SSL): the common name of the client's certificate.
    pub const SSL_CN: u8 = 0x22;
    /// Inside of [`SSL`](Self::SSL): the cipher suite.
    pub const SSL_CIPHER: u8 = 0x23;
    /// Inside of [`SSL`](Self::SSL): the algorithm that signed the proxy's certificate.
    pub const SSL_SIG_ALG: u8 = 0x24;
    /// Inside of [`SSL`](Self::SSL): the algorithm of the key of the proxy's certificate.
    pub const SSL_KEY_ALG: u8 = 0x25;
    /// The name of the network namespace.
    pub const NETNS: u8 = 0x30;

    /// To be written with [`append_v2`](super::append_v2), which fills the checksum in.
    pub const CHECKSUM: Tlv<'static> = Tlv { kind: Tlv::CRC32C, value: &[0; 4] };
}

/// The values of a header, as they came, in the order of the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tlvs<'a> {
    /// Whole TLVs only.
    bytes: &'a [u8],
}

impl<'a> Tlvs<'a> {
    pub(super) const EMPTY: Tlvs<'static> = Tlvs { bytes: &[] };

    /// Values that were kept as [`as_bytes`](Self::as_bytes) gave them.
    ///
    /// # Errors
    ///
    /// [`Error::TlvCut`] and [`Error::SslCut`] if `bytes` does not hold whole values.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Error> {
        // What has an inner form is checked too.
        let tlvs = Self::walk(bytes)?;
        for tlv in tlvs.iter().filter(|tlv| tlv.kind == Tlv::SSL) {
            Ssl::parse(tlv.value)?;
        }
        Ok(tlvs)
    }

    fn walk(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut cursor = Cursor::new(bytes);
        while !cursor.rest().is_empty() {
            let offset = cursor.used();
            take(&mut cursor).map_err(|_| Error::TlvCut { offset })?;
        }
        Ok(Tlvs { bytes })
    }

    /// The bytes that hold them all.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = Tlv<'a>> + use<'a> {
        let mut cursor = Cursor::new(self.bytes);
        std::iter::from_fn(move || take(&mut cursor).ok())
    }

    /// The value of the first one of type `kind`.
    pub fn get(&self, kind: u8) -> Option<&'a [u8]> {
        self.iter().find(|tlv| tlv.kind == kind).map(|tlv| tlv.value)
    }

    /// The protocol negotiated by ALPN.
    pub fn alpn(&self) -> Option<&'a [u8]> {
        self.get(Tlv::ALPN)
    }

    /// The host name that the client gave; it should be UTF-8, and is as the sender wrote it.
    pub fn authority(&self) -> Option<&'a [u8]> {
        self.get(Tlv::AUTHORITY)
    }

    /// What the client's TLS was like.
    pub fn ssl(&self) -> Option<Ssl<'a>> {
        self.get(Tlv::SSL).and_then(|value| Ssl::parse(value).ok())
    }
}

/// What a proxy says of the TLS between the client and itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ssl<'a> {
    /// Bits: [`CLIENT_SSL`](Self::CLIENT_SSL), [`CLIENT_CERT_CONN`](Self::CLIENT_CERT_CONN),
    /// [`CLIENT_CERT_SESS`](Self::CLIENT_CERT_SESS).
    pub client: u8,
    /// "Zero if the client presented a certificate and it was successfully verified, and non-zero
    /// otherwise."
    pub verify: u32,
    /// Its version, cipher suite and so on: the types `SSL_..` of [`Tlv`].
    pub details: Tlvs<'a>,
}

impl<'a> Ssl<'a> {
    /// "The client connected over SSL/TLS."
    pub const CLIENT_SSL: u8 = 0x01;
    /// "The client provided a certificate over the current connection."
    pub const CLIENT_CERT_CONN: u8 = 0x02;
    /// "The client provided a certificate at least once over the TLS session."
    pub const CLIENT_CERT_SESS: u8 = 0x04;

    /// Whether the client presented a certificate, now or earlier in its session, that the proxy
    /// has verified.
    pub fn is_client_verified(&self) -> bool {
        let certificate = self.client & (Self::CLIENT_CERT_CONN | Self::CLIENT_CERT_SESS) != 0;
        certificate && self.verify == 0
    }

    /// Appends the value of a [`Tlv::SSL`].
    ///
    /// # Errors
    ///
    /// [`Error::TlvTooLong`] for a value in `details` of over 65,535 bytes; nothing is appended.
    pub fn append_value<'b>(
        client: u8,
        verify: u32,
        details: impl IntoIterator<Item = Tlv<'b>>,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let start = out.len();
        out.append_u8(client);
        out.append_u32_be(verify);
        details.into_iter().try_for_each(|tlv| append(tlv, out)).inspect_err(|_| {
            out.truncate(start);
        })
    }

    fn parse(value: &'a [u8]) -> Result<Self, Error> {
        let mut cursor = Cursor::new(value);
        let (Ok(client), Ok(verify)) = (cursor.u8(), cursor.u32_be()) else {
            return Err(Error::SslCut);
        };
        let details = Tlvs::walk(cursor.rest()).map_err(|_| Error::SslCut)?;
        Ok(Ssl { client, verify, details })
    }
}

/// "The first byte is the Type of the vector. The second two bytes represent the length in bytes of
/// the value (not included the Type and Length bytes)".
fn take<'a>(cursor: &mut Cursor<'a>) -> Result<Tlv<'a>, Stop> {
    let kind = cursor.u8()?;
    let length = cursor.u16_be()?;
    Ok(Tlv { kind, value: cursor.bytes(usize::from(length))? })
}

pub(super) fn append(tlv: Tlv<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
    let bytes = tlv.value.len();
    let length = u16::try_from(bytes).map_err(|_| Error::TlvTooLong { bytes })?;
    out.append_u8(tlv.kind);
    out.append_u16_be(length);
    out.extend_from_slice(tlv.value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_told_apart_by_type_and_kept_in_order() {
        let bytes = b"\x01\0\x02h2\xe0\0\0\x02\0\x03a.b\x01\0\x08http/1.1";
        let tlvs = Tlvs::new(bytes).unwrap();
        let kinds: Vec<u8> = tlvs.iter().map(|tlv| tlv.kind).collect();
        assert_eq!(kinds, [Tlv::ALPN, 0xe0, Tlv::AUTHORITY, Tlv::ALPN]);
        assert_eq!(tlvs.alpn(), Some(&b"h2"[..]));
        assert_eq!(tlvs.authority(), Some(&b"a.b"[..]));
        assert_eq!(tlvs.get(0xe0), Some(&b""[..]));
        assert_eq!((tlvs.get(Tlv::NETNS), tlvs.ssl()), (None, None));
        assert_eq!(tlvs.as_bytes(), bytes);
    }

    #[test]
    fn a_value_that_is_cut_is_an_error() {
        for (bytes, offset) in
            [(&b"\x01"[..], 0), (b"\x01\0", 0), (b"\x01\0\x01", 0), (b"\x04\0\0\x04\xff\xffab", 3)]
        {
            assert_eq!(Tlvs::new(bytes), Err(Error::TlvCut { offset }));
        }
        for value in [&b""[..], b"\x01\0\0\0", b"\x01\0\0\0\0\x21", b"\x01\0\0\0\0\x21\0\x02a"] {
            let mut bytes = Vec::new();
            append(Tlv { kind: Tlv::SSL, value }, &mut bytes).unwrap();
            assert_eq!(Tlvs::new(&bytes), Err(Error::SslCut), "{value:x?}");
        }
    }

    #[test]
    fn what_is_said_of_tls_goes_both_ways() {
        let details = [
            Tlv { kind: Tlv::SSL_VERSION, value: b"TLSv1.3" },
            Tlv { kind: Tlv::SSL_CN, value: b"example.com" },
        ];
        let mut value = Vec::new();
        let client = Ssl::CLIENT_SSL | Ssl::CLIENT_CERT_CONN;
        Ssl::append_value(client, 0, details, &mut value).unwrap();
        assert_eq!(value[..15], *b"\x03\0\0\0\0\x21\0\x07TLSv1.3");
        let mut bytes = Vec::new();
        append(Tlv { kind: Tlv::SSL, value: &value }, &mut bytes).unwrap();
        let ssl = Tlvs::new(&bytes).unwrap().ssl().unwrap();
        assert_eq!((ssl.client, ssl.verify), (client, 0));
        assert_eq!(ssl.details.iter().collect::<Vec<_>>(), details);
        assert!(ssl.is_client_verified());
        // "Zero if the client presented a certificate": without one it says nothing.
        assert!(!Ssl { client: Ssl::CLIENT_SSL, ..ssl }.is_client_verified());
        assert!(!Ssl { verify: 1, ..ssl }.is_client_verified());
    }

    #[test]
    fn a_value_over_its_length_is_refused_and_nothing_is_appended() {
        let long = vec![0; 65_536];
        let mut out = b"x".to_vec();
        let refused = Err(Error::TlvTooLong { bytes: 65_536 });
        assert_eq!(append(Tlv { kind: Tlv::NOOP, value: &long }, &mut out), refused);
        let details = [Tlv { kind: 0x21, value: b"a" }, Tlv { kind: 0x22, value: &long }];
        assert_eq!(Ssl::append_value(1, 0, details, &mut out), refused);
        assert_eq!(out, b"x");
    }
}
