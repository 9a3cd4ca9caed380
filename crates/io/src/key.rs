//! The identity of a socket inside one loop.

use std::fmt;

/// Names one socket of one loop: a slot number and the generation of its use.
///
/// The loop hands keys out and a driver only carries them, so that both sides drop whatever
/// arrives late for an earlier tenant of the same slot. Descriptors and pointers are never
/// identities here: the kernel reuses a descriptor number at once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// The key of slot `index` in its use number `generation`.
    #[must_use]
    pub const fn new(index: u32, generation: u32) -> Self {
        Self { index, generation }
    }

    /// The slot number.
    #[must_use]
    pub const fn index(self) -> usize {
        self.index as usize
    }

    /// How often the slot had been given out before, counted modulo 2^32.
    #[must_use]
    pub const fn generation(self) -> u32 {
        self.generation
    }

    /// The key as one number, generation in the upper half: what a poller carries as user data.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        (self.generation as u64) << 32 | self.index as u64
    }

    /// The inverse of [`Key::to_bits`].
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::Key;

    #[test]
    fn bits_round_trip() {
        for key in [Key::new(0, 0), Key::new(7, 1), Key::new(u32::MAX, u32::MAX - 1)] {
            assert_eq!(Key::from_bits(key.to_bits()), key);
        }
    }
}
