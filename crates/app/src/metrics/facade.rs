//! Samples through the facade of the crate `metrics`, for whatever recorder is installed.

use super::table::{GUARD_FIGURES, GUARD_REFUSED, GUARD_REFUSED_HELP, Read, WHOLE};
use super::{FIGURES, Kind, Metrics};
use crate::guard::Refusal;
use ::metrics::{Counter, Gauge, Key, Label, Level, Metadata, Recorder, with_recorder};
use mainspring_loop::LoopStats;

/// The handles of one server's figures, registered once.
pub(super) struct Recorded {
    whole: Vec<Gauge>,
    /// Loop by loop, in the order of the table.
    loops: Vec<Vec<Handle>>,
    guards: Vec<(Vec<Handle>, Vec<Counter>)>,
}

enum Handle {
    Counter(Counter),
    Gauge(Gauge),
}

const METADATA: Metadata<'static> =
    Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

impl Recorded {
    /// Registers everything that `metrics` has with the present recorder.
    pub(super) fn register(server: &str, metrics: &Metrics) -> Self {
        with_recorder(|recorder| {
            describe(recorder);
            let of_server = Label::new("server", server.to_owned());
            let whole = WHOLE
                .iter()
                .map(|whole| recorder.register_gauge(&key(whole.name, &[&of_server]), &METADATA));
            let loops = (0..metrics.stats.loops.len()).map(|index| {
                let of_loop = Label::new("loop", index.to_string());
                let figures = FIGURES.iter().map(|figure| {
                    let own = figure.label.map(|(name, value)| Label::new(name, value));
                    let labels: Vec<&Label> =
                        [&of_server, &of_loop].into_iter().chain(&own).collect();
                    Handle::register(recorder, figure.kind, &key(figure.name, &labels))
                });
                figures.collect()
            });
            let guards = metrics.guards.iter().map(|(name, _)| {
                let of_guard = Label::new("guard", name.clone());
                let figures = GUARD_FIGURES.iter().map(|figure| {
                    let key = key(figure.name, &[&of_server, &of_guard]);
                    Handle::register(recorder, figure.kind, &key)
                });
                let refused = Refusal::ALL.iter().map(|reason| {
                    let reason = Label::new("reason", reason.label());
                    let key = key(GUARD_REFUSED, &[&of_server, &of_guard, &reason]);
                    recorder.register_counter(&key, &METADATA)
                });
                (figures.collect(), refused.collect())
            });
            Self { whole: whole.collect(), loops: loops.collect(), guards: guards.collect() }
        })
    }

    /// Brings all of them up to date.
    pub(super) fn set(&self, metrics: &Metrics) {
        for (whole, gauge) in WHOLE.iter().zip(&self.whole) {
            gauge.set((whole.read)(metrics));
        }
        for (stats, handles) in metrics.stats.loops.iter().zip(&self.loops) {
            set_loop(stats, handles);
        }
        for ((_, stats), (handles, refused)) in metrics.guards.iter().zip(&self.guards) {
            for (figure, handle) in GUARD_FIGURES.iter().zip(handles) {
                handle.set_count((figure.read)(stats));
            }
            for (reason, counter) in Refusal::ALL.into_iter().zip(refused) {
                counter.absolute(stats.refused(reason));
            }
        }
    }
}

fn set_loop(stats: &LoopStats, handles: &[Handle]) {
    for (figure, handle) in FIGURES.iter().zip(handles) {
        match figure.read {
            Read::Count(read) => handle.set_count(read(stats)),
            Read::Time(read) => handle.set(read(stats).as_secs_f64()),
        }
    }
}

impl Handle {
    fn register(recorder: &dyn Recorder, kind: Kind, key: &Key) -> Self {
        match kind {
            Kind::Counter => Self::Counter(recorder.register_counter(key, &METADATA)),
            Kind::Gauge => Self::Gauge(recorder.register_gauge(key, &METADATA)),
        }
    }

    fn set_count(&self, count: u64) {
        match self {
            Self::Counter(counter) => counter.absolute(count),
            Self::Gauge(gauge) => gauge.set(count as f64),
        }
    }

    fn set(&self, value: f64) {
        match self {
            Self::Counter(counter) => counter.absolute(value as u64),
            Self::Gauge(gauge) => gauge.set(value),
        }
    }
}

fn key(name: &'static str, labels: &[&Label]) -> Key {
    let labels: Vec<Label> = labels.iter().map(|label| (*label).clone()).collect();
    Key::from_parts(name, labels)
}

fn describe(recorder: &dyn Recorder) {
    let describe = |name: &'static str, kind: Kind, help: &'static str| match kind {
        Kind::Counter => recorder.describe_counter(name.into(), None, help.into()),
        Kind::Gauge => recorder.describe_gauge(name.into(), None, help.into()),
    };
    WHOLE.iter().for_each(|whole| describe(whole.name, Kind::Gauge, whole.help));
    FIGURES.iter().for_each(|figure| describe(figure.name, figure.kind, figure.help));
    GUARD_FIGURES.iter().for_each(|figure| describe(figure.name, figure.kind, figure.help));
    describe(GUARD_REFUSED, Kind::Counter, GUARD_REFUSED_HELP);
}
