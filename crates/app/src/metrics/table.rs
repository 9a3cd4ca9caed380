//! Every figure of a loop with the name that it has outside.

use super::Metrics;
use crate::guard::GuardStats;
use mainspring_loop::LoopStats;
use std::time::Duration;

/// Whether a figure may fall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, from the start of the server.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// A figure of [`LoopStats`] and how it is shown.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Figure {
    /// Its field.
    pub field: &'static str,
    /// Its name, which several figures share that differ by their label.
    pub name: &'static str,
    /// A label of its own, beside that of its loop.
    pub label: Option<(&'static str, &'static str)>,
    /// Counter or gauge.
    pub kind: Kind,
    /// What it is, in a line.
    pub help: &'static str,
    pub(super) read: Read,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Read {
    Count(fn(&LoopStats) -> u64),
    Time(fn(&LoopStats) -> Duration),
}

impl Figure {
    /// Counts as they are, times in seconds.
    #[must_use]
    pub fn value(&self, stats: &LoopStats) -> f64 {
        match self.read {
            Read::Count(read) => read(stats) as f64,
            Read::Time(read) => read(stats).as_secs_f64(),
        }
    }
}

macro_rules! figures {
    ($($kind:ident $field:ident $name:literal $(($label:literal $value:literal))? $help:literal;)*) => {
        &[$(Figure {
            field: stringify!($field),
            name: $name,
            label: figures!(@label $($label $value)?),
            kind: Kind::$kind,
            help: $help,
            read: figures!(@read $field),
        },)*]
    };
    (@label) => { None };
    (@label $label:literal $value:literal) => { Some(($label, $value)) };
    (@read longest_turn) => { Read::Time(|stats| stats.longest_turn) };
    (@read $field:ident) => { Read::Count(|stats| stats.$field) };
}

/// Every figure of a loop. Those of one name stand together.
pub const FIGURES: &[Figure] = figures! {
    Gauge connections "mainspring_connections"
        "Connections open now.";
    Gauge connections_peak "mainspring_connections_peak"
        "The most connections that the loop has had open.";
    Counter accepted "mainspring_accepted_total"
        "Connections accepted and handed to a handler.";
    Counter dialled "mainspring_dialled_total"
        "Outgoing connections that came up.";
    Counter refused "mainspring_refused_total"
        "Connections turned away by a handler, at the limit, or while stopping.";
    Counter closed "mainspring_closed_total"
        "Connections that ended after they had been accepted or dialled.";
    Counter accept_errors "mainspring_accept_errors_total"
        "Failed attempts to accept.";
    Counter bytes_in "mainspring_received_bytes_total"
        "Bytes received from connections.";
    Counter bytes_out "mainspring_sent_bytes_total"
        "Bytes that connections have sent.";
    Counter bytes_forwarded "mainspring_forwarded_bytes_total"
        "Received bytes that were passed on without a copy.";
    Counter deliveries "mainspring_deliveries_total"
        "Deliveries of bytes to handlers.";
    Counter sends "mainspring_sends_total"
        "Send orders given to the driver for connections.";
    Counter datagrams_in "mainspring_received_datagrams_total"
        "Datagrams received.";
    Counter datagrams_out "mainspring_sent_datagrams_total"
        "Datagrams sent.";
    Counter handshakes_failed "mainspring_handshakes_failed_total"
        "Connections that ended before their layers were open.";
    Counter layer_wire_in "mainspring_layer_received_bytes_total" ("side" "wire")
        "Bytes received through layers: on the side of the socket, and as handlers see them.";
    Counter layer_plain_in "mainspring_layer_received_bytes_total" ("side" "plain")
        "Bytes received through layers: on the side of the socket, and as handlers see them.";
    Counter layer_plain_out "mainspring_layer_sent_bytes_total" ("side" "plain")
        "Bytes sent through layers: as handlers wrote them, and on the side of the socket.";
    Counter layer_wire_out "mainspring_layer_sent_bytes_total" ("side" "wire")
        "Bytes sent through layers: as handlers wrote them, and on the side of the socket.";
    Counter dropped_slow_bytes "mainspring_dropped_bytes_total" ("reason" "slow_consumer")
        "Bytes dropped with their connection: unsent ones of slow consumers and of others, and received ones that nobody took.";
    Counter dropped_closed_bytes "mainspring_dropped_bytes_total" ("reason" "closed")
        "Bytes dropped with their connection: unsent ones of slow consumers and of others, and received ones that nobody took.";
    Counter dropped_input_bytes "mainspring_dropped_bytes_total" ("reason" "input")
        "Bytes dropped with their connection: unsent ones of slow consumers and of others, and received ones that nobody took.";
    Counter dropped_sends "mainspring_dropped_sends_total"
        "Sends from other threads that came too late for their connection.";
    Counter dropped_datagrams_full "mainspring_dropped_datagrams_total" ("reason" "full")
        "Datagrams dropped because too many waited, or because the system refused them.";
    Counter dropped_datagrams_refused "mainspring_dropped_datagrams_total" ("reason" "refused")
        "Datagrams dropped because too many waited, or because the system refused them.";
    Counter stale_events "mainspring_stale_events_total"
        "Events that a driver delivered for a connection that was gone.";
    Counter panics "mainspring_panics_total"
        "Callbacks that panicked.";
    Counter wakeups "mainspring_wakeups_total"
        "Returns from the driver's poll.";
    Counter turns "mainspring_turns_total"
        "Turns in which anything happened.";
    Gauge buffered_bytes "mainspring_buffered_bytes"
        "Bytes buffered now for connections: unsent output and unconsumed input.";
    Gauge longest_turn "mainspring_longest_turn_seconds"
        "The longest turn so far.";
};

/// A figure of the server as a whole, always a gauge.
pub(super) struct Whole {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) read: fn(&Metrics) -> f64,
}

macro_rules! whole {
    ($($name:literal $help:literal $read:expr;)*) => {
        &[$(Whole { name: $name, help: $help, read: $read },)*]
    };
}

pub(super) const WHOLE: &[Whole] = whole! {
    "mainspring_uptime_seconds" "From the start of the server to the last sample."
        |metrics| metrics.uptime.as_secs_f64();
    "mainspring_loops" "Loops of the server."
        |metrics| metrics.stats.loops.len() as f64;
    "mainspring_server_connections_peak" "The most connections at one time in the whole server."
        |metrics| metrics.peaks.connections as f64;
    "mainspring_server_buffered_bytes_peak" "The most buffered bytes in a sample."
        |metrics| metrics.peaks.buffered_bytes as f64;
    "mainspring_received_bytes_per_second" "Bytes received per second between the last two samples."
        |metrics| metrics.rates.received_bytes;
    "mainspring_sent_bytes_per_second" "Bytes sent per second between the last two samples."
        |metrics| metrics.rates.sent_bytes;
    "mainspring_received_datagrams_per_second" "Datagrams received per second between the last two samples."
        |metrics| metrics.rates.received_datagrams;
    "mainspring_sent_datagrams_per_second" "Datagrams sent per second between the last two samples."
        |metrics| metrics.rates.sent_datagrams;
    "mainspring_accepted_per_second" "Connections accepted per second between the last two samples."
        |metrics| metrics.rates.accepted;
    "mainspring_closed_per_second" "Connections that ended per second between the last two samples."
        |metrics| metrics.rates.closed;
};

/// A figure of a guard.
pub(super) struct OfGuard {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) help: &'static str,
    pub(super) read: fn(&GuardStats) -> u64,
}

pub(super) const GUARD_FIGURES: &[OfGuard] = &[
    OfGuard {
        name: "mainspring_guard_admitted_total",
        kind: Kind::Counter,
        help: "Connections that the guard let in.",
        read: |stats| stats.admitted,
    },
    OfGuard {
        name: "mainspring_guard_open",
        kind: Kind::Gauge,
        help: "Connections that the guard let in and that are open.",
        read: |stats| stats.open,
    },
    OfGuard {
        name: "mainspring_guard_clients",
        kind: Kind::Gauge,
        help: "Clients that the guard remembers.",
        read: |stats| stats.clients,
    },
];

/// By reason, so that it stands beside the others.
pub(super) const GUARD_REFUSED: &str = "mainspring_guard_refused_total";
pub(super) const GUARD_REFUSED_HELP: &str = "Connections that the guard turned away.";

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// `Debug` of the struct names its fields; there is no other list of them.
    #[test]
    fn every_field_of_the_stats_is_a_figure() {
        let shown = format!("{:?}", LoopStats::default());
        let inner = shown.split_once('{').unwrap().1.trim_end_matches([' ', '}']);
        let fields: HashSet<&str> =
            inner.split(',').map(|entry| entry.split_once(':').unwrap().0.trim()).collect();
        let figures: HashSet<&str> = FIGURES.iter().map(|figure| figure.field).collect();
        assert_eq!(figures, fields, "add what is new to the table and to docs/metrics.md");
        assert_eq!(figures.len(), FIGURES.len(), "a field stands here twice");
    }

    #[test]
    fn names_follow_the_customs_of_prometheus() {
        for (at, figure) in FIGURES.iter().enumerate() {
            let is_total = figure.name.ends_with("_total");
            assert_eq!(is_total, figure.kind == Kind::Counter, "{}", figure.name);
            assert!(figure.name.starts_with("mainspring_"), "{}", figure.name);
            let same = |other: &&Figure| other.name == figure.name;
            let run = FIGURES[at..].iter().take_while(same).count();
            assert_eq!(run, FIGURES[at..].iter().filter(same).count(), "{}", figure.name);
            for twin in FIGURES.iter().filter(same) {
                assert_eq!((twin.kind, twin.help), (figure.kind, figure.help));
                let labels = (twin.label.map(|label| label.0), figure.label.map(|label| label.0));
                assert_eq!(labels.0, labels.1, "{}: one name, one set of labels", figure.name);
            }
        }
    }

    #[test]
    fn a_figure_reads_its_field() {
        let mut stats = LoopStats::default();
        stats.bytes_in = 7;
        stats.longest_turn = Duration::from_millis(1500);
        let value = |field: &str| {
            let figure = FIGURES.iter().find(|figure| figure.field == field).unwrap();
            figure.value(&stats)
        };
        assert_eq!((value("bytes_in"), value("bytes_out")), (7.0, 0.0));
        assert_eq!(value("longest_turn"), 1.5);
    }
}
