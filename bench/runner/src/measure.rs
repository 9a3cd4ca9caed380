//! One server under one load, once; and all of them in turns.

mod load;
mod redis_benchmark;

use std::io;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use bench_load::Window;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::cases::{Case, Placement, Tool};
use crate::contenders::Server;
use crate::pin::{Cores, spawn_on};
use crate::programs::Programs;
use crate::stats::{Estimate, Spread, ratio};

/// Share of a core that others may use, or of the time that a process may wait for its core,
/// before a run counts as contended ..
const FOREIGN_SHARE_MAX: f64 = 0.05;
/// .. and what the 10 ms ticks of the kernel's books may be wrong by.
const FOREIGN_SLACK_S: f64 = 0.02;
/// How many times a run in which nothing was measured is repeated.
const EMPTY_MAX: usize = 3;
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
    /// Which one of the rounds it is of, from 1 on.
    pub(crate) round: usize,
    /// When it began, in seconds since the first run of the case.
    pub(crate) at_s: f64,
    /// Who else used the cores; none on a quiet machine.
    pub(crate) contended: Option<String>,
}

/// All runs of one server in one case, at most one for each round.
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

    /// A figure as a multiple of that of `other`, round by round: what changed from round to round
    /// is in both and cancels out.
    pub(crate) fn over(&self, other: &Self, of: impl Fn(&Sample) -> f64) -> Option<Estimate> {
        let pair = |one: &Sample| {
            let same = other.samples.iter().find(|same| same.round == one.round)?;
            ratio(of(one), of(same))
        };
        let ratios: Vec<f64> = self.samples.iter().filter_map(pair).collect();
        Estimate::of(&ratios)
    }

    /// How many rounds stayed contended however often they were repeated.
    pub(crate) fn contended(&self) -> usize {
        self.samples.iter().filter(|sample| sample.contended.is_some()).count()
    }
}

impl Bench<'_> {
    /// Runs every server of the case in turn, `rounds` times over, so that those of a round share
    /// their moment of the machine. `progress` hears of every round.
    pub(crate) fn interleaved(&self, case: &Case, progress: impl Fn(usize)) -> Vec<Cell> {
        let mut cells: Vec<Cell> = (case.servers.iter())
            .map(|server| Cell {
                server: server.clone(),
                samples: Vec::new(),
                failure: self.programs.lacks(server).map(str::to_owned),
            })
            .collect();
        let started = Instant::now();
        for round in 1..=self.timing.rounds {
            progress(round);
            for index in order(round, cells.len()) {
                let cell = &mut cells[index];
                if cell.failure.is_some() {
                    continue;
                }
                let at_s = started.elapsed().as_secs_f64();
                match self.quiet_run(&cell.server, case) {
                    Ok(Some(sample)) => cell.samples.push(Sample { round, at_s, ..sample }),
                    Ok(None) => {}
                    Err(failure) => cell.failure = Some(failure),
                }
            }
        }
        for cell in cells.iter_mut().filter(|cell| cell.samples.is_empty()) {
            cell.failure
                .get_or_insert_with(|| "nothing was answered in the measured time".to_owned());
        }
        cells
    }

    /// Repeats a contended run, at most `repeats` times; then the last figures stand, marked. One in
    /// which nothing was measured is repeated too. `None`: so were all, and this round is left out.
    fn quiet_run(&self, server: &Server, case: &Case) -> Result<Option<Sample>, String> {
        let (mut last, mut contended, mut empty) = (None, 0, 0);
        while contended <= self.timing.repeats && empty <= EMPTY_MAX {
            match self.run(server, case)? {
                Some(sample) if sample.contended.is_none() => return Ok(Some(sample)),
                Some(sample) => {
                    last = Some(sample);
                    contended += 1;
                }
                None => empty += 1,
            }
        }
        Ok(last)
    }

    /// `None`: nothing was answered in the measured time, or the server had no core in it, which a
    /// machine that stands still makes of a short one. (A server that stands still is an error of the
    /// load generator.)
    fn run(&self, server: &Server, case: &Case) -> Result<Option<Sample>, String> {
        let both = [self.cores.server, self.cores.load];
        let at = match case.placement {
            Placement::Apart => &both[..1],
            Placement::Together => &both[..],
        };
        let running = self.programs.serve(server, case.scheme, at)?;
        match case.tool {
            Tool::Load => self.with_load(&running, server, case),
            Tool::RedisBenchmark => self.with_redis_benchmark(&running, case).map(Some),
        }
    }

    fn load_cores(&self, case: &Case) -> Vec<usize> {
        match case.placement {
            Placement::Apart => vec![self.cores.load],
            Placement::Together => vec![self.cores.server, self.cores.load],
        }
    }
}

/// Who runs when: the servers of a case are shuffled, and every second round runs the order of the one
/// before backwards. So each runs before any other as often as after it, and a machine that grows
/// slower or faster within the rounds favours none.
fn order(round: usize, count: usize) -> Vec<usize> {
    let (pair, is_backwards) = ((round - 1) / 2, round.is_multiple_of(2));
    let mut order: Vec<usize> = (0..count).collect();
    fastrand::Rng::with_seed(pair as u64).shuffle(&mut order);
    if is_backwards {
        order.reverse();
    }
    order
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
    // Whoever looked every few milliseconds would have part of a core himself, and now and then the
    // server's.
    if !ends_within(&child, limit + OVERTIME).map_err(|error| format!("`{name}`: {error}"))? {
        let _ = child.kill();
        let _ = child.wait();
        return Err(format!("`{name}` took longer than {} s", (limit + OVERTIME).as_secs()));
    }
    // What the programs here print fits into a pipe: nobody had to read before they ended.
    child.wait_with_output().map_err(|error| error.to_string())
}

/// Sleeps until a child has ended, but no longer than `limit`.
fn ends_within(child: &Child, limit: Duration) -> io::Result<bool> {
    let pid =
        i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::NotFound)?;
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&left)) {
            Err(Errno::INTR) => {}
            ended => return Ok(ended? > 0),
        }
    }
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
    fn each_server_runs_once_a_round_and_before_any_other_as_often_as_after_it() {
        let (rounds, count) = (20, 14);
        let mut before = vec![vec![0; count]; count];
        for round in 1..=rounds {
            let order = order(round, count);
            assert_eq!(order.iter().collect::<std::collections::HashSet<_>>().len(), count);
            for (place, first) in order.iter().enumerate() {
                order[place + 1..].iter().for_each(|later| before[*first][*later] += 1);
            }
        }
        for (one, times) in before.iter().enumerate() {
            let mut others = times.iter().enumerate().filter(|(other, _)| *other != one);
            assert!(others.all(|(_, times)| *times == rounds / 2), "{before:?}");
        }
        assert_ne!(order(1, count), order(3, count));
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

    #[test]
    fn a_child_is_waited_for_and_not_longer_than_that() {
        let mut cat = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        assert!(!ends_within(&cat, Duration::from_millis(20)).unwrap(), "it has an open input");
        drop(cat.stdin.take());
        assert!(ends_within(&cat, OVERTIME).unwrap());
        assert!(cat.wait().unwrap().success());
    }
}
