use super::date::imf_fixdate;
use super::fields::{is_token, is_value};
use crate::decimal;

/// Appends the head of a response, part by part.
///
/// ```
/// use mainspring_wire::http1::ResponseHead;
///
/// let mut out = Vec::new();
/// ResponseHead::new(&mut out, 200).field("content-type", b"text/plain").body(b"hello\n");
/// assert_eq!(out, b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 6\r\n\r\nhello\n");
/// ```
#[derive(Debug)]
#[must_use = "a head ends with `end` or `body`"]
pub struct ResponseHead<'a> {
    out: &'a mut Vec<u8>,
    status: u16,
}

impl<'a> ResponseHead<'a> {
    /// Appends the status line. Reason phrases are those of RFC 9110; other codes have an empty
    /// one.
    ///
    /// # Panics
    ///
    /// When `status` does not have three digits.
    pub fn new(out: &'a mut Vec<u8>, status: u16) -> Self {
        assert!((100..1000).contains(&status), "status code {status} does not have three digits");
        out.extend_from_slice(b"HTTP/1.1 ");
        decimal::append(u64::from(status), out);
        out.push(b' ');
        out.extend_from_slice(reason(status).as_bytes());
        out.extend_from_slice(b"\r\n");
        ResponseHead { out, status }
    }

    /// Appends a field. Control characters in `value` become spaces, so that no value can end its
    /// line.
    ///
    /// # Panics
    ///
    /// When `name` is not a token: it is the program's, not the peer's.
    pub fn field(self, name: &str, value: &[u8]) -> Self {
        assert!(!name.is_empty() && name.bytes().all(is_token), "field name {name:?} is no token");
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b": ");
        let sound = |&byte: &u8| if is_value(byte) { byte } else { b' ' };
        self.out.extend(value.iter().map(sound));
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// Appends `Date`, from a time in seconds since 1970.
    pub fn date(self, unix_seconds: u64) -> Self {
        self.field("date", &imf_fixdate(unix_seconds))
    }

    /// Appends `Connection: close`: no other response follows.
    pub fn close(self) -> Self {
        self.field("connection", b"close")
    }

    /// Appends `Content-Length`, except where a response may not have one (1xx and 204; RFC 9110,
    /// 8.6).
    pub fn length(self, bytes: u64) -> Self {
        if self.status >= 200 && self.status != 204 {
            self.out.extend_from_slice(b"content-length: ");
            decimal::append(bytes, self.out);
            self.out.extend_from_slice(b"\r\n");
        }
        self
    }

    /// Appends `Transfer-Encoding: chunked`; [`append_chunk`] and [`append_last_chunk`] make the
    /// body.
    pub fn chunked(self) -> Self {
        self.field("transfer-encoding", b"chunked")
    }

    /// Ends the head.
    pub fn end(self) {
        self.out.extend_from_slice(b"\r\n");
    }

    /// Appends `Content-Length`, ends the head, and appends the body; without the body where the
    /// status allows none (1xx, 204, 304). For the answer to HEAD use `length` and `end`.
    pub fn body(self, bytes: &[u8]) {
        let bodiless = self.status < 200 || matches!(self.status, 204 | 304);
        let head = self.length(bytes.len() as u64);
        head.out.extend_from_slice(b"\r\n");
        if !bodiless {
            head.out.extend_from_slice(bytes);
        }
    }
}

/// Appends a chunk of a chunked body; nothing when `bytes` is empty, since an empty chunk is the
/// last.
pub fn append_chunk(out: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    let digits = (usize::BITS - bytes.len().leading_zeros()).div_ceil(4);
    for digit in (0..digits).rev() {
        out.push(b"0123456789abcdef"[bytes.len() >> (4 * digit) & 15]);
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// Ends a chunked body, without trailers.
pub fn append_last_chunk(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n\r\n");
}

fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Decode, Step};
    use crate::http1::{Body, BodyDecoder};

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn heads() {
        let seen = text(|out| ResponseHead::new(out, 404).date(784_111_777).close().body(b"no"));
        let expected = "HTTP/1.1 404 Not Found\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
                        connection: close\r\ncontent-length: 2\r\n\r\nno";
        assert_eq!(seen, expected);
        assert_eq!(text(|out| ResponseHead::new(out, 100).end()), "HTTP/1.1 100 Continue\r\n\r\n");
        let seen = text(|out| ResponseHead::new(out, 204).body(b"x"));
        assert_eq!(seen, "HTTP/1.1 204 No Content\r\n\r\n");
        let seen = text(|out| ResponseHead::new(out, 304).body(b"x"));
        assert_eq!(seen, "HTTP/1.1 304 Not Modified\r\ncontent-length: 1\r\n\r\n");
        let seen = text(|out| ResponseHead::new(out, 299).end());
        assert_eq!(seen, "HTTP/1.1 299 \r\n\r\n");
    }

    #[test]
    fn a_value_cannot_split_the_response() {
        let seen = text(|out| ResponseHead::new(out, 200).field("a", b"b\r\nc: d\0").end());
        assert_eq!(seen, "HTTP/1.1 200 OK\r\na: b  c: d \r\n\r\n");
    }

    #[test]
    fn chunks_decode_to_what_they_carry() {
        let mut out = Vec::new();
        for length in [1, 9, 10, 15, 16, 255, 256, 4096] {
            append_chunk(&mut out, &vec![b'x'; length]);
            append_chunk(&mut out, b"");
        }
        append_last_chunk(&mut out);
        assert!(out.starts_with(b"1\r\nx\r\n9\r\n"));
        let mut decoder = BodyDecoder::new(Body::Chunked, u64::MAX);
        let (mut start, mut total) = (0, 0);
        while !decoder.is_done() {
            match decoder.decode(&mut out[start..]).unwrap() {
                Step::Frame { frame, used } => {
                    total += frame.bytes.len();
                    start += used;
                }
                Step::Need(_) => panic!("the body is whole"),
            }
        }
        assert_eq!((total, start), (1 + 9 + 10 + 15 + 16 + 255 + 256 + 4096, out.len()));
    }
}
