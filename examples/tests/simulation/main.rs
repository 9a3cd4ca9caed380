//! The set-up of each example, unchanged, in seeded worlds with and without faults.
//!
//! Every failure names its seed; `seeds()` may be narrowed to it to see the same run again.
#![forbid(unsafe_code)]

mod servers;
mod stage;
mod strategies;

use std::ops::Range;

/// The seeds that each test runs through, with every kind of weather.
fn seeds() -> Range<u64> {
    0..16
}
