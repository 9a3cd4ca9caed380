use memchr::memchr2;

use super::{ARGUMENTS_MAX, BULK_BYTES_MAX, Error, LINE_BYTES_MAX, inline, number, reply};
use crate::codec::{Decode, Step};

/// Cuts [`Command`]s from what a client sends: arrays of bulk strings, and inline commands.
///
/// It does what redis-server 7 does, byte for byte. In short: an array ends each length with CR and
/// any byte; the two bytes behind an argument are not looked at; numbers have no `+`, leading zero
/// or space; an inline command ends with LF or CR LF, is split at spaces, and may quote with `"`
/// and `'`; a NUL hides the end of its line, until the line is too long.
///
/// A blank request (an empty line, `*0`, `*-1`) comes out as a [blank](Command::is_blank) command,
/// without arguments, for the caller to ignore as redis-server does. Were they skipped here, a peer
/// that sends nothing else could make its server hold them without limit.
///
/// Nothing is allocated per command: where the arguments are is kept in memory that is used again.
/// What is announced allocates nothing either; the caller's bound on input not yet consumed bounds
/// a command.
#[derive(Debug)]
pub struct Commands {
    max_line: usize,
    max_arguments: usize,
    max_bulk: usize,
    /// The arguments so far of the command being read.
    ranges: Vec<Range>,
    /// The next byte to be read; `at <= input.len()`.
    at: usize,
    /// The line that starts at `at` does not end before this; meaningless while it is before `at`.
    scanned: usize,
    /// Arguments still to come; 0 between requests.
    missing: usize,
    /// The length of the argument whose payload starts at `at`.
    bulk: Option<usize>,
    error: Option<Error>,
}

/// Capacity, in arguments, that is kept from one command to the next.
const RANGES_KEPT: usize = 1024;
/// Under this a limit on lines could refuse a number that is in bounds.
const LINE_BYTES_LEAST: usize = 64;

impl Commands {
    /// With the limits of redis-server: 64 KiB a line, 2^31 - 1 arguments, 512 MiB an argument.
    pub fn new() -> Self {
        Commands {
            max_line: LINE_BYTES_MAX,
            max_arguments: ARGUMENTS_MAX,
            max_bulk: BULK_BYTES_MAX,
            ranges: Vec::new(),
            at: 0,
            scanned: 0,
            missing: 0,
            bulk: None,
            error: None,
        }
    }

    /// Sets the most bytes of an inline command and of a line with a number; at least 64.
    pub fn max_line(mut self, bytes: usize) -> Self {
        self.max_line = bytes.max(LINE_BYTES_LEAST);
        self
    }

    /// Sets the most arguments that a command may announce.
    pub fn max_arguments(mut self, count: usize) -> Self {
        self.max_arguments = count;
        self
    }

    /// Sets the most bytes of one argument.
    pub fn max_bulk(mut self, bytes: usize) -> Self {
        self.max_bulk = bytes;
        self
    }

    /// Reads a command of which all has come and whose numbers are short, as most are: the offset
    /// behind it. `None` says nothing about the input; ask [`Self::parse`].
    #[inline]
    fn whole(&mut self, input: &[u8]) -> Option<usize> {
        let (count, mut at) = number::short_line(b'*', input)?;
        let usual = self.missing == 0 && self.ranges.capacity() <= RANGES_KEPT;
        if !usual || count == 0 || count > self.max_arguments.min(RANGES_KEPT) {
            return None;
        }
        self.ranges.clear();
        for _ in 0..count {
            let (length, used) = number::short_line(b'$', &input[at..])?;
            let (start, end) = (at + used, at + used + length);
            // With the two bytes behind it, which redis-server does not look at.
            at = end + 2;
            if length > self.max_bulk || at > input.len() {
                return None;
            }
            self.ranges.push(Range { start, end });
        }
        // Of the same command, when less of it had come.
        self.scanned = 0;
        Some(at)
    }

    /// Reads whatever has come.
    #[inline(never)]
    fn parse(&mut self, input: &mut [u8]) -> Result<Step<()>, Error> {
        if self.missing == 0 {
            if self.ranges.capacity() > RANGES_KEPT {
                self.ranges = Vec::new();
            }
            self.ranges.clear();
            match input.first() {
                None => return Ok(Step::need(1)),
                Some(b'*') => match self.count(input)? {
                    None => return Ok(Step::need(1)),
                    Some(count) => self.missing = count,
                },
                Some(_) => {
                    let whole = self.inline(input)?;
                    return Ok(if whole { self.finish() } else { Step::need(1) });
                }
            }
        }
        self.bulks(input)
    }

    /// What lies before `at` is the frame.
    fn finish(&mut self) -> Step<()> {
        self.scanned = 0;
        Step::Frame { frame: (), used: std::mem::take(&mut self.at) }
    }

    /// The arguments still missing.
    fn bulks(&mut self, input: &[u8]) -> Result<Step<()>, Error> {
        while self.missing > 0 {
            let length = match self.bulk {
                Some(length) => length,
                None => match self.bulk_length(input)? {
                    Some(length) => length,
                    None => return Ok(Step::need(1)),
                },
            };
            let have = input.len() - self.at;
            // With the two bytes behind it, which redis-server does not look at.
            let want = length.saturating_add(2);
            if have < want {
                self.bulk = Some(length);
                return Ok(Step::need(want - have));
            }
            self.ranges.push(Range { start: self.at, end: self.at + length });
            self.at += want;
            self.bulk = None;
            self.missing -= 1;
        }
        Ok(self.finish())
    }

    /// Reads `*3\r\n`. Zero and less are counts, of blank requests.
    fn count(&mut self, input: &[u8]) -> Result<Option<usize>, Error> {
        let count = match number::short_line(b'*', &input[self.at..]) {
            Some((count, used)) => {
                self.at += used;
                count
            }
            None => {
                let Some(end) = self.number_end(input, Error::MultibulkCountTooLong)? else {
                    return Ok(None);
                };
                let count = number::parse(&input[self.at + 1..end]);
                self.at = end + 2;
                // Below zero is as good as zero; over the address space is over any limit.
                let count = count.ok_or(Error::InvalidMultibulkLength)?.max(0);
                usize::try_from(count).unwrap_or(usize::MAX)
            }
        };
        if count > self.max_arguments {
            return Err(Error::InvalidMultibulkLength);
        }
        Ok(Some(count))
    }

    /// Reads `$3\r\n`.
    fn bulk_length(&mut self, input: &[u8]) -> Result<Option<usize>, Error> {
        let length = match number::short_line(b'$', &input[self.at..]) {
            Some((length, used)) => {
                self.at += used;
                length
            }
            None => match self.odd_bulk_length(input)? {
                Some(length) => length,
                None => return Ok(None),
            },
        };
        if length > self.max_bulk {
            return Err(Error::InvalidBulkLength);
        }
        Ok(Some(length))
    }

    /// As [`Self::bulk_length`], for what is incomplete, long or wrong.
    fn odd_bulk_length(&mut self, input: &[u8]) -> Result<Option<usize>, Error> {
        let Some(end) = self.number_end(input, Error::BulkCountTooLong)? else { return Ok(None) };
        let line = &input[self.at..end];
        // A line that is empty starts, for redis-server, with its CR.
        let got = input[self.at];
        if got != b'$' {
            return Err(Error::ExpectedDollar { got });
        }
        let length = number::parse(&line[1..]).ok_or(Error::InvalidBulkLength)?;
        self.at = end + 2;
        usize::try_from(length).map(Some).map_err(|_| Error::InvalidBulkLength)
    }

    /// The offset of the CR that ends the line at `at`, once the byte behind it is there too.
    fn number_end(&mut self, input: &[u8], too_long: Error) -> Result<Option<usize>, Error> {
        let end = self.line_end(input, b'\r', too_long)?;
        Ok(end.filter(|end| end + 1 < input.len()))
    }

    /// Reads an inline command into `ranges`, and says whether its end was there.
    fn inline(&mut self, input: &mut [u8]) -> Result<bool, Error> {
        let Some(newline) = self.line_end(input, b'\n', Error::InlineTooLong)? else {
            return Ok(false);
        };
        let line = &mut input[self.at..newline];
        let line = match line {
            [text @ .., b'\r'] => text,
            text => text,
        };
        inline::split(line, self.at, &mut self.ranges).map_err(|_| Error::UnbalancedQuotes)?;
        self.at = newline + 1;
        Ok(true)
    }

    /// The offset of the `end` that ends the line at `at`.
    fn line_end(&mut self, input: &[u8], end: u8, too_long: Error) -> Result<Option<usize>, Error> {
        let window = input.len().min(self.at.saturating_add(self.max_line).saturating_add(1));
        let from = self.scanned.clamp(self.at, window);
        // redis-server searches with strchr, which does not look behind a NUL.
        let found = memchr2(end, 0, &input[from..window]).map(|offset| from + offset);
        self.scanned = found.unwrap_or(window);
        match found {
            Some(offset) if input[offset] == end => Ok(Some(offset)),
            _ if input.len() - self.at > self.max_line => Err(too_long),
            _ => Ok(None),
        }
    }
}

impl Default for Commands {
    fn default() -> Self {
        Self::new()
    }
}

impl Decode for Commands {
    type Frame<'a> = Command<'a>;
    type Error = Error;

    #[inline]
    fn decode<'a>(&'a mut self, input: &'a mut [u8]) -> Result<Step<Command<'a>>, Error> {
        if let Some(error) = self.error {
            return Err(error);
        }
        if let Some(used) = self.whole(input) {
            return Ok(Step::Frame { frame: Command { input, ranges: &self.ranges }, used });
        }
        let step = self.parse(input).inspect_err(|&error| self.error = Some(error))?;
        Ok(step.map(|()| Command { input, ranges: &self.ranges }))
    }
}

/// One command: its name and its arguments, as slices of the input.
#[derive(Clone, Copy)]
pub struct Command<'a> {
    input: &'a [u8],
    ranges: &'a [Range],
}

impl<'a> Command<'a> {
    /// How many arguments it has, its name included.
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "`is_blank` says what emptiness means")]
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether it is a blank request, to be ignored without an answer: it has not even a name.
    pub fn is_blank(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The first argument, as the client wrote it; it may be empty. `None` when it is blank.
    #[inline]
    pub fn name(&self) -> Option<&'a [u8]> {
        self.get(0)
    }

    /// The argument at `index`; the name is at 0.
    #[inline]
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        let range = self.ranges.get(index)?;
        Some(&self.input[range.start..range.end])
    }

    /// All arguments, the name first.
    pub fn iter(&self) -> Arguments<'a> {
        Arguments { input: self.input, ranges: self.ranges.iter() }
    }
}

impl<'a> IntoIterator for Command<'a> {
    type Item = &'a [u8];
    type IntoIter = Arguments<'a>;

    fn into_iter(self) -> Arguments<'a> {
        self.iter()
    }
}

impl std::fmt::Debug for Command<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.iter().map(|argument| argument.escape_ascii().to_string()))
            .finish()
    }
}

/// The arguments of a [`Command`], its name first.
#[derive(Debug, Clone)]
pub struct Arguments<'a> {
    input: &'a [u8],
    ranges: std::slice::Iter<'a, Range>,
}

impl<'a> Iterator for Arguments<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        self.ranges.next().map(|range| &self.input[range.start..range.end])
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.ranges.size_hint()
    }
}

impl ExactSizeIterator for Arguments<'_> {}

/// Appends a command as clients send it: an array of bulk strings.
pub fn request(out: &mut Vec<u8>, arguments: &[&[u8]]) {
    reply::array_header(out, arguments.len());
    for argument in arguments {
        reply::bulk(out, argument);
    }
}

/// Where an argument is, as offsets into the input.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    pub(super) start: usize,
    pub(super) end: usize,
}

#[cfg(test)]
mod tests;
