//! Which core a process runs on.

use std::io;
use std::process::{Child, Command};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The two cores of a run; the same one on a machine that has only one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cores {
    pub(crate) server: usize,
    pub(crate) load: usize,
}

impl Cores {
    /// The first two that this process may use.
    pub(crate) fn pick() -> io::Result<Self> {
        let set = sched_getaffinity(None)?;
        let mut allowed = (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core));
        let server = allowed.next().ok_or_else(|| io::Error::other("no core to run on"))?;
        Ok(Self { server, load: allowed.next().unwrap_or(server) })
    }
}

/// Starts a command on some cores, where it and its threads stay.
///
/// A child inherits the affinity of the thread that starts it; so this thread goes there for a
/// moment.
pub(crate) fn spawn_on(cores: &[usize], command: &mut Command) -> io::Result<Child> {
    let before = sched_getaffinity(None)?;
    let mut only = CpuSet::new();
    cores.iter().for_each(|core| only.set(*core));
    sched_setaffinity(None, &only)?;
    let child = command.spawn();
    sched_setaffinity(None, &before)?;
    child
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Stdio;

    #[test]
    fn a_child_is_on_its_core_and_we_are_where_we_were() {
        let cores = Cores::pick().unwrap();
        let before = sched_getaffinity(None).unwrap();
        let mut cat = Command::new("cat");
        cat.arg("/proc/self/status").stdout(Stdio::piped());
        let output = spawn_on(&[cores.load], &mut cat).unwrap().wait_with_output().unwrap();
        let status = String::from_utf8(output.stdout).unwrap();
        let allowed = status.lines().find(|line| line.starts_with("Cpus_allowed_list:")).unwrap();
        assert_eq!(allowed.split_whitespace().last(), Some(cores.load.to_string().as_str()));
        assert_eq!(sched_getaffinity(None).unwrap(), before);
    }
}
