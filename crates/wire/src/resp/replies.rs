use memchr::memchr2;

use super::command::Range;
use super::{BULK_BYTES_MAX, LINE_BYTES_MAX, ReplyError, number};
use crate::codec::{Decode, Step};

/// One reply of a server. Text and bytes are slices of the input.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply<'a> {
    /// `+OK`
    Simple(&'a [u8]),
    /// `-ERR ...`, without the minus sign.
    Error(&'a [u8]),
    /// `:42`
    Integer(i64),
    /// `$5`: any bytes.
    Bulk(&'a [u8]),
    /// `$-1`: no such value.
    Null,
    /// `*2`: replies in a row.
    Array(Vec<Reply<'a>>),
    /// `*-1`
    NullArray,
}

impl Reply<'_> {
    /// Appends the reply as a server sends it.
    pub fn append(&self, out: &mut Vec<u8>) {
        use super::reply;
        match self {
            Reply::Simple(text) => reply::simple(out, text),
            Reply::Error(text) => reply::error(out, text),
            Reply::Integer(value) => reply::integer(out, *value),
            Reply::Bulk(bytes) => reply::bulk(out, bytes),
            Reply::Null => reply::null(out),
            Reply::Array(elements) => {
                reply::array_header(out, elements.len());
                elements.iter().for_each(|element| element.append(out));
            }
            Reply::NullArray => reply::null_array(out),
        }
    }
}

/// Cuts [`Reply`]s of RESP2 from what a server sends; for clients, which are answered in RESP2
/// unless they say `HELLO 3`, and for tests.
///
/// Stricter than [`Commands`](super::Commands): lines and bulk strings end with CR LF. Limits: a
/// line 64 KiB, a bulk string 512 MiB, an array 1,048,576 elements, arrays nested 32 deep. An array
/// allocates its vector; nothing is allocated for what is only announced.
#[derive(Debug)]
pub struct Replies {
    max_bulk: usize,
    max_elements: usize,
    max_depth: usize,
    /// The reply so far, arrays before their elements.
    nodes: Vec<Node>,
    /// For each array begun, how many of its elements are missing.
    open: Vec<usize>,
    /// The next byte to be read.
    at: usize,
    /// The line that starts at `at` does not end before this; meaningless while it is before `at`.
    scanned: usize,
    /// The length of the bulk string whose payload starts at `at`.
    bulk: Option<usize>,
    error: Option<ReplyError>,
}

/// Deeper nesting could exhaust the stack of whoever walks the reply.
const DEPTH_MOST: usize = 128;

impl Replies {
    /// With the limits above.
    pub fn new() -> Self {
        Replies {
            max_bulk: BULK_BYTES_MAX,
            max_elements: 1 << 20,
            max_depth: 32,
            nodes: Vec::new(),
            open: Vec::new(),
            at: 0,
            scanned: 0,
            bulk: None,
            error: None,
        }
    }

    /// Sets the most bytes of a bulk string.
    pub fn max_bulk(mut self, bytes: usize) -> Self {
        self.max_bulk = bytes;
        self
    }

    /// Sets the most elements of one array.
    pub fn max_elements(mut self, count: usize) -> Self {
        self.max_elements = count;
        self
    }

    /// Sets how deep arrays may be nested: 0 allows none, 1 arrays of plain replies; at most 128.
    pub fn max_depth(mut self, depth: usize) -> Self {
        self.max_depth = depth.min(DEPTH_MOST);
        self
    }

    fn parse(&mut self, input: &[u8]) -> Result<Step<()>, ReplyError> {
        if self.open.is_empty() {
            self.nodes.clear();
        }
        loop {
            let node = match self.bulk {
                Some(length) => self.payload(input, length)?,
                None => self.line(input)?,
            };
            match node {
                Step::Need(bytes) => return Ok(Step::Need(bytes)),
                // The head of a bulk string: its payload is next.
                Step::Frame { frame: None, .. } => continue,
                Step::Frame { frame: Some(node), .. } => self.nodes.push(node),
            }
            if self.close() {
                self.scanned = 0;
                return Ok(Step::Frame { frame: (), used: std::mem::take(&mut self.at) });
            }
        }
    }

    /// Counts the node just read; says whether the reply is whole.
    fn close(&mut self) -> bool {
        if let Some(&Node::Array(len)) = self.nodes.last()
            && len > 0
        {
            self.open.push(len);
            return false;
        }
        while let Some(missing) = self.open.last_mut() {
            *missing -= 1;
            if *missing > 0 {
                return false;
            }
            self.open.pop();
        }
        true
    }

    fn line(&mut self, input: &[u8]) -> Result<Step<Option<Node>>, ReplyError> {
        let Some(&kind) = input.get(self.at) else { return Ok(Step::need(1)) };
        if !matches!(kind, b'+' | b'-' | b':' | b'$' | b'*') {
            return Err(ReplyError::UnknownType { got: kind });
        }
        let Some(end) = self.line_end(input)? else { return Ok(Step::need(1)) };
        let text = Range { start: self.at + 1, end };
        self.at = end + 2;
        let number = || number::parse(&input[text.start..text.end]);
        let node = match kind {
            b'+' => Node::Simple(text),
            b'-' => Node::Error(text),
            b':' => Node::Integer(number().ok_or(ReplyError::InvalidNumber)?),
            b'$' => match length(number(), self.max_bulk)? {
                Some(length) => {
                    self.bulk = Some(length);
                    return Ok(Step::Frame { frame: None, used: 0 });
                }
                None => Node::Null,
            },
            _ => match length(number(), self.max_elements)? {
                Some(_) if self.open.len() == self.max_depth => {
                    return Err(ReplyError::TooDeep { max: self.max_depth });
                }
                Some(length) => Node::Array(length),
                None => Node::NullArray,
            },
        };
        Ok(Step::Frame { frame: Some(node), used: 0 })
    }

    fn payload(&mut self, input: &[u8], length: usize) -> Result<Step<Option<Node>>, ReplyError> {
        let have = input.len() - self.at;
        let want = length.saturating_add(2);
        if have < want {
            return Ok(Step::need(want - have));
        }
        let bytes = Range { start: self.at, end: self.at + length };
        if input[bytes.end..bytes.end + 2] != *b"\r\n" {
            return Err(ReplyError::BulkEnd);
        }
        self.at += want;
        self.bulk = None;
        Ok(Step::Frame { frame: Some(Node::Bulk(bytes)), used: 0 })
    }

    /// The offset of the CR LF that ends the line at `at`.
    fn line_end(&mut self, input: &[u8]) -> Result<Option<usize>, ReplyError> {
        let window = input.len().min(self.at + LINE_BYTES_MAX + 1);
        let from = self.scanned.clamp(self.at, window);
        let Some(offset) = memchr2(b'\r', b'\n', &input[from..window]) else {
            self.scanned = window;
            let too_long = window - self.at > LINE_BYTES_MAX;
            return if too_long { Err(ReplyError::LineTooLong) } else { Ok(None) };
        };
        self.scanned = from + offset;
        match input[from + offset..] {
            [b'\r', b'\n', ..] => Ok(Some(from + offset)),
            [b'\r'] => Ok(None),
            _ => Err(ReplyError::LineEnd),
        }
    }
}

impl Default for Replies {
    fn default() -> Self {
        Self::new()
    }
}

impl Decode for Replies {
    type Frame<'a> = Reply<'a>;
    type Error = ReplyError;

    fn decode<'a>(&'a mut self, input: &'a mut [u8]) -> Result<Step<Reply<'a>>, ReplyError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let step = self.parse(input).inspect_err(|&error| self.error = Some(error))?;
        Ok(step.map(|()| build(&mut self.nodes.iter(), input)))
    }
}

#[derive(Debug, Clone, Copy)]
enum Node {
    Simple(Range),
    Error(Range),
    Integer(i64),
    Bulk(Range),
    Null,
    Array(usize),
    NullArray,
}

/// The reply whose nodes come next. They are whole, and not deeper than [`DEPTH_MOST`].
fn build<'a>(nodes: &mut std::slice::Iter<'_, Node>, input: &'a [u8]) -> Reply<'a> {
    let slice = |range: Range| &input[range.start..range.end];
    match nodes.next().copied().unwrap_or(Node::Null) {
        Node::Simple(text) => Reply::Simple(slice(text)),
        Node::Error(text) => Reply::Error(slice(text)),
        Node::Integer(value) => Reply::Integer(value),
        Node::Bulk(bytes) => Reply::Bulk(slice(bytes)),
        Node::Null => Reply::Null,
        Node::Array(len) => Reply::Array((0..len).map(|_| build(nodes, input)).collect()),
        Node::NullArray => Reply::NullArray,
    }
}

/// A length, or `None` for the -1 of a null.
fn length(number: Option<i64>, max: usize) -> Result<Option<usize>, ReplyError> {
    match number.ok_or(ReplyError::InvalidNumber)? {
        -1 => Ok(None),
        number => match usize::try_from(number) {
            Ok(length) if length <= max => Ok(Some(length)),
            _ => Err(ReplyError::InvalidLength),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(input: &[u8]) -> Result<(Option<Vec<u8>>, usize), ReplyError> {
        let mut decoder = Replies::new().max_depth(3).max_elements(100).max_bulk(1000);
        Ok(match decoder.decode(&mut input.to_vec())? {
            Step::Frame { frame, used } => {
                let mut again = Vec::new();
                frame.append(&mut again);
                (Some(again), used)
            }
            Step::Need(bytes) => (None, bytes.get()),
        })
    }

    #[test]
    fn reads_every_type_and_writes_it_again() {
        let nested = b"*3\r\n:1\r\n*2\r\n+a\r\n*0\r\n$2\r\n\r\n\r\n";
        let samples = [
            &b"+OK\r\n"[..],
            b"-ERR no\r\n",
            b":-42\r\n",
            b"$5\r\nhello\r\n",
            b"$0\r\n\r\n",
            b"$-1\r\n",
            b"*-1\r\n",
            b"*0\r\n",
            nested,
        ];
        for sample in samples {
            let input = [sample, b"+next"].concat();
            assert_eq!(one(&input), Ok((Some(sample.to_vec()), sample.len())), "{sample:?}");
        }
        let mut decoder = Replies::new();
        let mut input = nested.to_vec();
        let inner = Reply::Array(vec![Reply::Simple(b"a"), Reply::Array(vec![])]);
        let whole = Reply::Array(vec![Reply::Integer(1), inner, Reply::Bulk(b"\r\n")]);
        let step = decoder.decode(&mut input);
        assert_eq!(step, Ok(Step::Frame { frame: whole, used: nested.len() }));
    }

    #[test]
    fn asks_for_what_a_bulk_string_misses() {
        assert_eq!(one(b"*2\r\n:1\r\n$10\r\nabc"), Ok((None, 9)));
        assert_eq!(one(b"+OK\r"), Ok((None, 1)));
        assert_eq!(one(b""), Ok((None, 1)));
    }

    #[test]
    fn refuses_what_is_no_reply_or_over_a_limit() {
        assert_eq!(one(b"!"), Err(ReplyError::UnknownType { got: b'!' }));
        assert_eq!(one(b"+OK\n"), Err(ReplyError::LineEnd));
        assert_eq!(one(b"+O\rK\r\n"), Err(ReplyError::LineEnd));
        assert_eq!(one(b":1.5\r\n"), Err(ReplyError::InvalidNumber));
        assert_eq!(one(b"$-2\r\n"), Err(ReplyError::InvalidLength));
        assert_eq!(one(b"$1001\r\n"), Err(ReplyError::InvalidLength));
        assert_eq!(one(b"*101\r\n"), Err(ReplyError::InvalidLength));
        assert_eq!(one(b"$1\r\nabc"), Err(ReplyError::BulkEnd));
        assert_eq!(one(b"*1\r\n*1\r\n*1\r\n*1\r\n"), Err(ReplyError::TooDeep { max: 3 }));
        assert!(one(b"*1\r\n*1\r\n*1\r\n*-1\r\n").is_ok());
        let long = [b"+", &[b'a'; LINE_BYTES_MAX][..]].concat();
        assert_eq!(one(&long), Err(ReplyError::LineTooLong));
        assert_eq!(one(&long[..LINE_BYTES_MAX]), Ok((None, 1)));
    }

    #[test]
    fn an_error_stays() {
        let mut decoder = Replies::new();
        let error = Err(ReplyError::UnknownType { got: b'x' });
        assert_eq!(decoder.decode(&mut b"x".to_vec()), error);
        assert_eq!(decoder.decode(&mut b"+OK\r\n".to_vec()), error);
    }
}
