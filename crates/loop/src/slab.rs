//! Slots with generations: where a loop keeps what its keys name.

use mainspring_io::Key;

/// Values in numbered slots. A key names a slot in one use of it; after
/// [`remove`](Slab::remove) it names nothing, even when the slot has a new tenant.
///
/// Generations count modulo 2^32: a stale key could only be mistaken after its slot had been reused
/// four thousand million times.
pub(crate) struct Slab<T> {
    slots: Vec<Slot<T>>,
    /// Head of the list of vacant slots, `NONE` at its end. The slot freed last is used first: it
    /// is in cache.
    vacant: u32,
    len: usize,
}

struct Slot<T> {
    generation: u32,
    tenant: Tenant<T>,
}

enum Tenant<T> {
    Vacant { next: u32 },
    Occupied(T),
}

const NONE: u32 = u32::MAX;

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self { slots: Vec::new(), vacant: NONE, len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// # Panics
    ///
    /// With 2^32 - 1 tenants.
    pub(crate) fn insert(&mut self, value: T) -> Key {
        self.len += 1;
        let index = self.vacant;
        if let Some(slot) = self.slots.get_mut(index as usize) {
            let Tenant::Vacant { next } = slot.tenant else { unreachable!("vacant list") };
            self.vacant = next;
            slot.tenant = Tenant::Occupied(value);
            return Key::new(index, slot.generation);
        }
        let index = u32::try_from(self.slots.len()).expect("fewer than 2^32 slots");
        assert!(index != NONE, "slab is full");
        self.slots.push(Slot { generation: 0, tenant: Tenant::Occupied(value) });
        Key::new(index, 0)
    }

    #[inline]
    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        let slot = self.slots.get(key.index())?;
        match &slot.tenant {
            _ if slot.generation != key.generation() => None,
            Tenant::Occupied(value) => Some(value),
            Tenant::Vacant { .. } => None,
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.index())?;
        match &mut slot.tenant {
            _ if slot.generation != key.generation() => None,
            Tenant::Occupied(value) => Some(value),
            Tenant::Vacant { .. } => None,
        }
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        self.get(key)?;
        let slot = &mut self.slots[key.index()];
        slot.generation = slot.generation.wrapping_add(1);
        let tenant = std::mem::replace(&mut slot.tenant, Tenant::Vacant { next: self.vacant });
        self.vacant = key.index() as u32;
        self.len -= 1;
        match tenant {
            Tenant::Occupied(value) => Some(value),
            Tenant::Vacant { .. } => None,
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| match &slot.tenant {
            Tenant::Occupied(value) => Some((Key::new(index as u32, slot.generation), value)),
            Tenant::Vacant { .. } => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn agrees_with_a_map_and_never_answers_a_stale_key() {
        for seed in 0..200 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (mut slab, mut model) = (Slab::new(), HashMap::new());
            let mut dead: Vec<Key> = Vec::new();
            for step in 0..500u32 {
                let live: Vec<Key> = model.keys().copied().collect();
                if live.is_empty() || rng.bool() {
                    let key = slab.insert(step);
                    assert!(model.insert(key, step).is_none(), "seed {seed}: key given twice");
                } else {
                    let mut live = live;
                    live.sort();
                    let key = live[rng.usize(..live.len())];
                    assert_eq!(slab.remove(key), model.remove(&key), "seed {seed}");
                    dead.push(key);
                }
                assert_eq!(slab.len(), model.len());
                assert!(dead.iter().all(|key| slab.get(*key).is_none()), "seed {seed}");
            }
            let listed: HashMap<Key, u32> = slab.iter().map(|(key, value)| (key, *value)).collect();
            assert_eq!(listed, model, "seed {seed}");
        }
    }
}
