//! What is measured: for each kind the cases and the servers.

use bench_load::ProtocolName;
use clap::ValueEnum;

use crate::programs::{Scheme, Server, Start};

/// What `cargo xtask bench` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// The same bytes back, over tcp, unix and udp
    Echo,
    /// Hello World over HTTP/1.1
    Http,
    /// PING, SET and GET
    Redis,
}

/// One column of the comparison.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Case {
    pub(crate) scheme: Scheme,
    pub(crate) protocol: ProtocolName,
    pub(crate) connections: usize,
    pub(crate) depth: usize,
    pub(crate) size: usize,
    pub(crate) tool: Tool,
}

/// Who makes the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    /// The generator in this workspace.
    Load,
    /// The one that comes with Redis; evio's figures were taken with it.
    RedisBenchmark,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Http => "http",
            Self::Redis => "redis",
        }
    }

    /// The floor stands first: all others are told as multiples of it.
    pub(crate) fn servers(self) -> Vec<Server> {
        let own = |name| Server { name, start: Start::Own };
        match self {
            Self::Echo => vec![
                own("floor-echo"),
                Server { name: "mainspring", start: Start::Mainspring("echo") },
                own("mio-echo"),
                own("tokio-echo"),
                own("threads-echo"),
            ],
            Self::Http => vec![
                own("floor-http"),
                Server { name: "mainspring", start: Start::Mainspring("http") },
                own("hyper-http"),
                own("threads-http"),
            ],
            Self::Redis => vec![
                own("floor-resp"),
                Server { name: "mainspring", start: Start::Mainspring("redis") },
                Server { name: "redis-server", start: Start::RedisServer },
            ],
        }
    }

    /// 50 connections as in evio's benchmarks; `quick` keeps what says most.
    pub(crate) fn cases(self, quick: bool) -> Vec<Case> {
        let all = match self {
            Self::Echo => echo_cases(),
            Self::Http => [1, 16]
                .map(|depth| Case { protocol: ProtocolName::Http, depth, ..Case::tcp() })
                .to_vec(),
            Self::Redis => redis_cases(),
        };
        if quick { all.into_iter().filter(Case::is_quick).collect() } else { all }
    }
}

impl Case {
    fn tcp() -> Self {
        Self {
            scheme: Scheme::Tcp,
            protocol: ProtocolName::Echo,
            connections: 50,
            depth: 1,
            size: 64,
            tool: Tool::Load,
        }
    }

    /// As it stands at the head of a table.
    pub(crate) fn title(&self) -> String {
        let Self { connections, depth, size, .. } = self;
        let scheme = match self.scheme {
            Scheme::Tcp => "tcp",
            Scheme::Unix => "unix",
            Scheme::Udp => "udp",
        };
        let in_flight = format!("{connections}c x{depth}");
        match (self.tool, self.protocol) {
            (Tool::RedisBenchmark, protocol) => {
                format!("redis-benchmark {} {in_flight}", redis_test(protocol))
            }
            (Tool::Load, ProtocolName::Echo) => format!("{scheme} {size} B {in_flight}"),
            (Tool::Load, ProtocolName::Http) => format!("GET {in_flight}"),
            (Tool::Load, protocol) => format!("{} {in_flight}", redis_test(protocol)),
        }
    }

    /// Whether the server is built for it.
    pub(crate) fn suits(&self, server: &Server) -> bool {
        match self.scheme {
            Scheme::Tcp => true,
            Scheme::Unix => server.name != "mio-echo",
            Scheme::Udp => matches!(server.name, "floor-echo" | "mainspring"),
        }
    }

    fn is_quick(&self) -> bool {
        self.scheme == Scheme::Tcp && matches!(self.size, 64) && self.protocol != ProtocolName::Set
    }
}

/// A test of `redis-benchmark -t`; the built-in generator uses the same names.
pub(crate) fn redis_test(protocol: ProtocolName) -> &'static str {
    match protocol {
        ProtocolName::PingInline => "ping_inline",
        ProtocolName::Ping => "ping_mbulk",
        ProtocolName::Set => "set",
        ProtocolName::Get => "get",
        ProtocolName::Echo | ProtocolName::Http => "none",
    }
}

fn echo_cases() -> Vec<Case> {
    let tcp = Case::tcp();
    vec![
        // evio's: `PING{\r\n}`, 8 bytes with its braces.
        Case { size: 8, ..tcp.clone() },
        tcp.clone(),
        Case { depth: 16, ..tcp.clone() },
        Case { size: 1024, ..tcp.clone() },
        Case { size: 16 * 1024, depth: 16, ..tcp.clone() },
        Case { scheme: Scheme::Unix, ..tcp.clone() },
        Case { scheme: Scheme::Udp, ..tcp },
    ]
}

fn redis_cases() -> Vec<Case> {
    let case = |protocol, depth, tool| Case { protocol, depth, tool, ..Case::tcp() };
    let mut cases = Vec::new();
    for depth in [1, 16] {
        for protocol in [ProtocolName::Ping, ProtocolName::Set, ProtocolName::Get] {
            cases.push(case(protocol, depth, Tool::Load));
        }
    }
    // evio's procedure: `redis-benchmark -t ping_inline -q -c 50 -P {1,8,16}`.
    cases.extend(
        [1, 8, 16].map(|depth| case(ProtocolName::PingInline, depth, Tool::RedisBenchmark)),
    );
    cases
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const KINDS: [Kind; 3] = [Kind::Echo, Kind::Http, Kind::Redis];

    #[test]
    fn titles_tell_the_cases_apart_and_the_floor_stands_first() {
        for kind in KINDS {
            let cases = kind.cases(false);
            let titles: HashSet<String> = cases.iter().map(Case::title).collect();
            assert_eq!(titles.len(), cases.len(), "{titles:?}");
            assert!(kind.servers()[0].name.starts_with("floor-"));
            assert!(kind.servers().iter().any(|server| server.name == "mainspring"));
        }
    }

    #[test]
    fn quick_keeps_some_cases_of_each_kind() {
        for kind in KINDS {
            let (quick, all) = (kind.cases(true).len(), kind.cases(false).len());
            assert!(quick >= 2 && quick <= all, "{kind:?}: {quick} of {all}");
        }
    }
}
