//! One loop over the driver that it was given, or that the system has.

use crate::server::shard::Shard;
use crate::server::shared::ServerShared;
use crate::state::LoopState;
use crate::turn::Loop;
use crate::{Error, ServerInfo};
#[cfg(target_os = "linux")]
use mainspring_io::RingDriver;
use mainspring_io::{Driver, DriverKind, ReadyDriver};
use std::io;
use std::sync::Arc;

/// The environment variable that chooses where the server leaves the choice.
const VARIABLE: &str = "MAINSPRING_DRIVER";

pub(crate) const SETUPS_DIFFER: &str = "the set-up must listen on the same addresses on each loop";

/// A loop over one of the system's drivers, set up and ready to run.
pub(crate) enum Prepared {
    Ready(Box<Loop<ReadyDriver>>),
    #[cfg(target_os = "linux")]
    Ring(Box<Loop<RingDriver>>),
}

impl Prepared {
    /// Opens a driver of the kind and runs the set-up over it.
    pub(crate) fn new(
        kind: DriverKind,
        shared: &Arc<ServerShared>,
        index: usize,
        setup: impl FnOnce(&mut Shard<'_>) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let kind = chosen(kind)?;
        let limits = shared.limits.driver.clone();
        #[cfg(target_os = "linux")]
        if matches!(kind, DriverKind::Auto | DriverKind::Ring) {
            match RingDriver::new(limits.clone()) {
                Ok(driver) => {
                    return Ok(Self::Ring(Box::new(prepare(driver, shared, index, setup)?)));
                }
                Err(reason) if kind == DriverKind::Auto => shared.tell_fallback(&reason),
                Err(reason) => return Err(Error::Driver(reason.into())),
            }
        }
        let driver = match kind {
            DriverKind::Portable => ReadyDriver::portable(limits),
            #[cfg(not(target_os = "linux"))]
            DriverKind::Ring => Err(mainspring_io::RingUnavailable::not_linux().into()),
            _ => ReadyDriver::new(limits),
        };
        let driver = driver.map_err(Error::Driver)?;
        Ok(Self::Ready(Box::new(prepare(driver, shared, index, setup)?)))
    }

    /// Runs the loop until the server has stopped.
    pub(crate) fn run(self) -> Result<(), Error> {
        match self {
            Self::Ready(ready) => run(*ready),
            #[cfg(target_os = "linux")]
            Self::Ring(ring) => run(*ring),
        }
    }
}

/// The kind that was asked for, or what the environment says in place of
/// [`Auto`](DriverKind::Auto).
fn chosen(kind: DriverKind) -> Result<DriverKind, Error> {
    match std::env::var(VARIABLE) {
        Ok(name) if kind == DriverKind::Auto => name.parse().map_err(|unknown| {
            let message = format!("the environment variable {VARIABLE}: {unknown}");
            Error::Driver(io::Error::new(io::ErrorKind::InvalidInput, message))
        }),
        _ => Ok(kind),
    }
}

/// Makes a loop over `driver` and runs the set-up on it.
pub(crate) fn prepare<D: Driver>(
    driver: D,
    shared: &Arc<ServerShared>,
    index: usize,
    setup: impl FnOnce(&mut Shard<'_>) -> Result<(), Error>,
) -> Result<Loop<D>, Error> {
    shared.loops[index].inbox.set_waker(driver.waker());
    let state = LoopState::new(index as u16, driver.now(), shared.clone());
    let mut prepared = Loop::new(driver, state);
    let Loop { driver, core, .. } = &mut prepared;
    setup(&mut Shard { state: &mut core.state, hosts: &mut core.hosts, sockets: driver })?;
    if core.state.listeners.len() < shared.addrs().len() {
        return Err(Error::Misuse(SETUPS_DIFFER));
    }
    Ok(prepared)
}

fn run<D: Driver>(mut prepared: Loop<D>) -> Result<(), Error> {
    prepared.announce()?;
    prepared.run()
}

impl<D: Driver> Loop<D> {
    /// Tells the handlers that the server is about to run.
    pub(crate) fn announce(&mut self) -> Result<(), Error> {
        let state = &self.core.state;
        let info = ServerInfo {
            addrs: state.shared.addrs(),
            loops: state.shared.loops.len(),
            loop_index: state.index.into(),
        };
        self.start(&info)
    }
}

impl<D> Drop for Loop<D> {
    fn drop(&mut self) {
        self.core.refuse_posts();
    }
}
