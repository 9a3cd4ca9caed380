//! How long to wait before the next attempt.

use std::time::Duration;

/// Delays that double from one failure to the next, up to a maximum, with jitter: those whom one
/// event has thrown off together do not come back together.
///
/// The `n`-th delay in a row, counted from 1, lies in the upper half of
/// `delay_min * 2^n`, at most `delay_max`, and never under `delay_min`:
///
/// ```text
///   delay_min 100 ms, delay_max 5 s       1   100..200 ms
///                                         2   200..400 ms
///                                         3   400..800 ms
///                                         :
///                                         6      2.5..5 s, and so on
/// ```
///
/// Chance is an argument, as everywhere: [`Cx::random`](crate::Cx::random) on a loop.
///
/// ```
/// use mainspring_loop::Backoff;
/// use std::time::Duration;
///
/// let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
/// assert_eq!(backoff.next(0), Duration::from_millis(100));
/// assert_eq!(backoff.next(u64::MAX), Duration::from_millis(400));
/// backoff.reset();
/// assert_eq!(backoff.next(0), Duration::from_millis(100));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    delay_min: Duration,
    delay_max: Duration,
    failures: u32,
}

impl Backoff {
    /// No failure so far. A maximum under the minimum counts as the minimum, and a minimum of
    /// nothing as one millisecond: without any delay a failure at once would be tried again at
    /// once.
    #[must_use]
    pub fn new(delay_min: Duration, delay_max: Duration) -> Self {
        let delay_min = delay_min.max(Duration::from_millis(1));
        Self { delay_min, delay_max: delay_max.max(delay_min), failures: 0 }
    }

    /// One more failure: the delay after it, drawn with `random`, of which every bit counts.
    pub fn next(&mut self, random: u64) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        let most = self.delay_min.saturating_mul(factor).min(self.delay_max);
        let least = (most / 2).max(self.delay_min);
        let range = u64::try_from((most - least).as_nanos()).unwrap_or(u64::MAX);
        // The high half of the product is `random` brought down to 0..=range.
        let part = (u128::from(random) * (u128::from(range) + 1)) >> 64;
        least + Duration::from_nanos(part as u64)
    }

    /// All is well again: the next delay is a first one.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures since the beginning or the last reset.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn every_delay_lies_in_the_upper_half_of_its_step() {
        for seed in 0..200 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (min, max) = (MS * rng.u32(1..500), MS * rng.u32(1..60_000));
            let mut backoff = Backoff::new(min, max);
            let max = max.max(min);
            let mut most = min;
            for step in 0..40 {
                most = (most * 2).min(max);
                let delay = backoff.next(rng.u64(..));
                let least = (most / 2).max(min);
                assert!(delay >= least && delay <= most, "seed {seed}, step {step}: {delay:?}");
            }
            assert_eq!(backoff.failures(), 40);
        }
    }

    #[test]
    fn both_ends_of_a_step_are_met_and_chance_spreads_between() {
        let first = |random| Backoff::new(100 * MS, 5000 * MS).next(random);
        assert_eq!((first(0), first(u64::MAX)), (100 * MS, 200 * MS));
        let mut rng = fastrand::Rng::with_seed(1);
        let early = (0..1000).filter(|_| first(rng.u64(..)) < 150 * MS).count();
        assert!((450..550).contains(&early), "{early}");
    }

    #[test]
    fn extremes_neither_overflow_nor_stand_still() {
        let mut backoff = Backoff::new(Duration::ZERO, Duration::MAX);
        assert!((0..200).all(|_| backoff.next(u64::MAX) >= MS));
        let mut backoff = Backoff::new(Duration::MAX, Duration::ZERO);
        assert_eq!(backoff.next(u64::MAX), Duration::MAX);
    }
}
