//! Which server, and where it listens.

use std::io;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use crate::listen::Address;
use crate::{floor, hyper_http, mio_echo, threads, tokio_echo};

/// One of the servers to measure against; prints `NAME: ready on ADDRESS` once it listens, and ends
/// when it is killed.
#[derive(Debug, Clone, Parser)]
#[command(name = "servers", after_help = EXAMPLES)]
pub struct Arguments {
    /// The server
    #[arg(value_enum)]
    server: ServerName,
    /// tcp://HOST:PORT (port 0: any free one), unix:///path, or (floor-echo) udp://HOST:PORT
    #[arg(long, default_value = "tcp://127.0.0.1:0")]
    listen: Address,
}

const EXAMPLES: &str = "\
Examples:
  servers floor-echo --listen tcp://127.0.0.1:5000
  servers floor-echo --listen udp://127.0.0.1:0
  servers tokio-echo --listen unix:///run/echo.sock";

/// What there is to measure against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ServerName {
    /// Raw epoll: the same bytes back (tcp, unix, udp)
    FloorEcho,
    /// Raw epoll: PING, SET, GET on a table of fixed size (tcp, unix)
    FloorResp,
    /// Raw epoll: a fixed reply to each head (tcp, unix)
    FloorHttp,
    /// std, a thread per connection: the same bytes back (tcp, unix)
    ThreadsEcho,
    /// std, a thread per connection: a fixed reply to each head (tcp)
    ThreadsHttp,
    /// mio: the same bytes back (tcp)
    MioEcho,
    /// tokio, one thread: the same bytes back (tcp, unix)
    TokioEcho,
    /// hyper on tokio, one thread (tcp)
    HyperHttp,
}

impl Arguments {
    /// Serves until killed; returns only if that is not possible.
    #[must_use]
    pub fn run(&self) -> ExitCode {
        let name = self
            .server
            .to_possible_value()
            .map_or_else(String::new, |value| value.get_name().into());
        let outcome = match self.server {
            ServerName::FloorEcho => floor::echo(&name, &self.listen),
            ServerName::FloorResp => floor::resp(&name, &self.listen),
            ServerName::FloorHttp => floor::http(&name, &self.listen),
            ServerName::ThreadsEcho => threads::echo(&name, &self.listen),
            ServerName::ThreadsHttp => threads::http(&name, &self.listen),
            ServerName::MioEcho => mio_echo::serve(&name, &self.listen),
            ServerName::TokioEcho => tokio_echo::serve(&name, &self.listen),
            ServerName::HyperHttp => hyper_http::serve(&name, &self.listen),
        };
        let error = outcome.err().unwrap_or_else(|| io::Error::other("ended by itself"));
        eprintln!("error: {name} on {}: {error}", self.listen);
        ExitCode::FAILURE
    }
}
