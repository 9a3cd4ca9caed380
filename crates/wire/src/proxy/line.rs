//! Version 1: one line of text.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::str::FromStr;

use memchr::memmem;

use super::{Addresses, Error, Header, LINE_BYTES_MAX, Part, Tlvs, Transport, Version};
use crate::codec::Step;
use crate::decimal;

pub(super) const SIGNATURE: &[u8] = b"PROXY";
const END: &[u8] = b"\r\n";

/// Appends a header of version 1.
///
/// Only TCP over IPv4 and IPv6 has a form in it: "other, unsupported, or unknown protocols must be
/// reported with the name UNKNOWN". So are local connections, which version 1 does not know.
pub fn append_v1(addresses: &Addresses<'_>, out: &mut Vec<u8>) {
    let Addresses::Ip { transport: Transport::Stream, source, destination } = addresses else {
        out.extend_from_slice(b"PROXY UNKNOWN\r\n");
        return;
    };
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            out.extend_from_slice(format!("PROXY TCP4 {source} {destination} ").as_bytes());
        }
        (source, destination) => {
            let (source, destination) = (hexadecimal(source), hexadecimal(destination));
            out.extend_from_slice(format!("PROXY TCP6 {source} {destination} ").as_bytes());
        }
    }
    decimal::append(u64::from(source.port()), out);
    out.push(b' ');
    decimal::append(u64::from(destination.port()), out);
    out.extend_from_slice(END);
}

/// "IPv6 addresses must be indicated as series of sets of 4 hexadecimal digits [..] delimited by
/// colons": without the dots that mapped addresses are otherwise shown with.
fn hexadecimal(address: IpAddr) -> String {
    let address = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] => format!("::ffff:{high:x}:{low:x}"),
        _ => address.to_string(),
    }
}

/// Decodes an input that starts with as much of the signature as there is.
pub(super) fn decode(input: &[u8]) -> Result<Step<Header<'_>>, Error> {
    // "The receiver must wait for the CRLF sequence before starting to decode the addresses" and
    // "must not tolerate a single CR or LF character to end the line".
    let window = &input[..input.len().min(LINE_BYTES_MAX)];
    let Some(end) = memmem::find(window, END) else {
        // "If the CRLF sequence is not found in the first 107 characters, the receiver should
        // declare the line invalid."
        let whole = window.len() == LINE_BYTES_MAX;
        return if whole { Err(Error::LineTooLong) } else { Ok(Step::need(1)) };
    };
    let addresses = addresses(&window[SIGNATURE.len()..end])?;
    let frame = Header { version: Version::One, addresses, tlvs: Tlvs::EMPTY };
    Ok(Step::Frame { frame, used: end + END.len() })
}

/// Reads what is between the signature and the CRLF: each part with "exactly one space" in front.
fn addresses(parts: &[u8]) -> Result<Addresses<'static>, Error> {
    let mut parts = parts.split(|&byte| byte == b' ');
    // Nothing stands between the signature and the first space.
    let protocol = match (parts.next(), parts.next()) {
        (Some(b""), Some(protocol)) => protocol,
        _ => return Err(Error::Line(Part::Protocol)),
    };
    let mut next = || parts.next().unwrap_or_default();
    let (source, destination) = match protocol {
        // "For UNKNOWN, [..] the receiver must ignore anything presented before the CRLF is found."
        b"UNKNOWN" => return Ok(Addresses::Unknown),
        b"TCP4" => (
            address::<Ipv4Addr>(next(), Part::Source)?,
            address::<Ipv4Addr>(next(), Part::Destination)?,
        ),
        b"TCP6" => (
            address::<Ipv6Addr>(next(), Part::Source)?,
            address::<Ipv6Addr>(next(), Part::Destination)?,
        ),
        _ => return Err(Error::Line(Part::Protocol)),
    };
    let source = SocketAddr::new(source, port(next(), Part::SourcePort)?);
    let destination = SocketAddr::new(destination, port(next(), Part::DestinationPort)?);
    if parts.next().is_some() {
        return Err(Error::Line(Part::End));
    }
    Ok(Addresses::Ip { transport: Transport::Stream, source, destination })
}

/// As the standard library reads them: without leading zeros in IPv4; in IPv6 with the last 32 bits
/// in dots if they are, since many senders print mapped addresses so.
fn address<A: FromStr + Into<IpAddr>>(text: &[u8], part: Part) -> Result<IpAddr, Error> {
    let address = str::from_utf8(text).ok().and_then(|text| text.parse::<A>().ok());
    Ok(address.ok_or(Error::Line(part))?.into())
}

/// "A decimal integer in the range [0..65535] inclusive. Heading zeroes are not permitted".
fn port(text: &[u8], part: Part) -> Result<u16, Error> {
    let error = Error::Line(part);
    let heading_zero = text.len() > 1 && text[0] == b'0';
    if heading_zero || !text.iter().all(u8::is_ascii_digit) {
        return Err(error);
    }
    str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(line: &str) -> Result<Addresses<'_>, Error> {
        match decode(line.as_bytes())? {
            Step::Frame { frame, used } => {
                assert_eq!(used, line.len());
                assert_eq!((frame.version, frame.tlvs.iter().count()), (Version::One, 0));
                Ok(frame.addresses)
            }
            Step::Need(bytes) => panic!("needs {bytes} more of {line:?}"),
        }
    }

    fn tcp(source: &str, destination: &str) -> Addresses<'static> {
        let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
        Addresses::Ip { transport: Transport::Stream, source, destination }
    }

    #[test]
    fn the_lines_of_the_specification_are_read() {
        let line = "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n";
        assert_eq!(whole(line), Ok(tcp("192.168.0.1:56324", "192.168.0.11:443")));
        let line = "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n";
        assert_eq!(line.len(), 56);
        assert_eq!(whole(line), Ok(tcp("255.255.255.255:65535", "255.255.255.255:65535")));
        let ones = ["ffff"; 8].join(":");
        let line = format!("PROXY TCP6 {ones} {ones} 65535 65535\r\n");
        assert_eq!(line.len(), 104);
        let address = format!("[{ones}]:65535");
        assert_eq!(whole(&line), Ok(tcp(&address, &address)));
        let line = format!("PROXY UNKNOWN {ones} {ones} 65535 65535\r\n");
        assert_eq!(line.len(), LINE_BYTES_MAX);
        assert_eq!(whole(&line), Ok(Addresses::Unknown));
        assert_eq!(whole("PROXY UNKNOWN\r\n"), Ok(Addresses::Unknown));
        assert_eq!(whole("PROXY UNKNOWN \n \r \0\r\n"), Ok(Addresses::Unknown));
        let line = "PROXY TCP6 2001:DB8::1 ::ffff:1.2.3.4 0 1\r\n";
        assert_eq!(whole(line), Ok(tcp("[2001:db8::1]:0", "[::ffff:1.2.3.4]:1")));
    }

    #[test]
    fn what_does_not_match_exactly_is_refused() {
        let cases = [
            ("PROXYTCP4 1.2.3.4 1.2.3.4 1 2\r\n", Part::Protocol),
            ("PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n", Part::Protocol),
            ("PROXY\r\n", Part::Protocol),
            ("PROXY \r\n", Part::Protocol),
            ("PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n", Part::Protocol),
            ("PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n", Part::Protocol),
            ("PROXY UNKNOWNS\r\n", Part::Protocol),
            ("PROXY TCP4\r\n", Part::Source),
            ("PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n", Part::Source),
            ("PROXY TCP4 01.2.3.4 1.2.3.4 1 2\r\n", Part::Source),
            ("PROXY TCP4 256.2.3.4 1.2.3.4 1 2\r\n", Part::Source),
            ("PROXY TCP4 ::1 ::1 1 2\r\n", Part::Source),
            ("PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n", Part::Source),
            ("PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n", Part::Destination),
            ("PROXY TCP6 ::1 ::1%eth0 1 2\r\n", Part::Destination),
            ("PROXY TCP6 ::1 1:2:3:4:5:6:7:8:9 1 2\r\n", Part::Destination),
            ("PROXY TCP4 1.2.3.4 1.2.3.4\r\n", Part::SourcePort),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n", Part::SourcePort),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n", Part::SourcePort),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n", Part::DestinationPort),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n\r\n", Part::DestinationPort),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n", Part::End),
        ];
        for (line, part) in cases {
            assert_eq!(whole(line), Err(Error::Line(part)), "{line:?}");
        }
    }

    #[test]
    fn a_line_needs_its_crlf_within_107_bytes() {
        let line = format!("PROXY UNKNOWN {}\r\n", " ".repeat(92));
        assert_eq!(line.len(), 108);
        assert_eq!(decode(&line.as_bytes()[..106]), Ok(Step::need(1)));
        assert_eq!(decode(&line.as_bytes()[..107]), Err(Error::LineTooLong));
        assert_eq!(decode(line.as_bytes()), Err(Error::LineTooLong));
        assert_eq!(decode(b"PROXY UNKNOWN\n"), Ok(Step::need(1)));
        assert_eq!(decode(b"PROXY UNKNOWN\r"), Ok(Step::need(1)));
    }

    #[test]
    fn lines_are_written_as_they_are_read() {
        let cases = [
            (tcp("1.2.3.4:0", "5.6.7.8:65535"), "PROXY TCP4 1.2.3.4 5.6.7.8 0 65535\r\n"),
            (tcp("[::1]:1", "[2001:db8::]:2"), "PROXY TCP6 ::1 2001:db8:: 1 2\r\n"),
            (tcp("1.2.3.4:1", "[::1]:2"), "PROXY TCP6 ::ffff:102:304 ::1 1 2\r\n"),
            (Addresses::Unknown, "PROXY UNKNOWN\r\n"),
            (Addresses::Local, "PROXY UNKNOWN\r\n"),
        ];
        for (addresses, line) in cases {
            let mut out = b"x".to_vec();
            append_v1(&addresses, &mut out);
            assert_eq!(out[1..].escape_ascii().to_string(), line.escape_default().to_string());
            assert!(whole(line).is_ok());
        }
        let udp = Addresses::Ip {
            transport: Transport::Datagram,
            source: "1.2.3.4:1".parse().unwrap(),
            destination: "1.2.3.4:2".parse().unwrap(),
        };
        let mut out = Vec::new();
        append_v1(&udp, &mut out);
        assert_eq!(out, b"PROXY UNKNOWN\r\n");
    }
}
