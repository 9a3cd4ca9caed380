//! How fast a peer has to be.

use crate::framed::fault::FrameFault;
use crate::{Conn, TimerId};
use std::time::{Duration, Instant};

/// The timeouts of a [`Framed`](crate::Framed).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Patience {
    /// From one read to the next.
    pub(super) read: Option<Duration>,
    /// From the first byte of a frame to its last.
    pub(super) frame: Option<Duration>,
}

/// When a connection was heard of last, and the one timer that looks after it.
///
/// A deadline that moves on leaves the timer where it is; when it fires, it is set anew. A peer that
/// is never late costs a timer a timeout, not one a read.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// `None` before the connection is up and after its stream has ended.
    heard: Option<Instant>,
    /// Bytes received until then.
    bytes_in: u64,
    /// When the frame began that is not whole yet.
    begun: Option<Instant>,
    timer: Option<(TimerId, Instant)>,
}

/// What came too late.
pub(super) enum Late {
    Read,
    Frame,
}

impl Patience {
    pub(super) fn is_endless(self) -> bool {
        self.read.is_none() && self.frame.is_none()
    }
}

impl Pace {
    /// The connection is up, or its handler was called with input.
    pub(super) fn note(&mut self, now: Instant, bytes_in: u64, has_frame_begun: bool) {
        if self.heard.is_none() || bytes_in != self.bytes_in {
            (self.heard, self.bytes_in) = (Some(now), bytes_in);
        }
        self.begun = if has_frame_begun { self.begun.or(Some(now)) } else { None };
    }

    /// A frame is whole: if there are bytes behind it, another one begins.
    pub(super) fn frame_ended(&mut self) {
        self.begun = None;
    }

    /// Input was kept back until now, by no fault of the peer's.
    pub(super) fn released(&mut self, now: Instant) {
        self.heard = self.heard.and(Some(now));
        self.begun = self.begun.and(Some(now));
    }

    /// Nothing more will come.
    pub(super) fn stop(&mut self, conn: &mut Conn<'_>) {
        (self.heard, self.begun) = (None, None);
        if let Some((timer, _)) = self.timer.take() {
            conn.cancel_timer(timer);
        }
    }

    pub(super) fn owns(&self, id: TimerId) -> bool {
        self.timer.is_some_and(|(timer, _)| timer == id)
    }

    /// The timer fired: whether the peer is late. If it is not, the timer is set again.
    pub(super) fn check(&mut self, patience: Patience, conn: &mut Conn<'_>) -> Option<Late> {
        self.timer = None;
        let now = conn.now();
        if conn.is_held() {
            self.released(now);
        }
        if self.read_due(patience).is_some_and(|due| due <= now) {
            return Some(Late::Read);
        }
        if self.frame_due(patience).is_some_and(|due| due <= now) {
            return Some(Late::Frame);
        }
        self.keep_timer(patience, conn);
        None
    }

    /// Has the timer fire no later than the next deadline.
    pub(super) fn keep_timer(&mut self, patience: Patience, conn: &mut Conn<'_>) {
        let dues = [self.read_due(patience), self.frame_due(patience)];
        let Some(due) = dues.into_iter().flatten().min() else { return };
        if let Some((timer, at)) = self.timer {
            if at <= due {
                return;
            }
            conn.cancel_timer(timer);
        }
        let now = conn.now();
        self.timer = Some((conn.set_timer(due.saturating_duration_since(now)), due));
    }

    fn read_due(&self, patience: Patience) -> Option<Instant> {
        self.heard?.checked_add(patience.read?)
    }

    fn frame_due(&self, patience: Patience) -> Option<Instant> {
        self.begun?.checked_add(patience.frame?)
    }
}

impl Late {
    pub(super) fn fault<E>(self) -> FrameFault<'static, E> {
        match self {
            Self::Read => FrameFault::ReadTimeout,
            Self::Frame => FrameFault::FrameTimeout,
        }
    }
}
