//! A client that waits for each answer: the server's turns are the same in every run.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// What is asked, and how often at once.
pub(crate) struct Exchange {
    pub(crate) protocol: Protocol,
    /// Requests in one write, which the server reads at once.
    pub(crate) depth: u64,
}

pub(crate) enum Protocol {
    /// 64 bytes, which come back.
    Echo,
    /// 1 KiB with its length in front, which come back.
    Frames,
    /// `SET` of values of three bytes to sixteen keys in turn.
    Set,
    /// `GET` of the same.
    Get,
    /// `GET /` as wrk sends it.
    Http,
}

/// Keys, and so different batches of requests.
const KEYS: u64 = 16;
/// Exchanges before those that are told: buffers have grown, keys are set.
const WARM_UP: u64 = 2 * KEYS;
/// Under valgrind everything is slow, but nothing is as slow as that.
const ANSWER_MAX: Duration = Duration::from_secs(20);
const HTTP_REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";
const PAGE: &[u8] = b"Hello World!\r\n";

impl Exchange {
    /// Asks and reads `repetitions` times, and checks each answer.
    pub(crate) fn repeat(&self, address: &str, repetitions: u64) -> Result<(), String> {
        self.try_repeat(address, repetitions).map_err(|error| format!("{address}: {error}"))
    }

    fn try_repeat(&self, address: &str, repetitions: u64) -> std::io::Result<()> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        if matches!(self.protocol, Protocol::Get) {
            for key in 0..KEYS {
                exchange(&mut stream, &set(key), b"+OK\r\n")?;
            }
        }
        let batches: Vec<Vec<u8>> = (0..KEYS).map(|first| self.batch(first)).collect();
        let answer = match self.protocol {
            Protocol::Http => first_page(&mut stream)?,
            _ => self.answer(),
        };
        let answers = answer.repeat(self.depth as usize);
        for round in 0..WARM_UP + repetitions {
            let batch = &batches[(round % KEYS) as usize];
            if matches!(self.protocol, Protocol::Echo | Protocol::Frames) {
                exchange(&mut stream, batch, batch)?;
            } else {
                exchange(&mut stream, batch, &answers)?;
            }
        }
        Ok(())
    }

    fn batch(&self, first: u64) -> Vec<u8> {
        (first..first + self.depth).flat_map(|number| self.request(number % KEYS)).collect()
    }

    fn request(&self, number: u64) -> Vec<u8> {
        match self.protocol {
            Protocol::Echo => vec![b'a' + number as u8; 64],
            Protocol::Frames => frame(b'a' + number as u8),
            Protocol::Set => set(number),
            Protocol::Get => format!("*2\r\n$3\r\nGET\r\n$6\r\nkey:{number:02}\r\n").into_bytes(),
            Protocol::Http => HTTP_REQUEST.to_vec(),
        }
    }

    fn answer(&self) -> Vec<u8> {
        match self.protocol {
            Protocol::Set => b"+OK\r\n".to_vec(),
            Protocol::Get => b"$3\r\nxyz\r\n".to_vec(),
            Protocol::Echo | Protocol::Frames | Protocol::Http => Vec::new(),
        }
    }
}

/// A frame of 1 KiB: its length as a varint, and so many bytes.
fn frame(byte: u8) -> Vec<u8> {
    let mut frame = vec![byte; 2 + 1024];
    frame[..2].copy_from_slice(&[0x80, 8]);
    frame
}

fn set(number: u64) -> Vec<u8> {
    format!("*3\r\n$3\r\nSET\r\n$6\r\nkey:{number:02}\r\n$3\r\nxyz\r\n").into_bytes()
}

/// The page with its head, whose length differs only in nothing: the date has a fixed one.
fn first_page(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    stream.write_all(HTTP_REQUEST)?;
    let mut page = Vec::new();
    let mut byte = [0];
    while !page.ends_with(PAGE) {
        stream.read_exact(&mut byte)?;
        page.push(byte[0]);
    }
    Ok(page)
}

/// Sends `request` in one piece, and reads as many bytes as `expected` has. They have to be the
/// same but for digits and letters of a date: an answer in HTTP holds the second it was made in.
fn exchange(stream: &mut TcpStream, request: &[u8], expected: &[u8]) -> std::io::Result<()> {
    stream.write_all(request)?;
    let mut answer = vec![0; expected.len()];
    stream.read_exact(&mut answer)?;
    let date = b"\r\ndate: ";
    let dated = expected.windows(date.len()).any(|window| window.eq_ignore_ascii_case(date));
    if answer != expected && !(dated && answer.ends_with(PAGE)) {
        let shown = answer[..answer.len().min(80)].escape_ascii();
        return Err(std::io::Error::other(format!("a wrong answer: \"{shown}\"")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_one_to_the_codec() {
        use mainspring::wire::{Decode, LengthPrefix, Step};
        let mut sent = frame(b'x');
        let step =
            LengthPrefix::varint().decode(&mut sent).map(|step| step.map(|frame| frame.len()));
        assert_eq!(step, Ok(Step::Frame { frame: 1024, used: 1026 }));
    }

    #[test]
    fn a_batch_holds_as_many_requests_as_its_depth() {
        let exchange = Exchange { protocol: Protocol::Set, depth: 16 };
        assert_eq!(exchange.batch(3).len(), 16 * set(0).len());
        assert_ne!(exchange.batch(3), exchange.batch(4));
    }
}
