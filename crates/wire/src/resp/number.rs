//! Decimal numbers as redis-server reads and writes them.

use crate::decimal;

/// The longest number in decimal: 19 digits and a sign, or 20 digits.
const DIGITS_MAX: usize = 20;

/// A canonical number: no `+`, no leading zero, no spaces, no `-0`, within 64 bits.
pub(super) fn parse(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if text == b"0" {
        return Some(0);
    }
    if digits.len() > DIGITS_MAX || !matches!(digits.first(), Some(b'1'..=b'9')) {
        return None;
    }
    let mut magnitude: u64 = 0;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        magnitude = magnitude.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
    }
    if negative { 0i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

/// What `bytes` start with, if that is `kind`, a canonical number of at most 9 digits, CR and a
/// byte: the number, and the length of all. `None` says nothing; ask [`parse`].
///
/// One byte more has to be there if the number has one digit.
#[inline]
pub(super) fn short_line(kind: u8, bytes: &[u8]) -> Option<(usize, usize)> {
    let digit = |byte: u8| usize::from(byte.wrapping_sub(b'0'));
    let &[first, ten, one, end, _] = bytes.first_chunk()?;
    if first != kind || digit(ten) > 9 {
        return None;
    }
    if one == b'\r' {
        return Some((digit(ten), 4));
    }
    // A zero in front of another digit is left to `parse` to refuse.
    if digit(one) > 9 || ten == b'0' {
        return None;
    }
    if end == b'\r' { Some((10 * digit(ten) + digit(one), 5)) } else { longer_line(bytes) }
}

/// As [`short_line`], for what starts with two digits.
fn longer_line(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (index, &byte) in bytes.iter().enumerate().take(11).skip(1) {
        if !byte.is_ascii_digit() {
            let whole = byte == b'\r' && bytes.len() >= index + 2;
            return whole.then_some((value, index + 2));
        }
        value = value * 10 + usize::from(byte - b'0');
    }
    None
}

/// Appends `value` in decimal.
pub(super) fn append(value: i64, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    decimal::append(value.unsigned_abs(), out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_numbers_are_numbers() {
        for value in [0, 1, -1, 10, 1_000_000_007, i64::MAX, i64::MIN] {
            assert_eq!(parse(value.to_string().as_bytes()), Some(value));
        }
        let none = "|-|+1|01|-0|-01|00| 1|1 |1a|a|9223372036854775808|-9223372036854775809|\
                    18446744073709551616|100000000000000000000|--1|0x1|1.0";
        for text in none.split('|') {
            assert_eq!(parse(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn the_short_path_agrees_with_the_long_one() {
        let short = |text: &str| short_line(b'$', text.as_bytes());
        assert_eq!(short("$0\r\nx"), Some((0, 4)));
        assert_eq!(short("$64\r\n"), Some((64, 5)));
        assert_eq!(short("$100\r\n"), Some((100, 6)));
        assert_eq!(short("$123456789\r\nx"), Some((123_456_789, 12)));
        assert_eq!(short("$10\rx"), Some((10, 5)));
        let none = "|\r\n|1|1\r|1\n|12|12\r|123|123\r|01\r\n|00\r\n|012\r\n|-1\r\n|1a\r\n|12a\r\n|\
                    12:\r\n|/2\r\n|1234567890\r\n";
        for text in none.split('|') {
            assert_eq!(short(&format!("${text}")), None, "{text:?}");
        }
        assert_eq!(short("*1\r\n$"), None);
    }

    #[test]
    fn appends_what_the_standard_library_prints() {
        for value in [0, 7, 10, 99, 100, -1, i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            append(value, &mut out);
            assert_eq!(out, value.to_string().as_bytes());
        }
    }
}
