//! The [text format] of Prometheus, version 0.0.4.
//!
//! Written here and not by an exporter: the figures are counters of ours that need no second
//! registry, and a page is then what the counters are when it is asked for.
//!
//! [text format]: https://prometheus.io/docs/instrumenting/exposition_formats/

use super::table::{GUARD_FIGURES, GUARD_REFUSED, GUARD_REFUSED_HELP, Read, WHOLE};
use super::{FIGURES, Kind, Metrics};
use crate::guard::Refusal;
use std::fmt::{Display, Write};

/// The type of the page.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The page.
pub(super) fn render(metrics: &Metrics) -> String {
    let mut page = Page { text: String::with_capacity(8 << 10), family: "" };
    for whole in WHOLE {
        page.family(whole.name, Kind::Gauge, whole.help);
        page.sample(whole.name, &[], (whole.read)(metrics));
    }
    for figure in FIGURES {
        page.family(figure.name, figure.kind, figure.help);
        for (index, stats) in metrics.stats.loops.iter().enumerate() {
            let index = index.to_string();
            let labels = [Some(("loop", index.as_str())), figure.label];
            let labels: Vec<(&str, &str)> = labels.into_iter().flatten().collect();
            match figure.read {
                Read::Count(read) => page.sample(figure.name, &labels, read(stats)),
                Read::Time(read) => page.sample(figure.name, &labels, read(stats).as_secs_f64()),
            }
        }
    }
    guards(&mut page, metrics);
    page.text
}

fn guards(page: &mut Page, metrics: &Metrics) {
    if metrics.guards.is_empty() {
        return;
    }
    for figure in GUARD_FIGURES {
        page.family(figure.name, figure.kind, figure.help);
        for (name, stats) in &metrics.guards {
            page.sample(figure.name, &[("guard", name)], (figure.read)(stats));
        }
    }
    page.family(GUARD_REFUSED, Kind::Counter, GUARD_REFUSED_HELP);
    for (name, stats) in &metrics.guards {
        for reason in Refusal::ALL {
            let labels = [("guard", name.as_str()), ("reason", reason.label())];
            page.sample(GUARD_REFUSED, &labels, stats.refused(reason));
        }
    }
}

struct Page {
    text: String,
    /// Whose samples stand last.
    family: &'static str,
}

impl Page {
    /// Begins the samples of one name, unless they have begun.
    fn family(&mut self, name: &'static str, kind: Kind, help: &str) {
        if std::mem::replace(&mut self.family, name) == name {
            return;
        }
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        // Writing to a string does not fail.
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(name);
        for (nth, (label, value)) in labels.iter().enumerate() {
            self.text.push(if nth == 0 { '{' } else { ',' });
            self.text.push_str(label);
            self.text.push_str("=\"");
            escape(value, &mut self.text);
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }
}

/// "Label values may contain any UTF-8 character, but backslash, double quote and line feed have to
/// be escaped".
fn escape(value: &str, text: &mut String) {
    for symbol in value.chars() {
        match symbol {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            symbol => text.push(symbol),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::GuardStats;

    #[test]
    fn a_page_of_two_loops_and_a_guard() {
        let mut metrics = Metrics::default();
        metrics.stats.loops.resize_with(2, Default::default);
        metrics.stats.loops[1].bytes_in = u64::MAX;
        metrics.stats.loops[1].dropped_input_bytes = 3;
        metrics.rates.received_bytes = 12.5;
        metrics.guards.push(("a \"b\"\\\nc".to_owned(), GuardStats::default()));
        let page = render(&metrics);
        for wanted in [
            "# HELP mainspring_loops Loops of the server.\n# TYPE mainspring_loops gauge\n\
             mainspring_loops 2\n",
            "\nmainspring_received_bytes_per_second 12.5\n",
            "\n# TYPE mainspring_received_bytes_total counter\n\
             mainspring_received_bytes_total{loop=\"0\"} 0\n\
             mainspring_received_bytes_total{loop=\"1\"} 18446744073709551615\n",
            "\nmainspring_dropped_bytes_total{loop=\"1\",reason=\"input\"} 3\n",
            "\nmainspring_guard_open{guard=\"a \\\"b\\\"\\\\\\nc\"} 0\n",
            "reason=\"table_full\"} 0\n",
        ] {
            assert!(page.contains(wanted), "{wanted:?} is not in\n{page}");
        }
        let mut families: Vec<&str> =
            page.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        let count = families.len();
        families.sort_unstable();
        families.dedup();
        assert_eq!(families.len(), count, "a family stands here twice");
    }
}
