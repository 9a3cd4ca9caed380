//! How often something may happen.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// A rate, and how many may come at once after a time of rest: a token bucket.
///
/// # Examples
///
/// ```
/// use mainspring_app::guard::Rate;
///
/// // A hundred at once, and ten in every second after that.
/// let rate = Rate::per_second(10).burst(100);
/// # let _ = rate;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Between two tokens.
    interval: Duration,
    /// The tokens of a full bucket.
    burst: NonZeroU32,
}

impl Rate {
    /// `count` in a second, and as many at once.
    ///
    /// # Panics
    ///
    /// If `count` is 0.
    #[must_use]
    pub fn per_second(count: u32) -> Self {
        Self::new(count, Duration::from_secs(1))
    }

    /// `count` in a minute, and as many at once.
    ///
    /// # Panics
    ///
    /// If `count` is 0.
    #[must_use]
    pub fn per_minute(count: u32) -> Self {
        Self::new(count, Duration::from_secs(60))
    }

    /// How many may come at once after a time of rest. 0 counts as 1.
    #[must_use]
    pub fn burst(mut self, count: u32) -> Self {
        self.burst = NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
        self
    }

    fn new(count: u32, time: Duration) -> Self {
        let burst = NonZeroU32::new(count).expect("a rate is above 0");
        Self { interval: time / count, burst }
    }
}

/// What is left of a rate: a bucket that starts full.
///
/// It keeps one instant, that at which it will be full again (the generic cell rate algorithm of
/// ITU-T I.371): each token that is taken moves it by one interval, and one can be taken while it is
/// less than a burst of intervals ahead.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket {
    full_at: Option<Instant>,
}

impl Bucket {
    /// Whether there is a token.
    pub(super) fn has_token(&self, rate: &Rate, now: Instant) -> bool {
        let ahead = self.full_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        ahead <= rate.interval * (rate.burst.get() - 1)
    }

    /// Takes a token that is there.
    pub(super) fn take(&mut self, rate: &Rate, now: Instant) {
        let full_at = self.full_at.map_or(now, |at| at.max(now));
        self.full_at = Some(full_at + rate.interval);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Instant {
        #[expect(clippy::disallowed_methods, reason = "any instant will do")]
        Instant::now()
    }

    #[test]
    fn a_burst_passes_at_once_and_then_one_an_interval() {
        let rate = Rate::per_second(4).burst(3);
        let (start, mut bucket) = (start(), Bucket::default());
        let mut take = |ms: u64| {
            let now = start + Duration::from_millis(ms);
            let is_there = bucket.has_token(&rate, now);
            if is_there {
                bucket.take(&rate, now);
            }
            is_there
        };
        assert_eq!([0, 0, 0, 0, 249].map(&mut take), [true, true, true, false, false]);
        assert_eq!([250, 250, 499, 500].map(&mut take), [true, false, false, true]);
        // A rest fills it, and no further than to the brim.
        assert_eq!([60_000, 60_000, 60_000, 60_000].map(&mut take), [true, true, true, false]);
        // A loop whose clock is behind gets no more.
        assert!(!take(59_000));
    }

    /// The model counts millionths of tokens.
    #[test]
    fn it_is_the_bucket_that_drips() {
        for seed in 0..200 {
            let mut rng = fastrand::Rng::with_seed(seed);
            // Intervals of whole milliseconds, so that model and bucket round alike.
            let interval_ms = rng.u64(1..50);
            let burst = rng.u32(1..10);
            let rate = Rate { interval: Duration::from_millis(interval_ms), ..Rate::per_second(1) };
            let rate = rate.burst(burst);
            let (mut now, mut bucket) = (start(), Bucket::default());
            let full = u64::from(burst) * interval_ms;
            let mut drops = full;
            for step in 0..500 {
                let rest = rng.u64(0..interval_ms * 2);
                now += Duration::from_millis(rest);
                drops = (drops + rest).min(full);
                let wanted = drops >= interval_ms;
                let about = format!("seed {seed} step {step}");
                assert_eq!(bucket.has_token(&rate, now), wanted, "{about}");
                if wanted && rng.u8(0..4) > 0 {
                    bucket.take(&rate, now);
                    drops -= interval_ms;
                }
            }
        }
    }
}
