//! Version 2: a binary block.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Addresses, Error, Header, Tlv, Tlvs, Transport, UNIX_PATH_BYTES_MAX, Version};
use super::{crc32c, tlv};
use crate::codec::Step;
use crate::primitive::{AppendPrimitive, Cursor, Stop};

pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and transport, length.
const FIXED_BYTES: usize = 16;
const VERSION: u8 = 2;
/// What the length can say, behind the fixed bytes.
const BYTES_MAX: usize = FIXED_BYTES + u16::MAX as usize;

/// Appends a header of version 2.
///
/// With [`Addresses::Local`] and [`Addresses::Unknown`] it is the sixteen bytes without addresses:
/// a sender of a LOCAL connection "should not present any address so it sets this field to zero";
/// `tlvs` are not written then, since a receiver could not tell them from addresses. Each
/// [`Tlv::CHECKSUM`] is filled in.
///
/// # Errors
///
/// [`Error::UnixPath`], [`Error::TlvTooLong`], [`Error::ChecksumForm`] for more than one checksum,
/// [`Error::TooLong`] for over 65,551 bytes. `out` is as it was.
pub fn append_v2<'a>(
    addresses: &Addresses<'_>,
    tlvs: impl IntoIterator<Item = Tlv<'a>>,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let start = out.len();
    let written = append_addresses(addresses, out).and_then(|tell_more| {
        let start_of_tlvs = out.len() - start;
        if tell_more {
            append_tlvs(tlvs, out)?;
        }
        finish(&mut out[start..], start_of_tlvs)
    });
    written.inspect_err(|_| out.truncate(start))
}

/// Appends the block up to the end of the addresses, with a length of zero; answers whether TLVs
/// may follow.
fn append_addresses(addresses: &Addresses<'_>, out: &mut Vec<u8>) -> Result<bool, Error> {
    out.extend_from_slice(SIGNATURE);
    let command = u8::from(*addresses != Addresses::Local);
    out.append_u8(VERSION << 4 | command);
    match *addresses {
        Addresses::Local | Addresses::Unknown => {
            out.extend_from_slice(&[0, 0, 0]);
            return Ok(false);
        }
        Addresses::Ip { transport, source, destination } => {
            append_ip(transport, source, destination, out);
        }
        Addresses::Unix { transport, source, destination } => {
            out.extend_from_slice(&[Family::Unix.with(transport), 0, 0]);
            append_path(source, out)?;
            append_path(destination, out)?;
        }
    }
    Ok(true)
}

/// Appends `tlvs`, with checksums of zero.
fn append_tlvs<'a>(
    tlvs: impl IntoIterator<Item = Tlv<'a>>,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    tlvs.into_iter().try_for_each(|tlv| {
        let zeroed = if tlv.kind == Tlv::CRC32C { Tlv::CHECKSUM } else { tlv };
        tlv::append(zeroed, out)
    })
}

/// Fills in the length and the checksum of a whole header.
fn finish(block: &mut [u8], start_of_tlvs: usize) -> Result<(), Error> {
    let too_long = Error::TooLong { bytes: block.len(), max: BYTES_MAX };
    let length = u16::try_from(block.len() - FIXED_BYTES).map_err(|_| too_long)?;
    block[FIXED_BYTES - 2..FIXED_BYTES].copy_from_slice(&length.to_be_bytes());
    let tlvs = Tlvs::new(&block[start_of_tlvs..])?;
    if let Some((at, _)) = checksum_field(tlvs, start_of_tlvs)? {
        let checksum = crc32c::checksum(&[block]);
        block[at..at + 4].copy_from_slice(&checksum.to_be_bytes());
    }
    Ok(())
}

fn append_ip(transport: Transport, source: SocketAddr, target: SocketAddr, out: &mut Vec<u8>) {
    match (source.ip(), target.ip()) {
        (IpAddr::V4(first), IpAddr::V4(second)) => {
            out.extend_from_slice(&[Family::Inet.with(transport), 0, 0]);
            out.extend_from_slice(&first.octets());
            out.extend_from_slice(&second.octets());
        }
        (first, second) => {
            out.extend_from_slice(&[Family::Inet6.with(transport), 0, 0]);
            for address in [first, second] {
                let wide = match address {
                    IpAddr::V4(address) => address.to_ipv6_mapped(),
                    IpAddr::V6(address) => address,
                };
                out.extend_from_slice(&wide.octets());
            }
        }
    }
    out.append_u16_be(source.port());
    out.append_u16_be(target.port());
}

fn append_path(path: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let mut field = [0; UNIX_PATH_BYTES_MAX];
    field.get_mut(..path.len()).ok_or(Error::UnixPath)?.copy_from_slice(path);
    if unpadded(&field) != path {
        return Err(Error::UnixPath);
    }
    out.extend_from_slice(&field);
    Ok(())
}

/// Decodes an input that starts with as much of the signature as there is.
pub(super) fn decode(input: &[u8], max: usize) -> Result<Step<Header<'_>>, Error> {
    let fixed = &input[SIGNATURE.len().min(input.len())..];
    let local = fixed.first().map(|&byte| is_local(byte)).transpose()?;
    // The family of a LOCAL header "is ignored".
    let kind = match fixed.get(1) {
        Some(&byte) if local == Some(false) => kind(byte)?,
        _ => None,
    };
    let Some(&[high, low]) = fixed.get(2..4) else {
        // One by one: each of these bytes can be wrong.
        return Ok(Step::need(1));
    };
    let bytes = FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
    if bytes > max {
        return Err(Error::TooLong { bytes, max });
    }
    // "The receiver must not start to parse an address before the whole address block is received."
    let Some(header) = input.get(..bytes) else {
        return Ok(Step::need(bytes - input.len()));
    };
    let (addresses, tlvs) = match (local, kind) {
        (Some(true), _) => (Addresses::Local, Tlvs::EMPTY),
        (_, None) => (Addresses::Unknown, Tlvs::EMPTY),
        (_, Some((family, transport))) => relayed(header, family, transport)?,
    };
    let frame = Header { version: Version::Two, addresses, tlvs };
    Ok(Step::Frame { frame, used: bytes })
}

/// Reads "the protocol version and command".
fn is_local(byte: u8) -> Result<bool, Error> {
    // "It must always be sent as \x2 and the receiver must only accept this value."
    if byte >> 4 != VERSION {
        return Err(Error::BinaryVersion(byte >> 4));
    }
    match byte & 0x0f {
        0 => Ok(true),
        1 => Ok(false),
        // "Receivers must drop connections presenting unexpected values here."
        command => Err(Error::Command(command)),
    }
}

#[derive(Debug, Clone, Copy)]
enum Family {
    Inet = 1,
    Inet6 = 2,
    Unix = 3,
}

impl Family {
    /// Both in the 14th byte.
    fn with(self, transport: Transport) -> u8 {
        let transport = match transport {
            Transport::Stream => 1,
            Transport::Datagram => 2,
        };
        (self as u8) << 4 | transport
    }

    fn address_bytes(self) -> usize {
        match self {
            Family::Inet => 2 * (4 + 2),
            Family::Inet6 => 2 * (16 + 2),
            Family::Unix => 2 * UNIX_PATH_BYTES_MAX,
        }
    }
}

/// Reads "the transport protocol and address family"; none where either is unspecified.
fn kind(byte: u8) -> Result<Option<(Family, Transport)>, Error> {
    // "Other values are unspecified [..] and must be rejected as invalid by receivers."
    let family = match byte >> 4 {
        0 => None,
        1 => Some(Family::Inet),
        2 => Some(Family::Inet6),
        3 => Some(Family::Unix),
        family => return Err(Error::Family(family)),
    };
    let transport = match byte & 0x0f {
        0 => None,
        1 => Some(Transport::Stream),
        2 => Some(Transport::Datagram),
        transport => return Err(Error::Transport(transport)),
    };
    Ok(family.zip(transport))
}

fn relayed(
    header: &[u8],
    family: Family,
    transport: Transport,
) -> Result<(Addresses<'_>, Tlvs<'_>), Error> {
    let mut cursor = Cursor::new(&header[FIXED_BYTES..]);
    let addresses = addresses(&mut cursor, family, transport).map_err(|_| {
        let bytes = header.len() - FIXED_BYTES;
        Error::AddressesCut { bytes, needed: family.address_bytes() }
    })?;
    let tlvs = Tlvs::new(cursor.rest())?;
    if let Some((at, found)) = checksum_field(tlvs, FIXED_BYTES + cursor.used())? {
        verify(header, at, found)?;
    }
    Ok((addresses, tlvs))
}

fn addresses<'a>(
    cursor: &mut Cursor<'a>,
    family: Family,
    transport: Transport,
) -> Result<Addresses<'a>, Stop> {
    let (source, destination): (IpAddr, IpAddr) = match family {
        Family::Inet => {
            let (source, destination) = (cursor.array::<4>()?, cursor.array::<4>()?);
            (Ipv4Addr::from(source).into(), Ipv4Addr::from(destination).into())
        }
        Family::Inet6 => {
            let (source, destination) = (cursor.array::<16>()?, cursor.array::<16>()?);
            (Ipv6Addr::from(source).into(), Ipv6Addr::from(destination).into())
        }
        Family::Unix => {
            let source = unpadded(cursor.bytes(UNIX_PATH_BYTES_MAX)?);
            let destination = unpadded(cursor.bytes(UNIX_PATH_BYTES_MAX)?);
            return Ok(Addresses::Unix { transport, source, destination });
        }
    };
    let source = SocketAddr::new(source, cursor.u16_be()?);
    let destination = SocketAddr::new(destination, cursor.u16_be()?);
    Ok(Addresses::Ip { transport, source, destination })
}

/// A path without what it is padded with.
fn unpadded(field: &[u8]) -> &[u8] {
    let end = match field.first() {
        // Zero bytes may be part of an abstract name.
        Some(0) => field.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1),
        _ => field.iter().position(|&byte| byte == 0).unwrap_or(field.len()),
    };
    &field[..end]
}

/// "If the checksum is provided [..] the receiver MUST: [..] replace the 32 bits of the checksum
/// field in the received PROXY header with all '0's and calculate a CRC32c checksum value of the
/// whole PROXY header."
fn verify(header: &[u8], at: usize, found: u32) -> Result<(), Error> {
    let computed = crc32c::checksum(&[&header[..at], &[0; 4], &header[at + 4..]]);
    if found != computed {
        return Err(Error::Checksum { found, computed });
    }
    Ok(())
}

/// Where in the header the checksum is, and what it is.
fn checksum_field(tlvs: Tlvs<'_>, start_of_tlvs: usize) -> Result<Option<(usize, u32)>, Error> {
    let (mut end, mut field) = (start_of_tlvs, None);
    for tlv in tlvs.iter() {
        end += 3 + tlv.value.len();
        if tlv.kind == Tlv::CRC32C {
            let value = tlv.value.try_into().map_err(|_| Error::ChecksumForm)?;
            if field.replace((end - 4, u32::from_be_bytes(value))).is_some() {
                return Err(Error::ChecksumForm);
            }
        }
    }
    Ok(field)
}

#[cfg(test)]
mod tests;
