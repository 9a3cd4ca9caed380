//! The properties that the layers keep on any input, as functions over bytes.
//!
//! A fuzzer calls one of [`TARGETS`] with bytes of its own; [`run`] makes inputs from a seed. A
//! body panics when a property fails:
//!
//! * [`deflate`]: what is received, whole, byte by byte and in random pieces, gives the same bytes
//!   and then the same fault; no call appends more than there is room for.
//! * [`stack`]: two sides with the same layers, whatever these are and however the bytes between
//!   them are cut, receive what the other has sent, to its end and no further.

use crate::{CORRUPT, CUT, Deflate, EXPANDS, TOO_LONG, Xor};
use mainspring_io::Addr;
use mainspring_loop::{LayerFault, LayerIo, Layers, Unwired};
use std::time::Instant;

/// A fuzz body: it panics when a property fails.
pub type Target = fn(&[u8]);

/// Every fuzz body with its name.
pub const TARGETS: &[(&str, Target)] = &[("deflate", deflate), ("stack", stack)];

/// Runs the target called `name` over `iterations` inputs made from `seed`. `false`, without
/// running anything, when [`TARGETS`] has no such name.
///
/// # Panics
///
/// When a property fails. Seed and iteration are in the message of the last line.
pub fn run(name: &str, seed: u64, iterations: u64) -> bool {
    let Some((_, target)) = TARGETS.iter().find(|(known, _)| *known == name) else {
        return false;
    };
    let mut rng = fastrand::Rng::with_seed(seed);
    for iteration in 0..iterations {
        let _witness = Witness { name, seed, iteration };
        target(&input(&mut rng));
    }
    true
}

/// Says on panic what to call again.
struct Witness<'a> {
    name: &'a str,
    seed: u64,
    iteration: u64,
}

impl Drop for Witness<'_> {
    #[expect(clippy::print_stderr, reason = "a failure must name its seed")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Witness { name, seed, iteration } = self;
            eprintln!("fuzz target {name} fails with seed {seed} in iteration {iteration}");
        }
    }
}

/// A stream that is sound, or was, or never had a chance.
fn input(rng: &mut fastrand::Rng) -> Vec<u8> {
    let settings = rng.u8(..);
    let mut plain = vec![rng.u8(..); rng.usize(0..4) << rng.u32(0..17)];
    plain.extend((0..rng.usize(0..300)).map(|_| rng.u8(..)));
    let mut input = vec![settings];
    if rng.bool() {
        let mut layers = unwired(Layers::new().above(layer(settings)));
        let sent = layers.receive(&mut []).and_then(|()| layers.send(&plain));
        sent.and_then(|()| if rng.bool() { layers.finish() } else { Ok(()) }).expect("it packs");
        input.append(layers.wire());
    } else {
        plain.truncate(2_000);
        input.append(&mut plain);
    }
    for _ in 0..rng.usize(0..3) {
        let at = rng.usize(..input.len());
        match rng.u8(0..3) {
            0 => input[at] ^= 1 << rng.u8(0..8),
            1 => input.truncate(at + 1),
            _ => input.insert(at + 1, rng.u8(..)),
        }
    }
    input
}

/// The deflate layer that a byte chooses.
fn layer(settings: u8) -> Deflate {
    let layer = if settings & 1 == 0 { Deflate::raw() } else { Deflate::zlib() };
    let layer = layer.level((settings >> 1 & 7).into()).window_bits(9 + (settings >> 4 & 3) * 2);
    match settings >> 6 {
        0 => layer.plain_max(10_000),
        1 => layer.ratio_max(50),
        _ => layer,
    }
}

fn unwired(layers: Layers) -> Unwired {
    let anywhere = Addr::Inet(([127, 0, 0, 1], 1).into());
    #[expect(clippy::disallowed_methods, reason = "no layer of this crate asks for the time")]
    let now = Instant::now();
    layers.unwired(anywhere.clone(), anywhere, now)
}

/// What unpacks, and why no more.
type Outcome = (Vec<u8>, Option<&'static LayerFault>, bool);

/// Unpacks any bytes in three ways. The first byte chooses the settings.
///
/// # Panics
///
/// When a property fails.
pub fn deflate(input: &[u8]) {
    let Some((&settings, wire)) = input.split_first() else { return };
    let mut rng = fastrand::Rng::with_seed(wire.len() as u64);
    let whole = unpack(settings, wire, || wire.len().max(1));
    if wire.len() < 3_000 {
        // A ratio is of what has come, so that the pieces decide where it is found too high.
        let bytewise = unpack(settings, wire, || 1);
        assert_same(&whole, &bytewise, "byte by byte");
    }
    assert_same(&whole, &unpack(settings, wire, || rng.usize(1..500)), "in pieces");
}

fn assert_same(whole: &Outcome, pieces: &Outcome, how: &str) {
    if whole.1 == Some(&EXPANDS) || pieces.1 == Some(&EXPANDS) {
        let shorter = whole.0.len().min(pieces.0.len());
        return assert!(whole.0[..shorter] == pieces.0[..shorter], "{how}: other bytes");
    }
    assert_eq!((whole.1, whole.2), (pieces.1, pieces.2), "{how}");
    assert!(whole.0 == pieces.0, "{how}: other bytes");
}

fn unpack(settings: u8, wire: &[u8], mut size: impl FnMut() -> usize) -> Outcome {
    let mut layers = unwired(Layers::new().above(layer(settings)));
    let (mut plain, mut rest) = (Vec::new(), wire.to_vec());
    let mut fault = None;
    while !rest.is_empty() && fault.is_none() {
        let mut part: Vec<u8> = rest.drain(..size().min(rest.len())).collect();
        let mut moved = layers.rise(&mut part);
        loop {
            assert!(layers.plain().len() <= LayerIo::PLAIN_MAX, "no room for so much");
            plain.append(layers.plain());
            match moved {
                Ok(true) => moved = layers.rise(&mut []),
                Ok(false) => break,
                Err(reason) => {
                    assert!([CORRUPT, TOO_LONG, EXPANDS].contains(reason));
                    fault = Some(reason);
                    break;
                }
            }
        }
    }
    if fault.is_none() && layers.eof().is_err() {
        fault = Some(&CUT);
    }
    (plain, fault, layers.has_ended())
}

/// Two sides with layers that the first bytes choose; the others are what they send.
///
/// # Panics
///
/// When a property fails.
pub fn stack(input: &[u8]) {
    let Some((&choice, plain)) = input.split_first() else { return };
    let mut rng = fastrand::Rng::with_seed(u64::from(choice) ^ (plain.len() as u64) << 8);
    let levels: Vec<u8> = (0..rng.usize(1..4)).map(|_| rng.u8(..)).collect();
    let layers = || {
        levels.iter().fold(Layers::new(), |layers, level| match level % 3 {
            0 => layers.above(Xor::new([*level, 7, choice])),
            1 => layers.above(Deflate::raw().level(u32::from(level % 10))),
            _ => layers.above(Deflate::zlib().level(u32::from(level % 10))),
        })
    };
    let (mut ours, mut theirs) = (unwired(layers()), unwired(layers()));
    let (mut got, mut sent) = (Vec::new(), 0);
    ours.receive(&mut []).and_then(|()| theirs.receive(&mut [])).expect("they start");
    while sent < plain.len() {
        let turn = rng.usize(1..=plain.len() - sent);
        ours.send(&plain[sent..sent + turn]).expect("it packs");
        sent += turn;
        carry(&mut ours, &mut theirs, &mut rng);
        got.append(theirs.plain());
        assert!(got == plain[..sent], "all of a turn has come: {levels:?}");
    }
    ours.finish().expect("it ends");
    carry(&mut ours, &mut theirs, &mut rng);
    assert!(theirs.plain().is_empty() && theirs.eof().is_ok(), "{levels:?}");
    assert_eq!(theirs.has_ended(), levels.iter().any(|level| level % 3 > 0), "{levels:?}");
}

fn carry(from: &mut Unwired, to: &mut Unwired, rng: &mut fastrand::Rng) {
    let mut wire = std::mem::take(from.wire());
    let mut rest = &mut wire[..];
    while !rest.is_empty() {
        let (part, others) = rest.split_at_mut(rng.usize(1..=rest.len()));
        to.receive(part).expect("what one side has packed the other unpacks");
        rest = others;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_holds() {
        for (name, _) in TARGETS {
            assert!(run(name, 1, 300));
        }
        assert!(!run("inflate", 1, 1));
    }
}
