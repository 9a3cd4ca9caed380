//! Redis commands: PING as an array and inline, SET and GET on a space of keys.
//!
//! Format: <https://redis.io/docs/latest/develop/reference/protocol-spec/>.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use crate::fixed::{Fixed, excerpt};
use crate::{Error, Target};

/// Commands sent in one go while keys are set up.
const BATCH: usize = 128;

/// What SET and GET work on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keys {
    pub(crate) count: usize,
    pub(crate) value_size: usize,
    pub(crate) seed: u64,
}

/// `*1\r\n$4\r\nPING\r\n`, or the inline form that benchmarks of Redis call PING_INLINE.
pub(crate) fn ping(inline: bool) -> Fixed {
    let request: &[u8] = if inline { b"PING\r\n" } else { b"*1\r\n$4\r\nPING\r\n" };
    Fixed::same(request.to_vec(), b"+PONG\r\n".to_vec())
}

/// SET of a random key.
pub(crate) fn set(keys: Keys) -> Fixed {
    let (all, length) = keys.commands(true);
    Fixed::one_of(all, length, b"+OK\r\n".to_vec(), keys.seed)
}

/// GET of a random key; all keys have to be set before.
pub(crate) fn get(keys: Keys) -> Fixed {
    let (all, length) = keys.commands(false);
    let value = keys.value();
    let mut reply = format!("${}\r\n", value.len()).into_bytes();
    reply.extend_from_slice(&value);
    reply.extend_from_slice(b"\r\n");
    Fixed::one_of(all, length, reply, keys.seed)
}

impl Keys {
    /// Sets every key, before anything is measured.
    pub(crate) fn fill(self, target: &Target) -> Result<(), Error> {
        let failed = || Error::io(format!("cannot set keys at {target}"));
        let mut stream = blocking(target)?;
        let (all, length) = self.commands(true);
        for batch in all.chunks(length * BATCH) {
            stream.write_all(batch).map_err(failed())?;
            let mut replies = vec![0; batch.len() / length * b"+OK\r\n".len()];
            stream.read_exact(&mut replies).map_err(failed())?;
            if let Some(wrong) = replies.chunks(5).find(|reply| *reply != b"+OK\r\n") {
                return Err(Error::WrongReply(format!("to SET: `{}`", excerpt(wrong))));
            }
        }
        Ok(())
    }

    /// Commands on all keys, and the length of each.
    fn commands(self, set: bool) -> (Vec<u8>, usize) {
        let value = self.value();
        let mut all = Vec::new();
        for number in 0..self.count {
            let key = format!("key:{number:012}");
            if set {
                all.extend_from_slice(format!("*3\r\n$3\r\nSET\r\n$16\r\n{key}\r\n").as_bytes());
                all.extend_from_slice(format!("${}\r\n", value.len()).as_bytes());
                all.extend_from_slice(&value);
                all.extend_from_slice(b"\r\n");
            } else {
                all.extend_from_slice(format!("*2\r\n$3\r\nGET\r\n$16\r\n{key}\r\n").as_bytes());
            }
        }
        let length = all.len() / self.count;
        (all, length)
    }

    fn value(self) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(self.seed);
        (0..self.value_size).map(|_| random.alphanumeric() as u8).collect()
    }
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

fn blocking(target: &Target) -> Result<Box<dyn ReadWrite>, Error> {
    let socket: OwnedFd = target.dial()?;
    let failed = || Error::io(format!("cannot use {target}"));
    if matches!(target, Target::Unix(_)) {
        let stream = std::os::unix::net::UnixStream::from(socket);
        stream.set_nonblocking(false).map_err(failed())?;
        return Ok(Box::new(stream));
    }
    let stream = std::net::TcpStream::from(socket);
    stream.set_nonblocking(false).map_err(failed())?;
    Ok(Box::new(stream))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Protocol as _;

    #[test]
    fn commands_have_the_length_that_they_name() {
        let keys = Keys { count: 3, value_size: 4, seed: 1 };
        let (all, length) = keys.commands(true);
        assert_eq!(all.len(), 3 * length);
        let last = String::from_utf8(all[2 * length..].to_vec()).unwrap();
        assert!(last.starts_with("*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000002\r\n$4\r\n"), "{last}");
        let mut out = Vec::new();
        get(keys).request(&mut out);
        assert!(out.starts_with(b"*2\r\n$3\r\nGET\r\n$16\r\nkey:00000000000"));
    }

    #[test]
    fn get_wants_the_value_that_set_writes() {
        let keys = Keys { count: 1, value_size: 3, seed: 5 };
        let value = String::from_utf8(keys.value()).unwrap();
        let reply = format!("$3\r\n{value}\r\n");
        assert_eq!(get(keys).replies(&mut 0, reply.as_bytes()).unwrap().replies, 1);
        assert!(get(keys).replies(&mut 0, b"$-1\r\n").is_err());
    }
}
