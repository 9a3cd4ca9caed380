//! Certificates of the programs: from the command line or from `tls://` addresses, read again on
//! SIGHUP and when a file changes.

use super::Failure;
use crate::args::ServiceArguments;
use mainspring::tls::{ClientAuth, Identity, Roots, TlsServer, server_of};
use mainspring::{Address, ListenOptions, Scheme, Shard};
use std::time::Duration;

/// How often the files are looked at.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// Who speaks TLS, and where.
#[derive(Clone)]
pub(super) struct Certificates {
    /// For each place its server, if it is one of TLS.
    of_places: Vec<Option<TlsServer>>,
    /// Those of them all, to be watched and read again.
    servers: Vec<TlsServer>,
}

impl Certificates {
    pub(super) fn new(
        arguments: &ServiceArguments,
        places: &[(Address, ListenOptions)],
    ) -> Result<Self, Failure> {
        let given = given(arguments)?;
        let mut servers: Vec<TlsServer> = given.iter().cloned().collect();
        let mut of_places = Vec::with_capacity(places.len());
        for (address, _) in places {
            let names_files = address.tls_options().is_some_and(|tls| !tls.cert.is_empty());
            of_places.push(match address.scheme() {
                Scheme::Tls if names_files => {
                    let server = server_of(address).map_err(|error| fatal(address, &error))?;
                    servers.push(server.clone());
                    Some(server)
                }
                Scheme::Tls if given.is_none() => {
                    return Err(Failure::Usage(format!(
                        "'{address}' names no certificate: give it ?cert=FILE&key=FILE, or give \
                         --tls-cert and --tls-key"
                    )));
                }
                Scheme::Tcp | Scheme::Tcp4 | Scheme::Tcp6 | Scheme::Tls => given.clone(),
                _ => None,
            });
        }
        Ok(Self { of_places, servers })
    }

    /// What is announced for an address.
    pub(super) fn scheme(&self, index: usize, address: &Address) -> Scheme {
        if self.of_places[index].is_some() { Scheme::Tls } else { address.scheme() }
    }

    /// Place by place, who speaks TLS there.
    pub(super) fn of_places(&self) -> &[Option<TlsServer>] {
        &self.of_places
    }

    /// Has the files looked at.
    pub(super) fn watch(&self, shard: &mut Shard<'_>) {
        for server in &self.servers {
            server.watch(shard, WATCH_EVERY);
        }
    }

    /// Reads all certificates again on each SIGHUP, which would end a program without TLS.
    #[cfg(unix)]
    pub(super) fn reload_on_hangup(&self) -> Result<(), Failure> {
        if self.servers.is_empty() {
            return Ok(());
        }
        let servers = self.servers.clone();
        let wait = move |mut signals: signal_hook::iterator::Signals| {
            for _ in signals.forever() {
                servers.iter().for_each(reload);
            }
        };
        let hangup = [signal_hook::consts::SIGHUP];
        signal_hook::iterator::Signals::new(hangup)
            .and_then(|signals| {
                let thread = std::thread::Builder::new().name("hangup".to_owned());
                thread.spawn(move || wait(signals)).map(drop)
            })
            .map_err(|error| Failure::Fatal(format!("cannot wait for SIGHUP: {error}")))
    }

    /// Elsewhere there is no such signal.
    #[cfg(not(unix))]
    pub(super) fn reload_on_hangup(&self) -> Result<(), Failure> {
        Ok(())
    }
}

#[cfg(unix)]
fn reload(server: &TlsServer) {
    match server.reload() {
        Ok(()) => tracing::info!("TLS: the certificates have been read again"),
        Err(error) => tracing::warn!(%error, "TLS: the old certificates stay"),
    }
}

/// The certificates of the command line.
fn given(arguments: &ServiceArguments) -> Result<Option<TlsServer>, Failure> {
    let (certs, keys) = (&arguments.tls_cert, &arguments.tls_key);
    if certs.len() != keys.len() {
        return Err(Failure::Usage(format!(
            "{} times --tls-cert and {} times --tls-key: give each certificate its key",
            certs.len(),
            keys.len()
        )));
    }
    if certs.is_empty() {
        return Ok(None);
    }
    let mut builder = TlsServer::builder();
    for (cert, key) in certs.iter().zip(keys) {
        builder = builder.identity(Identity::files(cert, key));
    }
    if !arguments.tls_client_ca.is_empty() {
        let roots = arguments.tls_client_ca.iter().fold(Roots::new(), Roots::file);
        builder = builder.client_auth(ClientAuth::Required, roots);
    }
    let server = builder.build().map_err(|error| Failure::Fatal(format!("TLS: {error}")))?;
    Ok(Some(server))
}

fn fatal(address: &Address, error: &mainspring::tls::Error) -> Failure {
    Failure::Fatal(format!("cannot listen on {address}: {error}"))
}
