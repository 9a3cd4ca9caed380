//! Feeding a decoder in pieces, and comparing what comes out.

use std::fmt::Debug;

use super::corpus::Random;
use crate::codec::{Decode, Skipped, Step};

/// A decoder under test.
pub(super) trait Subject {
    type Decoder: Decode<Error: Debug + PartialEq> + 'static;

    fn decoder(&self) -> Self::Decoder;

    /// Appends what a frame says to `frames`: the same entries however the input was split.
    fn record(&self, frame: <Self::Decoder as Decode>::Frame<'_>, frames: &mut Vec<Vec<u8>>);

    /// Whether nothing comes after the frames so far.
    fn ended(&self, _frames: &[Vec<u8>]) -> bool {
        false
    }
}

/// What came of an input.
#[derive(Debug, PartialEq)]
pub(super) struct Outcome<E> {
    pub(super) frames: Vec<Vec<u8>>,
    /// The error, or how many bytes no frame used.
    pub(super) rest: Result<usize, E>,
}

/// Longer inputs are split at random only: splitting at each byte may cost the square of their
/// length where frames are short of whole for long.
const EVERY_BYTE_MAX: usize = 4096;

/// Feeds `bytes` whole and in pieces, and returns the outcome, which is the same each time.
pub(super) fn check<S: Subject>(
    subject: &S,
    bytes: &[u8],
) -> Outcome<<S::Decoder as Decode>::Error> {
    let whole = feed(subject, bytes, |_| usize::MAX);
    if bytes.len() <= EVERY_BYTE_MAX {
        let split = feed(subject, bytes, |_| 1);
        assert_eq!(split, whole, "split at every byte: {}", show(bytes));
    }
    let mut random = Random::of(bytes);
    for round in 0..3 {
        let longest = [3, 17, 257][round];
        let pieces = feed(subject, bytes, |_| 1 + random.below(longest));
        assert_eq!(pieces, whole, "split at random, {round}: {}", show(bytes));
    }
    whole
}

/// Feeds pieces whose lengths `piece` gives.
fn feed<S: Subject>(
    subject: &S,
    bytes: &[u8],
    mut piece: impl FnMut(usize) -> usize,
) -> Outcome<<S::Decoder as Decode>::Error> {
    let mut decoder = subject.decoder();
    let (mut input, mut fed, mut frames) = (Vec::new(), 0, Vec::new());
    // Until so many bytes are fed, the decoder said, nothing can come.
    let mut quiet_until = 0usize;
    loop {
        // Mapped to what does not borrow, since a frame of unknown type may have a destructor.
        let step = decoder
            .decode(&mut input)
            .map(|step| step.map(|frame| subject.record(frame, &mut frames)));
        match step {
            Ok(Step::Frame { frame: (), used }) => {
                assert!(fed >= quiet_until, "a frame before what was needed: {}", show(bytes));
                assert!(used <= input.len(), "used {used} of {}: {}", input.len(), show(bytes));
                input.drain(..used);
                if subject.ended(&frames) {
                    let rest = Ok(bytes.len() - fed + input.len());
                    return Outcome { frames, rest };
                }
                assert!(used > 0, "a frame of nothing: {}", show(bytes));
                quiet_until = 0;
                continue;
            }
            Ok(Step::Need(more)) => quiet_until = fed.saturating_add(more.get()).max(quiet_until),
            Err(error) => {
                assert!(fed >= quiet_until, "an error before what was needed: {}", show(bytes));
                for mut other in [Vec::new(), b"PING\r\n".to_vec(), input] {
                    let again = decoder.decode(&mut other).err();
                    assert_eq!(again.as_ref(), Some(&error), "latched: {}", show(bytes));
                }
                return Outcome { frames, rest: Err(error) };
            }
        }
        if fed == bytes.len() {
            return Outcome { frames, rest: Ok(input.len()) };
        }
        let end = fed.saturating_add(piece(fed)).min(bytes.len());
        input.extend_from_slice(&bytes[fed..end]);
        fed = end;
    }
}

/// The frames in `bytes`, which come in pieces of `piece`, without those that are too long; and how
/// many bytes those took. Ends at the first error that is of another kind.
pub(crate) fn frames_and_skipped<C>(
    codec: &mut C,
    bytes: &[u8],
    piece: usize,
) -> (Vec<Vec<u8>>, usize)
where
    C: for<'a> Decode<Frame<'a> = &'a mut [u8]> + 'static,
{
    let (mut input, mut frames, mut skipped, mut skipping) = (Vec::new(), Vec::new(), 0, false);
    for piece in bytes.chunks(piece) {
        input.extend_from_slice(piece);
        loop {
            let used = if skipping {
                let (used, goes_on) = match codec.skip(&input).expect("a frame was too long") {
                    Skipped::Part(used) => (used, true),
                    Skipped::Whole(used) => (used, false),
                };
                (skipped, skipping) = (skipped + used, goes_on);
                used
            } else {
                match codec.decode(&mut input) {
                    Ok(Step::Frame { frame, used }) => {
                        frames.push(frame.to_vec());
                        used
                    }
                    Ok(Step::Need(_)) => break,
                    Err(error) if C::too_long(&error).is_none() => return (frames, skipped),
                    Err(_) => {
                        skipping = true;
                        continue;
                    }
                }
            };
            input.drain(..used);
            if skipping {
                break;
            }
        }
    }
    (frames, skipped)
}

fn show(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(400)];
    format!("{} bytes \"{}\"", bytes.len(), shown.escape_ascii())
}
