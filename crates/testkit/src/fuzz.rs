//! Fuzz bodies that need a loop, beside those of [`mainspring_wire::fuzz`].

use crate::framing::{Cutting, framed};
use mainspring_wire::fuzz::{Target, run_over};

/// Every fuzz body with its name.
pub const TARGETS: &[(&str, Target)] = &[("framed", framed)];

/// Runs the target called `name` over its corpus, and then over `iterations` inputs made from
/// `seed`. `false`, without running anything, when [`TARGETS`] has no such name.
///
/// # Panics
///
/// When a property fails. Seed and iteration are printed on standard error first.
pub fn run(name: &str, seed: u64, iterations: u64) -> bool {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    if let Some((known, target)) = target {
        run_over(&streams(), known, *target, seed, iterations);
    }
    target.is_some()
}

/// Sound and nearly sound streams for every way of cutting, settings in front.
fn streams() -> Vec<Vec<u8>> {
    let mut streams = Vec::new();
    for choice in 0..Cutting::ALL.len() as u8 {
        for text in TEXTS {
            streams.push([&[choice, 20, choice & 1, choice][..], text].concat());
        }
    }
    streams
}

const TEXTS: &[&[u8]] = &[
    b"",
    b"\x03one\x03two\0\x05three\x64rest",
    b"\0\x03one\0\0\0\x03two\xff\xff",
    b"\x03\0one\0\0\x03\0two\x40\0",
    b"\0\0\0\x03one\0\0\0\0\x80\0\0\0",
    b"\x03\0\0\0one\0\0\0\0\0\0\0\x80",
    b"\0\0\0\0\0\0\0\x03one\x80\0\0\0\0\0\0\0",
    b"\x03\0\0\0\0\0\0\0one\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x83\x80\x80\x80\0one\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02",
    b"one\ntwo\r\n\n\r\nthree",
    b"oneabatwoababa--x----xthree",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_holds_over_its_corpus_and_its_mutations() {
        for (name, _) in TARGETS {
            assert!(run(name, 1, 1_000), "{name}");
        }
        assert!(!run("no such target", 1, 1));
    }
}
