//! Servers whose loops are turned by their owner: how they run in simulation.

use crate::Error;
use crate::server::offload::Offload;
use crate::server::prepared::prepare;
use crate::server::shard::Shard;
use crate::server::{Handle, Loops, ServerBuilder};
use crate::turn::Loop;
use mainspring_io::Driver;
use std::fmt;

impl ServerBuilder {
    /// Prepares loops over drivers of the caller's, for simulation: they are turned by the caller,
    /// and the offload pool works at once, on the loop's thread.
    ///
    /// # Errors
    ///
    /// As for [`start`](ServerBuilder::start), and [`Error::Panicked`] for an `on_start`.
    pub fn simulate<D: Driver>(
        self,
        drivers: impl IntoIterator<Item = D>,
        setup: impl Fn(&mut Shard<'_>) -> Result<(), Error>,
    ) -> Result<(Vec<SimLoop<D>>, Handle), Error> {
        let drivers: Vec<D> = drivers.into_iter().collect();
        let this = self.loops(Loops::Count(drivers.len()));
        let shared = this.share(|_| Offload::Inline)?;
        let mut loops = Vec::new();
        for (index, driver) in drivers.into_iter().enumerate() {
            loops.push(prepare(driver, &shared, index, &setup)?);
        }
        for inner in &mut loops {
            inner.announce()?;
        }
        let loops = loops.into_iter().map(|inner| SimLoop { inner: Some(inner) }).collect();
        Ok((loops, Handle { shared }))
    }
}

/// A loop that its owner turns.
///
/// When it has ended it lets go of its driver, and refuses what others still ask of it.
pub struct SimLoop<D> {
    /// `None` once the loop has ended.
    inner: Option<Loop<D>>,
}

impl<D: Driver> SimLoop<D> {
    /// Turns once. `false` once the loop has ended.
    ///
    /// # Errors
    ///
    /// [`Error::Driver`] if the poller is lost.
    pub fn turn(&mut self) -> Result<bool, Error> {
        let goes_on = match &mut self.inner {
            Some(inner) => inner.turn()?,
            None => false,
        };
        if !goes_on {
            self.inner = None;
        }
        Ok(goes_on)
    }

    /// Bytes buffered for connections: unsent output and unconsumed input.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.inner.as_ref().map_or(0, |inner| inner.core.state.buffered)
    }
}

impl<D> SimLoop<D> {
    /// Whether the loop has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.inner.is_none()
    }
}

impl<D> fmt::Debug for SimLoop<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimLoop").field("over", &self.is_over()).finish_non_exhaustive()
    }
}
