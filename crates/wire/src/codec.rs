//! The two traits between bytes and frames.

use std::num::NonZeroUsize;

/// What a decoder made of the bytes it was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step<F> {
    /// One whole frame.
    Frame {
        /// The frame; it may borrow the decoder and the input.
        frame: F,
        /// How many bytes of the input it took, prefix, separator and skipped bytes included.
        used: usize,
    },
    /// No frame yet: with fewer than this many further bytes the answer would be the same.
    ///
    /// A lower bound, 1 when the decoder cannot know more. It is exact for what a length announces,
    /// so that a caller may wait for a large payload without asking again for every segment.
    Need(NonZeroUsize),
}

impl<F> Step<F> {
    /// [`Step::Need`] of `bytes`, or of 1 where the decoder computed 0.
    pub fn need(bytes: usize) -> Self {
        Step::Need(NonZeroUsize::new(bytes).unwrap_or(NonZeroUsize::MIN))
    }

    /// The same step with another frame.
    pub fn map<G>(self, change: impl FnOnce(F) -> G) -> Step<G> {
        match self {
            Step::Frame { frame, used } => Step::Frame { frame: change(frame), used },
            Step::Need(bytes) => Step::Need(bytes),
        }
    }
}

/// How much of a frame over the limit [`Decode::skip`] has left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skipped {
    /// The first so many bytes of the input, possibly none, are of the frame, and more are to come.
    Part(usize),
    /// The first so many bytes of the input are the last of the frame. What follows can be decoded
    /// as if the frame had not been there.
    Whole(usize),
}

/// Cuts frames from the front of received bytes.
///
/// # How to drive it
///
/// Show it all bytes not yet consumed. On [`Step::Frame`] drop the first `used` bytes and call
/// again; on [`Step::Need`] keep every byte, and call again when more have been appended.
///
/// ```
/// use mainspring_wire::{Decode, Separator, Step};
///
/// let mut lines = Separator::new(b"\n");
/// let mut received = *b"one\ntwo\nthr";
/// let (mut start, mut seen) = (0, Vec::new());
/// loop {
///     match lines.decode(&mut received[start..])? {
///         Step::Frame { frame, used } => {
///             seen.push(frame.to_vec());
///             start += used;
///         }
///         Step::Need(_) => break, // keep received[start..] and append to it
///     }
/// }
/// assert_eq!(seen, [b"one", b"two"]);
/// assert_eq!(&received[start..], b"thr");
/// # Ok::<(), mainspring_wire::framing::Error>(())
/// ```
///
/// # What both sides keep
///
/// * The input starts at the first unconsumed byte. After `Need` the next input starts with the
///   same bytes (as the decoder left them) and may only be longer: decoders remember how far they
///   have looked, so that a frame that arrives byte by byte costs time linear in its length.
/// * `used <= input.len()`. `used` may be 0 only where a decoder says so.
/// * A decoder may write into the bytes of the frame that it returns (to unescape or unmask in
///   place), and into no others.
/// * Errors latch: after an error every later call returns the same error, whatever the input.
///   Bytes after a framing error have no meaning, unless the frame can be [left out](Self::skip).
///
/// The frame borrows the decoder as well as the input, so that a decoder can keep the offsets of a
/// frame's parts in memory that it uses again for the next frame. Code that is generic over
/// decoders, where a frame may have a destructor, ends the borrow with [`Step::map`] before it
/// touches the input again: `decoder.decode(bytes).map(|step| step.map(|frame| handle(frame)))`.
pub trait Decode {
    /// What comes out.
    type Frame<'a>
    where
        Self: 'a;
    /// Why no further frame can come out.
    type Error;

    /// Looks at `input` for one frame.
    ///
    /// # Errors
    ///
    /// The input is not what the format allows, or is over a limit. The same error comes back from
    /// every later call.
    fn decode<'a>(&'a mut self, input: &'a mut [u8]) -> Result<Step<Self::Frame<'a>>, Self::Error>;

    /// The least number of bytes that a frame would have had, if `error` says that it is over the
    /// decoder's limit; `None` for every other error, and from decoders that do not tell them apart.
    fn too_long(error: &Self::Error) -> Option<u64>
    where
        Self: Sized,
    {
        let _ = error;
        None
    }

    /// Leaves out the frame that [`decode`](Self::decode) has found [too long](Self::too_long), in
    /// place of closing: exactly that frame, so that the stream stays in step.
    ///
    /// Called with the input that the error came for, and then, as long as the answer is
    /// [`Skipped::Part`], with what is left of the input and what has been appended. After
    /// [`Skipped::Whole`] the error is forgotten.
    ///
    /// `None` if there is no such error, or if the decoder cannot find the frame's end, which is
    /// what it answers unless it says otherwise.
    fn skip(&mut self, input: &[u8]) -> Option<Skipped> {
        let _ = input;
        None
    }
}

/// Appends items to an output buffer.
pub trait Encode<T: ?Sized> {
    /// Why an item cannot be encoded.
    type Error;

    /// Appends `item` to `out`.
    ///
    /// # Errors
    ///
    /// The format cannot carry the item, or it is over a limit; `out` is as it was. Unlike those of
    /// a decoder these errors do not latch: the next item may be sound.
    fn encode(&mut self, item: &T, out: &mut Vec<u8>) -> Result<(), Self::Error>;
}
