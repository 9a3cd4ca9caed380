//! A run with `redis-benchmark`, one client thread.

use std::process::Command;
use std::time::Duration;

use bench_load::Snapshot;

use super::{Bench, Part, Sample, contended, output_within};
use crate::cases::{Case, redis_test};
use crate::programs::Running;

/// Requests for each second of the window: about what redis-server answers in it.
const PER_SECOND: f64 = 100_000.0;
const PER_SECOND_PIPELINED: f64 = 5_000_000.0;
/// In a shorter run the making of connections would count for more than requests.
const SECONDS_MIN: f64 = 0.3;
/// A server that is so much slower has failed.
const SLOWER_MAX: f64 = 20.0;

impl Bench<'_> {
    /// The processor time includes that of making the connections: few of many requests.
    pub(super) fn with_redis_benchmark(
        &self,
        running: &Running,
        case: &Case,
    ) -> Result<Sample, String> {
        let program =
            self.programs.redis_benchmark.as_ref().ok_or("redis-benchmark is not installed")?;
        let port = running.address.rsplit(':').next().unwrap_or_default();
        let per_second = if case.depth == 1 { PER_SECOND } else { PER_SECOND_PIPELINED };
        let seconds = self.timing.seconds.max(SECONDS_MIN);
        let requests = (per_second * seconds) as u64;
        let mut command = Command::new(program);
        command.args(["-p", port, "-t", redis_test(case.protocol), "--csv"]);
        command.args(["-c", &case.connections.to_string(), "-P", &case.depth.to_string()]);
        command.args(["-n", &requests.to_string(), "-d", &case.size.to_string()]);
        let snapshot = || {
            Snapshot::take(std::process::id(), Some(running.pid()))
                .map_err(|error| error.to_string())
        };
        let before = snapshot()?;
        let limit = Duration::from_secs_f64(seconds * SLOWER_MAX);
        let output = output_within(&self.load_cores(case), &mut command, limit)?;
        let window = snapshot()?.since(&before);
        let text = String::from_utf8_lossy(&output.stdout);
        let row = CsvRow::parse(&text).ok_or_else(|| {
            format!("redis-benchmark: {}", String::from_utf8_lossy(&output.stderr).trim())
        })?;
        let server_cpu_s = window.server_cpu_s.unwrap_or_default();
        let server = Part {
            role: "server",
            cores: vec![self.cores.server],
            cpu_s: server_cpu_s,
            wait_s: window.server_wait_s.unwrap_or_default(),
        };
        Ok(Sample {
            per_second: row.per_second,
            server_us: server_cpu_s * 1e6 / requests as f64,
            server_busy: server_cpu_s / window.seconds,
            p50_us: row.p50_ms * 1e3,
            p99_us: row.p99_ms * 1e3,
            contended: contended(&window, &[server]),
            ..Sample::default()
        })
    }
}

/// The row of `redis-benchmark --csv`.
#[derive(Debug, PartialEq)]
struct CsvRow {
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
}

impl CsvRow {
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines().skip_while(|line| !line.starts_with("\"test\""));
        let cells = |line: &str| -> Vec<String> {
            line.split(',').map(|cell| cell.trim_matches('"').to_owned()).collect()
        };
        let (names, row) = (cells(lines.next()?), cells(lines.next()?));
        let column = |name: &str| -> Option<f64> {
            row.get(names.iter().position(|found| found == name)?)?.parse().ok()
        };
        Some(Self {
            per_second: column("rps")?,
            p50_ms: column("p50_latency_ms")?,
            p99_ms: column("p99_latency_ms")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_csv_of_redis_benchmark_is_read_by_the_names_of_its_columns() {
        let text = "WARNING: something\n\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\
            \"p50_latency_ms\",\"p95_latency_ms\",\"p99_latency_ms\",\"max_latency_ms\"\n\
            \"PING_INLINE\",\"160000.00\",\"0.160\",\"0.048\",\"0.159\",\"0.2\",\"0.271\",\"0.5\"\n";
        let row = CsvRow { per_second: 160_000.0, p50_ms: 0.159, p99_ms: 0.271 };
        assert_eq!(CsvRow::parse(text), Some(row));
        assert_eq!(CsvRow::parse("Could not connect\n"), None);
    }
}
