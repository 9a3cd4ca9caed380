//! HTTP/1.1 GET on connections that stay open; replies are delimited by `Content-Length` (RFC 9112,
//! 6.2).

use crate::engine::{Protocol, Taken};
use crate::fixed::excerpt;

/// Fields that a reply may have at most.
const FIELDS_MAX: usize = 32;

/// Sends the same GET, wants status 200 and always the same body.
#[derive(Debug)]
pub(crate) struct Http {
    request: Vec<u8>,
    /// Of the first reply; all others must have it.
    body: Option<Vec<u8>>,
    /// The reply that was parsed last: one that is the same byte for byte is as right.
    parsed: Vec<u8>,
}

impl Http {
    pub(crate) fn new(host: &str, path: &str) -> Self {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes();
        Self { request, body: None, parsed: Vec::new() }
    }

    /// Bytes of the first reply in `input`; `None`: not all of it has come.
    fn reply(&mut self, input: &[u8]) -> Result<Option<usize>, String> {
        if !self.parsed.is_empty() && input.starts_with(&self.parsed) {
            return Ok(Some(self.parsed.len()));
        }
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut head = httparse::Response::new(&mut fields);
        let head_length = match head.parse(input) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(error) => return Err(format!("{error} in `{}`", excerpt(input))),
        };
        if head.code != Some(200) {
            return Err(format!("wanted status 200, found `{}`", excerpt(input)));
        }
        let length = (head.headers.iter())
            .find(|field| field.name.eq_ignore_ascii_case("content-length"))
            .and_then(|field| std::str::from_utf8(field.value).ok()?.parse::<usize>().ok())
            .ok_or_else(|| format!("no Content-Length in `{}`", excerpt(input)))?;
        let Some(body) = input.get(head_length..head_length + length) else { return Ok(None) };
        match &self.body {
            None => self.body = Some(body.to_vec()),
            Some(wanted) if wanted == body => {}
            Some(wanted) => {
                return Err(format!("the body was `{}`, is `{}`", excerpt(wanted), excerpt(body)));
            }
        }
        self.parsed = input[..head_length + length].to_vec();
        Ok(Some(head_length + length))
    }
}

impl Protocol for Http {
    fn request(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.request);
    }

    fn replies(&mut self, _progress: &mut usize, input: &[u8]) -> Result<Taken, String> {
        let mut taken = Taken::default();
        while taken.used < input.len() {
            let Some(length) = self.reply(&input[taken.used..])? else { break };
            taken.used += length;
            taken.replies += 1;
        }
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLY: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nHello";

    #[test]
    fn what_has_come_in_full_is_taken_and_the_rest_left() {
        let stream = REPLY.repeat(2);
        for cut in 0..=stream.len() {
            let mut protocol = Http::new("a", "/");
            let taken = protocol.replies(&mut 0, &stream[..cut]).unwrap();
            assert_eq!(taken.replies, cut / REPLY.len(), "cut at {cut}");
            assert_eq!(taken.used, taken.replies * REPLY.len());
        }
    }

    #[test]
    fn another_status_or_another_body_is_wrong() {
        let mut protocol = Http::new("a", "/");
        let not_found = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
        assert!(protocol.replies(&mut 0, not_found).unwrap_err().contains("404"));
        protocol.replies(&mut 0, REPLY).unwrap();
        let other = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
        assert!(protocol.replies(&mut 0, other).unwrap_err().contains("body"));
        assert!(protocol.replies(&mut 0, b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
