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

/// A canonical number of at most 9 digits and the CR and byte that end it, if `bytes` starts with
/// that: the value and the length with both. `None` says nothing; ask [`parse`].
#[inline]
pub(super) fn short_line(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (index, &byte) in bytes.iter().take(10).enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit < 10 {
            // A zero in front of another digit is left to `parse` to refuse.
            if index > 0 && value == 0 {
                return None;
            }
            value = value * 10 + usize::from(digit);
        } else {
            let whole = byte == b'\r' && index > 0 && bytes.len() >= index + 2;
            return whole.then_some((value, index + 2));
        }
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
        assert_eq!(short_line(b"0\r\n"), Some((0, 3)));
        assert_eq!(short_line(b"123456789\r\nx"), Some((123_456_789, 11)));
        assert_eq!(short_line(b"10\rx"), Some((10, 4)));
        for text in ["", "\r\n", "1", "1\r", "1\n", "01\r\n", "00\r\n", "-1\r\n", "1234567890\r\n"]
        {
            assert_eq!(short_line(text.as_bytes()), None, "{text:?}");
        }
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
