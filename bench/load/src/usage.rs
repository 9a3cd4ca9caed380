//! Processor time of a process.
//!
//! The clock of the process (clock_getcpuclockid(3)) counts all its threads, ended ones and those of
//! io_uring included, and is exact even for a thread that is running right now. How long threads
//! waited for a core is in `/proc/PID/task/TID/schedstat`, which has three numbers
//! (Documentation/scheduler/sched-stats.rst): "time spent on the cpu (in nanoseconds)", "time spent
//! waiting on a runqueue (in nanoseconds)", "# of timeslices run on this cpu".

use std::ops::{Add, Sub};

use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

use crate::Error;

/// Processor time of a process or of a part of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// On a core, in nanoseconds.
    pub run_ns: u64,
    /// Able to run but waiting for a core, in nanoseconds.
    pub wait_ns: u64,
    /// How many times it was given a core.
    pub slices: u64,
}

impl Usage {
    /// All threads of the process.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the process is gone or the kernel keeps no such statistics.
    pub fn of_process(pid: u32) -> Result<Self, Error> {
        let folder = format!("/proc/{pid}/task");
        let failed = || Error::io(format!("cannot read {folder}"));
        let mut sum = Self::default();
        for entry in std::fs::read_dir(&folder).map_err(failed())? {
            let path = entry.map_err(failed())?.path().join("schedstat");
            // A thread may end between the listing and the reading.
            if let Ok(text) = std::fs::read_to_string(&path) {
                let usage = Self::parse(&text).ok_or_else(|| {
                    Error::Usage(format!("{}: `{}` is not schedstat", path.display(), text.trim()))
                })?;
                sum = sum + usage;
            }
        }
        sum.run_ns = run_ns(pid)?;
        Ok(sum)
    }

    /// Reads one line of `schedstat`.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let mut numbers = line.split_ascii_whitespace().map(str::parse);
        let usage = Self {
            run_ns: numbers.next()?.ok()?,
            wait_ns: numbers.next()?.ok()?,
            slices: numbers.next()?.ok()?,
        };
        numbers.next().is_none().then_some(usage)
    }
}

impl Add for Usage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            run_ns: self.run_ns + other.run_ns,
            wait_ns: self.wait_ns + other.wait_ns,
            slices: self.slices + other.slices,
        }
    }
}

impl Sub for Usage {
    type Output = Self;

    /// Saturates: the sum of a process falls when one of its threads ends.
    fn sub(self, other: Self) -> Self {
        Self {
            run_ns: self.run_ns.saturating_sub(other.run_ns),
            wait_ns: self.wait_ns.saturating_sub(other.wait_ns),
            slices: self.slices.saturating_sub(other.slices),
        }
    }
}

fn run_ns(pid: u32) -> Result<u64, Error> {
    let clock = clock_getcpuclockid(Pid::from_raw(pid.cast_signed()));
    let time = clock.and_then(nix::time::ClockId::now).map_err(|error| {
        Error::io(format!("cannot read the processor clock of process {pid}"))(error.into())
    })?;
    Ok(time.tv_sec().cast_unsigned() * 1_000_000_000 + time.tv_nsec().cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedstat_is_three_numbers_and_nothing_else() {
        let usage = Usage::parse("64206 40200 2\n").unwrap();
        assert_eq!(usage, Usage { run_ns: 64206, wait_ns: 40200, slices: 2 });
        for broken in ["", "1 2", "1 2 3 4", "1 2 x", "-1 2 3"] {
            assert_eq!(Usage::parse(broken), None, "{broken}");
        }
    }

    #[test]
    fn work_of_this_process_is_seen() {
        let before = Usage::of_process(std::process::id()).unwrap();
        let started = std::time::Instant::now();
        let mut sum = 0_u64;
        while started.elapsed().as_millis() < 100 {
            sum = sum.wrapping_mul(31).wrapping_add(std::hint::black_box(7));
        }
        std::hint::black_box(sum);
        let spent = Usage::of_process(std::process::id()).unwrap() - before;
        // Others may have the core for a part of the time; other tests add to it.
        assert!(spent.run_ns + spent.wait_ns >= 80_000_000, "{spent:?}");
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(matches!(Usage::of_process(u32::MAX), Err(Error::Io { .. })));
    }
}
