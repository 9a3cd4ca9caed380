//! How often something may happen.

use crate::Error;
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// A rate, and how many may come at once after a time of rest: a token bucket.
///
/// Its text is `COUNT/s` or `COUNT/m`, and behind that, if it is another number, `:BURST`.
///
/// # Examples
///
/// ```
/// use mainspring_app::guard::Rate;
///
/// // A hundred at once, and ten in every second after that.
/// let rate = Rate::per_second(10).burst(100);
/// assert_eq!("10/s:100".parse::<Rate>()?, rate);
/// # Ok::<(), mainspring_app::Error>(())
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

impl FromStr for Rate {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let number = |digits: &str| -> Option<u32> {
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse().ok().filter(|count| plain && *count > 0)
        };
        let rate = || {
            let (rate, burst) = match text.split_once(':') {
                Some((rate, burst)) => (rate, Some(number(burst)?)),
                None => (text, None),
            };
            let rate = match rate.split_once('/')? {
                (count, "s") => Self::per_second(number(count)?),
                (count, "m") => Self::per_minute(number(count)?),
                _ => return None,
            };
            Some(burst.map_or(rate, |burst| rate.burst(burst)))
        };
        rate().ok_or_else(|| Error::Rate { text: text.to_owned() })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "one in {:?}, {} at once", self.interval, self.burst)
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

    #[test]
    fn texts_are_rates_or_refused() {
        for (text, wanted) in [
            ("1/s", Rate::per_second(1)),
            ("10/s:1", Rate::per_second(10).burst(1)),
            ("90/m:7", Rate::per_minute(90).burst(7)),
        ] {
            assert_eq!(text.parse::<Rate>().unwrap(), wanted, "{text}");
        }
        for text in
            ["", "1", "1/", "/s", "0/s", "1/h", "+1/s", "1/s:", "1/s:0", "1/s:+2", "1/s:2:3"]
        {
            let error = text.parse::<Rate>().unwrap_err().to_string();
            assert!(error.contains(&format!("'{text}'")) && error.contains("10/s"), "{error}");
        }
    }

    /// The model counts parts of tokens, a millisecond's worth each.
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
