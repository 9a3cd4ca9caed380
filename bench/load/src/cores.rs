//! Time that each core was busy, from `/proc/stat`.
//!
//! Columns after the name (proc_stat(5)), in ticks of 10 ms: user, nice, system, idle, iowait, irq,
//! softirq, steal. With a tickless kernel idle time is exact; so "busy" is taken as what was not
//! idle, and is not sampled.

use serde::{Deserialize, Serialize};

/// Ticks per second of the columns: `USER_HZ`, 100 on every architecture that Rust's std runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a core did, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct CoreTime {
    /// Not running anything, waiting for a disk included.
    pub idle_s: f64,
    /// Taken away by the hypervisor.
    pub steal_s: f64,
}

impl CoreTime {
    /// All cores since the machine was started, by their number; a core that is off stays at zero.
    pub(crate) fn read_all() -> Vec<Self> {
        parse(&std::fs::read_to_string("/proc/stat").unwrap_or_default())
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            idle_s: (self.idle_s - before.idle_s).max(0.0),
            steal_s: (self.steal_s - before.steal_s).max(0.0),
        }
    }
}

fn parse(stat: &str) -> Vec<CoreTime> {
    let mut cores = Vec::new();
    for line in stat.lines() {
        let mut words = line.split_ascii_whitespace();
        let number = words.next().and_then(|name| name.strip_prefix("cpu")?.parse::<usize>().ok());
        let Some(number) = number else { continue };
        let ticks: Vec<f64> = words.filter_map(|word| word.parse().ok()).collect();
        let column = |index: usize| ticks.get(index).copied().unwrap_or(0.0) / TICKS_PER_SECOND;
        if cores.len() <= number {
            cores.resize(number + 1, CoreTime::default());
        }
        cores[number] = CoreTime { idle_s: column(3) + column(4), steal_s: column(7) };
    }
    cores
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_read_by_number_and_the_sum_of_all_is_skipped() {
        let text = "cpu  9 9 9 9 9 9 9 9 0 0\n\
                    cpu0 100 0 50 300 100 1 2 7 0 0\n\
                    cpu2 1 0 1 200 0 0 0 0 0 0\nintr 5\n";
        let cores = parse(text);
        assert_eq!(cores.len(), 3);
        assert_eq!(cores[0], CoreTime { idle_s: 4.0, steal_s: 0.07 });
        assert_eq!(cores[1], CoreTime::default());
        assert_eq!(cores[2].idle_s, 2.0);
    }
}
