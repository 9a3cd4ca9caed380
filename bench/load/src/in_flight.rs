//! When the requests that have no reply yet were sent.

use std::collections::VecDeque;

/// Times of requests, oldest first; those of one moment count together, so that a deep pipeline
/// costs no more to follow than a shallow one.
#[derive(Debug, Default)]
pub(crate) struct InFlight(VecDeque<(u64, usize)>);

impl InFlight {
    /// `count` requests at `sent_ns`.
    pub(crate) fn add(&mut self, sent_ns: u64, count: usize) {
        match self.0.back_mut() {
            Some((last_ns, together)) if *last_ns == sent_ns => *together += count,
            _ => self.0.push_back((sent_ns, count)),
        }
    }

    /// Takes the `count` oldest away and tells when they were sent; false: there are not so many.
    pub(crate) fn take(&mut self, mut count: usize, mut tell: impl FnMut(u64, usize)) -> bool {
        while count > 0 {
            let Some((sent_ns, together)) = self.0.front_mut() else { return false };
            let taken = count.min(*together);
            tell(*sent_ns, taken);
            *together -= taken;
            count -= taken;
            if *together == 0 {
                self.0.pop_front();
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first_and_no_more_than_there_are() {
        let mut in_flight = InFlight::default();
        in_flight.add(10, 2);
        in_flight.add(10, 1);
        in_flight.add(20, 2);
        let mut told = Vec::new();
        assert!(in_flight.take(4, |sent_ns, count| told.push((sent_ns, count))));
        assert_eq!(told, [(10, 3), (20, 1)]);
        assert!(!in_flight.take(2, |_, _| ()), "one was left");
    }
}
