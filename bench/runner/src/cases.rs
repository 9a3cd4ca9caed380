//! What is measured: for each kind the cases.

use bench_load::ProtocolName;
use clap::ValueEnum;

use crate::contenders::{self, Server};
use crate::programs::Scheme;

/// Bytes of a value, as `redis-benchmark` has them.
const VALUE_SIZE: usize = 3;
/// As many as one process that may have 20,000 descriptors can serve beside others.
const IDLE: usize = 15_000;
/// More bytes in flight than these take longer until they flow evenly.
const LARGE: usize = 8 << 20;

/// What `cargo xtask bench` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// The same bytes back, over tcp and unix streams
    Echo,
    /// PING, SET and GET
    Redis,
    /// Hello World over HTTP/1.1
    Http,
    /// The same bytes back over TLS 1.3
    Tls,
    /// The same datagrams back, plain and in bursts
    Udp,
    /// Memory of connections that do nothing, and what they cost those that do
    Idle,
    /// One loop and two on two cores, the load beside them
    Scale,
}

/// One comparison.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Case {
    pub(crate) scheme: Scheme,
    pub(crate) protocol: ProtocolName,
    pub(crate) connections: usize,
    pub(crate) depth: usize,
    pub(crate) size: usize,
    pub(crate) tool: Tool,
    pub(crate) placement: Placement,
    /// What sets it apart from a case of the same numbers.
    pub(crate) note: &'static str,
    /// The floor stands first: all others are told as multiples of it.
    pub(crate) servers: Vec<Server>,
    quick: bool,
}

/// Who makes the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    /// The generator in this workspace.
    Load,
    /// The one that comes with Redis.
    RedisBenchmark,
}

/// Where server and load run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placement {
    /// Each on a core of its own.
    Apart,
    /// Both on both cores, as the kernel likes.
    Together,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Redis => "redis",
            Self::Http => "http",
            Self::Tls => "tls",
            Self::Udp => "udp",
            Self::Idle => "idle",
            Self::Scale => "scale",
        }
    }

    /// What is compared, for the title of a plot.
    pub(crate) fn caption(self) -> &'static str {
        match self {
            Self::Echo => "Echo: server CPU per request",
            Self::Redis => "Redis: server CPU per request",
            Self::Http => "HTTP: server CPU per request",
            Self::Tls => "TLS echo: server CPU per request",
            Self::Udp => "UDP echo: server CPU per datagram",
            Self::Idle => "15,000 idle connections: server CPU per request of 50 busy ones",
            Self::Scale => "One loop and two: server CPU per request",
        }
    }

    /// `quick` keeps what says most.
    pub(crate) fn cases(self, quick: bool) -> Vec<Case> {
        let all = match self {
            Self::Echo => echo_cases(),
            Self::Redis => redis_cases(),
            Self::Http => http_cases(),
            Self::Tls => tls_cases(),
            Self::Udp => udp_cases(),
            Self::Idle => idle_cases(quick),
            Self::Scale => scale_cases(),
        };
        if quick { all.into_iter().filter(|case| case.quick).collect() } else { all }
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
            placement: Placement::Apart,
            note: "",
            servers: contenders::echo(),
            quick: true,
        }
    }

    /// As it stands above a table.
    pub(crate) fn title(&self) -> String {
        let Self { connections, depth, .. } = self;
        let scheme = match self.scheme {
            Scheme::Tcp => "tcp",
            Scheme::Tls => "tls",
            Scheme::Unix => "unix",
            Scheme::Udp => "udp",
        };
        let in_flight = format!("{connections}c x{depth}{}", self.note);
        match (self.tool, self.protocol) {
            (Tool::RedisBenchmark, protocol) => {
                format!("redis-benchmark {} {in_flight}", redis_test(protocol))
            }
            (Tool::Load, ProtocolName::Echo) => {
                format!("{scheme} {} {in_flight}", bytes(self.size))
            }
            (Tool::Load, ProtocolName::Framed) => {
                format!("{scheme} frames of {} {in_flight}", bytes(self.size))
            }
            (Tool::Load, ProtocolName::Http) => format!("GET / {in_flight}"),
            (Tool::Load, protocol) => format!("{} {in_flight}", redis_test(protocol)),
        }
    }

    /// How much longer than others it takes until it flows evenly.
    pub(crate) fn warm_up_factor(&self) -> f64 {
        if self.connections * self.depth * self.size > LARGE { 3.0 } else { 1.0 }
    }
}

fn bytes(count: usize) -> String {
    match count {
        0..1024 => format!("{count} B"),
        _ => format!("{} KiB", count / 1024),
    }
}

/// A test of `redis-benchmark -t`; the built-in generator uses the same names.
pub(crate) fn redis_test(protocol: ProtocolName) -> &'static str {
    match protocol {
        ProtocolName::PingInline => "ping_inline",
        ProtocolName::Ping => "ping_mbulk",
        ProtocolName::Set => "set",
        ProtocolName::Get => "get",
        ProtocolName::Echo | ProtocolName::Framed | ProtocolName::Http => "none",
    }
}

fn echo_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for depth in [1, 16] {
        for size in [64, 1024, 16 * 1024] {
            for connections in [1, 50, 500] {
                let quick =
                    matches!((size, connections, depth), (64, 1, 1) | (64 | 16_384, 50, 1 | 16));
                cases.push(Case { size, connections, depth, quick, ..Case::tcp() });
            }
        }
    }
    cases.push(Case { scheme: Scheme::Unix, ..Case::tcp() });
    cases.extend([1, 16].map(|depth| Case {
        protocol: ProtocolName::Framed,
        size: 1024,
        depth,
        servers: contenders::framed(),
        quick: depth == 1,
        ..Case::tcp()
    }));
    cases
}

fn redis_cases() -> Vec<Case> {
    let tests = [ProtocolName::Ping, ProtocolName::Set, ProtocolName::Get];
    let case = |protocol, depth, tool| Case {
        protocol,
        depth,
        tool,
        size: VALUE_SIZE,
        servers: contenders::redis(),
        ..Case::tcp()
    };
    let mut cases = Vec::new();
    for depth in [1, 128] {
        cases.extend(tests.map(|protocol| case(protocol, depth, Tool::Load)));
    }
    cases.extend(tests.map(|protocol| case(protocol, 128, Tool::RedisBenchmark)));
    cases
}

fn http_cases() -> Vec<Case> {
    let case = |depth| Case {
        protocol: ProtocolName::Http,
        connections: 64,
        depth,
        servers: contenders::http(),
        ..Case::tcp()
    };
    vec![case(1), case(16)]
}

fn tls_cases() -> Vec<Case> {
    let case = |size, depth, quick| Case {
        scheme: Scheme::Tls,
        size,
        depth,
        quick,
        servers: contenders::tls(),
        ..Case::tcp()
    };
    vec![case(64, 1, false), case(1024, 1, true), case(16 * 1024, 1, true), case(1024, 16, false)]
}

fn udp_cases() -> Vec<Case> {
    let plain = Case {
        scheme: Scheme::Udp,
        connections: 1,
        depth: 512,
        servers: contenders::datagrams(),
        ..Case::tcp()
    };
    let bursts = Case { servers: contenders::bursts(), note: ", GRO and GSO", ..plain.clone() };
    vec![plain, bursts]
}

fn idle_cases(quick: bool) -> Vec<Case> {
    let mut servers = contenders::crowded(IDLE);
    if quick {
        let slow = ["mio", "compio", "message-io", "monoio-legacy"];
        servers.retain(|server| !slow.iter().any(|name| server.name.starts_with(name)));
    }
    vec![Case { servers, note: ", alone and beside 15,000 idle", ..Case::tcp() }]
}

fn scale_cases() -> Vec<Case> {
    let case = |connections, depth| Case {
        connections,
        depth,
        placement: Placement::Together,
        note: ", both cores",
        servers: contenders::scaled(),
        ..Case::tcp()
    };
    vec![case(50, 1), case(500, 1), case(50, 16)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn titles_tell_the_cases_apart() {
        for kind in Kind::value_variants() {
            let cases = kind.cases(false);
            let titles: HashSet<String> = cases.iter().map(Case::title).collect();
            assert_eq!(titles.len(), cases.len(), "{titles:?}");
        }
    }

    #[test]
    fn quick_keeps_some_cases_of_each_kind() {
        for kind in Kind::value_variants() {
            let (quick, all) = (kind.cases(true), kind.cases(false).len());
            assert!(!quick.is_empty() && quick.len() <= all, "{kind:?}: {quick:?} of {all}");
        }
        assert_eq!(Kind::Echo.cases(true).len(), 7);
        assert_eq!(Kind::Echo.cases(false).len(), 21);
    }

    #[test]
    fn a_case_with_much_in_flight_warms_up_longer() {
        let case = Case { size: 16 * 1024, depth: 16, connections: 500, ..Case::tcp() };
        assert_eq!(case.title(), "tcp 16 KiB 500c x16");
        assert!(case.warm_up_factor() > 1.0);
        assert_eq!(Case::tcp().warm_up_factor(), 1.0);
    }
}
