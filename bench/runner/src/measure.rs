//! One server under one load, once; and all of them in turns.

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use bench_load::{Report, Snapshot, Window};
use clap::ValueEnum as _;

use crate::cases::{Case, Kind, Tool, redis_test};
use crate::pin::{Cores, spawn_on};
use crate::programs::{Programs, Running, Server};

/// Share of a core that others may use before a run counts as contended ..
const FOREIGN_SHARE_MAX: f64 = 0.05;
/// .. and what the 10 ms ticks of the kernel's books may be wrong by.
const FOREIGN_SLACK_S: f64 = 0.02;
/// A load generator that does not end so long after its time is ended.
const OVERTIME: Duration = Duration::from_secs(15);

/// How long and how often.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    pub(crate) rounds: usize,
    pub(crate) warm_up_s: f64,
    pub(crate) seconds: f64,
    /// How many times a contended run is repeated before it stays as it is.
    pub(crate) repeats: usize,
}

/// The figures of one run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    pub(crate) per_second: f64,
    /// Processor time of the server per request, in microseconds: the figure that counts.
    pub(crate) server_us: f64,
    /// Share of its core that the server used.
    pub(crate) server_busy: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// redis-benchmark does not tell it.
    pub(crate) p999_us: Option<f64>,
    pub(crate) lost: u64,
    /// Who else used the cores; none on a quiet machine.
    pub(crate) contended: Option<String>,
}

/// All runs of one server in one case.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cell {
    pub(crate) server: &'static str,
    pub(crate) samples: Vec<Sample>,
    /// Why there are no (more) samples.
    pub(crate) failure: Option<String>,
}

/// Runs every suitable server in turn, `rounds` times over, so that a slow moment of the machine
/// hits all alike.
pub(crate) fn interleaved(
    programs: &Programs,
    kind: Kind,
    case: &Case,
    cores: Cores,
    timing: Timing,
) -> Vec<Cell> {
    let servers: Vec<Server> =
        kind.servers().into_iter().filter(|server| case.suits(server)).collect();
    let mut cells: Vec<Cell> = servers
        .iter()
        .map(|server| Cell {
            server: server.name,
            samples: Vec::new(),
            failure: (!programs.has(server.start)).then(|| "not installed".to_owned()),
        })
        .collect();
    for _round in 0..timing.rounds {
        for (server, cell) in servers.iter().zip(&mut cells) {
            if cell.failure.is_some() {
                continue;
            }
            match quiet_run(programs, server, case, cores, timing) {
                Ok(sample) => cell.samples.push(sample),
                Err(failure) => cell.failure = Some(failure),
            }
        }
    }
    cells
}

/// Repeats a contended run, at most `repeats` times; then the last figures stand, marked.
fn quiet_run(
    programs: &Programs,
    server: &Server,
    case: &Case,
    cores: Cores,
    timing: Timing,
) -> Result<Sample, String> {
    let mut sample = run(programs, server, case, cores, timing)?;
    for _ in 0..timing.repeats {
        if sample.contended.is_none() {
            break;
        }
        sample = run(programs, server, case, cores, timing)?;
    }
    Ok(sample)
}

fn run(
    programs: &Programs,
    server: &Server,
    case: &Case,
    cores: Cores,
    timing: Timing,
) -> Result<Sample, String> {
    let running = programs.serve(server, case.scheme, cores)?;
    match case.tool {
        Tool::Load => with_load(programs, &running, case, cores, timing),
        Tool::RedisBenchmark => with_redis_benchmark(programs, &running, case, cores, timing),
    }
}

fn with_load(
    programs: &Programs,
    running: &Running,
    case: &Case,
    cores: Cores,
    timing: Timing,
) -> Result<Sample, String> {
    let protocol = case.protocol.to_possible_value().map(|value| value.get_name().to_owned());
    let mut command = Command::new(&programs.own);
    command.args(["load", "--target", &running.address]);
    command.args(["--protocol", &protocol.unwrap_or_default()]);
    command.args(["--connections", &case.connections.to_string()]);
    command.args(["--depth", &case.depth.to_string(), "--size", &case.size.to_string()]);
    command.args(["--warm-up", &timing.warm_up_s.to_string()]);
    command.args(["--duration", &timing.seconds.to_string()]);
    command.args(["--watch-pid", &running.pid().to_string()]);
    let limit = Duration::from_secs_f64(timing.warm_up_s + timing.seconds) + OVERTIME;
    let output = output_within(cores.load, &mut command, limit)?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    let report: Report = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("cannot read the report of the load generator: {error}"))?;
    let server_cpu_s = report.window.server_cpu_s.unwrap_or_default();
    let client_cpu_s = report.window.client_cpu_s;
    if report.requests == 0 {
        return Err("not one reply in the measured time".to_owned());
    }
    Ok(Sample {
        per_second: report.per_second,
        server_us: server_cpu_s * 1e6 / report.requests as f64,
        server_busy: server_cpu_s / report.window.seconds,
        p50_us: report.p50_us,
        p99_us: report.p99_us,
        p999_us: Some(report.p999_us),
        lost: report.lost,
        contended: contended(
            &report.window,
            &[("server", cores.server, server_cpu_s), ("load", cores.load, client_cpu_s)],
        ),
    })
}

/// The processor time includes that of making the connections: few of many requests.
fn with_redis_benchmark(
    programs: &Programs,
    running: &Running,
    case: &Case,
    cores: Cores,
    timing: Timing,
) -> Result<Sample, String> {
    let program = programs.redis_benchmark.as_ref().ok_or("redis-benchmark is not installed")?;
    let port = running.address.rsplit(':').next().unwrap_or_default();
    let per_second = if case.depth == 1 { 100_000.0 } else { 1_000_000.0 };
    let requests = (per_second * timing.seconds) as u64;
    let mut command = Command::new(program);
    command.args(["-p", port, "-t", redis_test(case.protocol), "--csv"]);
    command.args(["-c", &case.connections.to_string(), "-P", &case.depth.to_string()]);
    command.args(["-n", &requests.to_string()]);
    let snapshot = || {
        Snapshot::take(std::process::id(), Some(running.pid())).map_err(|error| error.to_string())
    };
    let before = snapshot()?;
    let limit = Duration::from_secs_f64(timing.seconds * 10.0) + OVERTIME;
    let output = output_within(cores.load, &mut command, limit)?;
    let window = snapshot()?.since(&before);
    let text = String::from_utf8_lossy(&output.stdout);
    let row = CsvRow::parse(&text).ok_or_else(|| {
        format!("redis-benchmark: {}", String::from_utf8_lossy(&output.stderr).trim())
    })?;
    let server_cpu_s = window.server_cpu_s.unwrap_or_default();
    Ok(Sample {
        per_second: row.per_second,
        server_us: server_cpu_s * 1e6 / requests as f64,
        server_busy: server_cpu_s / window.seconds,
        p50_us: row.p50_ms * 1e3,
        p99_us: row.p99_ms * 1e3,
        p999_us: None,
        lost: 0,
        contended: contended(&window, &[("server", cores.server, server_cpu_s)]),
    })
}

/// Who besides the given processes used their cores, if that is more than may be.
fn contended(window: &Window, own: &[(&str, usize, f64)]) -> Option<String> {
    let shared = own.windows(2).any(|pair| pair[0].1 == pair[1].1);
    if shared {
        return Some("server and load share one core".to_owned());
    }
    let mut found = Vec::new();
    for (role, core, cpu_s) in own {
        let foreign_s = window.foreign_s(*core, *cpu_s);
        if foreign_s > window.seconds * FOREIGN_SHARE_MAX + FOREIGN_SLACK_S {
            let percent = 100.0 * foreign_s / window.seconds;
            found.push(format!("{percent:.0} % of the {role} core"));
        }
    }
    (!found.is_empty()).then(|| format!("others had {}", found.join(", ")))
}

/// Runs a command on a core, and ends it if it takes too long.
fn output_within(core: usize, command: &mut Command, limit: Duration) -> Result<Output, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child =
        spawn_on(core, command).map_err(|error| format!("cannot start `{name}`: {error}"))?;
    let deadline = Instant::now() + limit;
    // What the programs here print fits into a pipe: nobody has to read before they end.
    while child.try_wait().map_err(|error| error.to_string())?.is_none() {
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("`{name}` took longer than {} s", limit.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().map_err(|error| error.to_string())
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
    use bench_load::CoreTime;

    #[test]
    fn the_csv_of_redis_benchmark_is_read_by_the_names_of_its_columns() {
        let text = "WARNING: something\n\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\
            \"p50_latency_ms\",\"p95_latency_ms\",\"p99_latency_ms\",\"max_latency_ms\"\n\
            \"PING_INLINE\",\"160000.00\",\"0.160\",\"0.048\",\"0.159\",\"0.2\",\"0.271\",\"0.5\"\n";
        let row = CsvRow { per_second: 160_000.0, p50_ms: 0.159, p99_ms: 0.271 };
        assert_eq!(CsvRow::parse(text), Some(row));
        assert_eq!(CsvRow::parse("Could not connect\n"), None);
    }

    #[test]
    fn a_core_that_others_use_makes_a_run_contended() {
        let idle = |idle_s| CoreTime { idle_s, steal_s: 0.0 };
        let window =
            Window { seconds: 2.0, cores: vec![idle(0.5), idle(0.02)], ..Window::default() };
        let quiet = [("server", 0, 1.45), ("load", 1, 1.93)];
        assert_eq!(contended(&window, &quiet), None);
        let noisy = [("server", 0, 1.45), ("load", 1, 1.4)];
        let found = contended(&window, &noisy).unwrap();
        assert_eq!(found, "others had 29 % of the load core");
        assert!(contended(&window, &[("server", 0, 1.0), ("load", 0, 1.0)]).is_some());
    }
}
