//! The command line.

mod load;
mod quantity;

use clap::{Args, Parser, Subcommand, ValueEnum};
pub(crate) use load::{FramingName, LoadArguments};
use mainspring::app::guard::{NetworkSet, Rate};
use mainspring::{Address, Balance, DriverKind, Loops};
use quantity::parse_loops;
pub(crate) use quantity::{Size, Timeout};
use std::num::NonZeroU32;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  mainspring echo --port 5000
  mainspring redis --listen tcp://127.0.0.1:6380 --loops auto
  mainspring http --port 8080 --aaaa
  mainspring load --clients 50 --sends 10000
  mainspring help redis

Exit codes:
  0    stopped in good order by SIGTERM, SIGINT or SHUTDOWN
  1    cannot listen, or failed
  2    wrong command line
  130  ended at once by a second signal: SIGINT (SIGTERM: 143)";

const ECHO_EXAMPLES: &str = "\
Examples:
  mainspring echo
  mainspring echo --port 5000 --unix /run/echo.sock --trace
  mainspring echo --admin tcp://127.0.0.1:9100 --client-connections-max 100 --deny 203.0.113.0/24
  mainspring echo --udp --port 5001 --reuseport
  mainspring echo --listen tcp://127.0.0.1:0 --listen udp://127.0.0.1:0";

const REDIS_EXAMPLES: &str = "\
Examples:
  mainspring redis
  mainspring redis --listen 'tcp://127.0.0.1:6380?keepalive=60s' --loops 4 --balance round-robin
  mainspring redis --appendonly yes --dir /var/lib/mainspring
  redis-cli -p 6380 set key value";

const HTTP_EXAMPLES: &str = "\
Examples:
  mainspring http
  mainspring http --port 8080 --aaaa --loops auto --pin
  mainspring http --listen tcp://[::1]:8080 --idle-timeout 5s --header-timeout 2s
  curl http://127.0.0.1:8080/";

/// Servers on Mainspring loops: echo, Redis and HTTP; and clients to load them with
#[derive(Debug, Parser)]
#[command(name = "mainspring", version, about, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) program: Program,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Program {
    /// Send back what comes in: bytes of TCP and unix connections, datagrams of UDP
    #[command(after_help = ECHO_EXAMPLES)]
    Echo(EchoArguments),
    /// Serve strings to Redis clients (RESP2 and RESP3)
    #[command(after_help = REDIS_EXAMPLES)]
    Redis(RedisArguments),
    /// Answer every HTTP/1.0 and HTTP/1.1 request with the same page
    #[command(after_help = HTTP_EXAMPLES)]
    Http(HttpArguments),
    /// Send messages to an echo server and measure how long their answers take
    #[command(after_help = load::EXAMPLES)]
    Load(LoadArguments),
}

impl Program {
    /// What is logged.
    pub(crate) fn log(&self) -> Level {
        match self {
            Self::Echo(arguments) => arguments.service.log,
            Self::Redis(arguments) => arguments.service.log,
            Self::Http(arguments) => arguments.service.log,
            Self::Load(arguments) => arguments.log,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct EchoArguments {
    #[command(flatten)]
    pub(crate) service: ServiceArguments,

    /// Let --port mean UDP ports
    #[arg(long)]
    pub(crate) udp: bool,

    /// Log each packet with its bytes, at level info
    #[arg(long)]
    pub(crate) trace: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RedisArguments {
    #[command(flatten)]
    pub(crate) service: ServiceArguments,

    /// Close a client that sends a command longer than this
    #[arg(long, value_name = "SIZE", default_value = "1g", help_heading = LIMITS)]
    pub(crate) input_max: Size,

    /// Whether to append each change to a file before it is answered, and to replay that file at
    /// the start; the file only grows
    #[arg(long, value_name = "YES|NO", default_value = "no", help_heading = STORAGE)]
    pub(crate) appendonly: YesNo,

    /// The name of that file
    #[arg(long, value_name = "NAME", default_value = "appendonly.aof", help_heading = STORAGE)]
    pub(crate) appendfilename: PathBuf,

    /// Whether the file is on the disk (always), or only with the system (no), before a change is
    /// answered
    #[arg(long, value_name = "WHEN", default_value = "always", help_heading = STORAGE)]
    pub(crate) appendfsync: Fsync,

    /// The folder of that file
    #[arg(long, value_name = "FOLDER", default_value = ".", help_heading = STORAGE)]
    pub(crate) dir: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct HttpArguments {
    #[command(flatten)]
    pub(crate) service: ServiceArguments,

    /// Answer with 1024 times 'a' instead of "Hello World!"
    #[arg(long)]
    pub(crate) aaaa: bool,

    /// Answer 408 and close when the head of a request is not whole this long after its first bytes
    #[arg(long, value_name = "TIME", default_value = "10s", help_heading = LIMITS)]
    pub(crate) header_timeout: Timeout,

    /// Answer 413 and close when the body of a request is longer; bodies are read and dropped
    #[arg(long, value_name = "SIZE", default_value = "1g", help_heading = LIMITS)]
    pub(crate) body_max: Size,
}

const LISTENING: &str = "Listening";
const CLIENTS: &str = "Clients (NETWORKS: addresses and CIDR, with commas; RATE: 10/s, 90/m, or 10/s:100 for 100 at once)";
const TLS: &str = "TLS (certificates are read again when a file changes, and on SIGHUP)";
const LIMITS: &str = "Limits (times: 500ms, 5s, 2m, 1h, off; sizes: bytes, or with k, m, g)";
const STORAGE: &str = "Storage";

/// What every program takes.
#[derive(Debug, Args)]
pub(crate) struct ServiceArguments {
    /// Listen on an address: tcp://HOST:PORT, tls://HOST:PORT?cert=FILE&key=FILE, udp://HOST:PORT
    /// (echo), unix://PATH; may be repeated
    #[arg(long, value_name = "ADDRESS", help_heading = LISTENING)]
    pub(crate) listen: Vec<Address>,

    /// Listen on a port of all interfaces; 0 lets the system choose; may be repeated [default
    /// without --listen: echo 5000, redis 6380, http 8080]
    #[arg(long, short, value_name = "PORT", help_heading = LISTENING)]
    pub(crate) port: Vec<u16>,

    /// Listen on a unix socket as well; may be repeated
    #[arg(long, value_name = "PATH", help_heading = LISTENING)]
    pub(crate) unix: Vec<PathBuf>,

    /// Share the ports with other processes (SO_REUSEPORT)
    #[arg(long, help_heading = LISTENING)]
    pub(crate) reuseport: bool,

    /// Serve figures for Prometheus (/metrics) and answers about health (/healthz) over HTTP on an
    /// address, as tcp://127.0.0.1:9100. There is no protection but the address; what is served
    /// there counts in the figures and against the limits
    #[arg(long, value_name = "ADDRESS", help_heading = LISTENING)]
    pub(crate) admin: Option<Address>,

    #[command(flatten)]
    pub(crate) clients: ClientArguments,

    /// Speak TLS on all TCP addresses, with this certificate chain in PEM; several are told apart by
    /// the names in them (SNI), the first is for everybody else
    #[arg(long, value_name = "FILE", requires = "tls_key", help_heading = TLS)]
    pub(crate) tls_cert: Vec<PathBuf>,

    /// The private key of each --tls-cert, in the same order
    #[arg(long, value_name = "FILE", requires = "tls_cert", help_heading = TLS)]
    pub(crate) tls_key: Vec<PathBuf>,

    /// Ask clients for certificates that these roots vouch for; may be repeated
    #[arg(long, value_name = "FILE", requires = "tls_cert", help_heading = TLS)]
    pub(crate) tls_client_ca: Vec<PathBuf>,

    /// How many loops, each a thread: a number (0 is 1), or auto for one per processor
    #[arg(long, value_name = "N|auto", default_value = "1", value_parser = parse_loops)]
    pub(crate) loops: Loops,

    /// How connections are shared out: kernel, random, round-robin, least-connections, source-hash
    #[arg(long, value_name = "HOW", default_value_t)]
    pub(crate) balance: Balance,

    /// How the kernel tells of events: auto, ring (io_uring), ready (epoll, kqueue), portable. With
    /// auto the environment variable MAINSPRING_DRIVER decides, or else the kernel: ring where it can
    #[arg(long, value_name = "DRIVER", default_value_t)]
    pub(crate) driver: DriverKind,

    /// Bind each loop to a processor
    #[arg(long)]
    pub(crate) pin: bool,

    /// What is logged to stderr
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub(crate) log: Level,

    /// How long connections may take to finish after SIGTERM or SIGINT (off: no time at all)
    #[arg(long, value_name = "TIME", default_value = "5s", help_heading = LIMITS)]
    pub(crate) drain: Timeout,

    /// Close a connection without traffic for this long [default: http 60s, else off]
    #[arg(long, value_name = "TIME", help_heading = LIMITS)]
    pub(crate) idle_timeout: Option<Timeout>,

    /// Close a connection whose peer takes none of the waiting output for this long
    #[arg(long, value_name = "TIME", default_value = "30s", help_heading = LIMITS)]
    pub(crate) write_timeout: Timeout,

    /// Close a connection with more unsent output, because its peer does not read; from a quarter
    /// of a megabyte on nothing more is read from it [default: redis 1g, else 64m]
    #[arg(long, value_name = "SIZE", help_heading = LIMITS)]
    pub(crate) output_max: Option<Size>,

    /// Beyond this many waiting bytes in all, close connections with more than 64k of unsent output
    /// [default: for each loop 1g, redis 2g]
    #[arg(long, value_name = "SIZE", help_heading = LIMITS)]
    pub(crate) memory_max: Option<Size>,

    /// Close further connections at once [default: no limit but the descriptors]
    #[arg(long, value_name = "COUNT", help_heading = LIMITS)]
    pub(crate) connections_max: Option<usize>,
}

/// Who may connect to byte streams; the admin's page is not concerned.
#[derive(Debug, Args)]
pub(crate) struct ClientArguments {
    /// Close connections from everywhere else at once; may be repeated
    #[arg(long, value_name = "NETWORKS", help_heading = CLIENTS)]
    pub(crate) allow: Vec<NetworkSet>,

    /// Close connections from there at once, also if allowed; may be repeated
    #[arg(long, value_name = "NETWORKS", help_heading = CLIENTS)]
    pub(crate) deny: Vec<NetworkSet>,

    /// Close further connections of a client at once: an IPv4 address, or a /64 network of IPv6
    #[arg(long, value_name = "COUNT", help_heading = CLIENTS)]
    pub(crate) client_connections_max: Option<NonZeroU32>,

    /// Close connections of a client that come faster at once
    #[arg(long, value_name = "RATE", help_heading = CLIENTS)]
    pub(crate) client_rate: Option<Rate>,

    /// Close connections that come faster, from whomever, at once
    #[arg(long, value_name = "RATE", help_heading = CLIENTS)]
    pub(crate) accept_rate: Option<Rate>,

    /// Take the client's address from the PROXY header (version 1 or 2) with which connections from
    /// there begin, and close all others; unix sockets belong to it; may be repeated
    #[arg(long, value_name = "NETWORKS", help_heading = CLIENTS)]
    pub(crate) proxies: Vec<NetworkSet>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum YesNo {
    Yes,
    No,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fsync {
    Always,
    No,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn addresses_may_be_repeated() {
        let line = "mainspring echo --listen tcp://[::1]:1 --listen unix://x --port 2 --port 3";
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
        let Program::Echo(echo) = arguments.program else { panic!("{arguments:?}") };
        assert_eq!(echo.service.listen.len(), 2);
        assert_eq!(echo.service.port, [2, 3]);
        assert_eq!(echo.service.loops, Loops::Count(1));
    }
}
