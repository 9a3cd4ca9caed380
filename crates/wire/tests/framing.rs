//! Frames as a server meets them: read by read into a buffer, with the cases in which other servers
//! of this kind have gone wrong.

use mainspring_wire::{Decode, Encode, LengthPrefix, Separator, Step, framing};

/// What a loop does with a decoder: append each read, take all frames, keep the rest. Answers with
/// the frames, and with the rest or the error.
fn serve<C, E>(mut codec: C, reads: &[&[u8]]) -> (Vec<Vec<u8>>, Result<Vec<u8>, E>)
where
    C: for<'a> Decode<Frame<'a> = &'a mut [u8], Error = E> + 'static,
{
    let (mut received, mut frames) = (Vec::new(), Vec::new());
    for read in reads {
        received.extend_from_slice(read);
        let mut start = 0;
        loop {
            match codec.decode(&mut received[start..]) {
                Ok(Step::Frame { frame, used }) => {
                    frames.push(frame.to_vec());
                    start += used;
                }
                Ok(Step::Need(_)) => break,
                Err(error) => return (frames, Err(error)),
            }
        }
        received.drain(..start);
    }
    (frames, Ok(received))
}

fn lines() -> Separator {
    Separator::new("\n").max(16 * 1024)
}

fn line(byte: u8, length: usize) -> Vec<u8> {
    let mut line = vec![byte; length];
    line.push(b'\n');
    line
}

#[test]
fn one_frame_and_two_in_one_read() {
    let (frames, rest) = serve(lines(), &[b"one\n"]);
    assert_eq!((frames, rest), (vec![b"one".to_vec()], Ok(Vec::new())));
    let (frames, rest) = serve(lines(), &[b"one\ntwo\nthr"]);
    assert_eq!((frames, rest), (vec![b"one".to_vec(), b"two".to_vec()], Ok(b"thr".to_vec())));
}

#[test]
fn a_frame_in_reads_smaller_than_itself() {
    let sent = line(b'a', 1024);
    let reads: Vec<&[u8]> = sent.chunks(512).collect();
    assert_eq!(serve(lines(), &reads), (vec![sent[..1024].to_vec()], Ok(Vec::new())));
}

#[test]
fn two_frames_cut_where_neither_ends() {
    let sent = [line(b'a', 512), line(b'b', 512)].concat();
    let reads: Vec<&[u8]> = sent.chunks(768).collect();
    let frames = vec![vec![b'a'; 512], vec![b'b'; 512]];
    assert_eq!(serve(lines(), &reads), (frames, Ok(Vec::new())));
}

#[test]
fn a_frame_that_comes_in_two_delayed_reads() {
    let sent = line(b'a', 359);
    let reads = [&sent[..160], b"", &sent[160..]];
    assert_eq!(serve(lines(), &reads), (vec![sent[..359].to_vec()], Ok(Vec::new())));
}

#[test]
fn a_frame_over_the_maximum_is_none_and_nothing_follows_it() {
    let sent = [line(b'a', 1024), line(b'b', 3)].concat();
    for piece in [1, 100, 512, 513, 2000] {
        let reads: Vec<&[u8]> = sent.chunks(piece).collect();
        let error = framing::Error::TooLong { bytes: 513, max: 512 };
        assert_eq!(serve(lines().max(512), &reads), (Vec::new(), Err(error)), "{piece}");
    }
}

#[test]
fn the_maximum_is_of_one_frame_and_not_of_what_has_been_received() {
    // Many small frames in one read larger than the maximum of each.
    let sent = line(b'a', 100).repeat(50);
    let (frames, rest) = serve(lines().max(100), &[&sent]);
    assert_eq!((frames.len(), rest), (50, Ok(Vec::new())));
}

#[test]
fn a_long_frame_and_the_start_of_the_next_are_not_mixed() {
    // The reads by which a frame once got bytes of the one before it.
    let first = [line(b'a', 3100), vec![b'b'; 100]].concat();
    let (frames, rest) = serve(lines(), &[&first, &[b'b'; 20], b"bbbbb\n"]);
    assert_eq!((frames, rest), (vec![vec![b'a'; 3100], vec![b'b'; 125]], Ok(Vec::new())));
}

#[test]
fn a_prefix_shorter_than_itself_is_waited_for() {
    for (codec, prefix) in prefixes() {
        let sent = [prefix, b"abc", prefix, b"def"].concat();
        for piece in 1..sent.len() {
            let reads: Vec<&[u8]> = sent.chunks(piece).collect();
            let (frames, rest) = serve(codec.clone(), &reads);
            assert_eq!((frames, rest), (vec![b"abc".to_vec(), b"def".to_vec()], Ok(Vec::new())));
        }
    }
}

#[test]
fn empty_frames_are_frames() {
    assert_eq!(serve(lines(), &[b"\n\na\n\n"]).0, [&b""[..], b"", b"a", b""]);
    for (mut codec, _) in prefixes() {
        let mut sent = Vec::new();
        for frame in [&b""[..], b"a", b""] {
            codec.encode(frame, &mut sent).unwrap();
        }
        assert_eq!(serve(codec, &[&sent]).0, [&b""[..], b"a", b""]);
    }
}

#[test]
fn lengths_that_are_negative_elsewhere_are_errors_and_no_panic() {
    let minus_one_wide: &[u8] = b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
    let cases = [
        (LengthPrefix::u16_be(), &b"\xff\xff"[..], 0xffff),
        (LengthPrefix::u32_be(), b"\x80\0\0\0", 1 << 31),
        (LengthPrefix::u32_le(), b"\0\0\0\x80", 1 << 31),
        (LengthPrefix::u64_be(), b"\x80\0\0\0\0\0\0\0", 1 << 63),
        (LengthPrefix::u64_le(), b"\xff\xff\xff\xff\xff\xff\xff\xff", u64::MAX),
        (LengthPrefix::varint(), b"\xff\xff\xff\xff\x0f", u64::from(u32::MAX)),
        (LengthPrefix::varlong(), minus_one_wide, u64::MAX),
    ];
    for (codec, prefix, bytes) in cases {
        let error = framing::Error::TooLong { bytes, max: 1024 };
        assert_eq!(serve(codec.max(1024), &[prefix, b"abc"]), (Vec::new(), Err(error)));
    }
}

fn prefixes() -> [(LengthPrefix, &'static [u8]); 9] {
    [
        (LengthPrefix::u8(), b"\x03"),
        (LengthPrefix::u16_be(), b"\0\x03"),
        (LengthPrefix::u16_le(), b"\x03\0"),
        (LengthPrefix::u32_be(), b"\0\0\0\x03"),
        (LengthPrefix::u32_le(), b"\x03\0\0\0"),
        (LengthPrefix::u64_be(), b"\0\0\0\0\0\0\0\x03"),
        (LengthPrefix::u64_le(), b"\x03\0\0\0\0\0\0\0"),
        (LengthPrefix::varint(), b"\x03"),
        (LengthPrefix::varlong(), b"\x03"),
    ]
}
