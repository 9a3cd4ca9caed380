//! SIGINT and SIGTERM, while a run lasts.

use super::Event;
use crate::Error;
use std::sync::mpsc::Sender;

#[cfg(unix)]
use signal_hook::consts::{SIGINT, SIGTERM};
#[cfg(unix)]
use std::thread::JoinHandle;

/// The thread that waits for signals; it ends with this value.
#[cfg(unix)]
pub(super) struct Signals {
    handle: signal_hook::iterator::Handle,
    thread: Option<JoinHandle<()>>,
}

#[cfg(unix)]
impl Signals {
    /// Catches both from now on, and tells of each.
    pub(super) fn watch(tell: Sender<Event>) -> Result<Self, Error> {
        let mut signals =
            signal_hook::iterator::Signals::new([SIGINT, SIGTERM]).map_err(Error::Signals)?;
        let handle = signals.handle();
        let wait = move || {
            for signal in signals.forever() {
                if tell.send(Event::Signal(signal)).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("signals".to_owned()).spawn(wait);
        Ok(Self { handle, thread: Some(thread.map_err(Error::Thread)?) })
    }
}

#[cfg(unix)]
impl Drop for Signals {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Elsewhere the system ends the process.
#[cfg(not(unix))]
pub(super) struct Signals;

#[cfg(not(unix))]
impl Signals {
    pub(super) fn watch(_tell: Sender<Event>) -> Result<Self, Error> {
        Ok(Self)
    }
}
