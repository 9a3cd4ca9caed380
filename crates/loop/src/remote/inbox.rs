//! What other threads ask of a loop.

use concurrent_queue::ConcurrentQueue;
use std::sync::OnceLock;
use std::task::Waker;

#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The loop cannot take more: its inbox, or another of its limits, is reached. Nothing was queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl std::fmt::Display for Full {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a limit of the loop is reached; try again later")
    }
}

impl std::error::Error for Full {}

/// A bounded queue into a loop, and the flag that keeps wakes from repeating.
///
/// The protocol, whose races `tests/loom.rs` explores: a sender pushes, then raises the flag, and
/// wakes the loop only if it was clear. The loop looks at the queue only when it finds the flag
/// raised, and clears it first. Whatever was pushed before the clearing is seen by that look;
/// whatever is pushed after it finds the flag clear and wakes.
pub struct Inbox<T> {
    queue: ConcurrentQueue<T>,
    notified: AtomicBool,
    waker: OnceLock<Waker>,
    bytes: AtomicUsize,
    bytes_max: usize,
}

impl<T> Inbox<T> {
    /// An inbox for `items_max` items that hold `bytes_max` bytes in all.
    pub fn new(items_max: usize, bytes_max: usize) -> Self {
        Self {
            queue: ConcurrentQueue::bounded(items_max),
            notified: AtomicBool::new(false),
            waker: OnceLock::new(),
            bytes: AtomicUsize::new(0),
            bytes_max,
        }
    }

    /// Tells how to end the loop's sleep. What was pushed before is seen when the loop first looks.
    pub fn set_waker(&self, waker: Waker) {
        let _ = self.waker.set(waker);
    }

    /// Queues an item that holds `bytes` bytes and ends the loop's sleep.
    ///
    /// # Errors
    ///
    /// The item itself, at either limit or after [`close`](Inbox::close).
    pub fn push(&self, item: T, bytes: usize) -> Result<(), T> {
        if bytes > 0 && self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > self.bytes_max {
            self.release(bytes);
            return Err(item);
        }
        if let Err(refused) = self.queue.push(item) {
            self.release(bytes);
            return Err(refused.into_inner());
        }
        self.notify();
        Ok(())
    }

    /// Ends the loop's sleep; calls between two looks of the loop are one wake.
    pub fn notify(&self) {
        if !self.notified.swap(true, Ordering::SeqCst)
            && let Some(waker) = self.waker.get()
        {
            waker.wake_by_ref();
        }
    }

    /// For the loop, before it looks at the queue: whether anything can have come since the last
    /// look.
    pub fn begin_look(&self) -> bool {
        // A plain load keeps the cache line shared while nobody writes.
        self.is_notified() && self.notified.swap(false, Ordering::SeqCst)
    }

    /// Whether [`begin_look`](Inbox::begin_look) would say so. To see it late is harmless: whoever
    /// raised the flag has woken the loop too.
    pub fn is_notified(&self) -> bool {
        self.notified.load(Ordering::Relaxed)
    }

    /// For the loop: the next item.
    pub fn pop(&self) -> Option<T> {
        self.queue.pop().ok()
    }

    /// For the loop: an item that held `bytes` bytes has been dealt with.
    pub fn release(&self, bytes: usize) {
        if bytes > 0 {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// Refuses items from now on.
    pub fn close(&self) {
        self.queue.close();
    }

    /// Whether the inbox refuses items for good.
    pub fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }
}
