//! The command line of the load generator.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, ValueEnum};

use crate::engine::{Pace, Plan};
use crate::fixed::Fixed;
use crate::http::Http;
use crate::idle::Sleepers;
use crate::resp::{self, Keys};
use crate::{Error, Report, Target, datagram, engine};

/// Keeps a server busy, verifies its replies, prints one line of JSON.
#[derive(Debug, Clone, Parser)]
#[command(name = "load", after_help = EXAMPLES)]
pub struct Arguments {
    /// tcp://HOST:PORT, tls://HOST:PORT, unix:///path, or (echo only) udp://HOST:PORT
    #[arg(long)]
    pub target: Target,
    /// What the server speaks
    #[arg(long, value_enum)]
    pub protocol: ProtocolName,
    /// Connections, all made before the warm-up
    #[arg(long, short, default_value_t = 50, value_parser = positive)]
    pub connections: usize,
    /// Requests in flight per connection (pipelining), in a closed loop
    #[arg(long, short, default_value_t = 1, value_parser = positive)]
    pub depth: usize,
    /// Open loop: requests per second over all connections; latency counts from when a request was
    /// due
    #[arg(long, conflicts_with = "depth")]
    pub rate: Option<f64>,
    #[command(flatten)]
    pub(crate) content: Content,
    /// Seconds before the measured window
    #[arg(long, default_value_t = 0.2)]
    pub warm_up: f64,
    /// Seconds of the measured window
    #[arg(long, default_value_t = 2.0)]
    pub duration: f64,
    /// End the window after so many replies, if that is earlier
    #[arg(long, conflicts_with = "rate")]
    pub requests: Option<u64>,
    /// Over udp: hand bursts to the kernel as one (UDP_SEGMENT) and take them so (UDP_GRO)
    #[arg(long)]
    pub offload: bool,
    /// Echo over tcp: so many further connections that send one message and then nothing; with
    /// --watch-pid the server's memory is read before and after they come
    #[arg(long, default_value_t = 0)]
    pub idle: usize,
    /// Process of the server, to measure its processor time
    #[arg(long)]
    pub watch_pid: Option<u32>,
}

/// What requests hold.
#[derive(Debug, Clone, Args)]
pub(crate) struct Content {
    /// Bytes of an echoed message or of a value
    #[arg(long, short, default_value_t = 64, value_parser = positive)]
    size: usize,
    /// Keys for get and set
    #[arg(long, default_value_t = 1000, value_parser = positive)]
    keys: usize,
    /// Path of an HTTP request
    #[arg(long, default_value = "/")]
    path: String,
    /// For contents and the choice of keys
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What a server speaks, and which request it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProtocolName {
    /// The same bytes back
    Echo,
    /// The same bytes back, each message with its length as a varint in front
    Framed,
    /// Redis PING as an array
    Ping,
    /// Redis PING as a line
    PingInline,
    /// Redis SET of random keys
    Set,
    /// Redis GET of random keys, which are set before
    Get,
    /// HTTP/1.1 GET
    Http,
}

const EXAMPLES: &str = "\
Examples:
  load --target tcp://127.0.0.1:5000 --protocol echo
  load --target unix:///run/echo.sock --protocol echo --size 1024 --depth 16
  load --target tcp://127.0.0.1:6379 --protocol get --keys 10000 --depth 16 --duration 5
  load --target tcp://127.0.0.1:8080 --protocol http --rate 20000";

impl Arguments {
    /// Runs and prints the report, or says on standard error why there is none.
    #[must_use]
    pub fn run(&self) -> ExitCode {
        match self.measure() {
            Ok(report) => {
                println!("{}", serde_json::to_string(&report).expect("numbers and text"));
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::from(if matches!(error, Error::Usage(_)) { 2 } else { 1 })
            }
        }
    }

    /// Runs.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub fn measure(&self) -> Result<Report, Error> {
        let plan = self.plan()?;
        let what = self.title();
        let Content { size, keys, seed, path } = &self.content;
        if matches!(self.target, Target::Udp(_)) {
            return match self.protocol {
                ProtocolName::Echo if self.idle == 0 => datagram::run(&plan, *size, what),
                ProtocolName::Echo => Err(Error::Usage("--idle works over tcp".to_owned())),
                other => Err(Error::Usage(format!("{other:?} over udp; allowed: echo"))),
            };
        }
        let keys = Keys { count: *keys, value_size: *size, seed: *seed };
        let idle = self.idle_connections()?;
        let mut report = match self.protocol {
            ProtocolName::Echo => engine::run(&plan, Fixed::echo(*size, *seed), what),
            ProtocolName::Framed => engine::run(&plan, Fixed::framed(*size, *seed), what),
            ProtocolName::Ping => engine::run(&plan, resp::ping(false), what),
            ProtocolName::PingInline => engine::run(&plan, resp::ping(true), what),
            ProtocolName::Set => engine::run(&plan, resp::set(keys), what),
            ProtocolName::Get => {
                keys.fill(&self.target)?;
                engine::run(&plan, resp::get(keys), what)
            }
            ProtocolName::Http => engine::run(&plan, Http::new(&self.host(), path), what),
        }?;
        report.idle = idle.map(|idle| idle.report);
        Ok(report)
    }

    fn idle_connections(&self) -> Result<Option<Sleepers>, Error> {
        match (self.idle, &self.target, self.protocol) {
            (0, _, _) => Ok(None),
            (count, Target::Tcp(address), ProtocolName::Echo) => {
                Sleepers::open(*address, count, self.content.size, self.watch_pid).map(Some)
            }
            _ => Err(Error::Usage("--idle works with echo over tcp".to_owned())),
        }
    }

    fn plan(&self) -> Result<Plan, Error> {
        let seconds = |name: &str, value: f64| {
            Duration::try_from_secs_f64(value)
                .map_err(|_| Error::Usage(format!("--{name} {value} is not a number of seconds")))
        };
        let pace = match self.rate {
            None => Pace::Closed { depth: self.depth },
            Some(per_second) if per_second.is_finite() && per_second > 0.0 => {
                Pace::Open { per_second }
            }
            Some(rate) => return Err(Error::Usage(format!("--rate {rate}: wants more than 0"))),
        };
        Ok(Plan {
            target: self.target.clone(),
            connections: self.connections,
            pace,
            warm_up: seconds("warm-up", self.warm_up)?,
            duration: seconds("duration", self.duration)?,
            requests_max: self.requests,
            watch_pid: self.watch_pid,
            offload: self.offload,
        })
    }

    fn title(&self) -> String {
        let pace = match self.rate {
            None => format!("{} in flight on each", self.depth),
            Some(rate) => format!("open loop at {rate}/s"),
        };
        format!("{:?}, {} connections, {pace}", self.protocol, self.connections)
    }

    fn host(&self) -> String {
        match &self.target {
            Target::Tcp(address) | Target::Tls(address) | Target::Udp(address) => {
                address.to_string()
            }
            Target::Unix(_) => "localhost".to_owned(),
        }
    }
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("wants a whole number above 0".to_owned()),
        Ok(number) => Ok(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(format!("load {line}").split_whitespace())
    }

    #[test]
    fn a_line_is_a_plan() {
        let line = "--target tcp://127.0.0.1:9 --protocol get -c 7 -d 16 --requests 10";
        let plan = arguments(line).unwrap().plan().unwrap();
        assert_eq!(plan.connections, 7);
        assert_eq!(plan.pace, Pace::Closed { depth: 16 });
        assert_eq!(plan.requests_max, Some(10));
    }

    #[test]
    fn an_unknown_protocol_is_refused_with_those_that_are() {
        let error = arguments("--target tcp://127.0.0.1:9 --protocol quic").unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("ping-inline"), "{error}");
    }

    #[test]
    fn what_does_not_go_together_is_said() {
        let wrong = [
            "--target udp://127.0.0.1:9 --protocol http",
            "--target udp://127.0.0.1:9 --protocol echo --rate 5",
            "--target udp://127.0.0.1:9 --protocol echo --size 4",
            "--target tcp://127.0.0.1:9 --protocol echo --rate 0",
            "--target tcp://127.0.0.1:9 --protocol ping --idle 5",
            "--target udp://127.0.0.1:9 --protocol echo --idle 5",
            "--target udp://127.0.0.1:9 --protocol echo --offload --size 40000",
            "--target tcp://127.0.0.1:9 --protocol echo --duration=-1",
        ];
        for line in wrong {
            let outcome = arguments(line).unwrap().measure();
            assert!(matches!(outcome, Err(Error::Usage(_))), "{line}: {outcome:?}");
        }
        assert!(arguments("--target tcp://127.0.0.1:9 --protocol echo -d 2 --rate 5").is_err());
    }
}
