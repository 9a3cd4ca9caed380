//! What all connections of all loops see: the keys, and the changes that are not in the append log
//! yet.

use super::keyspace::Keyspace;
use mainspring::wire::resp::{Command, reply};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub(super) struct Store {
    pub(super) keys: Keyspace,
    /// Connections now.
    pub(super) clients: u64,
    /// Commands executed since the start.
    pub(super) executed: u64,
    /// The id of the last client.
    last_client: u64,
    /// Changes as commands, in the order of their execution; `None` when nobody keeps them.
    changes: Option<Vec<u8>>,
}

impl Store {
    pub(super) fn new() -> Self {
        let keys = Keyspace::default();
        Self { keys, clients: 0, executed: 0, last_client: 0, changes: None }
    }

    /// From here on changes are kept for the append log.
    pub(super) fn keep_changes(&mut self) {
        self.changes = Some(Vec::new());
    }

    /// Counts a new connection and names it.
    pub(super) fn client(&mut self) -> u64 {
        self.clients += 1;
        self.last_client += 1;
        self.last_client
    }

    /// Keeps a command that has changed the keys.
    pub(super) fn changed_by(&mut self, command: &Command<'_>) {
        if let Some(changes) = &mut self.changes {
            reply::array_header(changes, command.len());
            command.iter().for_each(|argument| reply::bulk(changes, argument));
        }
    }

    /// Keeps a change that the command that was sent does not name by itself.
    pub(super) fn changed_as(&mut self, arguments: &[&[u8]]) {
        if let Some(changes) = &mut self.changes {
            mainspring::wire::resp::request(changes, arguments);
        }
    }

    /// Gives the changes kept so far for an empty vector.
    pub(super) fn swap_changes(&mut self, empty: &mut Vec<u8>) {
        if let Some(changes) = &mut self.changes {
            std::mem::swap(changes, empty);
        }
    }
}

/// Locks the store. A command that panicked has at worst left its own change undone: the others go
/// on.
pub(super) fn lock(store: &Mutex<Store>) -> MutexGuard<'_, Store> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}
