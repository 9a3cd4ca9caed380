//! A run with the generator of this workspace.

use std::process::Command;
use std::time::Duration;

use bench_load::{Idle, Report};
use clap::ValueEnum as _;

use super::{Bench, Part, Sample, contended, output_within};
use crate::cases::{Case, Placement};
use crate::contenders::Server;
use crate::programs::Running;

impl Bench<'_> {
    pub(super) fn with_load(
        &self,
        running: &Running,
        server: &Server,
        case: &Case,
    ) -> Result<Option<Sample>, String> {
        let warm_up_s = self.timing.warm_up_s * case.warm_up_factor();
        let mut command = self.load_command(running, server, case, warm_up_s);
        let limit = Duration::from_secs_f64(warm_up_s + self.timing.seconds);
        let output = output_within(&self.load_cores(case), &mut command, limit)?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        let report: Report = serde_json::from_slice(&output.stdout)
            .map_err(|error| format!("cannot read the report of the load generator: {error}"))?;
        let sample = (report.requests > 0).then(|| self.sample(&report, server, case));
        Ok(sample.filter(|sample| sample.server_us > 0.0))
    }

    fn load_command(
        &self,
        running: &Running,
        server: &Server,
        case: &Case,
        warm_up_s: f64,
    ) -> Command {
        let protocol = case.protocol.to_possible_value().map(|value| value.get_name().to_owned());
        let mut command = Command::new(&self.programs.own);
        command.args(["load", "--target", &running.address]);
        command.args(["--protocol", &protocol.unwrap_or_default()]);
        command.args(["--connections", &case.connections.to_string()]);
        command.args(["--depth", &case.depth.to_string(), "--size", &case.size.to_string()]);
        command.args(["--warm-up", &warm_up_s.to_string()]);
        command.args(["--duration", &self.timing.seconds.to_string()]);
        command.args(["--watch-pid", &running.pid().to_string()]);
        if server.idle > 0 {
            command.args(["--idle", &server.idle.to_string()]);
        }
        if server.offload {
            command.arg("--offload");
        }
        command
    }

    fn sample(&self, report: &Report, server: &Server, case: &Case) -> Sample {
        let window = &report.window;
        let requests = report.requests as f64;
        let server_cpu_s = window.server_cpu_s.unwrap_or_default();
        let parts = match case.placement {
            Placement::Apart => {
                let server_wait_s = window.server_wait_s.unwrap_or_default();
                vec![
                    Part {
                        role: "server",
                        cores: vec![self.cores.server],
                        cpu_s: server_cpu_s,
                        wait_s: if server.is_crowd { 0.0 } else { server_wait_s },
                    },
                    Part {
                        role: "load",
                        cores: vec![self.cores.load],
                        cpu_s: window.client_cpu_s,
                        wait_s: window.client_wait_s,
                    },
                ]
            }
            // They wait for each other.
            Placement::Together => vec![Part {
                role: "one or the other",
                cores: vec![self.cores.server, self.cores.load],
                cpu_s: server_cpu_s + window.client_cpu_s,
                wait_s: 0.0,
            }],
        };
        Sample {
            per_second: report.per_second,
            server_us: server_cpu_s * 1e6 / requests,
            load_us: Some(window.client_cpu_s * 1e6 / requests),
            server_busy: server_cpu_s / window.seconds,
            p50_us: report.p50_us,
            p99_us: report.p99_us,
            p999_us: Some(report.p999_us),
            resident_each: report.idle.as_ref().map(Idle::resident_each),
            lost: report.lost,
            contended: contended(window, &parts),
            ..Sample::default()
        }
    }
}
