//! What a handler of frames counts.

use crate::framed::fault::FrameFault;
use crate::stats::Counter;
use std::sync::Arc;

/// The live figures of one [`Framed`](crate::Framed), readable from any thread.
#[derive(Clone, Debug, Default)]
pub struct FrameMeter(Arc<Figures>);

#[derive(Debug, Default)]
struct Figures {
    frames: Counter,
    discarded: Counter,
    discarded_bytes: Counter,
    too_long: Counter,
    invalid: Counter,
    truncated: Counter,
    late: Counter,
    panicked: Counter,
}

/// A snapshot of a [`FrameMeter`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FrameStats {
    /// Frames delivered to the handler.
    pub frames: u64,
    /// Frames over the maximum that were left out.
    pub discarded: u64,
    /// Bytes of those, prefixes and separators included.
    pub discarded_bytes: u64,
    /// Connections closed for a frame over the maximum.
    pub too_long: u64,
    /// Connections closed for bytes that the codec refuses.
    pub invalid: u64,
    /// Streams that ended inside of a frame.
    pub truncated: u64,
    /// Connections closed by the read timeout or the frame timeout.
    pub late: u64,
    /// Connections that ended by a panic of the handler.
    pub panicked: u64,
}

impl FrameMeter {
    /// The figures as they are now.
    #[must_use]
    pub fn snapshot(&self) -> FrameStats {
        let figures = &*self.0;
        FrameStats {
            frames: figures.frames.get(),
            discarded: figures.discarded.get(),
            discarded_bytes: figures.discarded_bytes.get(),
            too_long: figures.too_long.get(),
            invalid: figures.invalid.get(),
            truncated: figures.truncated.get(),
            late: figures.late.get(),
            panicked: figures.panicked.get(),
        }
    }

    pub(super) fn add_frames(&self, count: u64) {
        self.0.frames.add(count);
    }

    pub(super) fn add_discarded(&self, bytes: u64) {
        self.0.discarded.add(1);
        self.0.discarded_bytes.add(bytes);
    }

    pub(super) fn add<E>(&self, fault: &FrameFault<'_, E>) {
        match fault {
            FrameFault::TooLong(_) => self.0.too_long.add(1),
            FrameFault::Invalid(_) => self.0.invalid.add(1),
            // With its bytes, where it is left out.
            FrameFault::Discarded { .. } => {}
            FrameFault::Truncated { .. } => self.0.truncated.add(1),
            FrameFault::ReadTimeout | FrameFault::FrameTimeout => self.0.late.add(1),
            FrameFault::Panicked => self.0.panicked.add(1),
        }
    }
}
