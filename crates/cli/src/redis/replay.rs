//! Reading an append log.

use mainspring::wire::resp::{Command, Commands};
use mainspring::wire::{Decode, Step};
use std::fmt;
use std::io::{self, Read};

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Replayed {
    pub(super) commands: u64,
    /// Where the last whole command ends.
    pub(super) bytes: u64,
    /// What follows it: the beginning of a command.
    pub(super) rest: u64,
}

/// Why a log cannot be used.
#[derive(Debug)]
pub(super) enum LogError {
    Io(io::Error),
    Corrupt { offset: u64, reason: String },
}

const CHUNK_BYTES: usize = 256 * 1024;

/// Gives each command of the log to `execute`, which may say why it cannot be one.
pub(super) fn replay(
    log: &mut impl Read,
    mut execute: impl FnMut(&Command<'_>) -> Result<(), &'static str>,
) -> Result<Replayed, LogError> {
    let (mut decoder, mut buffer) = (Commands::new(), Vec::new());
    let mut done = Replayed { commands: 0, bytes: 0, rest: 0 };
    let mut wanted = CHUNK_BYTES;
    while log.by_ref().take(wanted as u64).read_to_end(&mut buffer)? > 0 {
        let mut at = 0;
        wanted = loop {
            let corrupt = |reason: String| LogError::Corrupt { offset: done.bytes, reason };
            let rest = &mut buffer[at..];
            // The decoder would take anything else for an inline command.
            if rest.first().is_some_and(|first| *first != b'*') {
                return Err(corrupt("a command does not start with '*'".to_owned()));
            }
            match decoder.decode(rest).map_err(|error| corrupt(error.to_string()))? {
                Step::Need(bytes) => break bytes.get().max(CHUNK_BYTES),
                Step::Frame { frame, used } => {
                    execute(&frame).map_err(|reason| corrupt(reason.to_owned()))?;
                    // Which the decoder, like redis-server, does not look at.
                    if !buffer[at..at + used].ends_with(b"\r\n") {
                        return Err(corrupt("a command does not end with CR LF".to_owned()));
                    }
                    at += used;
                    done.bytes += used as u64;
                    done.commands += 1;
                }
            }
        };
        buffer.drain(..at);
    }
    done.rest = buffer.len() as u64;
    Ok(done)
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "cannot use the append log: {error}"),
            Self::Corrupt { offset, reason } => write!(
                f,
                "corrupt append log at byte {offset}: {reason}; repair the file, or truncate it to \
                 {offset} bytes to lose what follows"
            ),
        }
    }
}

impl From<io::Error> for LogError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &[u8] = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n";
    const FIRST: u64 = 27;

    fn read(mut log: &[u8]) -> Result<Replayed, LogError> {
        replay(&mut log, |command| match command.name() {
            Some(b"SET" | b"DEL") => Ok(()),
            _ => Err("no change"),
        })
    }

    #[test]
    fn a_log_cut_anywhere_gives_its_whole_commands_and_the_length_of_the_rest() {
        for length in 0..=LOG.len() {
            let done = read(&LOG[..length]).unwrap();
            let whole = [0, FIRST, LOG.len() as u64];
            let commands = whole.iter().rposition(|end| *end <= length as u64).unwrap();
            assert_eq!(done.commands, commands as u64);
            assert_eq!((done.bytes, done.bytes + done.rest), (whole[commands], length as u64));
        }
    }

    #[test]
    fn what_is_corrupt_is_named_with_its_offset() {
        let changes: [(&[u8], &[u8]); 5] = [
            (b"*2", b"x2"),
            (b"$3\r\nDEL", b"$x\r\nDEL"),
            (b"$3\r\nDEL", b"$3\r\nGET"),
            (b"*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n", b"*2\r\n$3\r\nDEL\r\n$1\r\nkxx"),
            (b"*2\r\n", b"*-\r\n"),
        ];
        for (from, to) in changes {
            let text = String::from_utf8(LOG.to_vec()).unwrap();
            let (from, to) = (str::from_utf8(from).unwrap(), str::from_utf8(to).unwrap());
            match read(text.replace(from, to).as_bytes()) {
                Err(LogError::Corrupt { offset, .. }) => assert_eq!(offset, FIRST, "{to:?}"),
                other => panic!("{to:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_large_value_crosses_many_chunks() {
        let mut log = Vec::new();
        let value = vec![b'v'; 3 * CHUNK_BYTES + 7];
        for _ in 0..2 {
            mainspring::wire::resp::request(&mut log, &[b"SET", b"k", &value]);
        }
        let done = read(&log).unwrap();
        assert_eq!(done, Replayed { commands: 2, bytes: log.len() as u64, rest: 0 });
    }
}
