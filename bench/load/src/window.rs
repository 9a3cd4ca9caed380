//! The measured stretch of a run: what the two processes and the cores did in it.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::{CoreTime, Error, Usage};

/// All counters at one moment.
#[derive(Debug)]
pub struct Snapshot {
    at: Instant,
    client: Usage,
    server: Option<Usage>,
    cores: Vec<CoreTime>,
}

/// The difference of two snapshots.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// Length.
    pub seconds: f64,
    /// Processor time of the load generator.
    pub client_cpu_s: f64,
    /// Time in which the load generator could have run but had no core.
    pub client_wait_s: f64,
    /// Processor time of the server, summed over its threads; none if it was not watched.
    pub server_cpu_s: Option<f64>,
    /// Time in which threads of the server could have run but had no core.
    pub server_wait_s: Option<f64>,
    /// What each core did, by its number.
    pub cores: Vec<CoreTime>,
}

impl Snapshot {
    /// Reads the counters of the processes `client` and `server`, and of the cores.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if a process is gone.
    pub fn take(client: u32, server: Option<u32>) -> Result<Self, Error> {
        Ok(Self {
            at: Instant::now(),
            client: Usage::of_process(client)?,
            server: server.map(Usage::of_process).transpose()?,
            cores: CoreTime::read_all(),
        })
    }

    /// What happened between `before` and this.
    #[must_use]
    pub fn since(&self, before: &Self) -> Window {
        let seconds = |ns: u64| ns as f64 / 1e9;
        let client = self.client - before.client;
        let server = self.server.zip(before.server).map(|(now, then)| now - then);
        Window {
            seconds: (self.at - before.at).as_secs_f64(),
            client_cpu_s: seconds(client.run_ns),
            client_wait_s: seconds(client.wait_ns),
            server_cpu_s: server.map(|usage| seconds(usage.run_ns)),
            server_wait_s: server.map(|usage| seconds(usage.wait_ns)),
            cores: (self.cores.iter().zip(&before.cores))
                .map(|(now, then)| now.since(*then))
                .collect(),
        }
    }
}

impl Window {
    /// Seconds in which `core` ran something else than the process that used `own_cpu_s` of it, and
    /// seconds that the hypervisor took.
    #[must_use]
    pub fn foreign_s(&self, core: usize, own_cpu_s: f64) -> f64 {
        let Some(time) = self.cores.get(core) else { return 0.0 };
        (self.seconds - time.idle_s - own_cpu_s).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_neither_idle_nor_our_own_is_foreign() {
        let cores = vec![CoreTime::default(), CoreTime { idle_s: 0.5, steal_s: 0.0 }];
        let window = Window { seconds: 2.0, cores, ..Window::default() };
        assert!((window.foreign_s(1, 1.2) - 0.3).abs() < 1e-9);
        assert_eq!(
            window.foreign_s(1, 1.6),
            0.0,
            "rounding of ticks never gives less than nothing"
        );
        assert_eq!(window.foreign_s(7, 0.0), 0.0);
    }
}
