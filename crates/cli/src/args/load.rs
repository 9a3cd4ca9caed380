//! The command line of `mainspring load`.

use super::quantity::parse_loops;
use super::{Level, Size, Timeout};
use clap::{Args, ValueEnum};
use mainspring::{Address, DriverKind, Loops};

pub(super) const EXAMPLES: &str = "\
Examples:
  mainspring load --clients 50 --sends 10000
  mainspring load tcp://127.0.0.1:5000 --clients 100 --duration 10s --depth 16
  mainspring load unix:///run/echo.sock --framing varint --payload 1k --sends 1000
  mainspring load --clients 20 --duration 30s --rate 10000 --json
  mainspring load 'tls://localhost:5000?ca=cert.pem' --clients 50 --sends 1000

The server has to answer each message with the same message, as mainspring echo does. Each answer is
compared byte by byte.

Exit codes:
  0    every answer was right
  1    there were errors, or no answer at all
  2    wrong command line
  130  ended by SIGINT or SIGTERM, after printing what there was";

const HOW: &str = "How to send";

#[derive(Debug, Args)]
pub(crate) struct LoadArguments {
    /// Where the server is: tcp://HOST:PORT, unix://PATH, tls://HOST:PORT?ca=FILE&server_name=NAME
    #[arg(value_name = "ADDRESS", default_value = "tcp://localhost:5000")]
    pub(crate) address: Address,

    /// How many connections
    #[arg(long, short, value_name = "COUNT", default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) clients: u32,

    /// How many messages each client sends
    #[arg(long, short, value_name = "COUNT", default_value_t = 10, conflicts_with = "duration")]
    pub(crate) sends: u64,

    /// Send for this long, however many messages that makes
    #[arg(long, value_name = "TIME")]
    pub(crate) duration: Option<Timeout>,

    /// The bytes of one message (or with k, m)
    #[arg(long, value_name = "SIZE", default_value = "512")]
    pub(crate) payload: Size,

    /// What is around a message
    #[arg(long, value_name = "HOW", default_value = "raw", help_heading = HOW)]
    pub(crate) framing: FramingName,

    /// What is around an answer [default: as --framing says]
    #[arg(long, value_name = "HOW", help_heading = HOW)]
    pub(crate) answers: Option<FramingName>,

    /// How many messages of one client may wait for their answer [default: 1; with --rate 1024, in
    /// all not more than 16 MiB]
    #[arg(long, value_name = "COUNT", help_heading = HOW,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) depth: Option<u32>,

    /// Send so many messages per second, all clients together, whether answers come or not. Their
    /// latency counts from when they were due, also if they could not leave. Those due within one
    /// millisecond leave together
    #[arg(long, value_name = "PER SECOND", help_heading = HOW)]
    pub(crate) rate: Option<f64>,

    /// With --rate: send at the very microsecond, by loops that never sleep
    #[arg(long, requires = "rate", help_heading = HOW)]
    pub(crate) spin: bool,

    /// Give up a connection that is not up, or an answer that is not there, after this long
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub(crate) timeout: Timeout,

    /// What the messages are made from
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub(crate) seed: u64,

    /// How many loops, each a thread: a number (0 is 1), or auto for one per processor
    #[arg(long, value_name = "N|auto", default_value = "1", value_parser = parse_loops)]
    pub(crate) loops: Loops,

    /// How the kernel tells of events: auto, ring (io_uring), ready (epoll, kqueue), portable
    #[arg(long, value_name = "DRIVER", default_value_t)]
    pub(crate) driver: DriverKind,

    /// Bind each loop to a processor
    #[arg(long)]
    pub(crate) pin: bool,

    /// Print one JSON object in place of the table; times are in nanoseconds
    #[arg(long)]
    pub(crate) json: bool,

    /// Show no progress on stderr; without a terminal there is none anyway
    #[arg(long)]
    pub(crate) no_progress: bool,

    /// What is logged to stderr
    #[arg(long, value_name = "LEVEL", default_value = "warn")]
    pub(crate) log: Level,
}

/// What tells where a message ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FramingName {
    /// Nothing: each side counts the bytes
    Raw,
    /// A newline behind it
    Newline,
    /// Its length in front, as a varint of at most 5 bytes
    Varint,
    /// Its length in front, as a varint of at most 10 bytes
    Varlong,
    /// Its length in front, in one byte
    U8,
    /// In two bytes, the most significant one first
    U16Be,
    /// In two bytes, the least significant one first
    U16Le,
    /// In four bytes
    U32Be,
    /// In four bytes
    U32Le,
    /// In eight bytes
    U64Be,
    /// In eight bytes
    U64Le,
}
