//! The framings again, by the plainest means: all bytes at hand, nothing remembered, no limit but
//! the one that is asked for. And again through readers.

use std::fmt::Debug;

use crate::blocking::{Ended, ReadFrame};
use crate::codec::Decode;
use crate::framing;
use crate::fuzz::feed::Outcome;

/// Frames, and how many bytes are left where there is no error.
type Split = (Vec<Vec<u8>>, Option<usize>);

/// What [`Separator`](crate::Separator) makes of all of `rest`.
pub(super) fn separated(mut rest: &[u8], separator: &[u8], max: usize) -> Split {
    let mut frames = Vec::new();
    loop {
        let found = (0..rest.len()).find(|&at| rest[at..].starts_with(separator));
        match found {
            Some(end) if end <= max => {
                frames.push(rest[..end].to_vec());
                rest = &rest[end + separator.len()..];
            }
            None if rest.len() < max + separator.len() => return (frames, Some(rest.len())),
            _ => return (frames, None),
        }
    }
}

/// How a length is written.
#[derive(Clone, Copy)]
pub(super) enum Lengths {
    Big(usize),
    Little(usize),
    /// In bits.
    Varint(u32),
}

/// What [`LengthPrefix`](crate::LengthPrefix) makes of all of `rest`.
pub(super) fn prefixed(mut rest: &[u8], lengths: Lengths, max: usize) -> Split {
    let mut frames = Vec::new();
    loop {
        let (length, used) = match lengths.read(rest) {
            Ok(Some(announced)) => announced,
            Ok(None) => return (frames, Some(rest.len())),
            Err(()) => return (frames, None),
        };
        if length > max as u128 {
            return (frames, None);
        }
        if length > (rest.len() - used) as u128 {
            return (frames, Some(rest.len()));
        }
        let end = used + length as usize;
        frames.push(rest[used..end].to_vec());
        rest = &rest[end..];
    }
}

impl Lengths {
    fn read(self, input: &[u8]) -> Result<Option<(u128, usize)>, ()> {
        let digits = |bytes: &[u8]| bytes.iter().rev().fold(0, |sum, &b| sum << 8 | u128::from(b));
        match self {
            Lengths::Little(width) if input.len() >= width => {
                Ok(Some((digits(&input[..width]), width)))
            }
            Lengths::Big(width) if input.len() >= width => {
                let mut bytes = input[..width].to_vec();
                bytes.reverse();
                Ok(Some((digits(&bytes), width)))
            }
            Lengths::Big(_) | Lengths::Little(_) => Ok(None),
            Lengths::Varint(bits) => {
                let bytes_max = bits.div_ceil(7) as usize;
                let Some(last) = input.iter().take(bytes_max).position(|byte| byte & 0x80 == 0)
                else {
                    let too_long = input.len() >= bytes_max;
                    // Over its width with the last byte that it may have, whatever follows.
                    return if too_long { Err(()) } else { Ok(None) };
                };
                let groups = input[..=last].iter().rev();
                let value = groups.fold(0, |sum, byte| sum << 7 | u128::from(byte & 0x7f));
                if value >> bits == 0 { Ok(Some((value, last + 1))) } else { Err(()) }
            }
        }
    }
}

/// Reading frame by frame from a reader gives the same frames, and then the same error or an end
/// with the same rest; it takes no more memory than what has come warrants.
pub(super) fn reads_the_same<C>(mut codec: C, bytes: &[u8], outcome: &Outcome<framing::Error>)
where
    C: for<'a> Decode<Frame<'a> = &'a mut [u8], Error = framing::Error> + Debug + 'static,
{
    let mut reader = bytes;
    for frame in &outcome.frames {
        let read = reader.read_frame(&mut codec).expect("the decoder found no error here");
        assert_eq!(read.as_ref(), Some(frame), "{codec:?}");
    }
    let end = reader.read_frame(&mut codec);
    let inner = end.as_ref().err().and_then(|error| error.get_ref());
    match outcome.rest {
        Ok(0) => assert!(matches!(end, Ok(None)), "{end:?}"),
        Ok(rest) => {
            let ended = inner.and_then(|inner| inner.downcast_ref::<Ended>());
            assert_eq!(ended.map(|ended| ended.received), Some(rest), "{end:?}");
        }
        Err(error) => assert_eq!(inner.and_then(|inner| inner.downcast_ref()), Some(&error)),
    }
}
