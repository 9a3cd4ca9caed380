//! When messages are due, if that is not when an answer has come.

use std::time::Duration;

/// Loops count in milliseconds: what is due that soon leaves now, and what is due in between waits
/// for the next one.
const GRID: Duration = Duration::from_millis(1);
const EARLY: Duration = Duration::from_micros(500);

/// The schedule of one loop: its messages go round its clients.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    clients: u64,
    per_second: f64,
    spin: bool,
    /// The next message of the loop.
    next: u64,
}

impl Pace {
    /// `per_second` messages by `clients` clients.
    pub(super) fn new(clients: usize, per_second: f64, spin: bool) -> Self {
        Self { clients: (clients as u64).max(1), per_second, spin, next: 0 }
    }

    /// When a client's message is due, counted from the beginning. The latency is counted from
    /// here, whatever keeps the message from leaving.
    pub(super) fn due(&self, client: usize, number: u64) -> Duration {
        self.due_of(number * self.clients + client as u64)
    }

    /// Whether what is due at `due` may leave.
    pub(super) fn is_due(&self, due: Duration, since_begin: Duration) -> bool {
        due <= since_begin + if self.spin { Duration::ZERO } else { EARLY }
    }

    /// The client whose turn it is, if it is.
    pub(super) fn turn(&mut self, since_begin: Duration) -> Option<usize> {
        if !self.is_due(self.due_of(self.next), since_begin) {
            return None;
        }
        let client = self.next % self.clients;
        self.next += 1;
        Some(client as usize)
    }

    /// How long until it is somebody's turn; nothing says: look again without sleep.
    pub(super) fn wait(&self, since_begin: Duration) -> Duration {
        let wait = self.due_of(self.next).saturating_sub(since_begin);
        if self.spin {
            // The loop sleeps to the next millisecond at least.
            return if wait < 3 * GRID { Duration::ZERO } else { wait - 2 * GRID };
        }
        wait.saturating_sub(EARLY).max(Duration::from_nanos(1))
    }

    fn due_of(&self, message: u64) -> Duration {
        let exact = Duration::from_secs_f64(message as f64 / self.per_second);
        if self.spin {
            return exact;
        }
        Duration::from_millis(
            u64::try_from(exact.as_nanos().div_ceil(GRID.as_nanos())).unwrap_or(u64::MAX),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// The turns of a loop that looks whenever it is told to, and how often it looked.
    fn run(pace: &mut Pace, until: Duration) -> (Vec<(Duration, usize)>, usize) {
        let (mut now, mut turns, mut looks) = (Duration::ZERO, Vec::new(), 0);
        while now <= until {
            looks += 1;
            while let Some(client) = pace.turn(now) {
                turns.push((now, client));
            }
            now += pace.wait(now).max(Duration::from_micros(10));
        }
        (turns, looks)
    }

    #[test]
    fn clients_take_turns_at_the_rate() {
        for spin in [false, true] {
            let mut pace = Pace::new(3, 5000.0, spin);
            let (turns, _) = run(&mut pace, 1000 * MS);
            assert!((4990..=5010).contains(&turns.len()), "{}", turns.len());
            assert!(turns.iter().enumerate().all(|(at, (_, client))| *client == at % 3));
        }
    }

    #[test]
    fn a_schedule_does_not_move_when_nobody_looks() {
        let mut pace = Pace::new(2, 1000.0, false);
        assert_eq!(pace.turn(Duration::ZERO), Some(0));
        assert_eq!(pace.turn(Duration::ZERO), None);
        // The loop was away for ten milliseconds: all of them are due, at their own times.
        let missed = std::iter::from_fn(|| pace.turn(10 * MS)).count();
        assert_eq!(missed, 10);
        assert_eq!(pace.due(1, 0), MS);
        assert_eq!(pace.due(0, 3), 6 * MS);
    }

    #[test]
    fn without_spinning_a_loop_sleeps_between_its_turns() {
        let (turns, looks) = run(&mut Pace::new(1, 100.0, false), 1000 * MS);
        assert!((100..=101).contains(&turns.len()));
        assert!(looks < 1000, "{looks}");
    }
}
