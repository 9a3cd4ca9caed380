//! What the programs share: start, the line that says where they listen, and exit codes.

mod admin;
mod announcement;
mod front;
mod tls;

use self::admin::AdminPage;
use self::announcement::Announcement;
use self::front::Front;
use self::tls::Certificates;
use crate::args::{Arguments, Level, ServiceArguments, Size};
use clap::CommandFactory;
use clap::error::ErrorKind;
use mainspring::app::{self, Runner};
use mainspring::{
    Address, Error, Handler, HostId, Limits, ListenOptions, Loops, Scheme, Server, ServerBuilder,
    Shard,
};
use std::io::Write;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::Duration;
use tracing::level_filters::LevelFilter;

/// One program before it runs.
pub(crate) struct Service {
    /// Its name, as on the command line.
    pub(crate) name: &'static str,
    /// The port without `--listen` and `--port`.
    pub(crate) port: u16,
    /// Whether `--port` means UDP.
    pub(crate) udp: bool,
    /// Whether it can serve datagrams.
    pub(crate) takes_datagrams: bool,
    /// The program's own limits, where they differ from the library's.
    pub(crate) limits: Limits,
}

/// Why a program ended badly.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line asks for what cannot be: exit code 2.
    Usage(String),
    /// Exit code 1.
    Fatal(String),
    /// A second signal did not wait; the log has said so. This exit code.
    Interrupted(u8),
}

/// A drain that is `off` does not wait.
const NO_DRAIN: Duration = Duration::ZERO;
/// Beyond the drain time, for a server to end.
const TIME_TO_END: Duration = Duration::from_secs(10);

impl Service {
    /// Serves until the server has stopped. `make` makes one handler for each loop.
    pub(crate) fn run<H: Handler>(
        self,
        arguments: &ServiceArguments,
        make: impl Fn() -> H + Send + Sync + 'static,
    ) -> Result<(), Failure> {
        let places = self.places(arguments)?;
        let certificates = Certificates::new(arguments, &places)?;
        let scheme = |(index, place): (usize, &(Address, _))| certificates.scheme(index, &place.0);
        let schemes: Vec<Scheme> = places.iter().enumerate().map(scheme).collect();
        let front = Front::new(&arguments.clients);
        let admin = AdminPage::new(arguments.admin.as_ref(), front.guard())?;
        let announcement = Announcement { name: self.name, schemes };
        let setup = move |shard: &mut Shard<'_>| {
            let host = shard.host(make());
            listen(shard, host, &places, &front, &certificates)?;
            admin.listen(shard)?;
            announcement.host(shard);
            Ok(())
        };
        let builder = self.builder(arguments);
        if loop_count(arguments.loops) == 1 {
            // No other thread shares its descriptors, if nothing is offloaded: each call of the kernel is
            // cheaper then.
            builder.run(|shard| {
                setup(shard)?;
                app::stop_on_signals(shard)
            })?;
        } else {
            let deadline = arguments.drain.0.unwrap_or(NO_DRAIN).saturating_add(TIME_TO_END);
            let runner = Runner::new().deadline(Some(deadline));
            runner.service(self.name, || builder.start(setup)).run()?;
        }
        tracing::info!("stopped");
        Ok(())
    }

    /// Where to listen, and how.
    fn places(
        &self,
        arguments: &ServiceArguments,
    ) -> Result<Vec<(Address, ListenOptions)>, Failure> {
        let mut addresses = arguments.listen.clone();
        let default = arguments.listen.is_empty() && arguments.port.is_empty();
        let ports = arguments.port.iter().copied().chain(default.then_some(self.port));
        let scheme = if self.udp { "udp" } else { "tcp" };
        for port in ports {
            addresses.push(format!("{scheme}://:{port}").parse().map_err(Error::Address)?);
        }
        addresses.extend(arguments.unix.iter().map(Address::unix));
        if let Some(address) = addresses.iter().find(|address| !self.takes(address)) {
            return Err(Failure::Usage(format!(
                "{} serves byte streams: '{address}' is none; allowed are tcp, tcp4, tcp6, tls, unix",
                self.name
            )));
        }
        let options = |address: &Address| {
            let mut options = address.listen_options().clone();
            if arguments.reuseport && address.scheme() != Scheme::Unix {
                options.reuseport = Some(true);
            }
            options
        };
        Ok(addresses.into_iter().map(|address| (address.clone(), options(&address))).collect())
    }

    fn takes(&self, address: &Address) -> bool {
        self.takes_datagrams || !address.is_datagram()
    }

    fn builder(&self, arguments: &ServiceArguments) -> ServerBuilder {
        let mut limits = self.limits.clone();
        let loops = loop_count(arguments.loops);
        limits.memory_max = limits.memory_max.saturating_mul(loops);
        limits.write_timeout = arguments.write_timeout.0;
        if let Some(timeout) = arguments.idle_timeout {
            limits.idle_timeout = timeout.0;
        }
        if let Some(Size(bytes)) = arguments.output_max {
            limits.output_max = bytes;
            limits.output_high = limits.output_high.min(bytes);
            limits.output_low = limits.output_low.min(bytes);
            limits.memory_max = limits.memory_max.max(bytes);
        }
        if let Some(Size(bytes)) = arguments.memory_max {
            limits.memory_max = bytes;
        }
        if let Some(count) = arguments.connections_max {
            limits.connections_max = count;
        }
        Server::builder()
            .loops(arguments.loops)
            .pin(arguments.pin)
            .balance(arguments.balance)
            .driver(arguments.driver)
            .drain(arguments.drain.0.unwrap_or(NO_DRAIN))
            .limits(limits)
    }
}

/// Listens on all places: in front of the handler who may connect, then TLS.
fn listen<H: Handler>(
    shard: &mut Shard<'_>,
    host: HostId<H>,
    places: &[(Address, ListenOptions)],
    front: &Front,
    certificates: &Certificates,
) -> Result<(), Error> {
    for ((address, options), tls) in places.iter().zip(certificates.of_places()) {
        if address.is_datagram() || (front.is_open() && tls.is_none()) {
            shard.listen_with(host, address, options)?;
            continue;
        }
        let (front, tls) = (front.clone(), tls.clone());
        let layers = move || match &tls {
            None => front.layers(),
            Some(tls) => front.layers().above(tls.layer()),
        };
        shard.listen_layered(host, &address.transport(), options, layers)?;
    }
    certificates.watch(shard)
}

impl Failure {
    /// Tells the user, and says how the process ends.
    pub(crate) fn report(self) -> ExitCode {
        let (kind, text) = match self {
            Self::Usage(text) => (ErrorKind::ValueValidation, text),
            Self::Interrupted(code) => return ExitCode::from(code),
            Self::Fatal(text) => {
                // There is nobody left to tell if stderr is gone.
                let _ = writeln!(std::io::stderr(), "error: {text}");
                return ExitCode::FAILURE;
            }
        };
        let _ = Arguments::command().error(kind, text).print();
        ExitCode::from(2)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Address(_) | Error::Misuse(_) => Self::Usage(error.to_string()),
            Error::Aborted(cause) => match cause.downcast::<app::Error>() {
                Ok(error) => (*error).into(),
                Err(cause) => Self::Fatal(cause.to_string()),
            },
            error => Self::Fatal(error.to_string()),
        }
    }
}

impl From<app::Error> for Failure {
    fn from(error: app::Error) -> Self {
        let code = error.exit_code();
        match error {
            // A program is one service: what its server says needs no name in front.
            app::Error::Start { cause, .. } | app::Error::Failed { cause, .. } => {
                match cause.downcast::<Error>() {
                    Ok(error) => (*error).into(),
                    Err(cause) => Self::Fatal(cause.to_string()),
                }
            }
            app::Error::Interrupted { .. } => Self::Interrupted(code),
            error => Self::Fatal(error.to_string()),
        }
    }
}

/// How many loops there will be.
pub(crate) fn loop_count(loops: Loops) -> usize {
    match loops {
        Loops::Count(count) => count.max(1),
        Loops::PerCore => std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
    }
}

/// From here on logs go to stderr.
pub(crate) fn log_to_stderr(level: Level) {
    let level = match level {
        Level::Off => LevelFilter::OFF,
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .with_max_level(level)
        // A failed write to a log that nobody reads would otherwise be a panic.
        .log_internal_errors(false)
        .init();
}
