//! Sets of one-bit facts, of which each driver remembers its own.

/// Declares a set of up to sixteen facts. What the facts are, the driver says in constants.
macro_rules! bit_set {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub(super) struct $name(u16);

        impl $name {
            /// Whether all bits of `bits` are set.
            pub(super) const fn has(self, bits: Self) -> bool {
                self.0 & bits.0 == bits.0
            }

            /// Whether one of `bits` is set.
            pub(super) const fn any(self, bits: Self) -> bool {
                self.0 & bits.0 != 0
            }

            pub(super) const fn and(self, bits: Self) -> Self {
                Self(self.0 | bits.0)
            }

            pub(super) fn set(&mut self, bits: Self) {
                self.0 |= bits.0;
            }

            pub(super) fn clear(&mut self, bits: Self) {
                self.0 &= !bits.0;
            }
        }
    };
}

pub(crate) use bit_set;
