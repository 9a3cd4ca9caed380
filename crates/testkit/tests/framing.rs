//! Frames through simulated servers, against a plain splitter.

use fastrand::Rng;
use mainspring_testkit::framing::{Cutting, End, framed};

#[test]
fn the_plain_splitter_splits() {
    let lines = Cutting::At(b"\n").split(b"a\n\nbcd\ne", 2, true);
    assert_eq!(lines, (vec![b"a".to_vec(), Vec::new()], End::Rest(1)));
    let prefixed = Cutting::Little(2).split(b"\x01\0a\x03\0bcd", 2, false);
    assert_eq!(prefixed, (vec![b"a".to_vec()], End::TooLong));
    assert_eq!(Cutting::Varint(32).split(&[0x80; 5], 9, true), (Vec::new(), End::Invalid));
}

/// Frames of random lengths, most of them sound, with garbage now and then.
fn stream(rng: &mut Rng, cutting: Cutting, max: usize) -> Vec<u8> {
    let mut sent = Vec::new();
    for _ in 0..rng.usize(..40) {
        let length = if rng.u8(..8) == 0 { rng.usize(..600) } else { rng.usize(..=max.max(1)) };
        let payload: Vec<u8> = (0..length).map(|_| b"ab-x\r\n\0z"[rng.usize(..8)]).collect();
        let number = length as u64;
        match cutting {
            Cutting::Big(width) => sent.extend(&number.to_be_bytes()[8 - width..]),
            Cutting::Little(width) => sent.extend(&number.to_le_bytes()[..width]),
            Cutting::Varint(_) => {
                mainspring_wire::varint::encode_u64(number, &mut sent);
            }
            Cutting::At(_) => {}
        }
        sent.extend(payload);
        if let Cutting::At(separator) = cutting {
            sent.extend(separator);
        }
        if rng.u8(..60) == 0 {
            sent.extend([0xff; 12]);
        }
    }
    sent.truncate(rng.usize(sent.len() / 2..=sent.len()));
    sent
}

#[test]
fn any_stream_cut_anyhow_gives_the_frames_of_the_plain_splitter() {
    for seed in 0..1300u64 {
        let mut rng = Rng::with_seed(seed);
        let choice = (seed % 13) as u8;
        let cutting = Cutting::ALL[usize::from(choice)];
        let (half_max, policy) = (rng.u8(..), rng.u8(..2));
        let sent = stream(&mut rng, cutting, 2 * usize::from(half_max));
        let settings = [choice, half_max, policy, seed as u8];
        let failed = std::panic::catch_unwind(|| framed(&[&settings[..], &sent].concat()));
        assert!(failed.is_ok(), "seed {seed}, {cutting:?}");
    }
}

#[test]
fn garbage_is_survived() {
    for seed in 0..1000u64 {
        let mut rng = Rng::with_seed(seed);
        let mut bytes = vec![0; rng.usize(..300)];
        rng.fill(&mut bytes);
        let failed = std::panic::catch_unwind(|| framed(&bytes));
        assert!(failed.is_ok(), "seed {seed}");
    }
}

/// Lengths that are negative or beyond every memory elsewhere.
#[test]
fn monstrous_lengths_are_too_long_and_truncated_ones_are_waited_for() {
    for (choice, bytes) in [
        (3, &b"\x80\0\0\0\0\0\0\0abc"[..]),
        (6, b"\0\0\0\0\0\0\0\x80abc"),
        (6, b"\xff\xff\xff\xff\xff\xff\xff\xffabc"),
        (7, b"\xff\xff\xff\xff\x0fabc"),
        (8, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01abc"),
        (8, b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80abc"),
        (7, b"\x80\x80"),
        (8, b"\x80\x80\x80"),
    ] {
        for policy in [0, 1] {
            for seed in 0..20 {
                framed(&[&[choice, 100, policy, seed], bytes].concat());
            }
        }
    }
}
