//! What may go wrong, how often, and the dice that decide.

use fastrand::Rng;
use std::time::Duration;

/// The faults of a world. Each `f64` is the probability of one fault at each occasion for it;
/// zero switches it off.
///
/// None of them breaks the contract of [`mainspring_io::driver`]: they are what the contract allows
/// and a calm network never shows.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Faults {
    /// A delivery carries fewer bytes than have arrived.
    pub partial_read: f64,
    /// A write takes fewer bytes than there is room for.
    pub partial_write: f64,
    /// A send takes the bytes into flight and reports them later, as a completion ring does (D6).
    pub completion_send: f64,
    /// After `recv_stop` some of what has arrived is still delivered (D3).
    pub late_data: f64,
    /// The connection is reset, at each write.
    pub reset: f64,
    /// A scripted peer ends its direction, at each of its writes.
    pub half_close: f64,
    /// Accepting fails for lack of descriptors, and backs off (D9).
    pub accept_failure: f64,
    /// A connection attempt is refused, unreachable or timed out.
    pub connect_failure: f64,
    /// A sleeping poll returns early with nothing.
    pub spurious_wakeup: f64,
    /// A wake reaches its loop late, and further ones meanwhile fall together with it (D10).
    pub delayed_wake: f64,
    /// Time leaps at a poll, as when the thread was not scheduled.
    pub clock_jump: f64,
    /// The longest leap. Default 50 ms.
    pub clock_jump_max: Duration,
    /// A segment or datagram is late beyond the usual latency.
    pub delay: f64,
    /// The longest such delay. Default 20 ms.
    pub delay_max: Duration,
    /// A datagram is lost.
    pub datagram_loss: f64,
    /// A datagram arrives twice.
    pub datagram_duplication: f64,
    /// Sending a datagram fails for lack of buffers, and it is dropped.
    pub datagram_refusal: f64,
}

impl Faults {
    /// A calm network.
    #[must_use]
    pub fn none() -> Self {
        Self {
            partial_read: 0.0,
            partial_write: 0.0,
            completion_send: 0.0,
            late_data: 0.0,
            reset: 0.0,
            half_close: 0.0,
            accept_failure: 0.0,
            connect_failure: 0.0,
            spurious_wakeup: 0.0,
            delayed_wake: 0.0,
            clock_jump: 0.0,
            clock_jump_max: Duration::from_millis(50),
            delay: 0.0,
            delay_max: Duration::from_millis(20),
            datagram_loss: 0.0,
            datagram_duplication: 0.0,
            datagram_refusal: 0.0,
        }
    }

    /// Every fault, each as often as `seed` says. Those that end connections stay rare, so that the
    /// others are met.
    #[must_use]
    pub fn all(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        Self {
            reset: rng.f64() * 0.01,
            half_close: rng.f64() * 0.01,
            connect_failure: rng.f64() * 0.1,
            datagram_loss: rng.f64() * 0.2,
            datagram_duplication: rng.f64() * 0.2,
            datagram_refusal: rng.f64() * 0.1,
            ..Self::harmless(rng.u64(..))
        }
    }

    /// Only the faults after which every byte and datagram still arrives.
    #[must_use]
    pub fn harmless(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        Self {
            partial_read: rng.f64() * 0.5,
            partial_write: rng.f64() * 0.5,
            completion_send: rng.f64(),
            late_data: rng.f64(),
            accept_failure: rng.f64() * 0.2,
            spurious_wakeup: rng.f64() * 0.3,
            delayed_wake: rng.f64() * 0.5,
            clock_jump: rng.f64() * 0.02,
            delay: rng.f64() * 0.1,
            ..Self::none()
        }
    }

    /// A random choice of the faults of [`Faults::all`], the others off: faults that hide each
    /// other take turns.
    #[must_use]
    pub fn swarm(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut faults = Self::all(rng.u64(..));
        for probability in faults.probabilities() {
            if rng.bool() {
                *probability = 0.0;
            }
        }
        faults
    }

    fn probabilities(&mut self) -> [&mut f64; 15] {
        [
            &mut self.partial_read,
            &mut self.partial_write,
            &mut self.completion_send,
            &mut self.late_data,
            &mut self.reset,
            &mut self.half_close,
            &mut self.accept_failure,
            &mut self.connect_failure,
            &mut self.spurious_wakeup,
            &mut self.delayed_wake,
            &mut self.clock_jump,
            &mut self.delay,
            &mut self.datagram_loss,
            &mut self.datagram_duplication,
            &mut self.datagram_refusal,
        ]
    }
}

impl Default for Faults {
    fn default() -> Self {
        Self::none()
    }
}

/// How often each fault struck: a test that meant to meet one can see that it did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FaultCounts {
    /// See [`Faults::partial_read`].
    pub partial_reads: u64,
    /// See [`Faults::partial_write`].
    pub partial_writes: u64,
    /// See [`Faults::completion_send`].
    pub completion_sends: u64,
    /// See [`Faults::late_data`]: bytes delivered after a stop.
    pub late_bytes: u64,
    /// See [`Faults::reset`].
    pub resets: u64,
    /// See [`Faults::half_close`].
    pub half_closes: u64,
    /// See [`Faults::accept_failure`].
    pub accept_failures: u64,
    /// See [`Faults::connect_failure`].
    pub connect_failures: u64,
    /// See [`Faults::spurious_wakeup`].
    pub spurious_wakeups: u64,
    /// See [`Faults::delayed_wake`].
    pub delayed_wakes: u64,
    /// See [`Faults::clock_jump`].
    pub clock_jumps: u64,
    /// See [`Faults::delay`].
    pub delays: u64,
    /// See [`Faults::datagram_loss`].
    pub datagrams_lost: u64,
    /// See [`Faults::datagram_duplication`].
    pub datagrams_duplicated: u64,
    /// See [`Faults::datagram_refusal`].
    pub datagrams_refused: u64,
}

/// The one source of chance of a world.
#[derive(Debug)]
pub(crate) struct Dice {
    pub(crate) rng: Rng,
    pub(crate) faults: Faults,
    pub(crate) counts: FaultCounts,
}

impl Dice {
    pub(crate) fn new(seed: u64, faults: Faults) -> Self {
        Self { rng: Rng::with_seed(seed), faults, counts: FaultCounts::default() }
    }

    /// Whether the fault that `of` names in the settings strikes now; counted by `count` if it
    /// does.
    pub(crate) fn strikes(
        &mut self,
        of: impl FnOnce(&Faults) -> f64,
        count: impl FnOnce(&mut FaultCounts) -> &mut u64,
    ) -> bool {
        let probability = of(&self.faults);
        // A fault that is off draws nothing, so that switching it off leaves the other draws
        // comparable.
        let strikes = probability > 0.0 && self.rng.f64() < probability;
        if strikes {
            *count(&mut self.counts) += 1;
        }
        strikes
    }

    /// A number from 1 to `most`, for `most` of at least 1.
    pub(crate) fn part_of(&mut self, most: usize) -> usize {
        self.rng.usize(1..=most)
    }

    pub(crate) fn duration(&mut self, least: Duration, most: Duration) -> Duration {
        let range = most.saturating_sub(least).as_nanos() as u64;
        least + Duration::from_nanos(self.rng.u64(0..=range))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_repeat_by_seed_and_differ_between_seeds() {
        assert_eq!(Faults::all(7), Faults::all(7));
        assert_ne!(Faults::all(7), Faults::all(8));
        assert_eq!(Faults::swarm(7), Faults::swarm(7));
        assert_eq!(Faults::harmless(1).reset, 0.0);
        assert!(Faults::none().probabilities().iter().all(|probability| **probability == 0.0));
        assert!(Faults::all(3).probabilities().iter().all(|probability| **probability > 0.0));
    }

    #[test]
    fn a_fault_strikes_about_as_often_as_asked_and_never_when_off() {
        let faults = Faults { reset: 0.25, ..Faults::none() };
        let mut dice = Dice::new(1, faults);
        for _ in 0..10_000 {
            dice.strikes(|faults| faults.reset, |counts| &mut counts.resets);
            dice.strikes(|faults| faults.delay, |counts| &mut counts.delays);
        }
        assert!((2_200..2_800).contains(&dice.counts.resets), "{}", dice.counts.resets);
        assert_eq!(dice.counts.delays, 0);
    }
}
