//! Virtual time.

use std::time::{Duration, Instant};

/// The clock of a world: it stands still until the world moves it.
///
/// Loops calculate with [`Instant`]s, which cannot be made up. So a world reads the real clock
/// once, and tells that instant plus its own virtual age. Only differences between instants reach
/// anything that a seed must repeat.
#[derive(Debug)]
pub(crate) struct Clock {
    base: Instant,
    elapsed: Duration,
}

impl Clock {
    pub(crate) fn start() -> Self {
        #[expect(clippy::disallowed_methods, reason = "a driver; only differences to it matter")]
        let base = Instant::now();
        Self { base, elapsed: Duration::ZERO }
    }

    pub(crate) fn now(&self) -> Instant {
        self.base + self.elapsed
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// Moves the clock to `elapsed`; time never goes back.
    pub(crate) fn move_to(&mut self, elapsed: Duration) {
        self.elapsed = self.elapsed.max(elapsed);
    }

    pub(crate) fn move_by(&mut self, step: Duration) {
        self.elapsed += step;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_differ_by_virtual_time_and_never_go_back() {
        let mut clock = Clock::start();
        let start = clock.now();
        clock.move_to(Duration::from_secs(3600));
        clock.move_to(Duration::from_secs(1));
        assert_eq!(clock.now() - start, Duration::from_secs(3600));
        assert_eq!(clock.elapsed(), Duration::from_secs(3600));
    }
}
