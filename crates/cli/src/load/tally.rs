//! What has been counted and measured.

use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Latencies are kept to three digits; what takes longer counts as this.
const LONGEST: Duration = Duration::from_secs(3600);
/// Reasons that are told apart.
const REASONS_MAX: usize = 32;

/// What one loop has counted, or all of them.
///
/// Every message that was sent is answered rightly, or malformed, or unanswered:
/// `sent = success + malformed_answers + unanswered`.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) connected: u64,
    pub(super) sent: u64,
    pub(super) success: u64,
    /// Messages whose answer was another.
    pub(super) wrong: u64,
    /// Messages whose answer has not come.
    pub(super) unanswered: u64,
    pub(super) errors: Errors,
    /// Each kind of error with what was said about it, and how often.
    pub(super) reasons: BTreeMap<String, u64>,
    pub(super) bytes_out: u64,
    pub(super) bytes_in: u64,
    /// From when a message was due to its answer.
    pub(super) latency: Histogram<u64>,
    /// From when it was due until it left, with a rate.
    pub(super) lateness: Histogram<u64>,
    pub(super) began: Option<Instant>,
    pub(super) ended: Option<Instant>,
}

/// Errors by what was at fault. Those of connecting, reading and writing are of connections,
/// malformed ones of answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Errors {
    pub(super) connect: u64,
    pub(super) read: u64,
    pub(super) write: u64,
    pub(super) malformed: u64,
}

impl Errors {
    pub(super) fn sum(&self) -> u64 {
        self.connect + self.read + self.write + self.malformed
    }
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            connected: 0,
            sent: 0,
            success: 0,
            wrong: 0,
            unanswered: 0,
            errors: Errors::default(),
            reasons: BTreeMap::new(),
            bytes_out: 0,
            bytes_in: 0,
            latency: histogram(),
            lateness: histogram(),
            began: None,
            ended: None,
        }
    }

    pub(super) fn note_reason(&mut self, reason: String) {
        if self.reasons.len() < REASONS_MAX || self.reasons.contains_key(&reason) {
            *self.reasons.entry(reason).or_default() += 1;
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        match (self.began, self.ended) {
            (Some(began), Some(ended)) => ended.saturating_duration_since(began),
            _ => Duration::ZERO,
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.connected += other.connected;
        self.sent += other.sent;
        self.success += other.success;
        self.wrong += other.wrong;
        self.unanswered += other.unanswered;
        self.errors.connect += other.errors.connect;
        self.errors.read += other.errors.read;
        self.errors.write += other.errors.write;
        self.errors.malformed += other.errors.malformed;
        for (reason, count) in &other.reasons {
            *self.reasons.entry(reason.clone()).or_default() += count;
        }
        self.bytes_out += other.bytes_out;
        self.bytes_in += other.bytes_in;
        let same = "histograms of one make";
        self.latency.add(&other.latency).expect(same);
        self.lateness.add(&other.lateness).expect(same);
        let both = |one: Option<Instant>, two: Option<Instant>| one.into_iter().chain(two);
        self.began = both(self.began, other.began).min();
        self.ended = both(self.ended, other.ended).max();
    }
}

pub(super) fn record(histogram: &mut Histogram<u64>, time: Duration) {
    histogram.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST.as_nanos() as u64, 3).expect("bounds that it takes")
}

/// What loops tell each other and the progress bar while they run.
#[derive(Debug)]
pub(super) struct Board {
    /// Clients that are up or have failed.
    settled: AtomicUsize,
    /// Clients whose connection has ended.
    ended: AtomicUsize,
    clients: usize,
    /// Whether a signal has ended it.
    stopped: AtomicBool,
    /// Right answers, loop by loop.
    success: Vec<AtomicU64>,
    total: Mutex<Tally>,
}

impl Board {
    pub(super) fn new(clients: usize, loops: usize) -> Self {
        Self {
            settled: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
            clients,
            stopped: AtomicBool::new(false),
            success: (0..loops).map(|_| AtomicU64::new(0)).collect(),
            total: Mutex::new(Tally::new()),
        }
    }

    pub(super) fn settle(&self) {
        self.settled.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn are_all_settled(&self) -> bool {
        self.settled.load(Ordering::Relaxed) >= self.clients
    }

    /// Whether that was the last one of all loops.
    pub(super) fn end(&self) -> bool {
        self.ended.fetch_add(1, Ordering::Relaxed) + 1 >= self.clients
    }

    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    pub(super) fn show(&self, loop_index: usize, success: u64) {
        self.success[loop_index].store(success, Ordering::Relaxed);
    }

    pub(super) fn success(&self) -> u64 {
        self.success.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    pub(super) fn hand_in(&self, tally: &Tally) {
        self.total.lock().unwrap_or_else(PoisonError::into_inner).merge(tally);
    }

    /// What has been handed in.
    pub(super) fn take(&self) -> Tally {
        let mut total = self.total.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *total, Tally::new())
    }
}
