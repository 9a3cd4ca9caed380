use super::*;
use crate::proxy::{HEADER_BYTES_MAX, Ssl};

/// Signature, version and command, family and transport, length, and the rest.
fn block(command: u8, kind: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, kind], &length, rest].concat()
}

fn whole(block: &[u8]) -> Result<Header<'_>, Error> {
    match decode(block, HEADER_BYTES_MAX)? {
        Step::Frame { frame, used } => {
            assert_eq!(used, block.len());
            Ok(frame)
        }
        Step::Need(bytes) => panic!("needs {bytes} more of {block:x?}"),
    }
}

fn ip(transport: Transport, source: &str, destination: &str) -> Addresses<'static> {
    let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
    Addresses::Ip { transport, source, destination }
}

const INET: &[u8] = &[192, 168, 0, 1, 192, 168, 0, 11, 0xdc, 0x04, 0x01, 0xbb];

#[test]
fn each_family_goes_both_ways() {
    let stream = ip(Transport::Stream, "192.168.0.1:56324", "192.168.0.11:443");
    let datagram = ip(Transport::Datagram, "192.168.0.1:56324", "192.168.0.11:443");
    let inet6 = [
        0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0xff, 0xff, 1, 2, 3, 4, 0, 1, 0xff, 0xff,
    ];
    let wide = ip(Transport::Stream, "[2001:db8::1]:1", "[::ffff:1.2.3.4]:65535");
    let mut paths = [0; 216];
    paths[..4].copy_from_slice(b"/a.s");
    paths[108..112].copy_from_slice(b"\0b\0c");
    let unix = |transport| Addresses::Unix { transport, source: b"/a.s", destination: b"\0b\0c" };
    let cases = [
        (stream, block(0x21, 0x11, INET)),
        (datagram, block(0x21, 0x12, INET)),
        (wide, block(0x21, 0x21, &inet6)),
        (unix(Transport::Stream), block(0x21, 0x31, &paths)),
        (unix(Transport::Datagram), block(0x21, 0x32, &paths)),
        (Addresses::Unknown, block(0x21, 0x00, b"")),
        (Addresses::Local, block(0x20, 0x00, b"")),
    ];
    for (addresses, bytes) in cases {
        let header = whole(&bytes).unwrap();
        assert_eq!(header.addresses, addresses);
        assert_eq!((header.version, header.tlvs), (Version::Two, Tlvs::EMPTY));
        let mut out = b"x".to_vec();
        append_v2(&addresses, [], &mut out).unwrap();
        assert_eq!(out[1..], bytes, "{addresses:?}");
    }
}

#[test]
fn a_mixed_pair_is_written_in_ipv6() {
    let mut out = Vec::new();
    append_v2(&ip(Transport::Datagram, "1.2.3.4:5", "[::1]:6"), [], &mut out).unwrap();
    let mapped = ip(Transport::Datagram, "[::ffff:1.2.3.4]:5", "[::1]:6");
    assert_eq!(whole(&out).unwrap().addresses, mapped);
}

#[test]
fn addresses_of_local_and_unspecified_headers_are_skipped() {
    for (command, kind, addresses) in [
        (0x20, 0x11, Addresses::Local),
        (0x20, 0xff, Addresses::Local),
        (0x21, 0x00, Addresses::Unknown),
        (0x21, 0x01, Addresses::Unknown),
        (0x21, 0x10, Addresses::Unknown),
    ] {
        let header = block(command, kind, b"\x01\xff\xff whatever it is");
        let header = whole(&header).unwrap();
        assert_eq!((header.addresses, header.tlvs), (addresses, Tlvs::EMPTY));
    }
}

#[test]
fn it_asks_for_the_length_byte_by_byte_and_then_for_all() {
    let bytes = block(0x21, 0x11, INET);
    for end in SIGNATURE.len()..FIXED_BYTES {
        assert_eq!(decode(&bytes[..end], 100), Ok(Step::need(1)));
    }
    for end in FIXED_BYTES..bytes.len() {
        assert_eq!(decode(&bytes[..end], 100), Ok(Step::need(bytes.len() - end)));
    }
    let longer = [&bytes[..], b"GET /"].concat();
    assert!(matches!(decode(&longer, 100), Ok(Step::Frame { used: 28, .. })));
}

#[test]
fn each_wrong_byte_is_told_as_soon_as_it_comes() {
    let cases = [
        (0x11, 0x11, 13, Error::BinaryVersion(1)),
        (0x31, 0x11, 13, Error::BinaryVersion(3)),
        (0x22, 0x11, 13, Error::Command(2)),
        (0x21, 0x41, 14, Error::Family(4)),
        (0x21, 0x13, 14, Error::Transport(3)),
    ];
    for (command, kind, end, error) in cases {
        let bytes = block(command, kind, INET);
        assert_eq!(decode(&bytes[..end - 1], 100), Ok(Step::need(1)));
        assert_eq!(decode(&bytes[..end], 100), Err(error));
        assert_eq!(decode(&bytes, 100), Err(error));
    }
}

#[test]
fn the_limit_holds_before_the_addresses_have_come() {
    let bytes = block(0x21, 0x11, &[0; 65_535]);
    let error = Error::TooLong { bytes: 65_551, max: 4096 };
    assert_eq!(decode(&bytes[..16], HEADER_BYTES_MAX), Err(error));
    assert_eq!(decode(&bytes[..16], 65_551), Ok(Step::need(65_535)));
    assert_eq!(decode(&block(0x20, 0, b"")[..], 15), Err(Error::TooLong { bytes: 16, max: 15 }));
}

#[test]
fn addresses_that_are_cut_are_an_error() {
    for (kind, needed) in [(0x11, 12), (0x22, 36), (0x31, 216)] {
        let bytes = block(0x21, kind, &vec![1; needed - 1]);
        assert_eq!(whole(&bytes), Err(Error::AddressesCut { bytes: needed - 1, needed }));
    }
}

#[test]
fn the_values_behind_the_addresses_are_found_and_the_checksum_is_checked() {
    let mut ssl = Vec::new();
    Ssl::append_value(Ssl::CLIENT_SSL, 1, [], &mut ssl).unwrap();
    let tlvs = [
        Tlv { kind: Tlv::ALPN, value: b"h2" },
        Tlv::CHECKSUM,
        Tlv { kind: Tlv::AUTHORITY, value: b"example.org" },
        Tlv { kind: Tlv::SSL, value: &ssl },
    ];
    let mut out = b"x".to_vec();
    append_v2(&ip(Transport::Stream, "1.2.3.4:5", "6.7.8.9:10"), tlvs, &mut out).unwrap();
    let mut bytes = out.split_off(1);
    let header = whole(&bytes).unwrap();
    assert_eq!(header.tlvs.alpn(), Some(&b"h2"[..]));
    assert_eq!(header.tlvs.authority(), Some(&b"example.org"[..]));
    assert_eq!(header.tlvs.ssl().map(|ssl| (ssl.client, ssl.verify)), Some((1, 1)));
    assert_ne!(header.tlvs.get(Tlv::CRC32C), Some(&[0; 4][..]));
    // Any bit behind the length, changed, is noticed, but for the type of the checksum itself.
    let kind = FIXED_BYTES + INET.len() + 5;
    assert_eq!(bytes[kind], Tlv::CRC32C);
    for bit in (8 * FIXED_BYTES..8 * bytes.len()).filter(|bit| bit / 8 != kind) {
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(whole(&bytes).is_err(), "bit {bit}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    bytes[16] = 2;
    assert!(matches!(whole(&bytes), Err(Error::Checksum { .. })));
}

#[test]
fn the_checksum_is_of_all_bytes_with_a_field_of_zeros() {
    let mut bytes = block(0x21, 0x11, &[INET, b"\x03\0\x04\0\0\0\0"].concat());
    let checksum = crc32c::checksum(&[&bytes]);
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&checksum.to_be_bytes());
    assert!(whole(&bytes).is_ok());
    let mut out = Vec::new();
    let client = ip(Transport::Stream, "192.168.0.1:56324", "192.168.0.11:443");
    append_v2(&client, [Tlv::CHECKSUM], &mut out).unwrap();
    assert_eq!(out, bytes);
}

#[test]
fn a_checksum_has_one_form() {
    for tlvs in [&b"\x03\0\x03abc"[..], b"\x03\0\x05abcde", b"\x03\0\x04abcd\x03\0\x04abcd"] {
        let bytes = block(0x21, 0x11, &[INET, tlvs].concat());
        assert_eq!(whole(&bytes), Err(Error::ChecksumForm));
    }
}

#[test]
fn what_cannot_be_written_leaves_the_output_alone() {
    let client = ip(Transport::Stream, "1.2.3.4:5", "6.7.8.9:10");
    let mut out = b"x".to_vec();
    let long = vec![0; 65_535];
    let padding = Tlv { kind: Tlv::NOOP, value: &long };
    let error = Error::TooLong { bytes: 28 + 3 + 65_535, max: 65_551 };
    assert_eq!(append_v2(&client, [padding], &mut out), Err(error));
    let twice = [Tlv::CHECKSUM, Tlv::CHECKSUM];
    assert_eq!(append_v2(&client, twice, &mut out), Err(Error::ChecksumForm));
    let short = Tlv { kind: Tlv::SSL, value: b"\x01" };
    assert_eq!(append_v2(&client, [short], &mut out), Err(Error::SslCut));
    let longest = [7; 108];
    for path in [&[7; 109][..], b"a\0", b"a\0b", b"\0a\0", b"\0"] {
        let unix =
            Addresses::Unix { transport: Transport::Stream, source: &longest, destination: path };
        assert_eq!(append_v2(&unix, [], &mut out), Err(Error::UnixPath), "{path:x?}");
    }
    assert_eq!(out, b"x");
    let unix = Addresses::Unix { transport: Transport::Stream, source: b"", destination: &longest };
    append_v2(&unix, [], &mut out).unwrap();
    assert_eq!(whole(&out[1..]).unwrap().addresses, unix);
}
