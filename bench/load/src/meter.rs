//! Warm-up, the measured window, and the histogram that is filled in it.

use std::time::Instant;

use hdrhistogram::Histogram;

use crate::engine::{Pace, Plan};
use crate::{Error, Report, Snapshot, Window};

/// Latencies up to a minute are told apart; longer ones count as a minute.
const LATENCY_MAX_NS: u64 = 60_000_000_000;
/// Significant decimal digits of a latency.
const DIGITS: u8 = 3;

/// Counts replies in the window.
pub(crate) struct Meter {
    origin: Instant,
    histogram: Histogram<u64>,
    warm_ns: u64,
    end_ns: u64,
    requests_max: u64,
    open: bool,
    watch: Option<u32>,
    began: Option<Snapshot>,
    window: Option<Window>,
    pub(crate) lost: u64,
}

impl Meter {
    pub(crate) fn new(plan: &Plan) -> Self {
        let warm_ns = plan.warm_up.as_nanos() as u64;
        Self {
            origin: Instant::now(),
            histogram: Histogram::new_with_bounds(1, LATENCY_MAX_NS, DIGITS)
                .expect("constant bounds that the histogram takes"),
            warm_ns,
            end_ns: warm_ns + plan.duration.as_nanos() as u64,
            requests_max: plan.requests_max.unwrap_or(u64::MAX),
            open: matches!(plan.pace, Pace::Open { .. }),
            watch: plan.watch_pid,
            began: None,
            window: None,
            lost: 0,
        }
    }

    /// Nanoseconds since the start of the run.
    pub(crate) fn now_ns(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }

    pub(crate) fn end_ns(&self) -> u64 {
        self.end_ns
    }

    /// Takes the snapshots when their time has come; true once the window is closed.
    pub(crate) fn turn(&mut self, now_ns: u64) -> Result<bool, Error> {
        if self.began.is_none() && now_ns >= self.warm_ns {
            self.began = Some(Snapshot::take(std::process::id(), self.watch)?);
        }
        let full = self.histogram.len() >= self.requests_max;
        if self.window.is_none()
            && (now_ns >= self.end_ns || full)
            && let Some(began) = &self.began
        {
            self.window = Some(Snapshot::take(std::process::id(), self.watch)?.since(began));
        }
        Ok(self.window.is_some())
    }

    /// `count` replies at `now_ns` to requests that were sent (closed loop) or due (open loop) at
    /// `sent_ns`.
    pub(crate) fn record(&mut self, sent_ns: u64, now_ns: u64, count: usize) {
        let counts = if self.open {
            // Late replies count too: leaving them out would hide the stall that made them late.
            (self.warm_ns..self.end_ns).contains(&sent_ns)
        } else {
            self.began.is_some() && self.window.is_none()
        };
        if counts {
            let latency_ns = now_ns.saturating_sub(sent_ns).max(1);
            self.histogram.saturating_record_n(latency_ns, count as u64);
        }
    }

    pub(crate) fn report(self, what: String) -> Report {
        let window = self.window.unwrap_or_default();
        let at = |quantile: f64| self.histogram.value_at_quantile(quantile) as f64 / 1e3;
        Report {
            what,
            requests: self.histogram.len(),
            lost: self.lost,
            seconds: window.seconds,
            per_second: self.histogram.len() as f64 / window.seconds.max(f64::MIN_POSITIVE),
            p50_us: at(0.5),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: self.histogram.max() as f64 / 1e3,
            idle: None,
            window,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn plan(pace: Pace) -> Plan {
        Plan {
            target: crate::Target::Unix("never-dialed".into()),
            connections: 1,
            pace,
            warm_up: Duration::from_millis(1),
            duration: Duration::from_millis(9),
            requests_max: None,
            watch_pid: None,
            offload: false,
        }
    }

    #[test]
    fn a_closed_loop_counts_the_replies_of_the_window() {
        let mut meter = Meter::new(&plan(Pace::Closed { depth: 1 }));
        assert!(!meter.turn(0).unwrap());
        meter.record(0, 10, 1);
        assert!(!meter.turn(1_000_000).unwrap());
        meter.record(0, 2_000_000, 1);
        assert!(meter.turn(10_000_000).unwrap());
        meter.record(0, 11_000_000, 1);
        let report = meter.report("x".to_owned());
        assert_eq!(report.requests, 1);
        assert!((report.p50_us - 2000.0).abs() < 2.0, "{}", report.p50_us);
    }

    #[test]
    fn an_open_loop_counts_what_was_due_in_the_window_however_late() {
        let mut meter = Meter::new(&plan(Pace::Open { per_second: 10.0 }));
        assert!(meter.turn(1_000_000).is_ok() && meter.turn(10_000_000).unwrap());
        meter.record(500_000, 2_000_000, 1);
        meter.record(9_000_000, 509_000_000, 1);
        let report = meter.report("x".to_owned());
        assert_eq!(report.requests, 1);
        assert!((report.max_us - 500_000.0).abs() < 500.0, "{}", report.max_us);
    }

    #[test]
    fn enough_requests_end_the_window_early() {
        let mut meter =
            Meter::new(&Plan { requests_max: Some(2), ..plan(Pace::Closed { depth: 1 }) });
        assert!(!meter.turn(1_000_000).unwrap());
        meter.record(0, 5, 1);
        assert!(!meter.turn(1_100_000).unwrap());
        meter.record(0, 5, 1);
        assert!(meter.turn(1_200_000).unwrap());
    }
}
