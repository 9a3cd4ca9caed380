//! Medians of rounds, and how sure they are.

/// What the interval of a median shall hold the true one with, if there are rounds enough.
const LEVEL_WANTED: f64 = 0.95;

/// The middle of some measurements, with the least and the largest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// `None` for no values; of an even number the mean of the two in the middle.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let sorted = sorted(values);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        Some(Self { median: middle(&sorted), min, max })
    }
}

/// The median of some measurements, and an interval that holds the true one.
///
/// Nothing is assumed of how the measurements are distributed, only that each is by itself and that
/// all have the same median. Then each lies below it with probability 1/2, as a coin falls, and
/// how many do is binomial: of `n` in order, the `k`th from below and the `k`th from above have the median
/// between them but for the 2 · Σ C(n, i) / 2ⁿ (i < k) in which fewer than `k` lie on one side
/// (W. R. Thompson, "On Confidence Ranges for the Median and Other Expectation Distributions for
/// Populations of Unknown Distribution Form", Annals of Mathematical Statistics 7, 1936; the interval of
/// the sign test).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Estimate {
    pub(crate) median: f64,
    /// The ends of the interval.
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// The least and the largest measurement.
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Estimate {
    /// `None` for no values.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let Spread { median, min, max } = Spread::of(values)?;
        let sorted = sorted(values);
        let left_out = Rank::of(sorted.len()).left_out();
        let (low, high) = (sorted[left_out], sorted[sorted.len() - 1 - left_out]);
        Some(Self { median, low, high, min, max })
    }

    /// Whether the measurements leave it open on which side of `value` the median is.
    pub(crate) fn leaves_open(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }
}

/// Which measurements are the ends of an interval: the `nth` from either side.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rank {
    /// 1 is the least and the largest.
    pub(crate) nth: usize,
    /// With which probability the interval holds the median.
    pub(crate) level: f64,
}

impl Rank {
    /// The narrowest interval of 95 % or more; of fewer than six measurements, which cannot say so
    /// much, all of them.
    pub(crate) fn of(count: usize) -> Self {
        // The probability of exactly `nth` heads, and of fewer than `nth`.
        let (mut exactly, mut fewer) =
            (0.5_f64.powi(i32::try_from(count).unwrap_or(i32::MAX)), 0.0);
        let mut best = Self { nth: 1, level: (1.0 - 2.0 * exactly).max(0.0) };
        for nth in 1..=count / 2 {
            fewer += exactly;
            exactly *= (count + 1 - nth) as f64 / nth as f64;
            let level = 1.0 - 2.0 * fewer;
            if level >= LEVEL_WANTED {
                best = Self { nth, level };
            }
        }
        best
    }

    fn left_out(self) -> usize {
        self.nth - 1
    }
}

/// `value` as a multiple of `base`; `None` where that says nothing.
pub(crate) fn ratio(value: f64, base: f64) -> Option<f64> {
    (base > 0.0 && value.is_finite()).then(|| value / base)
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

fn middle(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_and_not_the_mean() {
        let odd = Spread::of(&[9.0, 1.0, 2.0]).unwrap();
        assert_eq!(odd, Spread { median: 2.0, min: 1.0, max: 9.0 });
        assert_eq!(Spread::of(&[4.0, 1.0, 2.0, 100.0]).unwrap().median, 3.0);
        assert_eq!(Spread::of(&[5.0]).unwrap(), Spread { median: 5.0, min: 5.0, max: 5.0 });
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn a_ratio_to_nothing_is_none() {
        assert_eq!(ratio(3.0, 2.0), Some(1.5));
        assert_eq!(ratio(3.0, 0.0), None);
        assert_eq!(ratio(f64::NAN, 1.0), None);
    }

    /// As the tables of the sign test have them: the largest k with P(fewer than k) <= 0.025.
    #[test]
    fn the_ends_of_the_interval_are_those_of_the_sign_test() {
        let known = [
            (6, 1, 0.968_75),
            (7, 1, 0.984_375),
            (8, 1, 0.992_187_5),
            (9, 2, 0.960_937_5),
            (10, 2, 0.978_515_625),
            (15, 4, 0.964_843_75),
            (20, 6, 0.958_610_534_667_968_8),
            (21, 6, 0.973_396_301_269_531_2),
            (25, 8, 0.956_714_749_336_242_7),
        ];
        for (count, nth, level) in known {
            let rank = Rank::of(count);
            assert_eq!(rank.nth, nth, "of {count}");
            assert!((rank.level - level).abs() < 1e-12, "of {count}: {rank:?}");
        }
    }

    #[test]
    fn few_rounds_give_all_that_they_can() {
        assert_eq!(Rank::of(5), Rank { nth: 1, level: 0.9375 });
        assert_eq!(Rank::of(1), Rank { nth: 1, level: 0.0 });
        let one = Estimate::of(&[4.0]).unwrap();
        assert_eq!((one.low, one.median, one.high), (4.0, 4.0, 4.0));
        assert_eq!(Estimate::of(&[]), None);
    }

    #[test]
    fn the_interval_leaves_out_what_lies_far_off() {
        let mut values: Vec<f64> = (1..=21).map(f64::from).collect();
        values[20] = 1e9;
        values.reverse();
        let Estimate { median, low, high, min, max } = Estimate::of(&values).unwrap();
        assert_eq!((min, low, median, high, max), (1.0, 6.0, 11.0, 16.0, 1e9));
    }

    #[test]
    fn what_lies_within_the_interval_is_left_open() {
        let values: Vec<f64> = (1..=9).map(f64::from).collect();
        let estimate = Estimate::of(&values).unwrap();
        let open = [1.9, 2.0, 5.0, 8.0, 8.1].map(|value| estimate.leaves_open(value));
        assert_eq!(open, [false, true, true, true, false]);
    }

    /// The interval of rounds whose median is 1 holds 1 as often as it says.
    #[test]
    fn the_interval_holds_the_median_as_often_as_it_says() {
        let (rounds, trials) = (21, 4000);
        let mut random = fastrand::Rng::with_seed(7);
        let mut holds = 0;
        for _ in 0..trials {
            // One in four is slow by up to ten times, as fast ones are: far from any normal law.
            let values: Vec<f64> = (0..rounds)
                .map(|_| {
                    let size = random.f64() * if random.u8(..4) == 0 { 2.3 } else { 0.02 };
                    if random.bool() { size.exp() } else { (-size).exp() }
                })
                .collect();
            holds += usize::from(Estimate::of(&values).unwrap().leaves_open(1.0));
        }
        let (share, level) = (holds as f64 / f64::from(trials), Rank::of(rounds).level);
        assert!((share - level).abs() < 0.012, "{share} of {level}, seed 7");
    }
}
