//! CRC32c, "as described in RFC 4960, Appendix B": the Castagnoli polynomial, bits reflected.

const POLYNOMIAL: u32 = 0x82f6_3b78;
const TABLE: [u32; 256] = table();

/// The checksum of all `parts`, one behind the other.
pub(super) fn checksum(parts: &[&[u8]]) -> u32 {
    let step = |crc: u32, &byte: &u8| TABLE[usize::from(crc as u8 ^ byte)] ^ (crc >> 8);
    !parts.iter().copied().flatten().fold(u32::MAX, step)
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < table.len() {
        let (mut crc, mut bit) = (index as u32, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::checksum;

    #[test]
    fn the_vectors_of_rfc_3720_hold() {
        // RFC 3720, appendix B.4, there as bytes in the order of transmission.
        assert_eq!(checksum(&[&[0; 32]]), 0x8a91_36aa);
        assert_eq!(checksum(&[&[0xff; 32]]), 0x62a8_ab43);
        let up: Vec<u8> = (0..32).collect();
        assert_eq!(checksum(&[&up]), 0x46dd_794e);
        let down: Vec<u8> = (0..32).rev().collect();
        assert_eq!(checksum(&[&down]), 0x113f_db5c);
        assert_eq!(checksum(&[b"1234", b"", b"56789"]), 0xe306_9283);
    }
}
