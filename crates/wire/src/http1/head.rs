use std::mem::MaybeUninit;
use std::ops::Range;

use memchr::memchr;

use super::fields::{Gather, Meaning};
use super::{Body, Error};
use crate::codec::{Decode, Step};

/// Cuts the heads of requests from what a client sends.
///
/// A head is at most [`max_bytes`](Self::max_bytes) long (16 KiB unless set), empty lines in front
/// of it included, and has at most [`max_fields`](Self::max_fields) header fields (64 unless set).
///
/// Stricter than RFC 9112 asks where that closes a doubt: lines end with CR LF, folded lines and a
/// `Content-Length` beside `Transfer-Encoding` are errors.
///
/// Nothing is allocated per head: where its parts are is kept in memory that is used again.
#[derive(Debug)]
pub struct Heads {
    max_bytes: usize,
    max_fields: usize,
    /// Where the request line starts: behind the empty lines.
    start: usize,
    /// Where the line starts that is looked at; `start <= line <= scanned`.
    line: usize,
    /// No line feed before this that has not been looked at.
    scanned: usize,
    parts: Parts,
    error: Option<Error>,
}

const HEAD_BYTES_MAX: usize = 16 * 1024;
const FIELDS_MAX: usize = 64;
/// What the parser's table on the stack holds.
const FIELDS_MOST: usize = 128;

impl Heads {
    /// With the limits above.
    pub fn new() -> Self {
        Heads {
            max_bytes: HEAD_BYTES_MAX,
            max_fields: FIELDS_MAX,
            start: 0,
            line: 0,
            scanned: 0,
            parts: Parts::default(),
            error: None,
        }
    }

    /// Sets the most bytes of a head.
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Sets the most header fields of a head; at most 128.
    pub fn max_fields(mut self, count: usize) -> Self {
        self.max_fields = count.min(FIELDS_MOST);
        self
    }

    fn parse(&mut self, input: &[u8]) -> Result<Step<()>, Error> {
        let Some(end) = self.end(input)? else { return Ok(Step::need(1)) };
        self.parts.read(input, self.start..end, self.max_fields)?;
        (self.start, self.line, self.scanned) = (0, 0, 0);
        Ok(Step::Frame { frame: (), used: end })
    }

    /// Where the head ends: behind its empty line.
    fn end(&mut self, input: &[u8]) -> Result<Option<usize>, Error> {
        let window = input.len().min(self.max_bytes);
        while let Some(offset) = memchr(b'\n', &input[self.scanned.min(window)..window]) {
            let newline = self.scanned + offset;
            if newline == 0 || input[newline - 1] != b'\r' {
                return Err(Error::BareLf);
            }
            let (line, empty) = (self.line, newline - 1 == self.line);
            (self.line, self.scanned) = (newline + 1, newline + 1);
            if empty && line > self.start {
                return Ok(Some(newline + 1));
            }
            if empty {
                // "a server .. SHOULD ignore at least one empty line (CRLF) received prior to the
                // request-line" (RFC 9112, 2.2).
                self.start = newline + 1;
            } else if line > self.start && matches!(input[line], b' ' | b'\t') {
                return Err(Error::FoldedLine);
            }
        }
        self.scanned = window;
        match window == self.max_bytes {
            true if self.line == self.start => Err(Error::TargetTooLong),
            true => Err(Error::HeadTooLong),
            false => Ok(None),
        }
    }
}

impl Default for Heads {
    fn default() -> Self {
        Self::new()
    }
}

impl Decode for Heads {
    type Frame<'a> = Head<'a>;
    type Error = Error;

    fn decode<'a>(&'a mut self, input: &'a mut [u8]) -> Result<Step<Head<'a>>, Error> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let step = self.parse(input).inspect_err(|&error| self.error = Some(error))?;
        Ok(step.map(|()| Head { input, parts: &self.parts }))
    }
}

/// The head of a request, as slices of the input.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    input: &'a [u8],
    parts: &'a Parts,
}

impl<'a> Head<'a> {
    /// The method, as sent: methods are case-sensitive.
    pub fn method(&self) -> &'a [u8] {
        &self.input[self.parts.method.clone()]
    }

    /// The target, as sent: neither decoded nor checked beyond its characters.
    pub fn target(&self) -> &'a [u8] {
        &self.input[self.parts.target.clone()]
    }

    /// The minor version: 0 or 1.
    pub fn version(&self) -> u8 {
        self.parts.minor
    }

    /// The value of the first field of this name, in any case, without the spaces around it.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.iter().find(|field| field.name.eq_ignore_ascii_case(name.as_bytes())).map(|f| f.value)
    }

    /// All fields in their order.
    pub fn iter(&self) -> Fields<'a> {
        Fields { input: self.input, ranges: self.parts.fields.iter() }
    }

    /// How the body behind the head is framed.
    pub fn body(&self) -> Body {
        self.parts.meaning.body
    }

    /// The length of the body, if the head gives one.
    pub fn content_length(&self) -> Option<u64> {
        match self.body() {
            Body::Length(length) => Some(length),
            Body::None | Body::Chunked => None,
        }
    }

    /// Whether the client wants to send another request behind this one (RFC 9112, 9.3).
    pub fn keep_alive(&self) -> bool {
        self.parts.meaning.keep_alive
    }

    /// Whether the client waits for a `100 Continue` before it sends the body (RFC 9110, 10.1.1).
    pub fn expects_continue(&self) -> bool {
        self.parts.meaning.expects_continue
    }
}

impl std::fmt::Debug for Head<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Head")
            .field("method", &self.method().escape_ascii().to_string())
            .field("target", &self.target().escape_ascii().to_string())
            .field("version", &self.version())
            .field("body", &self.body())
            .finish_non_exhaustive()
    }
}

/// One header field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name, in the case in which it was sent.
    pub name: &'a [u8],
    /// The value, without the spaces around it; it may hold bytes that are not ASCII.
    pub value: &'a [u8],
}

/// The fields of a [`Head`] in their order.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    input: &'a [u8],
    ranges: std::slice::Iter<'a, (Range<usize>, Range<usize>)>,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        let (name, value) = self.ranges.next()?;
        Some(Field { name: &self.input[name.clone()], value: &self.input[value.clone()] })
    }
}

/// Where the parts of a head are in the input, and what they mean.
#[derive(Debug)]
struct Parts {
    method: Range<usize>,
    target: Range<usize>,
    minor: u8,
    fields: Vec<(Range<usize>, Range<usize>)>,
    meaning: Meaning,
}

impl Parts {
    fn read(&mut self, input: &[u8], head: Range<usize>, max_fields: usize) -> Result<(), Error> {
        let mut table = [const { MaybeUninit::uninit() }; FIELDS_MOST];
        let mut request = httparse::Request::new(&mut []);
        let head = &input[head];
        let parsed = request.parse_with_uninit_headers(head, &mut table[..max_fields]);
        match parsed.map_err(|error| fault(error, head))? {
            httparse::Status::Complete(used) if used == head.len() => {}
            // The two disagree about where the head ends.
            _ => return Err(Error::FieldLine),
        }
        let (Some(method), Some(target), Some(minor)) =
            (request.method, request.path, request.version)
        else {
            return Err(Error::RequestLine);
        };
        let place = |part: &[u8]| {
            let start = part.as_ptr().addr() - input.as_ptr().addr();
            start..start + part.len()
        };
        (self.method, self.target, self.minor) =
            (place(method.as_bytes()), place(target.as_bytes()), minor);
        self.fields.clear();
        let mut gather = Gather::default();
        for field in request.headers.iter() {
            gather.field(field.name.as_bytes(), field.value)?;
            // An empty value may point anywhere.
            let value = if field.value.is_empty() { 0..0 } else { place(field.value) };
            self.fields.push((place(field.name.as_bytes()), value));
        }
        self.meaning = gather.finish(minor)?;
        Ok(())
    }
}

impl Default for Parts {
    fn default() -> Self {
        Parts {
            method: 0..0,
            target: 0..0,
            minor: 1,
            fields: Vec::new(),
            meaning: Meaning { body: Body::None, keep_alive: false, expects_continue: false },
        }
    }
}

fn fault(error: httparse::Error, head: &[u8]) -> Error {
    match error {
        httparse::Error::TooManyHeaders => Error::TooManyFields,
        httparse::Error::HeaderName | httparse::Error::HeaderValue => Error::FieldLine,
        httparse::Error::Version if names_a_version(head) => Error::VersionUnsupported,
        _ => Error::RequestLine,
    }
}

/// Whether the first line ends with `HTTP/`, a digit, a dot and a digit.
fn names_a_version(head: &[u8]) -> bool {
    let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let word = line.rsplit(|&byte| byte == b' ').next().unwrap_or_default();
    matches!(word, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
        if major.is_ascii_digit() && minor.is_ascii_digit())
}

#[cfg(test)]
mod tests;
