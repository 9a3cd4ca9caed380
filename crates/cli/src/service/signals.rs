//! SIGINT and SIGTERM: the first drains the server, the second ends the process.

use mainspring::Handle;
use std::io;

#[cfg(unix)]
use signal_hook::consts::{SIGINT, SIGTERM};

/// The signals, caught from now on.
#[cfg(unix)]
pub(super) struct Signals(signal_hook::iterator::Signals);

#[cfg(unix)]
impl Signals {
    pub(super) fn register() -> io::Result<Self> {
        signal_hook::iterator::Signals::new([SIGINT, SIGTERM]).map(Self)
    }

    /// Waits for signals on a thread of its own; those that came since `register` count.
    pub(super) fn watch(mut self, server: Handle) -> io::Result<()> {
        let wait = move || {
            let mut draining = false;
            for signal in self.0.forever() {
                if draining {
                    tracing::warn!(signal, "stopping at once");
                    // As a shell reports a process that a signal ended.
                    std::process::exit(128 + signal);
                }
                tracing::info!(signal, "draining; another signal stops at once");
                server.drain();
                draining = true;
            }
        };
        std::thread::Builder::new().name("signals".to_owned()).spawn(wait).map(drop)
    }
}

/// Elsewhere the system ends the process.
#[cfg(not(unix))]
pub(super) struct Signals;

#[cfg(not(unix))]
impl Signals {
    pub(super) fn register() -> io::Result<Self> {
        Ok(Self)
    }

    pub(super) fn watch(self, _server: Handle) -> io::Result<()> {
        Ok(())
    }
}
