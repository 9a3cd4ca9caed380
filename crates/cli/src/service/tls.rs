//! Certificates of the programs: from the command line or from `tls://` addresses, read again on
//! SIGHUP and when a file changes.

use super::Failure;
use crate::args::ServiceArguments;
use mainspring::tls::{ClientAuth, Identity, Roots, TlsServer, server_of};
use mainspring::{
    Action, Address, Conn, Cx, Error, Handler, Input, ListenOptions, Opened, Scheme, Shard,
};
use std::time::Duration;

/// How often the files are looked at.
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// The same on every system that has it.
const SIGHUP: i32 = 1;

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

    /// Has the files read again when they change, and on each SIGHUP, which would end a program
    /// without TLS.
    pub(super) fn watch(&self, shard: &mut Shard<'_>) -> Result<(), Error> {
        for server in &self.servers {
            server.watch(shard, WATCH_EVERY);
        }
        if self.servers.is_empty() || cfg!(not(unix)) {
            return Ok(());
        }
        let host = shard.host(ReloadOnHangup { servers: self.servers.clone() });
        shard.catch_signal(host, SIGHUP)
    }
}

/// Hears of SIGHUP.
struct ReloadOnHangup {
    servers: Vec<TlsServer>,
}

impl Handler for ReloadOnHangup {
    type State = ();

    fn on_open(&mut self, _conn: &mut Conn<'_>) -> Opened<()> {
        Opened::Refuse
    }

    fn on_data(&mut self, (): &mut (), _conn: &mut Conn<'_>, _input: &mut Input<'_>) -> Action {
        Action::Close
    }

    fn on_signal(&mut self, cx: &mut Cx<'_>, _number: i32) {
        let (this, servers) = (cx.this::<Self>(), self.servers.clone());
        let asked = cx.offload(this, move || servers.iter().for_each(reload), |_, _, ()| {});
        if asked.is_err() {
            tracing::warn!("TLS: too much else to do; the old certificates stay");
        }
    }
}

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
