//! Medians of few rounds, and ratios between servers.

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
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        };
        Some(Self { median, min, max })
    }

    /// All three as multiples of `base`.
    pub(crate) fn over(self, base: f64) -> Option<Self> {
        Some(Self {
            median: ratio(self.median, base)?,
            min: ratio(self.min, base)?,
            max: ratio(self.max, base)?,
        })
    }
}

/// `value` as a multiple of `base`; `None` where that says nothing.
pub(crate) fn ratio(value: f64, base: f64) -> Option<f64> {
    (base > 0.0 && value.is_finite()).then(|| value / base)
}

/// The quotient of two medians, and the least and the largest that the rounds would allow.
pub(crate) fn quotient(above: Spread, below: Spread) -> Option<Spread> {
    Some(Spread {
        median: ratio(above.median, below.median)?,
        min: ratio(above.min, below.max)?,
        max: ratio(above.max, below.min)?,
    })
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

    #[test]
    fn a_quotient_has_the_widest_spread() {
        let spread = |median, min, max| Spread { median, min, max };
        let quotient = quotient(spread(4.0, 3.0, 6.0), spread(2.0, 1.0, 3.0));
        assert_eq!(quotient, Some(spread(2.0, 1.0, 6.0)));
        assert_eq!(super::quotient(spread(4.0, 3.0, 6.0), spread(2.0, 0.0, 3.0)), None);
    }
}
