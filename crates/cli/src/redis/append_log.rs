//! The append log: every change as a command, in a file, before its reply leaves.

use super::replay::{LogError, Replayed, replay};
use super::store::{Store, lock};
use mainspring::wire::resp::Command;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// The open file. Its lock is taken before the store's, so that batches are written in the order in
/// which they were executed, and the store is free while the disk works.
pub(super) struct AppendLog {
    file: Mutex<Tail>,
    syncs: bool,
}

struct Tail {
    file: File,
    /// Kept for its memory.
    batch: Vec<u8>,
}

/// Capacity that is kept from one batch to the next.
const BATCH_BYTES_KEPT: usize = 1 << 20;

impl AppendLog {
    /// Opens or makes the file, and gives all its commands to `execute`.
    ///
    /// What follows the last whole command is cut off: the process that wrote it ended before it
    /// was answered.
    pub(super) fn open(
        path: &Path,
        syncs: bool,
        execute: impl FnMut(&Command<'_>) -> Result<(), &'static str>,
    ) -> Result<Self, LogError> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let Replayed { commands, bytes, rest } = replay(&mut file, execute)?;
        if rest > 0 {
            tracing::warn!(
                file = %path.display(), offset = bytes, bytes = rest,
                "the last command is not whole: truncated"
            );
            file.set_len(bytes)?;
        }
        file.sync_all()?;
        sync_folder(path)?;
        tracing::info!(file = %path.display(), commands, bytes, "append log replayed");
        Ok(Self { file: Mutex::new(Tail { file, batch: Vec::new() }), syncs })
    }

    /// Writes what has been executed and not been written. When it returns, so have all changes
    /// that the caller has seen, those of other loops included.
    pub(super) fn commit(&self, store: &Mutex<Store>) -> io::Result<()> {
        let mut tail = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let Tail { file, batch } = &mut *tail;
        lock(store).swap_changes(batch);
        if batch.is_empty() {
            return Ok(());
        }
        file.write_all(batch)?;
        if self.syncs {
            file.sync_data()?;
        }
        batch.clear();
        batch.shrink_to(BATCH_BYTES_KEPT);
        Ok(())
    }
}

/// A file that has just been made is lost with the power unless its folder is on the disk too.
#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}
