//! Replies, appended to an output buffer.
//!
//! The types of RESP3 are for clients that have asked for it with `HELLO 3`; what is not said to be
//! one of them is the same in both versions.

use super::number;
use crate::decimal;

/// Appends a simple string, `+OK`. CR and LF in `text` become spaces, since a line end would end
/// it.
pub fn simple(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'+');
    line(out, text);
}

/// Appends an error, `-ERR unknown command`; `text` starts with its code. CR and LF become spaces.
pub fn error(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'-');
    line(out, text);
}

/// Appends an integer, `:42`.
pub fn integer(out: &mut Vec<u8>, value: i64) {
    out.push(b':');
    number::append(value, out);
    out.extend_from_slice(b"\r\n");
}

/// Appends a bulk string: any bytes, with their length in front.
#[inline]
pub fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(HEADER_BYTES_MAX + bytes.len() + 2);
    header(out, b'$', bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// Appends the null bulk string of RESP2, `$-1`: there is no such value.
pub fn null(out: &mut Vec<u8>) {
    out.extend_from_slice(b"$-1\r\n");
}

/// Appends the null array of RESP2, `*-1`.
pub fn null_array(out: &mut Vec<u8>) {
    out.extend_from_slice(b"*-1\r\n");
}

/// Appends the head of an array; the next `len` replies are its elements.
pub fn array_header(out: &mut Vec<u8>, len: usize) {
    header(out, b'*', len);
}

/// Appends the null of RESP3, `_`, which stands for both nulls of RESP2.
pub fn null3(out: &mut Vec<u8>) {
    out.extend_from_slice(b"_\r\n");
}

/// Appends the head of a map of RESP3; the next `2 * len` replies are keys and values in turn.
/// RESP2 has an array of them instead.
pub fn map_header(out: &mut Vec<u8>, len: usize) {
    header(out, b'%', len);
}

/// Appends the head of a set of RESP3; the next `len` replies are its elements. RESP2 has an array
/// instead.
pub fn set_header(out: &mut Vec<u8>, len: usize) {
    header(out, b'~', len);
}

/// Appends a verbatim string of RESP3, `=15` and `txt:Some string`: text for people, and the format
/// that it is in. RESP2 has a bulk string instead.
pub fn verbatim(out: &mut Vec<u8>, format: [u8; 3], text: &[u8]) {
    header(out, b'=', format.len() + 1 + text.len());
    out.extend_from_slice(&format);
    out.push(b':');
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

/// The kind, a length of 64 bits, and a line end.
const HEADER_BYTES_MAX: usize = 1 + 20 + 2;

#[inline]
fn header(out: &mut Vec<u8>, kind: u8, len: usize) {
    // Most lengths are short, and then one store of known size is all it takes.
    match len {
        0..10 => out.extend_from_slice(&[kind, b'0' + len as u8, b'\r', b'\n']),
        10..100 => {
            let (ten, one) = ((len / 10) as u8, (len % 10) as u8);
            out.extend_from_slice(&[kind, b'0' + ten, b'0' + one, b'\r', b'\n']);
        }
        _ => {
            out.push(kind);
            decimal::append(len as u64, out);
            out.extend_from_slice(b"\r\n");
        }
    }
}

fn line(out: &mut Vec<u8>, text: &[u8]) {
    let start = out.len();
    out.extend_from_slice(text);
    if memchr::memchr2(b'\r', b'\n', text).is_some() {
        for byte in &mut out[start..] {
            if matches!(byte, b'\r' | b'\n') {
                *byte = b' ';
            }
        }
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_samples_of_the_protocol_document() {
        let mut out = Vec::new();
        simple(&mut out, b"OK");
        error(&mut out, b"WRONGTYPE Operation against a key holding the wrong kind of value");
        integer(&mut out, 1000);
        integer(&mut out, -1);
        bulk(&mut out, b"hello");
        bulk(&mut out, b"");
        null(&mut out);
        null_array(&mut out);
        array_header(&mut out, 0);
        array_header(&mut out, 12);
        let expected = "+OK\r\n\
            -WRONGTYPE Operation against a key holding the wrong kind of value\r\n\
            :1000\r\n:-1\r\n$5\r\nhello\r\n$0\r\n\r\n$-1\r\n*-1\r\n*0\r\n*12\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn the_types_of_resp3() {
        let mut out = Vec::new();
        map_header(&mut out, 1);
        verbatim(&mut out, *b"txt", b"Some string");
        null3(&mut out);
        set_header(&mut out, 12);
        let expected = "%1\r\n=15\r\ntxt:Some string\r\n_\r\n~12\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_line_end_in_an_error_becomes_spaces() {
        let mut out = b"\r\n".to_vec();
        error(&mut out, b"ERR unknown command 'a\r\nb\n'");
        simple(&mut out, b"a\rb");
        assert_eq!(out, b"\r\n-ERR unknown command 'a  b '\r\n+a b\r\n");
    }
}
