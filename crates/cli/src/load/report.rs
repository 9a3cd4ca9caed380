//! What was found, for people and for programs.

use super::plan::{Plan, Until};
use super::tally::Tally;
use clap::ValueEnum;
use hdrhistogram::Histogram;
use std::fmt::Write;
use std::time::Duration;

const MIB: f64 = (1 << 20) as f64;

/// All that is printed.
pub(super) struct Report<'a> {
    pub(super) plan: &'a Plan,
    pub(super) tally: Tally,
    pub(super) loops: usize,
    /// Whether a signal ended it.
    pub(super) is_stopped: bool,
}

impl Report<'_> {
    /// Whether there was an answer, and no error.
    pub(super) fn is_good(&self) -> bool {
        let nothing_asked = self.plan.until == Until::Sends(0);
        self.tally.errors.sum() == 0 && (self.tally.success > 0 || nothing_asked)
    }

    pub(super) fn text(&self) -> String {
        let (tally, errors) = (&self.tally, &self.tally.errors);
        let mut text = String::new();
        let mut row = |name: &str, value: String| {
            let _ = writeln!(text, "{name:<11} {value}");
        };
        let stopped = if self.is_stopped { " (stopped)" } else { "" };
        row("address", format!("{}{stopped}", self.plan.address));
        row("load", self.how());
        row("clients", format!("{} of {} connected", tally.connected, self.plan.clients));
        row("success", format!("{} of {} sends", tally.success, tally.sent));
        row("total", readable(tally.elapsed()));
        row("latency", figures(&tally.latency));
        if self.plan.rate.is_some() {
            row("lateness", figures(&tally.lateness));
        }
        let (mib_out, mib_in) = (tally.bytes_out as f64 / MIB, tally.bytes_in as f64 / MIB);
        let (answers, mib) = self.throughput();
        row("throughput", format!("{answers:.0} answers/s, {mib:.1} MiB/s"));
        row("bytes", format!("{mib_out:.1} MiB written, {mib_in:.1} MiB read"));
        let unanswered = tally.unanswered;
        row(
            "errors",
            format!(
                "{} connect, {} read, {} write, {} malformed; {unanswered} unanswered",
                errors.connect, errors.read, errors.write, errors.malformed
            ),
        );
        for (reason, count) in &tally.reasons {
            row("", format!("{count} x {reason}"));
        }
        text
    }

    pub(super) fn json(&self) -> String {
        let (tally, errors) = (&self.tally, &self.tally.errors);
        let (answers, mib) = self.throughput();
        let reasons: Vec<(String, String)> = tally
            .reasons
            .iter()
            .map(|(reason, count)| (reason.clone(), count.to_string()))
            .collect();
        let number = |name: &str, value: u64| (name.to_owned(), value.to_string());
        let of_errors = [
            number("connect", errors.connect),
            number("read", errors.read),
            number("write", errors.write),
            number("malformed", errors.malformed),
        ];
        let lateness = self.plan.rate.map_or("null".to_owned(), |_| nanoseconds(&tally.lateness));
        let rate = self.plan.rate.map_or("null".to_owned(), |rate| rate.to_string());
        let text = |name: &str, value: &str| (name.to_owned(), quoted(value));
        let raw = |name: &str, value: String| (name.to_owned(), value);
        let mut out = object(&[
            text("address", &self.plan.address.to_string()),
            text("framing", &self.framing()),
            number("payload_bytes", self.plan.payload as u64),
            number("clients", self.plan.clients as u64),
            number("loops", self.loops as u64),
            number("depth", self.plan.depth as u64),
            raw("rate", rate),
            raw("stopped", self.is_stopped.to_string()),
            number("connected", tally.connected),
            number("sent", tally.sent),
            number("success", tally.success),
            number("unanswered", tally.unanswered),
            raw("errors", object(&of_errors)),
            raw("reasons", object(&reasons)),
            number("elapsed_ns", tally.elapsed().as_nanos() as u64),
            raw("latency_ns", nanoseconds(&tally.latency)),
            raw("lateness_ns", lateness),
            raw("answers_per_second", format!("{answers:.3}")),
            raw("mib_per_second", format!("{mib:.3}")),
            number("bytes_written", tally.bytes_out),
            number("bytes_read", tally.bytes_in),
        ]);
        out.push('\n');
        out
    }

    fn how(&self) -> String {
        let Plan { clients, payload, depth, .. } = self.plan;
        let pace = match (self.plan.rate, self.plan.until) {
            (Some(rate), _) => format!("{rate}/s"),
            (None, Until::Sends(sends)) => format!("{sends} sends each"),
            (None, Until::Over(time)) => format!("for {}", readable(time)),
        };
        let (clients, loops) = (counted(*clients, "client"), counted(self.loops, "loop"));
        let framing = self.framing();
        format!("{clients} on {loops}, {pace}, {payload} bytes {framing}, depth {depth}")
    }

    fn framing(&self) -> String {
        let value = self.plan.framing_name.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Right answers per second, and the MiB of their payload.
    fn throughput(&self) -> (f64, f64) {
        let seconds = self.tally.elapsed().as_secs_f64();
        if seconds == 0.0 {
            return (0.0, 0.0);
        }
        let answers = self.tally.success as f64 / seconds;
        (answers, answers * self.plan.payload as f64 / MIB)
    }
}

/// What is told of a histogram; the names are those of JSON.
fn points(times: &Histogram<u64>) -> [(&'static str, u64); 6] {
    [
        ("average", times.mean() as u64),
        ("p50", times.value_at_quantile(0.5)),
        ("p90", times.value_at_quantile(0.9)),
        ("p99", times.value_at_quantile(0.99)),
        ("p99_9", times.value_at_quantile(0.999)),
        ("maximum", times.max()),
    ]
}

fn figures(times: &Histogram<u64>) -> String {
    if times.is_empty() {
        return "none".to_owned();
    }
    let show = |(name, nanoseconds): (&str, u64)| {
        format!("{} {}", name.replace('_', "."), readable(Duration::from_nanos(nanoseconds)))
    };
    points(times).map(show).join(", ")
}

fn nanoseconds(times: &Histogram<u64>) -> String {
    object(&points(times).map(|(name, value)| (name.to_owned(), value.to_string())))
}

/// A JSON object of values that are JSON already.
fn object(fields: &[(String, String)]) -> String {
    let field = |(name, value): &(String, String)| format!("{}: {value}", quoted(name));
    format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(", "))
}

/// A JSON string (RFC 8259, section 7).
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            control if control < ' ' => {
                let _ = write!(out, "\\u{:04x}", control as u32);
            }
            letter => out.push(letter),
        }
    }
    out.push('"');
    out
}

fn counted(count: usize, name: &str) -> String {
    format!("{count} {name}{}", if count == 1 { "" } else { "s" })
}

/// Three digits or so, in the unit that suits.
fn readable(time: Duration) -> String {
    match time.as_nanos() {
        0..1_000 => format!("{} ns", time.as_nanos()),
        1_000..1_000_000 => format!("{:.1} us", time.as_secs_f64() * 1e6),
        1_000_000..1_000_000_000 => format!("{:.2} ms", time.as_secs_f64() * 1e3),
        _ => format!("{:.2} s", time.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted_as_json_wants() {
        assert_eq!(quoted("a\"b\\c\n\u{1}é"), "\"a\\\"b\\\\c\\u000a\\u0001é\"");
    }

    #[test]
    fn times_are_readable() {
        let show = |nanoseconds| readable(Duration::from_nanos(nanoseconds));
        assert_eq!(show(999), "999 ns");
        assert_eq!(show(31_240), "31.2 us");
        assert_eq!(show(4_500_000), "4.50 ms");
        assert_eq!(show(61_000_000_000), "61.00 s");
    }
}
