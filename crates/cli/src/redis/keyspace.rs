//! Keys and their values.

use foldhash::fast::RandomState;
use std::collections::HashMap;

/// The one database: strings by key.
#[derive(Default)]
pub(super) struct Keyspace {
    values: HashMap<Box<[u8]>, Vec<u8>, RandomState>,
}

/// A value that shrinks to less than half gives its memory back, unless it is small.
const SMALL_BYTES: usize = 1024;

impl Keyspace {
    #[inline]
    pub(super) fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.values.get(key).map(Vec::as_slice)
    }

    pub(super) fn contains(&self, key: &[u8]) -> bool {
        self.values.contains_key(key)
    }

    /// Sets a value, in the memory of the old one where that fits.
    #[inline]
    pub(super) fn set(&mut self, key: &[u8], value: &[u8]) {
        match self.values.get_mut(key) {
            Some(old) if old.capacity() <= value.len().saturating_mul(2).max(SMALL_BYTES) => {
                old.clear();
                old.extend_from_slice(value);
            }
            Some(old) => *old = value.to_vec(),
            None => {
                self.values.insert(key.into(), value.to_vec());
            }
        }
    }

    /// The value to be changed in place; an empty one is made where there is none.
    pub(super) fn value_mut(&mut self, key: &[u8]) -> &mut Vec<u8> {
        if !self.values.contains_key(key) {
            self.values.insert(key.into(), Vec::new());
        }
        self.values.get_mut(key).expect("just looked for")
    }

    pub(super) fn remove(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        self.values.remove(key)
    }

    /// Gives a value another key, in place of what that key had. `false` if there is no such value.
    pub(super) fn rename(&mut self, from: &[u8], to: &[u8]) -> bool {
        let Some(value) = self.values.remove(from) else { return false };
        self.values.insert(to.into(), value);
        true
    }

    pub(super) fn clear(&mut self) {
        self.values = HashMap::default();
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// All keys, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.values.keys().map(|key| &**key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_the_same_size_keeps_its_memory_and_a_shrunken_one_gives_it_back() {
        let mut keys = Keyspace::default();
        keys.set(b"k", &vec![1; 100_000]);
        let before = keys.get(b"k").unwrap().as_ptr();
        keys.set(b"k", &vec![2; 100_000]);
        assert_eq!(keys.get(b"k").unwrap().as_ptr(), before);
        assert_eq!(keys.get(b"k"), Some(&*vec![2; 100_000]));
        keys.set(b"k", b"small");
        assert_eq!(keys.get(b"k"), Some(&b"small"[..]));
        assert!(keys.value_mut(b"k").capacity() < 1000);
    }

    #[test]
    fn renaming_replaces() {
        let mut keys = Keyspace::default();
        keys.set(b"a", b"1");
        keys.set(b"b", b"2");
        assert!(keys.rename(b"a", b"b"));
        assert!(!keys.rename(b"a", b"b"));
        assert_eq!((keys.get(b"a"), keys.get(b"b"), keys.len()), (None, Some(&b"1"[..]), 1));
        assert!(keys.rename(b"b", b"b"));
        assert_eq!(keys.get(b"b"), Some(&b"1"[..]));
    }
}
