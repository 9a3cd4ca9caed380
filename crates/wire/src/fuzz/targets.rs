//! One function for each decoder.

use super::feed::{Outcome, Subject, check, frames_and_skipped};
use super::reference::{self, Lengths, reads_the_same};
use crate::codec::{Decode, Encode, Step};
use crate::framing::{LengthPrefix, Separator};
use crate::http1::{self, Body, BodyDecoder, Head, Heads, Piece};
use crate::resp::{self, Command, Commands, Replies, Reply};
use crate::varint as leb128;

/// [`Separator`], with separators that overlap themselves among others.
pub fn separator(bytes: &[u8]) {
    const SEPARATORS: [&[u8]; 6] = [b"\n", b"\r\n", b"aa", b"aba", b"\0", b"----x"];
    let ([choice, max], bytes) = settings(bytes);
    let (separator, max) = (SEPARATORS[usize::from(choice) % SEPARATORS.len()], usize::from(max));
    let subject = Framed(|| Separator::new(separator).max(max));
    let outcome = check(&subject, bytes);
    let split = reference::separated(bytes, separator, max);
    assert_eq!((&outcome.frames, outcome.rest.ok()), (&split.0, split.1));
    reads_the_same((subject.0)(), bytes, &outcome);
    encodes_again(&subject, &outcome, bytes, true);
    leaves_out(&subject, bytes, max, reference::separated(bytes, separator, bytes.len()).0);
    // Any input is a payload: it is refused, or it comes out again.
    let (mut codec, mut out) = ((subject.0)(), b"x".to_vec());
    match codec.encode(bytes, &mut out) {
        Ok(()) => assert_eq!(check(&subject, &out[1..]).frames, [bytes]),
        Err(_) => assert_eq!(out, b"x"),
    }
}

/// [`LengthPrefix`], with each prefix.
pub fn length_prefix(bytes: &[u8]) {
    const PREFIXES: [(fn() -> LengthPrefix, Lengths); 9] = [
        (LengthPrefix::u8, Lengths::Big(1)),
        (LengthPrefix::u16_be, Lengths::Big(2)),
        (LengthPrefix::u16_le, Lengths::Little(2)),
        (LengthPrefix::u32_be, Lengths::Big(4)),
        (LengthPrefix::u32_le, Lengths::Little(4)),
        (LengthPrefix::u64_be, Lengths::Big(8)),
        (LengthPrefix::u64_le, Lengths::Little(8)),
        (LengthPrefix::varint, Lengths::Varint(32)),
        (LengthPrefix::varlong, Lengths::Varint(64)),
    ];
    let ([choice, max], bytes) = settings(bytes);
    let choice = usize::from(choice) % PREFIXES.len();
    let max = if max == 255 { usize::MAX } else { usize::from(max) * 3 };
    let (codec, lengths) = PREFIXES[choice];
    let subject = Framed(|| codec().max(max));
    let outcome = check(&subject, bytes);
    let split = reference::prefixed(bytes, lengths, max);
    assert_eq!((&outcome.frames, outcome.rest.ok()), (&split.0, split.1));
    reads_the_same((subject.0)(), bytes, &outcome);
    leaves_out(&subject, bytes, max, reference::prefixed(bytes, lengths, usize::MAX).0);
    // Varints may be padded: then the encoding is shorter than what was decoded.
    encodes_again(&subject, &outcome, bytes, choice < 7);
}

/// The numbers of [`varint`](crate::varint).
pub fn varint(bytes: &[u8]) {
    let narrow = leb128::decode_u32(bytes);
    let wide = leb128::decode_u64(bytes);
    if let Ok(Step::Frame { frame, used }) = narrow {
        assert!(used <= bytes.len().min(leb128::U32_BYTES_MAX));
        assert_eq!(wide, Ok(Step::Frame { frame: u64::from(frame), used }));
        let mut out = Vec::new();
        let length = leb128::encode_u32(frame, &mut out);
        assert!(length == out.len() && length <= used, "{frame}");
        assert_eq!(leb128::decode_u32(&out), Ok(Step::Frame { frame, used: length }));
    }
    if let Ok(Step::Frame { frame, used }) = wide {
        assert!(used <= bytes.len().min(leb128::U64_BYTES_MAX));
        let mut out = Vec::new();
        let length = leb128::encode_i64(frame.cast_signed(), &mut out);
        assert!(length == out.len() && length <= used, "{frame}");
        assert_eq!(leb128::decode_u64(&out), Ok(Step::Frame { frame, used: length }));
        for end in 0..used {
            assert_eq!(leb128::decode_u64(&bytes[..end]), Ok(Step::need(1)));
        }
    }
    if let Err(error) = wide {
        let longer = [bytes, b"\0"].concat();
        assert_eq!(leb128::decode_u64(&longer), Err(error));
    }
}

/// [`Commands`], with limits low enough to be met and with those of redis-server.
pub fn resp_commands(bytes: &[u8]) {
    struct Limited(bool);
    impl Subject for Limited {
        type Decoder = Commands;

        fn decoder(&self) -> Commands {
            match self.0 {
                true => Commands::new().max_line(64).max_arguments(20).max_bulk(100),
                false => Commands::new(),
            }
        }

        fn record(&self, command: Command<'_>, frames: &mut Vec<Vec<u8>>) {
            let arguments: Vec<&[u8]> = command.iter().collect();
            assert_eq!(command.get(arguments.len()), None);
            assert_eq!(command.is_blank(), arguments.is_empty());
            let mut out = Vec::new();
            resp::request(&mut out, &arguments);
            frames.push(out);
        }
    }
    let ([choice], bytes) = settings(bytes);
    let outcome = check(&Limited(choice & 1 == 1), bytes);
    // Each command written as an array is the same command.
    let array = check(&Limited(false), &outcome.frames.concat());
    assert_eq!(array, Outcome { frames: outcome.frames, rest: Ok(0) });
}

/// [`Replies`], with low limits.
pub fn resp_replies(bytes: &[u8]) {
    struct Limited;
    impl Subject for Limited {
        type Decoder = Replies;

        fn decoder(&self) -> Replies {
            Replies::new().max_bulk(100).max_elements(20).max_depth(4)
        }

        fn record(&self, reply: Reply<'_>, frames: &mut Vec<Vec<u8>>) {
            let mut out = Vec::new();
            reply.append(&mut out);
            frames.push(out);
        }
    }
    let outcome = check(&Limited, bytes);
    let written = outcome.frames.concat();
    assert!(bytes.starts_with(&written), "replies are written as they were read");
    if let Ok(rest) = outcome.rest {
        assert_eq!(written.len() + rest, bytes.len());
    }
}

/// [`Heads`], with low limits.
pub fn http1_head(bytes: &[u8]) {
    struct Limited(u8);
    impl Subject for Limited {
        type Decoder = Heads;

        fn decoder(&self) -> Heads {
            Heads::new().max_bytes(64 + 4 * usize::from(self.0)).max_fields(8)
        }

        fn record(&self, head: Head<'_>, frames: &mut Vec<Vec<u8>>) {
            let mut out = Vec::new();
            for part in [head.method(), b" ", head.target(), b" HTTP/1."] {
                out.extend_from_slice(part);
            }
            out.extend_from_slice(format!("{}\r\n", head.version()).as_bytes());
            for field in head.iter() {
                for part in [field.name, b": ", field.value, b"\r\n"] {
                    out.extend_from_slice(part);
                }
                let name = std::str::from_utf8(field.name).expect("names are tokens");
                assert!(head.header(name).is_some());
            }
            out.extend_from_slice(b"\r\n");
            frames.push(out);
            // What it means belongs to the frame too.
            let meaning = (head.body(), head.keep_alive(), head.expects_continue());
            frames.push(format!("{meaning:?}").into_bytes());
        }
    }
    let ([max], bytes) = settings(bytes);
    let outcome = check(&Limited(max), bytes);
    if let Err(error) = outcome.rest {
        assert!((400..=505).contains(&error.status()));
    }
    // Each head written again, with a space behind each colon, is the same head.
    for head in outcome.frames.chunks(2) {
        let mut heads = Heads::new();
        let mut input = head[0].clone();
        let mut again = Vec::new();
        match heads.decode(&mut input) {
            Ok(Step::Frame { frame, used }) => {
                assert_eq!(used, head[0].len());
                Limited(0).record(frame, &mut again);
            }
            other => panic!("{other:?} of {}", head[0].escape_ascii()),
        }
        assert_eq!(again, head);
    }
}

/// [`BodyDecoder`], with a length and chunked.
pub fn http1_body(bytes: &[u8]) {
    struct Framing(Body);
    impl Subject for Framing {
        type Decoder = BodyDecoder;

        fn decoder(&self) -> BodyDecoder {
            BodyDecoder::new(self.0, 300)
        }

        /// Joined, since pieces are as the input was; the end is an entry of its own.
        fn record(&self, piece: Piece<'_>, frames: &mut Vec<Vec<u8>>) {
            assert!(piece.last || !piece.bytes.is_empty());
            if frames.is_empty() {
                frames.push(Vec::new());
            }
            frames[0].extend_from_slice(piece.bytes);
            if piece.last {
                frames.push(b"end".to_vec());
            }
        }

        fn ended(&self, frames: &[Vec<u8>]) -> bool {
            frames.len() == 2
        }
    }
    let ([choice, length], bytes) = settings(bytes);
    let length = u64::from(length);
    match choice % 4 {
        0 => {
            let outcome = check(&Framing(Body::Length(length)), bytes);
            let taken = bytes.len().min(length as usize);
            assert_eq!(outcome.rest, Ok(bytes.len() - taken));
            assert_eq!(outcome.frames.concat().get(..taken), Some(&bytes[..taken]));
        }
        1 => {
            // What is sent in chunks arrives, and the next request stays.
            let (mut out, payload) = (Vec::new(), &bytes[..bytes.len().min(300)]);
            for chunk in payload.chunks(1 + length as usize) {
                http1::append_chunk(&mut out, chunk);
            }
            http1::append_last_chunk(&mut out);
            out.extend_from_slice(b"GET");
            let outcome = check(&Framing(Body::Chunked), &out);
            let frames = vec![payload.to_vec(), b"end".to_vec()];
            assert_eq!(outcome, Outcome { frames, rest: Ok(3) });
        }
        _ => {
            check(&Framing(Body::Chunked), bytes);
        }
    }
}

/// Codecs whose frames are plain bytes.
struct Framed<F>(F);

impl<C, F> Subject for Framed<F>
where
    C: for<'a> Decode<Frame<'a> = &'a mut [u8], Error: std::fmt::Debug + PartialEq> + 'static,
    F: Fn() -> C,
{
    type Decoder = C;

    fn decoder(&self) -> C {
        (self.0)()
    }

    fn record(&self, frame: &mut [u8], frames: &mut Vec<Vec<u8>>) {
        frames.push(frame.to_vec());
    }
}

/// Frames encode again: to the bytes that they came from where encodings are `unique`.
fn encodes_again<C, F, E>(subject: &Framed<F>, outcome: &Outcome<E>, bytes: &[u8], unique: bool)
where
    C: for<'a> Decode<Frame<'a> = &'a mut [u8], Error: std::fmt::Debug + PartialEq> + 'static,
    C: Encode<[u8], Error: std::fmt::Debug>,
    F: Fn() -> C,
{
    let (mut codec, mut out) = ((subject.0)(), Vec::new());
    for frame in &outcome.frames {
        codec.encode(frame, &mut out).expect("a frame can be encoded");
    }
    if unique {
        assert!(bytes.starts_with(&out), "frames are written as they were read");
    }
    let again = check(subject, &out);
    assert_eq!(again.frames, outcome.frames);
    assert_eq!(again.rest.ok(), Some(0));
}

/// With over-long frames left out, those of `unlimited` come that are within `max`, however the
/// input is cut.
fn leaves_out<C, F>(subject: &Framed<F>, bytes: &[u8], max: usize, mut unlimited: Vec<Vec<u8>>)
where
    C: for<'a> Decode<Frame<'a> = &'a mut [u8]> + 'static,
    F: Fn() -> C,
{
    unlimited.retain(|frame| frame.len() <= max);
    for piece in [1, 2, 3, 17, 1 + bytes.len()] {
        let (frames, _) = frames_and_skipped(&mut (subject.0)(), bytes, piece);
        assert_eq!(frames, unlimited, "in pieces of {piece}");
    }
}

/// The bytes that choose the settings, 0 where there are none, and the input proper.
pub(super) fn settings<const N: usize>(bytes: &[u8]) -> ([u8; N], &[u8]) {
    let (head, rest) = bytes.split_at(bytes.len().min(N));
    let mut settings = [0; N];
    settings[..head.len()].copy_from_slice(head);
    (settings, rest)
}
