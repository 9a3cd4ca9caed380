//! Numbers in decimal, appended without allocating a string.

/// Appends `value`.
pub(crate) fn append(mut value: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appends_what_the_standard_library_prints() {
        for value in [0, 7, 10, 99, 100, 65_535, u64::MAX] {
            let mut out = Vec::new();
            append(value, &mut out);
            assert_eq!(out, value.to_string().as_bytes());
        }
    }
}
