//! Whom a message is for, sorted by loop.

use crate::ConnId;
use mainspring_io::Key;
use std::sync::Arc;

/// Connections sorted by the loop that serves them, made by
/// [`Broadcaster::targets`](crate::Broadcaster::targets). A clone is cheap.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    by_loop: Arc<[(u16, Arc<[Key]>)]>,
    /// Ids of another server that has more loops.
    unknown: u64,
    len: usize,
}

impl Targets {
    pub(crate) fn new(to: &[ConnId], loops: usize) -> Self {
        let mut keys: Vec<Vec<Key>> = vec![Vec::new(); loops];
        let mut unknown = 0;
        for id in to {
            match keys.get_mut(usize::from(id.home)) {
                Some(keys) => keys.push(id.key),
                None => unknown += 1,
            }
        }
        let by_loop = keys.into_iter().enumerate().filter(|(_, keys)| !keys.is_empty());
        let by_loop = by_loop.map(|(home, keys)| (home as u16, keys.into())).collect();
        Self { by_loop, unknown, len: to.len() }
    }

    /// How many targets there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn by_loop(&self) -> impl Iterator<Item = (u16, &Arc<[Key]>)> {
        self.by_loop.iter().map(|(home, keys)| (*home, keys))
    }

    pub(crate) fn unknown(&self) -> u64 {
        self.unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_sorted_by_loop_and_keep_their_order() {
        let id = |home, index| ConnId { home, key: Key::new(index, 0) };
        let ids = [id(2, 5), id(0, 1), id(2, 3), id(9, 9), id(2, 5)];
        let targets = Targets::new(&ids, 3);
        let sorted: Vec<(u16, Vec<usize>)> = targets
            .by_loop()
            .map(|(home, keys)| (home, keys.iter().map(|key| key.index()).collect()))
            .collect();
        assert_eq!(sorted, [(0, vec![1]), (2, vec![5, 3, 5])]);
        assert_eq!((targets.len(), targets.unknown(), targets.is_empty()), (5, 1, false));
    }
}
