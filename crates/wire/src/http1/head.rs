use std::ops::Range;

use memchr::memchr;

use super::fields::{Gather, Meaning};
use super::lines::{FieldLine, RequestLine, fault};
use super::{Body, Error};
use crate::codec::{Decode, Step};

/// Cuts the heads of requests from what a client sends.
///
/// A head is at most [`max_bytes`](Self::max_bytes) long (16 KiB unless set), empty lines in front
/// of it included, and has at most [`max_fields`](Self::max_fields) header fields (64 unless set).
///
/// Stricter than RFC 9112 asks where that closes a doubt: lines end with CR LF, folded lines and a
/// `Content-Length` beside `Transfer-Encoding` are errors. Each line is judged when its end has
/// come, so that the first that is wrong decides, and nobody waits for the end of such a head.
///
/// Nothing is allocated per head: where its parts are is kept in memory that is used again.
#[derive(Debug)]
pub struct Heads {
    max_bytes: usize,
    max_fields: usize,
    /// Where the line starts that is to be read next.
    line: usize,
    /// Whether that is a field: the request line has been read.
    in_fields: bool,
    /// That line does not end before this; meaningless while it is not behind `line`.
    scanned: usize,
    parts: Parts,
    error: Option<Error>,
}

const HEAD_BYTES_MAX: usize = 16 * 1024;
const FIELDS_MAX: usize = 64;
const FIELDS_MOST: usize = 128;

impl Heads {
    /// With the limits above.
    pub fn new() -> Self {
        Heads {
            max_bytes: HEAD_BYTES_MAX,
            max_fields: FIELDS_MAX,
            line: 0,
            in_fields: false,
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

    /// Reads line after line; the offset behind the head, when it is whole.
    #[inline]
    fn parse(&mut self, input: &[u8]) -> Result<Option<usize>, Error> {
        let window = &input[..input.len().min(self.max_bytes)];
        // A line that was cut is read again only when its end has come.
        if self.scanned > self.line && memchr(b'\n', &window[self.scanned..]).is_none() {
            return self.cut(window);
        }
        if !self.in_fields {
            // "a server .. SHOULD ignore at least one empty line (CRLF) received prior to the
            // request-line" (RFC 9112, 2.2).
            while let [b'\r', b'\n', ..] = window[self.line..] {
                self.line += 2;
            }
            let Some(line) = RequestLine::read(&window[self.line..]) else {
                return self.stop(window);
            };
            self.line = self.parts.request(line, self.line);
            self.in_fields = true;
        }
        let mut at = self.line;
        while let Some(line) = FieldLine::read(&window[at..]) {
            at = self.parts.field(line, &window[at..], at, self.max_fields)?;
        }
        self.line = at;
        let [b'\r', b'\n', ..] = window[at..] else { return self.stop(window) };
        self.parts.meaning = self.parts.gather.finish(self.parts.minor)?;
        (self.line, self.in_fields, self.scanned) = (0, false, 0);
        Ok(Some(at + 2))
    }

    /// The line in front is cut, or is wrong.
    #[cold]
    fn stop(&mut self, window: &[u8]) -> Result<Option<usize>, Error> {
        fault(&window[self.line..], !self.in_fields)?;
        self.cut(window)
    }

    /// All of `window` has been looked at, and the head does not end in it.
    fn cut(&mut self, window: &[u8]) -> Result<Option<usize>, Error> {
        self.scanned = window.len();
        match window.len() == self.max_bytes {
            true if self.in_fields => Err(Error::HeadTooLong),
            true => Err(Error::TargetTooLong),
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

    #[inline]
    fn decode<'a>(&'a mut self, input: &'a mut [u8]) -> Result<Step<Head<'a>>, Error> {
        if let Some(error) = self.error {
            return Err(error);
        }
        match self.parse(input).inspect_err(|&error| self.error = Some(error))? {
            Some(used) => Ok(Step::Frame { frame: Head { input, parts: &self.parts }, used }),
            None => Ok(Step::need(1)),
        }
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
    #[inline]
    pub fn method(&self) -> &'a [u8] {
        &self.input[self.parts.method.clone()]
    }

    /// The target, as sent: neither decoded nor checked beyond its characters.
    #[inline]
    pub fn target(&self) -> &'a [u8] {
        &self.input[self.parts.target.clone()]
    }

    /// The minor version: 0 or 1.
    #[inline]
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
    #[inline]
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
    #[inline]
    pub fn keep_alive(&self) -> bool {
        self.parts.meaning.keep_alive
    }

    /// Whether the client waits for a `100 Continue` before it sends the body (RFC 9110, 10.1.1).
    #[inline]
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
    gather: Gather,
    meaning: Meaning,
}

impl Parts {
    /// Begins with the request line that is at `at` in the input: the offset behind it.
    #[inline]
    fn request(&mut self, line: RequestLine, at: usize) -> usize {
        self.method = at + line.method.start..at + line.method.end;
        self.target = at + line.target.start..at + line.target.end;
        self.minor = line.minor;
        self.fields.clear();
        self.gather = Gather::default();
        at + line.used
    }

    /// Adds the field of `text`, which is at `at` in the input: the offset behind it.
    #[inline]
    fn field(
        &mut self,
        line: FieldLine,
        text: &[u8],
        at: usize,
        max_fields: usize,
    ) -> Result<usize, Error> {
        if self.fields.len() >= max_fields {
            return Err(Error::TooManyFields);
        }
        self.gather.field(&text[line.name.clone()], &text[line.value.clone()])?;
        let name = at + line.name.start..at + line.name.end;
        self.fields.push((name, at + line.value.start..at + line.value.end));
        Ok(at + line.used)
    }
}

impl Default for Parts {
    fn default() -> Self {
        Parts {
            method: 0..0,
            target: 0..0,
            minor: 1,
            fields: Vec::new(),
            gather: Gather::default(),
            meaning: Meaning { body: Body::None, keep_alive: false, expects_continue: false },
        }
    }
}

#[cfg(test)]
mod tests;
