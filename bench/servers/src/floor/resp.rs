//! PING, SET and GET by a table of fixed size: as little of Redis as its benchmark asks.
//!
//! Commands are arrays of bulk strings or inline words
//! (<https://redis.io/docs/latest/develop/reference/protocol-spec/>). A key has one place; another
//! key there overwrites it.

use super::answer::{Answer, Reply};

/// Places of the table; keys that end in a number below it never collide.
const PLACES: usize = 1 << 16;
/// Arguments that are looked at.
const ARGUMENTS_MAX: usize = 4;

pub(super) struct Resp {
    table: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Resp {
    pub(super) fn new() -> Self {
        Self { table: vec![(Vec::new(), Vec::new()); PLACES] }
    }

    fn execute(&mut self, arguments: &[&[u8]], out: &mut Vec<u8>) {
        match arguments {
            [name, ..] if name.eq_ignore_ascii_case(b"ping") => {
                out.extend_from_slice(b"+PONG\r\n");
            }
            [name, key, value] if name.eq_ignore_ascii_case(b"set") => {
                let place = &mut self.table[place(key)];
                place.0.clear();
                place.0.extend_from_slice(key);
                place.1.clear();
                place.1.extend_from_slice(value);
                out.extend_from_slice(b"+OK\r\n");
            }
            [name, key] if name.eq_ignore_ascii_case(b"get") => {
                let (held, value) = &self.table[place(key)];
                if held != key {
                    out.extend_from_slice(b"$-1\r\n");
                    return;
                }
                out.push(b'$');
                push_number(out, value.len());
                out.extend_from_slice(b"\r\n");
                out.extend_from_slice(value);
                out.extend_from_slice(b"\r\n");
            }
            // redis-benchmark asks for the configuration before it begins.
            [name, ..] if name.eq_ignore_ascii_case(b"config") => {
                out.extend_from_slice(b"*0\r\n");
            }
            [] => {}
            _ => out.extend_from_slice(b"-ERR unknown command\r\n"),
        }
    }
}

impl Answer for Resp {
    /// A command of which not all has come.
    type State = Vec<u8>;

    fn answer(&mut self, carry: &mut Vec<u8>, input: &[u8], out: &mut Vec<u8>) -> Reply {
        let joined;
        let mut rest = input;
        if !carry.is_empty() {
            carry.extend_from_slice(input);
            joined = std::mem::take(carry);
            rest = &joined;
        }
        while !rest.is_empty() {
            let mut arguments = [&[][..]; ARGUMENTS_MAX];
            let Some((count, used)) = command(rest, &mut arguments) else { break };
            self.execute(&arguments[..count.min(ARGUMENTS_MAX)], out);
            rest = &rest[used..];
        }
        carry.extend_from_slice(rest);
        Reply::Out
    }
}

/// The arguments of the first command, their number, and the bytes it takes; none if it is not
/// complete. What is no number counts as 0: a floor trusts its load generator.
fn command<'a>(
    input: &'a [u8],
    arguments: &mut [&'a [u8]; ARGUMENTS_MAX],
) -> Option<(usize, usize)> {
    if input[0] != b'*' {
        let end = memchr::memchr(b'\n', input)?;
        let words = input[..end].split(|byte| byte.is_ascii_whitespace());
        let mut count = 0;
        for word in words.filter(|word| !word.is_empty()).take(ARGUMENTS_MAX) {
            arguments[count] = word;
            count += 1;
        }
        return Some((count, end + 1));
    }
    let (count, mut at) = number_line(input, 1)?;
    for index in 0..count {
        let (length, begin) = number_line(input, at + 1)?;
        let bytes = input.get(begin..begin + length)?;
        if let Some(argument) = arguments.get_mut(index) {
            *argument = bytes;
        }
        at = begin + length + 2;
    }
    (at <= input.len()).then_some((count, at))
}

/// The number from `at` to the end of its line, and where the next line begins.
fn number_line(input: &[u8], mut at: usize) -> Option<(usize, usize)> {
    let mut number = 0_usize;
    loop {
        match *input.get(at)? {
            b'\n' => return Some((number, at + 1)),
            digit @ b'0'..=b'9' => number = number.wrapping_mul(10) + usize::from(digit - b'0'),
            _ => {}
        }
        at += 1;
    }
}

/// By the last digits of the key, or else by FNV-1a.
fn place(key: &[u8]) -> usize {
    let digits = key.iter().rev().take(12).take_while(|byte| byte.is_ascii_digit()).count();
    if digits > 0 {
        let number = key[key.len() - digits..]
            .iter()
            .fold(0_usize, |number, digit| number * 10 + usize::from(digit - b'0'));
        return number % PLACES;
    }
    let hash = key.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash as usize % PLACES
}

fn push_number(out: &mut Vec<u8>, number: usize) {
    if number < 10 {
        out.push(b'0' + number as u8);
        return;
    }
    push_number(out, number / 10);
    out.push(b'0' + (number % 10) as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] =
        b"PING\r\n*1\r\n$4\r\nPING\r\n*3\r\n$3\r\nSET\r\n$5\r\nkey:1\r\n$2\r\nhi\r\n\
        *2\r\n$3\r\nGET\r\n$5\r\nkey:1\r\n*2\r\n$3\r\nget\r\n$5\r\nkey:2\r\n";
    const REPLIES: &[u8] = b"+PONG\r\n+PONG\r\n+OK\r\n$2\r\nhi\r\n$-1\r\n";

    #[test]
    fn commands_are_answered_across_any_cut() {
        for cut in 0..=STREAM.len() {
            let mut floor = Resp::new();
            let (mut carry, mut replies) = (Vec::new(), Vec::new());
            floor.answer(&mut carry, &STREAM[..cut], &mut replies);
            floor.answer(&mut carry, &STREAM[cut..], &mut replies);
            assert_eq!(replies, REPLIES, "cut at {cut}");
            assert!(carry.is_empty());
        }
    }

    #[test]
    fn what_is_not_known_is_an_error_of_the_protocol() {
        let mut floor = Resp::new();
        let mut replies = Vec::new();
        floor.answer(&mut Vec::new(), b"DEL x\r\nconfig get save\r\n", &mut replies);
        assert_eq!(replies, b"-ERR unknown command\r\n*0\r\n");
    }

    #[test]
    fn numbers_are_written_in_full() {
        let mut out = Vec::new();
        push_number(&mut out, 10_203);
        assert_eq!(out, b"10203");
    }
}
