//! What the header fields say about the message itself: its body, its host, its connection.

use super::{Body, Error};

/// What follows from version and fields.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meaning {
    pub(super) body: Body,
    pub(super) keep_alive: bool,
    pub(super) expects_continue: bool,
}

/// Gathers [`Meaning`] field by field.
#[derive(Debug, Default)]
pub(super) struct Gather {
    hosts: usize,
    length: Option<u64>,
    codings: usize,
    /// Whether the last transfer coding was `chunked`, and whether an earlier one was.
    chunked_last: bool,
    chunked_early: bool,
    close: bool,
    keep_alive: bool,
    expects_continue: bool,
}

impl Gather {
    #[inline]
    pub(super) fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), Error> {
        // Most fields are settled by their length.
        match name.len() {
            4 if is_named(name, b"host") => self.host(value),
            14 if is_named(name, b"content-length") => self.content_length(value),
            17 if is_named(name, b"transfer-encoding") => self.transfer_encoding(value),
            10 if is_named(name, b"connection") => {
                self.close |= list(value).any(|option| option.eq_ignore_ascii_case(b"close"));
                self.keep_alive |=
                    list(value).any(|option| option.eq_ignore_ascii_case(b"keep-alive"));
                Ok(())
            }
            6 if is_named(name, b"expect") => {
                self.expects_continue |= value.eq_ignore_ascii_case(b"100-continue");
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn finish(&self, minor: u8) -> Result<Meaning, Error> {
        // "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1 request
        // message that lacks a Host header field" (RFC 9112, 3.2).
        if minor >= 1 && self.hosts == 0 {
            return Err(Error::HostMissing);
        }
        let body = match (self.codings, self.length) {
            (0, None) => Body::None,
            (0, Some(length)) => Body::Length(length),
            // "A server MAY reject a request that contains both Content-Length and
            // Transfer-Encoding" (RFC 9112, 6.1): the two are how requests are smuggled.
            (_, Some(_)) => return Err(Error::LengthAndCoding),
            // "If chunked is not the final encoding .. the server MUST respond with the 400 (Bad
            // Request) status code" (RFC 9112, 6.3); codings of HTTP/1.0 are faulty framing (6.1).
            _ if minor == 0 || !self.chunked_last || self.chunked_early => {
                return Err(Error::TransferEncodingInvalid);
            }
            (1, None) => Body::Chunked,
            _ => return Err(Error::TransferCodingUnknown),
        };
        Ok(Meaning {
            body,
            keep_alive: !self.close && (minor >= 1 || self.keep_alive),
            // "A server that receives a 100-continue expectation in an HTTP/1.0 request MUST ignore
            // that expectation" (RFC 9110, 10.1.1).
            expects_continue: self.expects_continue && minor >= 1 && body != Body::None,
        })
    }

    fn host(&mut self, value: &[u8]) -> Result<(), Error> {
        self.hosts += 1;
        if self.hosts > 1 || !is_host(value) {
            return Err(Error::HostInvalid);
        }
        Ok(())
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), Error> {
        for text in list(value) {
            let length = decimal(text).ok_or(Error::ContentLengthInvalid)?;
            if self.length.is_some_and(|earlier| earlier != length) {
                return Err(Error::ContentLengthConflict);
            }
            self.length = Some(length);
        }
        Ok(())
    }

    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Error> {
        for coding in list(value) {
            self.codings += 1;
            self.chunked_early |= self.chunked_last;
            self.chunked_last = coding.eq_ignore_ascii_case(b"chunked");
        }
        Ok(())
    }
}

/// Whether a token is `name`, in any case. Small letters and `-` have the bit that is set, and no
/// byte of a token becomes one of them by it but the same letter.
#[inline]
fn is_named<const N: usize>(token: &[u8], name: &[u8; N]) -> bool {
    token.try_into().is_ok_and(|token: [u8; N]| token.map(|byte| byte | 0x20) == *name)
}

fn is_host(value: &[u8]) -> bool {
    // All of it, without a branch for each byte: nearly every host is one.
    value.iter().fold(true, |sound, &byte| sound & IN_HOST[usize::from(byte)])
}

/// Whether `byte` may stand in a name or a method (`tchar`, RFC 9110, 5.6.2).
#[inline]
pub(super) fn is_token(byte: u8) -> bool {
    IN_TOKEN[usize::from(byte)]
}

static IN_TOKEN: [bool; 256] = letters_digits_and(b"!#$%&'*+-.^_`|~");
/// Whether a byte may stand in `Host`: those of a name, of an address in brackets and of a port
/// (RFC 3986, 3.2.2).
static IN_HOST: [bool; 256] = letters_digits_and(b"-._~!$&'()*+;=%[]:");

const fn letters_digits_and(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut index = 0;
    while index < others.len() {
        table[others[index] as usize] = true;
        index += 1;
    }
    table
}

/// Whether `byte` may stand in a value: no control character but the tab.
pub(super) fn is_value(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// The elements of a comma-separated list, without the spaces around them; empty ones included.
fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}

/// A decimal number: digits only, no sign.
fn decimal(text: &[u8]) -> Option<u64> {
    let mut value: u64 = 0;
    for &digit in text {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
    }
    (!text.is_empty()).then_some(value)
}
