//! Which datagrams of a socket are under way.

use std::collections::VecDeque;

/// Numbers from `oldest` to `next`, and when they were sent.
#[derive(Debug, Default)]
pub(super) struct Flight {
    oldest: u64,
    next: u64,
    /// The number after the last one that was sent at a time, and that time.
    sent: VecDeque<(u64, u64)>,
}

impl Flight {
    /// The number of the datagram that is sent next.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn len(&self) -> usize {
        (self.next - self.oldest) as usize
    }

    /// `count` more left at `now`.
    pub(super) fn add(&mut self, count: usize, now: u64) {
        if count > 0 {
            self.next += count as u64;
            self.sent.push_back((self.next, now));
        }
    }

    /// Counts those as lost that were sent before `since`.
    pub(super) fn give_up(&mut self, since: u64) -> u64 {
        let before = self.oldest;
        while let Some((end, _)) = self.sent.front().copied().filter(|(_, sent)| *sent < since) {
            self.oldest = end;
            self.sent.pop_front();
        }
        self.oldest - before
    }

    /// Begins to take answers that came together.
    pub(super) fn answers(&mut self) -> Answers<'_> {
        Answers { flight: self, sent_ns: 0, count: 0, lost: 0 }
    }
}

/// Answers that came together; those to datagrams of one moment are told together.
pub(super) struct Answers<'a> {
    flight: &'a mut Flight,
    sent_ns: u64,
    count: usize,
    lost: u64,
}

impl Answers<'_> {
    /// Takes the answer `number`; false: never sent. Loopback keeps the order: what is older than an
    /// answer will not be answered.
    pub(super) fn take(&mut self, number: u64, mut tell: impl FnMut(u64, usize)) -> bool {
        let flight = &mut *self.flight;
        if number >= flight.next {
            return false;
        }
        // Answered after it was given up: it was counted as lost and stays so.
        if number < flight.oldest {
            return true;
        }
        self.lost += number - flight.oldest;
        flight.oldest = number + 1;
        while flight.sent.front().is_some_and(|(end, _)| *end <= number) {
            flight.sent.pop_front();
        }
        let sent_ns = flight.sent.front().map_or(0, |(_, sent_ns)| *sent_ns);
        if sent_ns != self.sent_ns {
            if self.count > 0 {
                tell(self.sent_ns, self.count);
            }
            (self.sent_ns, self.count) = (sent_ns, 0);
        }
        self.count += 1;
        true
    }

    /// Tells the rest; the answer is how many were lost.
    pub(super) fn end(self, mut tell: impl FnMut(u64, usize)) -> u64 {
        if self.count > 0 {
            tell(self.sent_ns, self.count);
        }
        self.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_losses_and_times_are_those_of_sending() {
        let mut flight = Flight::default();
        flight.add(3, 100);
        flight.add(2, 200);
        let mut told = Vec::new();
        let mut answers = flight.answers();
        for number in [0, 2, 3] {
            assert!(answers.take(number, |at, count| told.push((at, count))));
        }
        assert!(!answers.take(5, |_, _| ()), "never sent");
        assert_eq!(answers.end(|at, count| told.push((at, count))), 1);
        assert_eq!(told, [(100, 2), (200, 1)]);
        assert_eq!((flight.len(), flight.next()), (1, 5));
        assert_eq!(flight.give_up(200), 0);
        assert_eq!(flight.give_up(201), 1);
        assert!(flight.answers().take(4, |_, _| ()), "late, but it was sent");
        assert_eq!(flight.len(), 0);
    }
}
