//! The handler that takes samples.

use super::connections::Connections;
use super::facade::Recorded;
use super::rates::Rates;
use super::{Meter, seconds_between};
use mainspring_loop::{Action, Conn, Cx, Handler, Input, LoopStats, Opened, ServerInfo, Tick};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// The handler behind a [`Meter`]. It has no connections.
pub struct Sampler {
    meter: Meter,
    start: Option<Instant>,
    last: Option<(Instant, LoopStats)>,
    connections: Connections,
    recorded: Option<Recorded>,
}

impl Sampler {
    pub(super) fn new(meter: Meter) -> Self {
        Self { meter, start: None, last: None, connections: Connections::default(), recorded: None }
    }

    /// The figures of the whole server, on loop 0.
    fn sample(&mut self, now: Instant, cx: &Cx<'_>) {
        let stats = cx.handle().stats();
        let rates = self
            .last
            .as_ref()
            .map(|(at, earlier)| Rates::between(earlier, &stats.total, seconds_between(*at, now)));
        let uptime =
            self.start.map_or_else(Default::default, |start| now.saturating_duration_since(start));
        self.meter.sample(uptime, rates, &stats);
        self.last = Some((now, stats.total));
        let plan = &self.meter.plan;
        if plan.on_metrics.is_none() && plan.record_as.is_none() {
            return;
        }
        let metrics = self.meter.read();
        if let Some(server) = &plan.record_as {
            let recorded =
                self.recorded.get_or_insert_with(|| Recorded::register(server, &metrics));
            recorded.set(&metrics);
        }
        if let Some(call) = &plan.on_metrics {
            guarded("on_metrics", || call(&metrics));
        }
    }

    fn sample_connections(&mut self, now: Instant, cx: &mut Cx<'_>) {
        let Some(call) = self.meter.plan.on_connections.clone() else { return };
        let ids = cx.connections();
        let infos: Vec<_> = ids.into_iter().filter_map(|id| Some(cx.conn(id)?.info())).collect();
        let figures = self.connections.sample(now, infos);
        guarded("on_connections", || call(cx.loop_index(), &figures));
    }
}

impl Handler for Sampler {
    type State = ();

    fn on_start(&mut self, cx: &mut Cx<'_>, _server: &ServerInfo) -> Action {
        self.start = Some(cx.now());
        let _ = self.meter.shared.server.set(cx.handle());
        Action::Continue
    }

    fn on_open(&mut self, _conn: &mut Conn<'_>) -> Opened<()> {
        Opened::Refuse
    }

    fn on_data(&mut self, (): &mut (), _conn: &mut Conn<'_>, _input: &mut Input<'_>) -> Action {
        Action::Close
    }

    fn on_tick(&mut self, cx: &mut Cx<'_>) -> Tick {
        let now = cx.now();
        if cx.loop_index() == 0 {
            self.sample(now, cx);
        }
        self.sample_connections(now, cx);
        Tick::After(self.meter.plan.interval)
    }
}

/// A tick that panics would be the last.
fn guarded(name: &str, call: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(call)).is_err() {
        tracing::error!("{name} panicked; the next sample calls it again");
    }
}
