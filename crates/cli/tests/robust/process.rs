//! What /proc tells of a process: see proc(5).

use std::fs;
use std::time::Duration;

/// A running process, by its number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process(pub(crate) u32);

impl Process {
    /// Processor time of all its threads, in ticks of 10 ms: utime and stime of /proc/PID/stat.
    pub(crate) fn ticks(self) -> u64 {
        let stat = self.read("stat");
        // "(2) comm: The filename of the executable, in parentheses": it may hold blanks.
        let (_, fields) = stat.rsplit_once(") ").expect("a name in parentheses");
        let fields: Vec<&str> = fields.split(' ').collect();
        let number = |field: usize| -> u64 { fields[field - 3].parse().expect("a number") };
        number(14) + number(15)
    }

    /// Processor time that passes in it during `time`, as a share of one processor.
    pub(crate) fn load_over(self, time: Duration) -> f64 {
        let before = self.ticks();
        super::pause(time);
        (self.ticks() - before) as f64 * 0.01 / time.as_secs_f64()
    }

    /// How often its threads have gone to sleep by themselves.
    pub(crate) fn sleeps(self) -> u64 {
        self.threads().iter().map(|thread| field(thread, "voluntary_ctxt_switches:")).sum()
    }

    /// Resident memory in KiB: `VmRSS` of /proc/PID/status.
    pub(crate) fn resident_kib(self) -> u64 {
        field(&self.read("status"), "VmRSS:")
    }

    /// How many descriptors it has open.
    pub(crate) fn descriptors(self) -> usize {
        fs::read_dir(self.path("fd")).expect("the process runs").count()
    }

    /// Whether it runs: neither gone nor a zombie.
    pub(crate) fn is_alive(self) -> bool {
        fs::read_to_string(self.path("stat")).is_ok_and(|stat| {
            stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
        })
    }

    /// Its only child, if it has one.
    pub(crate) fn child(self) -> Option<Self> {
        let path = format!("/proc/{0}/task/{0}/children", self.0);
        let children = fs::read_to_string(path).ok()?;
        children.split_whitespace().next()?.parse().ok().map(Self)
    }

    pub(crate) fn signal(self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.0.cast_signed()).expect("not 0");
        // A process that has ended needs no signal.
        let _ = rustix::process::kill_process(pid, signal);
    }

    fn threads(self) -> Vec<String> {
        let tasks = fs::read_dir(self.path("task")).expect("the process runs");
        // A thread may end while the others are read.
        tasks
            .filter_map(|task| {
                fs::read_to_string(task.expect("an entry").path().join("status")).ok()
            })
            .collect()
    }

    fn read(self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("the process runs")
    }

    fn path(self, name: &str) -> String {
        format!("/proc/{}/{name}", self.0)
    }
}

fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("known to proc(5)");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}
