//! Which server, and where it listens.

use std::io;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use mainspring_io::DriverKind;

use crate::floor::{self, Kernel};
use crate::listen::Address;
use crate::{
    compio_echo, framed_echo, hyper_http, may_http, message_io_echo, mio_echo, mio_udp,
    monoio_echo, nginx_http, tasks_echo, threads, tokio_echo, tokio_tls, tokio_udp, unsafe_libuv,
};

/// One of the servers to measure against; prints `NAME: ready on ADDRESS` once it listens, and ends
/// when it is killed.
#[derive(Debug, Clone, Parser)]
#[command(name = "servers", after_help = EXAMPLES)]
pub struct Arguments {
    /// The server
    #[arg(value_enum)]
    server: ServerName,
    /// tcp://HOST:PORT (port 0: any free one), unix:///path, or (where the server is for it) udp://HOST:PORT
    #[arg(long, default_value = "tcp://127.0.0.1:0")]
    listen: Address,
}

const EXAMPLES: &str = "\
Examples:
  servers floor-echo --listen tcp://127.0.0.1:5000
  servers floor-udp --listen udp://127.0.0.1:0
  servers tokio-echo --listen unix:///run/echo.sock";

/// What there is to measure against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ServerName {
    /// Raw epoll: the same bytes back (tcp, unix, udp)
    FloorEcho,
    /// Raw io_uring: the same bytes back (tcp, unix)
    FloorEchoUring,
    /// Raw epoll: PING, SET, GET on a table of fixed size (tcp, unix)
    FloorResp,
    /// Raw io_uring: PING, SET, GET on a table of fixed size (tcp, unix)
    FloorRespUring,
    /// Raw epoll: a fixed reply to each head (tcp, unix)
    FloorHttp,
    /// Raw io_uring: a fixed reply to each head (tcp, unix)
    FloorHttpUring,
    /// Raw epoll, recvmmsg and sendmmsg: the same datagrams back (udp)
    FloorUdp,
    /// As floor-udp, with UDP_GRO and UDP_SEGMENT (udp)
    FloorUdpOffload,
    /// std, a thread per connection: the same bytes back (tcp, unix)
    ThreadsEcho,
    /// std, a thread per connection: a fixed reply to each head (tcp)
    ThreadsHttp,
    /// mio: the same bytes back (tcp, unix)
    MioEcho,
    /// mio: the same datagrams back (udp)
    MioUdp,
    /// tokio, one thread: the same bytes back (tcp, unix)
    TokioEcho,
    /// tokio and tokio-rustls, one thread: the same bytes back over TLS (tcp)
    TokioTls,
    /// tokio, one thread: the same datagrams back (udp)
    TokioUdp,
    /// monoio on io_uring: the same bytes back (tcp, unix)
    MonoioEcho,
    /// monoio on epoll: the same bytes back (tcp, unix)
    MonoioLegacyEcho,
    /// compio on io_uring: the same bytes back (tcp, unix)
    CompioEcho,
    /// Mainspring's tasks on epoll: the same bytes back (tcp, unix)
    TasksEcho,
    /// Mainspring's tasks on io_uring: the same bytes back (tcp, unix)
    TasksEchoUring,
    /// Mainspring's frames on epoll: the same frames back, varint in front (tcp, unix)
    FramedEcho,
    /// Mainspring's frames on io_uring: the same frames back, varint in front (tcp, unix)
    FramedEchoUring,
    /// message-io: the same bytes back (tcp)
    MessageIoEcho,
    /// libuv, if it was there at build time: the same bytes back (tcp, unix)
    LibuvEcho,
    /// hyper on tokio, one thread (tcp)
    HyperHttp,
    /// may_minihttp, one worker (tcp)
    MayMinihttpHttp,
    /// nginx, if it is installed, one process (tcp)
    NginxHttp,
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
            ServerName::FloorEcho => floor::echo(&name, &self.listen, Kernel::Epoll),
            ServerName::FloorEchoUring => floor::echo(&name, &self.listen, Kernel::Ring),
            ServerName::FloorResp => floor::resp(&name, &self.listen, Kernel::Epoll),
            ServerName::FloorRespUring => floor::resp(&name, &self.listen, Kernel::Ring),
            ServerName::FloorHttp => floor::http(&name, &self.listen, Kernel::Epoll),
            ServerName::FloorHttpUring => floor::http(&name, &self.listen, Kernel::Ring),
            ServerName::FloorUdp => floor::datagrams(&name, &self.listen),
            ServerName::FloorUdpOffload => floor::joined_datagrams(&name, &self.listen),
            ServerName::ThreadsEcho => threads::echo(&name, &self.listen),
            ServerName::ThreadsHttp => threads::http(&name, &self.listen),
            ServerName::MioEcho => mio_echo::serve(&name, &self.listen),
            ServerName::MioUdp => mio_udp::serve(&name, &self.listen),
            ServerName::TokioEcho => tokio_echo::serve(&name, &self.listen),
            ServerName::TokioTls => tokio_tls::serve(&name, &self.listen),
            ServerName::TokioUdp => tokio_udp::serve(&name, &self.listen),
            ServerName::MonoioEcho => monoio_echo::serve(&name, &self.listen),
            ServerName::MonoioLegacyEcho => monoio_echo::serve_legacy(&name, &self.listen),
            ServerName::CompioEcho => compio_echo::serve(&name, &self.listen),
            ServerName::TasksEcho => tasks_echo::serve(&name, &self.listen, DriverKind::Ready),
            ServerName::TasksEchoUring => tasks_echo::serve(&name, &self.listen, DriverKind::Ring),
            ServerName::FramedEcho => framed_echo::serve(&name, &self.listen, DriverKind::Ready),
            ServerName::FramedEchoUring => {
                framed_echo::serve(&name, &self.listen, DriverKind::Ring)
            }
            ServerName::MessageIoEcho => message_io_echo::serve(&name, &self.listen),
            ServerName::LibuvEcho => unsafe_libuv::serve(&name, &self.listen),
            ServerName::HyperHttp => hyper_http::serve(&name, &self.listen),
            ServerName::MayMinihttpHttp => may_http::serve(&name, &self.listen),
            ServerName::NginxHttp => nginx_http::serve(&name, &self.listen),
        };
        let error = outcome.err().unwrap_or_else(|| io::Error::other("ended by itself"));
        eprintln!("error: {name} on {}: {error}", self.listen);
        ExitCode::FAILURE
    }
}
