//! A server's figures: totals, peaks and rates, at an interval and on request.
//!
//! ```text
//!  loops: counters, each written by one thread with plain stores
//!     |
//!     +--> Sampler on loop 0, once an interval: rates, peaks --> on_metrics, `metrics` facade
//!     +--> Meter::read, from any thread, at any time         --> the page of the Admin, you
//! ```
//!
//! Nothing here is on the way of a byte: who reads pays. The names under which figures leave the
//! process are in [`FIGURES`] and in `docs/metrics.md`.

mod connections;
mod facade;
mod rates;
mod sampler;
mod table;
mod text;

pub use connections::ConnMetrics;
pub use rates::Rates;
pub use sampler::Sampler;
pub use table::{FIGURES, Figure, Kind};
pub(crate) use text::CONTENT_TYPE;

use crate::guard::{Guard, GuardStats};
use mainspring_loop::{Handle, HostId, ServerStats, Shard};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// A server's figures at one time.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Metrics {
    /// From the start of the server to the last sample.
    pub uptime: Duration,
    /// What has been counted since the start, loop by loop and in all.
    pub stats: ServerStats,
    /// How fast the totals grew between the last two samples.
    pub rates: Rates,
    /// The highest so far.
    pub peaks: Peaks,
    /// The guards that were named to the meter.
    pub guards: Vec<(String, GuardStats)>,
}

/// Highest figures.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Peaks {
    /// Connections at one time: exact, as the loops count it.
    pub connections: u64,
    /// Buffered bytes, of all samples.
    pub buffered_bytes: u64,
    /// Each of the rates, of all samples.
    pub rates: Rates,
}

/// Takes the figures of one server. Clones are the same meter.
///
/// # Examples
///
/// ```
/// use mainspring_app::metrics::Meter;
/// use mainspring_loop::{Action, Conn, Input, Server};
/// use std::time::Duration;
///
/// let meter = Meter::every(Duration::from_secs(1)).on_metrics(|metrics| {
///     println!("{} bytes/s received", metrics.rates.received_bytes);
/// });
/// let for_loops = meter.clone();
/// let server = Server::builder().start(move |shard| {
///     for_loops.host(shard);
///     let echo = shard.host(|conn: &mut Conn<'_>, input: &mut Input<'_>| {
///         conn.out().extend_from_slice(input.take());
///         Action::Continue
///     });
///     shard.listen(echo, "tcp://127.0.0.1:0").map(drop)
/// })?;
/// assert_eq!(meter.read().stats.total.accepted, 0);
/// # Ok::<(), mainspring_loop::Error>(())
/// ```
#[derive(Clone)]
pub struct Meter {
    plan: Arc<Plan>,
    shared: Arc<Shared>,
}

/// What a meter was asked to do.
#[derive(Clone)]
struct Plan {
    interval: Duration,
    on_metrics: Option<OnMetrics>,
    on_connections: Option<OnConnections>,
    /// The label `server` of the facade's figures.
    record_as: Option<String>,
    guards: Vec<(String, Guard)>,
}

type OnMetrics = Arc<dyn Fn(&Metrics) + Send + Sync>;
type OnConnections = Arc<dyn Fn(usize, &[ConnMetrics]) + Send + Sync>;

#[derive(Default)]
struct Shared {
    server: OnceLock<Handle>,
    sampled: Mutex<Sampled>,
}

/// What follows from samples alone.
#[derive(Default)]
struct Sampled {
    uptime: Duration,
    rates: Rates,
    peaks: Peaks,
}

impl Meter {
    /// A meter that takes a sample once an interval, of at least a millisecond; a second is usual.
    #[must_use]
    pub fn every(interval: Duration) -> Self {
        let plan = Plan {
            interval: interval.max(Duration::from_millis(1)),
            on_metrics: None,
            on_connections: None,
            record_as: None,
            guards: Vec::new(),
        };
        Self { plan: Arc::new(plan), shared: Arc::default() }
    }

    /// Has `call` called after each sample, on the thread of loop 0, which waits for it. One that
    /// panics is logged, and called again after the next sample.
    #[must_use]
    pub fn on_metrics(mut self, call: impl Fn(&Metrics) + Send + Sync + 'static) -> Self {
        Arc::make_mut(&mut self.plan).on_metrics = Some(Arc::new(call));
        self
    }

    /// Has `call` called once an interval on each loop, with the loop's number and its connections,
    /// the admin's and those that were dialled included. It costs time with their number; without it
    /// nothing is done by connection.
    #[must_use]
    pub fn on_connections(
        mut self,
        call: impl Fn(usize, &[ConnMetrics]) + Send + Sync + 'static,
    ) -> Self {
        Arc::make_mut(&mut self.plan).on_connections = Some(Arc::new(call));
        self
    }

    /// Records each sample through the facade of the crate [`metrics`](https://docs.rs/metrics), with the labels `server` (this
    /// name) and `loop`. The recorder is the one that is installed when the server starts.
    #[must_use]
    pub fn record_as(mut self, server: &str) -> Self {
        Arc::make_mut(&mut self.plan).record_as = Some(server.to_owned());
        self
    }

    /// Adds a guard's counters to the figures.
    #[must_use]
    pub fn guard(mut self, name: &str, guard: &Guard) -> Self {
        Arc::make_mut(&mut self.plan).guards.push((name.to_owned(), guard.clone()));
        self
    }

    /// Moves a sampler into a loop; to be called once in the set-up of each. One meter is for one
    /// server.
    pub fn host(&self, shard: &mut Shard<'_>) -> HostId<Sampler> {
        let host = shard.host(Sampler::new(self.clone()));
        if self.plan.on_connections.is_some() {
            shard.tick_on_every_loop(host);
        }
        host
    }

    /// The figures as they are: totals of now, rates and peaks of the last sample. From any thread.
    /// All zero before the server has started.
    #[must_use]
    pub fn read(&self) -> Metrics {
        let stats = self.shared.server.get().map(Handle::stats).unwrap_or_default();
        let sampled = self.shared.sampled();
        let mut peaks = sampled.peaks;
        peaks.connections = stats.total.connections_peak;
        peaks.buffered_bytes = peaks.buffered_bytes.max(stats.total.buffered_bytes);
        let guards = self.plan.guards.iter();
        Metrics {
            uptime: sampled.uptime,
            rates: sampled.rates,
            peaks,
            guards: guards.map(|(name, guard)| (name.clone(), guard.stats())).collect(),
            stats,
        }
    }

    /// The figures in the text format of Prometheus, version 0.0.4, as the admin's page has them.
    #[must_use]
    pub fn prometheus(&self) -> String {
        text::render(&self.read())
    }

    /// Takes a sample.
    fn sample(&self, uptime: Duration, rates: Option<Rates>, stats: &ServerStats) {
        let mut sampled = self.shared.sampled();
        sampled.uptime = uptime;
        if let Some(rates) = rates {
            sampled.rates = rates;
            sampled.peaks.rates = sampled.peaks.rates.max(&rates);
        }
        let buffered = &mut sampled.peaks.buffered_bytes;
        *buffered = stats.total.buffered_bytes.max(*buffered);
    }
}

impl Shared {
    fn sampled(&self) -> MutexGuard<'_, Sampled> {
        self.sampled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter").field("interval", &self.plan.interval).finish_non_exhaustive()
    }
}

/// The time between two samples, in seconds, of which there is always some.
fn seconds_between(earlier: Instant, later: Instant) -> f64 {
    later.saturating_duration_since(earlier).max(Duration::from_micros(1)).as_secs_f64()
}
