//! Who is compared: floors, ours with each driver, peers.

use bench_servers::Arguments;
use clap::Parser as _;

/// A server of the comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    /// As it stands in the tables.
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) start: Start,
    /// Connections that do nothing, beside the busy ones.
    pub(crate) idle: usize,
    /// Whether datagrams pass the kernel in bursts, on both sides.
    pub(crate) offload: bool,
    /// Ours gets a certificate.
    pub(crate) tls: bool,
    /// Its threads wait for each other; so that they wait says nothing about others.
    pub(crate) is_crowd: bool,
}

/// What a server is in the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The least that the kernel allows; the first one of a case is what all are compared with.
    Floor,
    Ours(Driver),
    /// Ours, with a future per connection in place of callbacks.
    Tasks(Driver),
    /// Ours, with a codec that cuts frames and puts them together again.
    Framed(Driver),
    Peer,
    /// Any of these once more: what their ratio to the first is says what the bench can tell apart.
    Again,
}

/// What waits for events in ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Driver {
    /// epoll
    Ready,
    /// io_uring
    Ring,
}

/// How a server is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// `runner serve NAME`
    Own(&'static str),
    /// `mainspring COMMAND --driver DRIVER --loops N`
    Mainspring {
        command: &'static str,
        driver: Driver,
        loops: u32,
    },
    RedisServer,
}

impl Driver {
    pub(crate) const ALL: [Self; 2] = [Self::Ready, Self::Ring];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Ring => "ring",
        }
    }
}

impl Server {
    pub(crate) fn floor(name: &'static str) -> Self {
        Self::new(name.to_owned(), Role::Floor, Start::Own(name))
    }

    pub(crate) fn peer(name: &'static str) -> Self {
        let is_crowd = name.starts_with("threads-");
        Self { is_crowd, ..Self::new(name.to_owned(), Role::Peer, Start::Own(name)) }
    }

    /// The tasks of ours, once with each driver.
    pub(crate) fn tasks() -> [Self; 2] {
        let servers = [("tasks-echo", Driver::Ready), ("tasks-echo-uring", Driver::Ring)];
        servers
            .map(|(name, driver)| Self::new(name.to_owned(), Role::Tasks(driver), Start::Own(name)))
    }

    /// The frames of ours, once with each driver.
    pub(crate) fn frames() -> [Self; 2] {
        let servers = [("framed-echo", Driver::Ready), ("framed-echo-uring", Driver::Ring)];
        servers.map(|(name, driver)| {
            Self::new(name.to_owned(), Role::Framed(driver), Start::Own(name))
        })
    }

    pub(crate) fn redis() -> Self {
        Self::new("redis-server".to_owned(), Role::Peer, Start::RedisServer)
    }

    /// Ours, once with each driver.
    pub(crate) fn ours(command: &'static str) -> [Self; 2] {
        Driver::ALL.map(|driver| Self::our(command, driver, 1))
    }

    pub(crate) fn our(command: &'static str, driver: Driver, loops: u32) -> Self {
        let name = match loops {
            1 => format!("mainspring {}", driver.name()),
            _ => format!("mainspring {}, {loops} loops", driver.name()),
        };
        Self::new(name, Role::Ours(driver), Start::Mainspring { command, driver, loops })
    }

    fn new(name: String, role: Role, start: Start) -> Self {
        Self { name, role, start, idle: 0, offload: false, tls: false, is_crowd: false }
    }

    /// The same server with `idle` connections beside the busy ones.
    pub(crate) fn with_idle(&self, idle: usize) -> Self {
        Self { name: format!("{} + idle", self.name), idle, ..self.clone() }
    }

    /// The same server once more.
    pub(crate) fn again(&self) -> Self {
        Self { name: format!("{} again", self.name), role: Role::Again, ..self.clone() }
    }

    /// The same server with bursts of datagrams.
    pub(crate) fn with_offload(&self) -> Self {
        Self { offload: true, ..self.clone() }
    }

    /// The same server over TLS.
    pub(crate) fn with_tls(&self) -> Self {
        Self { tls: true, ..self.clone() }
    }

    /// Whether this program has it.
    pub(crate) fn is_built(&self) -> bool {
        match self.start {
            Start::Own(name) => Arguments::try_parse_from(["servers", name]).is_ok(),
            Start::Mainspring { .. } | Start::RedisServer => true,
        }
    }
}

/// Echo over streams: all that there are.
pub(crate) fn echo() -> Vec<Server> {
    let mut servers = vec![Server::floor("floor-echo"), Server::floor("floor-echo-uring")];
    servers.extend(Server::ours("echo"));
    servers.extend(Server::tasks());
    servers.extend(ECHO_PEERS.map(Server::peer));
    servers
}

/// Echo of frames, by servers that see them and by those that see bytes.
pub(crate) fn framed() -> Vec<Server> {
    let mut servers = vec![Server::floor("floor-echo"), Server::floor("floor-echo-uring")];
    servers.extend(Server::ours("echo"));
    servers.extend(Server::frames());
    servers
}

pub(crate) fn redis() -> Vec<Server> {
    let mut servers = vec![Server::floor("floor-resp"), Server::floor("floor-resp-uring")];
    servers.extend(Server::ours("redis"));
    servers.push(Server::redis());
    servers
}

pub(crate) fn http() -> Vec<Server> {
    let mut servers = vec![Server::floor("floor-http"), Server::floor("floor-http-uring")];
    servers.extend(Server::ours("http"));
    servers.extend(["hyper-http", "may-minihttp-http", "nginx-http"].map(Server::peer));
    servers
}

/// Echo over TLS, all by rustls with the same provider. No floor is known: tokio takes its place.
pub(crate) fn tls() -> Vec<Server> {
    let mut servers = vec![Server { role: Role::Floor, ..Server::peer("tokio-tls") }];
    servers.extend(Server::ours("echo").map(|server| server.with_tls()));
    servers
}

/// Plain datagrams.
pub(crate) fn datagrams() -> Vec<Server> {
    let mut servers = vec![Server::floor("floor-udp")];
    servers.extend(Server::ours("echo"));
    servers.extend(["mio-udp", "tokio-udp"].map(Server::peer));
    servers
}

/// Datagrams in bursts, beside the floor for plain ones.
pub(crate) fn bursts() -> Vec<Server> {
    let plain = Server::floor("floor-udp");
    let mut servers = vec![Server { name: "floor-udp, plain".to_owned(), ..plain }];
    servers.push(Server::floor("floor-udp-offload").with_offload());
    servers.extend(Server::ours("echo").map(|server| server.with_offload()));
    servers
}

/// Each server alone and with `idle` connections that do nothing. A thread for each of those is
/// more than a process may have.
pub(crate) fn crowded(idle: usize) -> Vec<Server> {
    let few = echo().into_iter().filter(|server| !server.is_crowd);
    few.flat_map(|server| [server.clone(), server.with_idle(idle)]).collect()
}

/// One loop and two.
pub(crate) fn scaled() -> Vec<Server> {
    let mut servers = vec![Server::floor("floor-echo")];
    for driver in Driver::ALL {
        servers.extend([1, 2].map(|loops| Server::our("echo", driver, loops)));
    }
    servers
}

const ECHO_PEERS: [&str; 8] = [
    "mio-echo",
    "tokio-echo",
    "monoio-echo",
    "monoio-legacy-echo",
    "compio-echo",
    "message-io-echo",
    "libuv-echo",
    "threads-echo",
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_floor_stands_first_and_ours_with_both_drivers() {
        for servers in
            [echo(), framed(), redis(), http(), tls(), datagrams(), bursts(), crowded(9), scaled()]
        {
            assert_eq!(servers[0].role, Role::Floor);
            for driver in Driver::ALL {
                assert!(servers.iter().any(|server| server.role == Role::Ours(driver)));
            }
            let names: HashSet<&str> = servers.iter().map(|server| server.name.as_str()).collect();
            assert_eq!(names.len(), servers.len(), "{names:?}");
        }
    }

    #[test]
    fn what_this_program_does_not_have_is_not_built() {
        assert!(Server::floor("floor-echo").is_built());
        assert!(!Server::peer("no-such-echo").is_built());
    }
}
