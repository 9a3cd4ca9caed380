//! One server under one load, once; and all of them in turns.

mod load;
mod redis_benchmark;

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use bench_load::Window;

use crate::cases::{Case, Placement, Tool};
use crate::contenders::Server;
use crate::pin::{Cores, spawn_on};
use crate::programs::Programs;
use crate::stats::Spread;

/// Share of a core that others may use, or of the time that a process may wait for its core,
/// before a run counts as contended ..
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
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Sample {
    pub(crate) per_second: f64,
    /// Processor time of the server per request, in microseconds: the figure that counts.
    pub(crate) server_us: f64,
    /// The same of the load generator; not known of redis-benchmark.
    pub(crate) load_us: Option<f64>,
    /// Share of its core that the server used.
    pub(crate) server_busy: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// redis-benchmark does not tell it.
    pub(crate) p999_us: Option<f64>,
    /// Bytes of the server's memory for each idle connection, if there were any.
    pub(crate) resident_each: Option<f64>,
    pub(crate) lost: u64,
    /// Who else used the cores; none on a quiet machine.
    pub(crate) contended: Option<String>,
}

/// All runs of one server in one case.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cell {
    pub(crate) server: Server,
    pub(crate) samples: Vec<Sample>,
    /// Why there are no (more) samples.
    pub(crate) failure: Option<String>,
}

/// What a run needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bench<'a> {
    pub(crate) programs: &'a Programs,
    pub(crate) cores: Cores,
    pub(crate) timing: Timing,
}

impl Cell {
    pub(crate) fn spread(&self, of: impl Fn(&Sample) -> f64) -> Option<Spread> {
        Spread::of(&self.samples.iter().map(of).collect::<Vec<_>>())
    }

    /// The figure that counts.
    pub(crate) fn server_us(&self) -> Option<Spread> {
        self.spread(|sample| sample.server_us)
    }

    /// How many rounds stayed contended however often they were repeated.
    pub(crate) fn contended(&self) -> usize {
        self.samples.iter().filter(|sample| sample.contended.is_some()).count()
    }
}

impl Bench<'_> {
    /// Runs every server of the case in turn, `rounds` times over, so that a slow moment of the
    /// machine hits all alike. `progress` hears of every round.
    pub(crate) fn interleaved(&self, case: &Case, progress: impl Fn(usize)) -> Vec<Cell> {
        let mut cells: Vec<Cell> = (case.servers.iter())
            .map(|server| Cell {
                server: server.clone(),
                samples: Vec::new(),
                failure: self.programs.lacks(server).map(str::to_owned),
            })
            .collect();
        for round in 1..=self.timing.rounds {
            progress(round);
            for cell in cells.iter_mut().filter(|cell| cell.failure.is_none()) {
                match self.quiet_run(&cell.server, case) {
                    Ok(sample) => cell.samples.push(sample),
                    Err(failure) => cell.failure = Some(failure),
                }
            }
        }
        cells
    }

    /// Repeats a contended run, at most `repeats` times; then the last figures stand, marked.
    fn quiet_run(&self, server: &Server, case: &Case) -> Result<Sample, String> {
        let mut sample = self.run(server, case)?;
        for _ in 0..self.timing.repeats {
            if sample.contended.is_none() {
                break;
            }
            sample = self.run(server, case)?;
        }
        Ok(sample)
    }

    fn run(&self, server: &Server, case: &Case) -> Result<Sample, String> {
        let both = [self.cores.server, self.cores.load];
        let at = match case.placement {
            Placement::Apart => &both[..1],
            Placement::Together => &both[..],
        };
        let running = self.programs.serve(server, case.scheme, at)?;
        match case.tool {
            Tool::Load => self.with_load(&running, server, case),
            Tool::RedisBenchmark => self.with_redis_benchmark(&running, case),
        }
    }

    fn load_cores(&self, case: &Case) -> Vec<usize> {
        match case.placement {
            Placement::Apart => vec![self.cores.load],
            Placement::Together => vec![self.cores.server, self.cores.load],
        }
    }
}

/// A process in a window: its share is compared with what its cores had to give.
struct Part {
    role: &'static str,
    cores: Vec<usize>,
    cpu_s: f64,
    /// How long it could have run but did not; zero where that says nothing.
    wait_s: f64,
}

/// Who besides the given processes used their cores, if that is more than may be.
fn contended(window: &Window, parts: &[Part]) -> Option<String> {
    let shared = parts.windows(2).any(|pair| pair[0].cores == pair[1].cores);
    if shared {
        return Some("server and load share one core".to_owned());
    }
    let mut found = Vec::new();
    for Part { role, cores, cpu_s, wait_s } in parts {
        let busy_s: f64 = cores.iter().map(|core| window.foreign_s(*core, 0.0)).sum();
        let foreign_s = busy_s - cpu_s;
        let most_s = window.seconds * FOREIGN_SHARE_MAX;
        let percent = |seconds: f64| 100.0 * seconds / window.seconds;
        if foreign_s > most_s + FOREIGN_SLACK_S {
            found.push(format!("others had {:.0} % of the {role} core", percent(foreign_s)));
        } else if *wait_s > most_s {
            found.push(format!("the {role} waited {:.0} % for its core", percent(*wait_s)));
        }
    }
    (!found.is_empty()).then(|| found.join(", "))
}

/// Runs a command on some cores, and ends it if it takes too long.
fn output_within(
    cores: &[usize],
    command: &mut Command,
    limit: Duration,
) -> Result<Output, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child =
        spawn_on(cores, command).map_err(|error| format!("cannot start `{name}`: {error}"))?;
    let deadline = Instant::now() + limit + OVERTIME;
    // What the programs here print fits into a pipe: nobody has to read before they end.
    while child.try_wait().map_err(|error| error.to_string())?.is_none() {
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("`{name}` took longer than {} s", (limit + OVERTIME).as_secs()));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bench_load::CoreTime;

    fn part(role: &'static str, core: usize, cpu_s: f64) -> Part {
        Part { role, cores: vec![core], cpu_s, wait_s: 0.0 }
    }

    fn window() -> Window {
        let idle = |idle_s| CoreTime { idle_s, steal_s: 0.0 };
        Window { seconds: 2.0, cores: vec![idle(0.5), idle(0.02)], ..Window::default() }
    }

    #[test]
    fn a_core_that_others_use_makes_a_run_contended() {
        assert_eq!(contended(&window(), &[part("server", 0, 1.45), part("load", 1, 1.93)]), None);
        let noisy = [part("server", 0, 1.45), part("load", 1, 1.4)];
        let found = contended(&window(), &noisy).unwrap();
        assert_eq!(found, "others had 29 % of the load core");
        let same = [part("server", 0, 1.0), part("load", 0, 1.0)];
        assert!(contended(&window(), &same).is_some());
    }

    #[test]
    fn a_process_that_waits_for_its_core_makes_a_run_contended() {
        let waits = Part { wait_s: 0.15, ..part("load", 1, 1.93) };
        let found = contended(&window(), &[part("server", 0, 1.45), waits]).unwrap();
        assert_eq!(found, "the load waited 8 % for its core");
    }

    #[test]
    fn on_two_cores_together_only_others_are_foreign() {
        let both = |cpu_s| [Part { cores: vec![0, 1], ..part("one or other", 0, cpu_s) }];
        assert_eq!(contended(&window(), &both(3.4)), None);
        assert!(contended(&window(), &both(3.0)).is_some());
    }
}
