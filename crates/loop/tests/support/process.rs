//! What the system knows about this process, and files for it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A directory that is removed with its contents.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("mainspring-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("a directory for the test");
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A unix address in the directory.
    pub(crate) fn unix(&self, name: &str) -> String {
        format!("unix://{}", self.path(name).display())
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The processor time of one thread, from procfs.
#[derive(Clone, Debug)]
pub(crate) struct CpuTime(PathBuf);

impl CpuTime {
    /// Of the thread that calls; `None` where there is no procfs.
    pub(crate) fn of_this_thread() -> Option<Self> {
        if !cfg!(target_os = "linux") {
            return None;
        }
        let thread = std::fs::read_link("/proc/thread-self").expect("procfs");
        Some(Self(Path::new("/proc").join(thread).join("stat")))
    }

    /// User and system time so far, in clock ticks of 10 ms: fields 14 and 15 of proc_pid_stat(5).
    pub(crate) fn ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(&self.0).expect("the thread lives");
        // The second field, the name in parentheses, may hold spaces.
        let fields = stat.rsplit_once(')').expect("a name").1;
        let numbers: Vec<&str> = fields.split_whitespace().collect();
        numbers[11].parse::<u64>().unwrap() + numbers[12].parse::<u64>().unwrap()
    }
}
