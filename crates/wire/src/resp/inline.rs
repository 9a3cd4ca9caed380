//! Inline commands: words split and unquoted in place, as `sdssplitargs` of redis-server does.

use super::command::Range;

/// A quote without an end, or with something other than a space behind it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unbalanced;

/// Splits `line` into words, unquotes them where they stand, and appends where they are.
///
/// `line` starts at `base` of the input, and has no NUL.
pub(super) fn split(
    line: &mut [u8],
    base: usize,
    ranges: &mut Vec<Range>,
) -> Result<(), Unbalanced> {
    let mut at = 0;
    loop {
        while line.get(at).is_some_and(|&byte| is_space(byte)) {
            at += 1;
        }
        if at == line.len() {
            return Ok(());
        }
        let word = word(line, at)?;
        ranges.push(Range { start: base + at, end: base + word.end });
        at = word.next;
    }
}

struct Word {
    /// Where the unquoted word ends; it starts where the quoted one did.
    end: usize,
    /// Where to look for the next word.
    next: usize,
}

/// The word that starts at `start`: bare text, with at most one quoted part, which ends it.
fn word(line: &mut [u8], start: usize) -> Result<Word, Unbalanced> {
    let mut at = start;
    while let Some(&byte) = line.get(at) {
        match byte {
            // Narrower than `is_space`: a vertical tab or a form feed is part of a word that has
            // begun.
            b' ' | b'\n' | b'\r' | b'\t' => return Ok(Word { end: at, next: at + 1 }),
            // What stands before a quote stays where it is.
            b'"' => return quoted(line, at, double),
            b'\'' => return quoted(line, at, single),
            _ => at += 1,
        }
    }
    Ok(Word { end: at, next: at })
}

/// Moves what the quotes at `open` enclose down over them.
fn quoted(
    line: &mut [u8],
    open: usize,
    next_byte: fn(&[u8]) -> (u8, usize),
) -> Result<Word, Unbalanced> {
    let quote = line[open];
    let (mut read, mut write) = (open + 1, open);
    loop {
        match line.get(read) {
            None => return Err(Unbalanced),
            Some(&byte) if byte == quote => break,
            Some(_) => {}
        }
        let (byte, width) = next_byte(&line[read..]);
        line[write] = byte;
        (read, write) = (read + width, write + 1);
    }
    // "closing quote must be followed by a space or nothing at all"
    if line.get(read + 1).is_some_and(|&byte| !is_space(byte)) {
        return Err(Unbalanced);
    }
    Ok(Word { end: write, next: read + 1 })
}

/// The byte that the front of `text` stands for in double quotes, and how much of it that takes.
fn double(text: &[u8]) -> (u8, usize) {
    match *text {
        [b'\\', b'x', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
            (hex(high) << 4 | hex(low), 4)
        }
        [b'\\', b'n', ..] => (b'\n', 2),
        [b'\\', b'r', ..] => (b'\r', 2),
        [b'\\', b't', ..] => (b'\t', 2),
        [b'\\', b'b', ..] => (0x08, 2),
        [b'\\', b'a', ..] => (0x07, 2),
        [b'\\', byte, ..] => (byte, 2),
        _ => (text[0], 1),
    }
}

/// As [`double`], in single quotes.
fn single(text: &[u8]) -> (u8, usize) {
    match *text {
        [b'\\', b'\'', ..] => (b'\'', 2),
        _ => (text[0], 1),
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// `isspace` of the C locale.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &[u8]) -> Result<Vec<Vec<u8>>, Unbalanced> {
        let (mut line, mut ranges) = (line.to_vec(), Vec::new());
        split(&mut line, 100, &mut ranges)?;
        Ok(ranges.iter().map(|range| line[range.start - 100..range.end - 100].to_vec()).collect())
    }

    #[test]
    fn splits_at_spaces() {
        assert_eq!(words(b"").unwrap(), [b""; 0]);
        assert_eq!(words(b" \t\x0b\x0c\r").unwrap(), [b""; 0]);
        assert_eq!(words(b"  set\tkey  v\r1 ").unwrap(), [&b"set"[..], b"key", b"v", b"1"]);
        assert_eq!(words(b"a\x0bb \x0cc").unwrap(), [&b"a\x0bb"[..], b"c"]);
    }

    #[test]
    fn unquotes() {
        assert_eq!(words(br#""v\x41\n" 'a b' """#).unwrap(), [&b"vA\n"[..], b"a b", b""]);
        assert_eq!(words(br#"a"b c" 'it\'s' 'a\nb'"#).unwrap(), [&b"ab c"[..], b"it's", b"a\\nb"]);
        assert_eq!(words(br#""\r\t\b\a\q\"\\""#).unwrap(), [b"\r\t\x08\x07q\"\\"]);
        assert_eq!(words(br#""\xZZ\x4\xfF""#).unwrap(), [b"xZZx4\xff"]);
        assert_eq!(words(b"\"a\"\x0bb").unwrap(), [b"a", b"b"]);
    }

    #[test]
    fn refuses_unbalanced_quotes() {
        for line in [r#"""#, r#""a"#, r#""a"b"#, "'a", "'a'b", r#"a"b"#, r#""a\"#, r#"'a\'"#] {
            assert_eq!(words(line.as_bytes()), Err(Unbalanced), "{line}");
        }
    }
}
