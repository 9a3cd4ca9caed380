//! The PROXY protocol.

use super::feed::{Subject, check};
use super::targets::settings;
use crate::codec::{Decode, Step};
use crate::proxy::{
    Addresses, Error, Header, HeaderDecoder, Ssl, Tlv, Version, append_v1, append_v2,
};

struct Headers {
    only: Option<Version>,
    max: usize,
}

impl Subject for Headers {
    type Decoder = HeaderDecoder;

    fn decoder(&self) -> HeaderDecoder {
        let decoder = HeaderDecoder::new().max(self.max);
        match self.only {
            Some(version) => decoder.only(version),
            None => decoder,
        }
    }

    /// What it says, and how it is written.
    fn record(&self, header: Header<'_>, frames: &mut Vec<Vec<u8>>) {
        frames.push(format!("{header:?}").into_bytes());
        let mut out = Vec::new();
        append(&header, &mut out).expect("what was read can be written");
        frames.push(out);
    }

    /// There is one.
    fn ended(&self, frames: &[Vec<u8>]) -> bool {
        !frames.is_empty()
    }
}

fn append(header: &Header<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
    match header.version {
        Version::One => append_v1(&header.addresses, out),
        Version::Two => append_v2(&header.addresses, header.tlvs.iter(), out)?,
    }
    Ok(())
}

/// [`HeaderDecoder`], of both versions and of one; and TLVs, in a header that is sound otherwise.
pub fn proxy(bytes: &[u8]) {
    let ([choice, max], bytes) = settings(bytes);
    let only = [None, None, Some(Version::One), Some(Version::Two)][usize::from(choice % 4)];
    let max = if max == 0 { usize::MAX } else { usize::from(max) };
    let headers = Headers { only, max };
    header(&headers, bytes);
    let length = u16::try_from(12 + bytes.len()).unwrap_or(u16::MAX).to_be_bytes();
    header(&headers, &[b"\r\n\r\n\0\r\nQUIT\n\x21\x11", &length[..], &[1; 12], bytes].concat());
}

fn header(headers: &Headers, bytes: &[u8]) {
    let outcome = check(headers, bytes);
    let [_, written] = &outcome.frames[..] else {
        assert!(outcome.frames.is_empty());
        return;
    };
    let mut input = bytes.to_vec();
    let mut decoder = headers.decoder();
    let Ok(Step::Frame { frame, used }) = decoder.decode(&mut input) else {
        panic!("it was a header before");
    };
    assert_eq!(outcome.rest, Ok(bytes.len() - used));
    tlvs(&frame);
    let mut again = written.clone();
    let mut decoder = HeaderDecoder::new().max(usize::MAX);
    match decoder.decode(&mut again) {
        Ok(Step::Frame { frame: second, used: length }) => {
            assert_eq!(length, written.len());
            assert_eq!((second.version, second.addresses), (frame.version, frame.addresses));
            let kinds = |header: &Header<'_>| -> Vec<u8> {
                header.tlvs.iter().map(|tlv| tlv.kind).collect()
            };
            assert_eq!(kinds(&second), kinds(&frame));
        }
        other => panic!("{other:?} of {}", written.escape_ascii()),
    }
    // With addresses and ports there is one form only.
    if frame.version == Version::Two && matches!(frame.addresses, Addresses::Ip { .. }) {
        assert_eq!(bytes[..used], written[..]);
    }
}

fn tlvs(header: &Header<'_>) {
    let tlvs = header.tlvs;
    let bytes: usize = tlvs.iter().map(|tlv| 3 + tlv.value.len()).sum();
    assert_eq!(bytes, tlvs.as_bytes().len());
    if let Some(ssl) = tlvs.ssl() {
        let mut value = Vec::new();
        Ssl::append_value(ssl.client, ssl.verify, ssl.details.iter(), &mut value)
            .expect("what was read can be written");
        assert_eq!(Some(&value[..]), tlvs.get(Tlv::SSL));
    }
}
