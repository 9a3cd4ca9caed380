//! The layer alone. What Python says about it is asked in `tests/foreign.rs`.
#![allow(clippy::disallowed_methods, reason = "any instant will do")]

use super::*;
use mainspring_io::Addr;
use mainspring_loop::{Layers, Unwired};
use std::time::Instant;

fn alone(layer: Deflate) -> Unwired {
    let anywhere = Addr::Inet("127.0.0.1:1".parse().unwrap());
    let mut layers = Layers::new().above(layer).unwired(anywhere.clone(), anywhere, Instant::now());
    layers.receive(&mut []).unwrap();
    layers
}

/// What a layer makes of `messages`, each of a turn, and of the end.
fn packed(layer: Deflate, messages: &[&[u8]]) -> Vec<u8> {
    let mut layers = alone(layer);
    messages.iter().for_each(|message| layers.send(message).unwrap());
    layers.finish().unwrap();
    layers.wire().clone()
}

fn text(length: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(length as u64);
    let words = ["spring ", "wheel ", "escapement ", "pallet ", "1234 "];
    let mut text: Vec<u8> = std::iter::repeat_with(|| words[rng.usize(..words.len())].bytes())
        .flatten()
        .take(length)
        .collect();
    text.truncate(length);
    text
}

#[test]
fn every_turn_can_be_unpacked_without_waiting_for_the_next() {
    let mut rng = fastrand::Rng::with_seed(2);
    for layer in [Deflate::raw, Deflate::zlib] {
        for (level, bits) in [(0, 15), (1, 9), (6, 12), (9, 15)] {
            let made = || layer().level(level).window_bits(bits);
            let (mut ours, mut theirs) = (alone(made()), alone(made()));
            for length in [1, 2, 100, 5_000, 1, 200_000, 3] {
                let message = text(length);
                ours.send(&message).unwrap();
                let mut wire = std::mem::take(ours.wire());
                for part in wire.chunks_mut(rng.usize(1..10_000)) {
                    theirs.receive(part).unwrap();
                }
                assert!(*theirs.plain() == message, "{length} bytes, level {level}");
                theirs.plain().clear();
            }
            assert!(!theirs.has_ended());
            ours.finish().unwrap();
            theirs.receive(&mut std::mem::take(ours.wire())).unwrap();
            assert!(theirs.has_ended() && theirs.eof().is_ok());
            let info = *theirs.layer_info::<DeflateInfo>().unwrap();
            assert_eq!((info.plain_in, info.ended), (205_107, true));
            assert_eq!(ours.layer_info::<DeflateInfo>().unwrap().wire_out, info.wire_in);
        }
    }
}

/// However the packed length meets the capacity of the vector.
#[test]
fn a_flush_is_whole_at_every_length() {
    let mut rng = fastrand::Rng::with_seed(1);
    for length in (1..3_000).step_by(7).chain([65_536, 100_000]) {
        let noise: Vec<u8> = (0..length).map(|_| rng.u8(..)).collect();
        let (mut ours, mut theirs) = (alone(Deflate::raw()), alone(Deflate::raw()));
        ours.send(&noise).unwrap();
        let wire = ours.wire();
        assert!(wire.ends_with(&[0, 0, 0xff, 0xff]), "{length}");
        theirs.receive(wire).unwrap();
        assert!(*theirs.plain() == noise, "{length}");
    }
}

#[test]
fn faults_have_names() {
    let good = packed(Deflate::zlib(), &[&text(3_000)]);
    // Cut anywhere but before the first byte.
    for at in 0..good.len() {
        let mut layers = alone(Deflate::zlib());
        layers.receive(&mut good[..at].to_vec()).unwrap();
        assert_eq!(layers.eof(), if at == 0 { Ok(()) } else { Err(&CUT) }, "cut at {at}");
    }
    let mut patient = alone(Deflate::zlib().without_end());
    patient.receive(&mut good[..100].to_vec()).unwrap();
    assert_eq!(patient.eof(), Ok(()));
    // A checksum that does not hold.
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    assert_eq!(alone(Deflate::zlib()).receive(&mut bad), Err(&CORRUPT));
    assert_eq!(alone(Deflate::zlib()).receive(&mut b"GET / HTTP/1.1\r\n".to_vec()), Err(&CORRUPT));
    // A window that this side has not got.
    let wide = packed(Deflate::zlib(), &[&text(40_000)]);
    let narrow = alone(Deflate::zlib().window_bits(9)).receive(&mut wide.clone());
    assert_eq!(narrow, Err(&CORRUPT));
    assert_eq!(CUT.to_string(), "deflate: the stream ended without its last block");
}

#[test]
fn what_follows_the_last_block_is_dropped_and_counted() {
    let mut wire = packed(Deflate::raw(), &[b"all"]);
    wire.extend_from_slice(b"and more");
    let mut layers = alone(Deflate::raw());
    layers.receive(&mut wire).unwrap();
    assert_eq!(layers.plain(), b"all");
    assert_eq!(layers.dropped(), 8);
}

#[test]
fn a_bomb_is_unpacked_piece_by_piece_and_limits_hold_to_the_byte() {
    let mut bomb = packed(Deflate::raw().level(9), &[&vec![0; 50 << 20]]);
    let mut layers = alone(Deflate::raw());
    let (mut total, mut moved) = (0, layers.rise(&mut bomb.clone()).unwrap());
    while moved {
        assert!(layers.plain().len() <= LayerIo::PLAIN_MAX && layers.held() <= bomb.len());
        total += layers.plain().len();
        layers.plain().clear();
        moved = layers.rise(&mut []).unwrap();
    }
    assert_eq!(total, 50 << 20);
    let mut bounded = alone(Deflate::raw().plain_max(1_000_001));
    assert_eq!(bounded.receive(&mut bomb), Err(&TOO_LONG));
    assert_eq!(bounded.plain().len(), 1_000_001);
    let mut steep = alone(Deflate::raw().ratio_max(100));
    assert_eq!(steep.receive(&mut packed(Deflate::raw(), &[&vec![0; 1 << 20]])), Err(&EXPANDS));
    assert!(steep.plain().len() <= 2 * LayerIo::PLAIN_MAX);
    let mut small = alone(Deflate::raw().ratio_max(100));
    small.receive(&mut packed(Deflate::raw(), &[&vec![0; 60_000]])).unwrap();
    assert_eq!(small.plain().len(), 60_000, "the first 64 KiB may be anything");
}
