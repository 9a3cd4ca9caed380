//! `--admin ADDRESS`: figures and health over HTTP, on the loops of the program.

use super::Failure;
use mainspring::app::Admin;
use mainspring::app::guard::Guard;
use mainspring::app::metrics::Meter;
use mainspring::{Addr, Address, Error, Scheme, Shard};
use std::time::Duration;

/// The time of which the rates are.
const INTERVAL: Duration = Duration::from_secs(1);

/// The admin's page, where one was asked for.
pub(super) struct AdminPage {
    asked: Option<(Address, Meter)>,
}

impl AdminPage {
    pub(super) fn new(address: Option<&Address>, guard: Option<&Guard>) -> Result<Self, Failure> {
        let serves = |address: &&Address| !address.is_datagram() && address.scheme() != Scheme::Tls;
        if let Some(address) = address.filter(|address| !serves(address)) {
            return Err(Failure::Usage(format!(
                "--admin serves plain HTTP: not on '{address}'; allowed are tcp, tcp4, tcp6, unix"
            )));
        }
        let meter = guard
            .into_iter()
            .fold(Meter::every(INTERVAL), |meter, guard| meter.guard("clients", guard));
        Ok(Self { asked: address.map(|address| (address.clone(), meter)) })
    }

    /// To be called behind the listeners of the program, in the set-up of each loop.
    pub(super) fn listen(&self, shard: &mut Shard<'_>) -> Result<(), Error> {
        let Some((address, meter)) = &self.asked else { return Ok(()) };
        meter.host(shard);
        Admin::new(meter).listen(shard, address.clone()).map(drop)
    }
}

/// Says where it is, if it is: the address behind those of the program.
pub(super) fn announce(bound: Option<&Addr>) {
    match bound {
        Some(Addr::Inet(addr)) => tracing::info!("admin: http://{addr}/metrics"),
        Some(addr) => tracing::info!("admin: {addr}"),
        None => {}
    }
}
