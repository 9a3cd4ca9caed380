//! What happened, as one number and, if asked for, as text.

use mainspring_io::Key;
use std::fmt::Write as _;
use std::time::Duration;

/// A running hash over every order given to a driver and every event it delivered.
///
/// Two runs of one seed have equal hashes; the first difference between two logs shows where they
/// parted.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: u64,
    entries: u64,
    lines: Option<Vec<String>>,
}

/// One order or event.
pub(crate) struct Entry<'a> {
    pub(crate) at: Duration,
    pub(crate) driver: usize,
    pub(crate) what: &'static str,
    pub(crate) key: Option<Key>,
    pub(crate) bytes: &'a [u8],
}

impl Trace {
    pub(crate) fn new(log: bool) -> Self {
        Self { hash: FNV_OFFSET, entries: 0, lines: log.then(Vec::new) }
    }

    pub(crate) fn note(&mut self, entry: &Entry<'_>) {
        self.entries += 1;
        self.fold(&entry.at.as_nanos().to_le_bytes());
        self.fold(&(entry.driver as u64).to_le_bytes());
        self.fold(entry.what.as_bytes());
        self.fold(&entry.key.map_or(u64::MAX, Key::to_bits).to_le_bytes());
        self.fold(&(entry.bytes.len() as u64).to_le_bytes());
        self.fold(entry.bytes);
        if let Some(lines) = &mut self.lines {
            lines.push(line(entry));
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn entries(&self) -> u64 {
        self.entries
    }

    pub(crate) fn take_lines(&mut self) -> Vec<String> {
        self.lines.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// FNV-1a, written here because its value must not change with a compiler or a dependency.
    fn fold(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
        }
    }
}

fn line(entry: &Entry<'_>) -> String {
    let mut line = format!("{:>12.6} #{} ", entry.at.as_secs_f64(), entry.driver);
    line.push_str(entry.what);
    if let Some(key) = entry.key {
        let _ = write!(line, " {key:?}");
    }
    if !entry.bytes.is_empty() {
        let shown = &entry.bytes[..entry.bytes.len().min(LOGGED_BYTES_MAX)];
        let _ = write!(line, " {} bytes \"{}\"", entry.bytes.len(), shown.escape_ascii());
    }
    line
}

const LOGGED_BYTES_MAX: usize = 32;
/// Both constants: the FNV-1a 64 parameters, <http://www.isthe.com/chongo/tech/comp/fnv/>.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv_1a() {
        let mut trace = Trace::new(false);
        trace.fold(b"foobar");
        assert_eq!(trace.hash(), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn order_and_content_change_the_hash() {
        let hash_of = |payloads: &[&[u8]]| {
            let mut trace = Trace::new(true);
            for bytes in payloads {
                let at = Duration::from_micros(5);
                trace.note(&Entry {
                    at,
                    driver: 0,
                    what: "data",
                    key: Some(Key::new(1, 2)),
                    bytes,
                });
            }
            assert_eq!(trace.entries(), payloads.len() as u64);
            assert_eq!(trace.take_lines().len(), payloads.len());
            trace.hash()
        };
        assert_eq!(hash_of(&[b"a", b"b"]), hash_of(&[b"a", b"b"]));
        assert_ne!(hash_of(&[b"a", b"b"]), hash_of(&[b"b", b"a"]));
        assert_ne!(hash_of(&[b"ab"]), hash_of(&[b"a", b"b"]));
    }
}
