//! What is counted.

use crate::broadcast;
use crate::callgrind;
use crate::exchange::{Exchange, Protocol};
use crate::{frames, inside};
use mainspring::DriverKind;
use std::path::Path;
use std::process::Command;

/// One thing, done again and again.
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    /// What one of the counted operations is.
    pub(crate) operation: &'static str,
    work: Work,
    /// Repetitions of the two runs.
    few: u64,
    many: u64,
    /// Whether there are systems that cannot run it.
    pub(crate) may_lack: bool,
}

enum Work {
    /// A server in a process of its own, which alone is counted. Its client waits for each answer
    /// before it asks again, so that all runs have the same turns.
    Served { arguments: &'static [&'static str], exchange: Exchange },
    /// A server of this program, of one thread: valgrind 3.19 lets no other thread run while one is
    /// in `io_uring_enter`.
    Alone { driver: DriverKind, exchange: Exchange, shape: &'static [&'static str] },
    /// A function of this program.
    Inside(fn(u64) -> Result<(), String>),
}

const READY: &str = "ready";

pub(crate) const SCENES: &[Scene] = &[
    served("echo", "64 bytes echoed, TCP, ready driver", &["echo", "--driver", READY], echo()),
    alone("echo-alone", "the same, in a program of one thread", DriverKind::Ready, false),
    alone("echo-ring", "the same, ring driver", DriverKind::Ring, true),
    layered(
        "echo-layered",
        "64 bytes echoed through a cipher of few instructions",
        &["--layers", "1"],
    ),
    layered("echo-layered-x2", "the same, through two", &["--layers", "2"]),
    tasks("tasks-echo", "64 bytes echoed by a task, ready driver, one thread", Protocol::Echo),
    tasks("tasks-1k", "1,026 bytes echoed by a task, ready driver, one thread", Protocol::Frames),
    served(
        "redis-set",
        "SET, one per delivery",
        &["redis", "--driver", READY],
        Exchange { protocol: Protocol::Set, depth: 1 },
    ),
    served(
        "redis-set-x16",
        "SET, 16 per delivery",
        &["redis", "--driver", READY],
        Exchange { protocol: Protocol::Set, depth: 16 },
    ),
    served(
        "redis-get-x16",
        "GET, 16 per delivery",
        &["redis", "--driver", READY],
        Exchange { protocol: Protocol::Get, depth: 16 },
    ),
    served(
        "http",
        "GET of a page, one per delivery",
        &["http", "--driver", READY],
        Exchange { protocol: Protocol::Http, depth: 1 },
    ),
    served(
        "http-x16",
        "GET of a page, 16 per delivery",
        &["http", "--driver", READY],
        Exchange { protocol: Protocol::Http, depth: 16 },
    ),
    frames("bytes-1k", "1,026 bytes echoed by callbacks, ready driver", false),
    frames("framed-1k", "the same bytes as a frame: cut, and put together again", true),
    inside(
        "bytes-1k-sim",
        "1,026 bytes echoed in simulation, whose own share is in this",
        frames::echo_bytes,
        500,
        2_500,
    ),
    inside(
        "framed-1k-sim",
        "the same bytes as a frame, in simulation",
        frames::echo_frame,
        500,
        2_500,
    ),
    inside(
        "timer-arm-cancel",
        "set_timer and cancel_timer on a connection with 64 timers",
        inside::arm_and_cancel,
        20_000,
        120_000,
    ),
    inside(
        "timer-fire",
        "set_timer, up to 8 s of the wheel, on_timer",
        inside::arm_and_fire,
        20_000,
        120_000,
    ),
    inside(
        "post",
        "Remote::post to a sleeping loop, and the turn that runs it",
        inside::post_one,
        2_000,
        12_000,
    ),
    inside("post-x64", "the same, 64 per turn", inside::post_many, 12_800, 76_800),
    inside(
        "broadcast-cx",
        "Cx::broadcast of 64 bytes by a post, per connection of 64",
        broadcast::by_the_loop,
        12_800,
        76_800,
    ),
    inside(
        "broadcast",
        "Broadcaster::send_to of the same, with limits and account",
        broadcast::by_a_broadcaster,
        12_800,
        76_800,
    ),
];

const fn echo() -> Exchange {
    Exchange { protocol: Protocol::Echo, depth: 1 }
}

const fn served(
    name: &'static str,
    operation: &'static str,
    arguments: &'static [&'static str],
    exchange: Exchange,
) -> Scene {
    let work = Work::Served { arguments, exchange };
    Scene { name, operation, work, few: 1_000, many: 6_000, may_lack: false }
}

const fn alone(
    name: &'static str,
    operation: &'static str,
    driver: DriverKind,
    may_lack: bool,
) -> Scene {
    let work = Work::Alone { driver, exchange: echo(), shape: &[] };
    Scene { name, operation, work, few: 1_000, many: 6_000, may_lack }
}

/// Through layers that change each byte back and forth: the client sees its own bytes.
const fn layered(
    name: &'static str,
    operation: &'static str,
    shape: &'static [&'static str],
) -> Scene {
    let work = Work::Alone { driver: DriverKind::Ready, exchange: echo(), shape };
    Scene { name, operation, work, few: 1_000, many: 6_000, may_lack: false }
}

const fn tasks(name: &'static str, operation: &'static str, protocol: Protocol) -> Scene {
    let exchange = Exchange { protocol, depth: 1 };
    let work = Work::Alone { driver: DriverKind::Ready, exchange, shape: &["--tasks"] };
    Scene { name, operation, work, few: 1_000, many: 6_000, may_lack: false }
}

/// Frames of 1 KiB, which the server sees as such or as bytes.
const fn frames(name: &'static str, operation: &'static str, framed: bool) -> Scene {
    let exchange = Exchange { protocol: Protocol::Frames, depth: 1 };
    let shape: &[&str] = if framed { &["--framed"] } else { &[] };
    let work = Work::Alone { driver: DriverKind::Ready, exchange, shape };
    Scene { name, operation, work, few: 1_000, many: 6_000, may_lack: false }
}

const fn inside(
    name: &'static str,
    operation: &'static str,
    run: fn(u64) -> Result<(), String>,
    few: u64,
    many: u64,
) -> Scene {
    Scene { name, operation, work: Work::Inside(run), few, many, may_lack: false }
}

impl Scene {
    pub(crate) fn named(name: &str) -> Result<&'static Self, String> {
        SCENES.iter().find(|scene| scene.name == name).ok_or_else(|| {
            let names: Vec<&str> = SCENES.iter().map(|scene| scene.name).collect();
            format!("unknown scene `{name}`; allowed: {}", names.join(", "))
        })
    }

    /// User instructions of one operation.
    pub(crate) fn count(&self, mainspring: &Path) -> Result<f64, String> {
        let few = self.count_run(mainspring, self.few)?;
        let many = self.count_run(mainspring, self.many)?;
        let operations = (self.many - self.few) * self.operations_per_repetition();
        Ok((many as f64 - few as f64) / operations as f64)
    }

    pub(crate) fn run_inside(&self, repetitions: u64) -> Result<(), String> {
        match self.work {
            Work::Inside(run) => run(repetitions),
            Work::Served { .. } | Work::Alone { .. } => {
                Err(format!("{} is a server's; use `measure`", self.name))
            }
        }
    }

    fn count_run(&self, mainspring: &Path, repetitions: u64) -> Result<u64, String> {
        match &self.work {
            Work::Served { arguments, exchange } => {
                let mut server = Command::new(mainspring);
                server.args(*arguments).args(["--listen", "tcp://127.0.0.1:0", "--log", "error"]);
                let ask = |address: &str| exchange.repeat(address, repetitions);
                callgrind::count_server(&server, true, ask)
            }
            Work::Alone { driver, exchange, shape } => {
                let mut server = this_program(&["echo", "--driver", &driver.to_string()])?;
                server.args(*shape);
                let ask = |address: &str| exchange.repeat(address, repetitions);
                callgrind::count_server(&server, false, ask)
            }
            Work::Inside(_) => {
                let scene = this_program(&["run", self.name, &repetitions.to_string()])?;
                callgrind::count_program(&scene)
            }
        }
    }

    fn operations_per_repetition(&self) -> u64 {
        match &self.work {
            Work::Served { exchange, .. } | Work::Alone { exchange, .. } => exchange.depth,
            Work::Inside(_) => 1,
        }
    }
}

fn this_program(arguments: &[&str]) -> Result<Command, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    command.args(arguments);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenes_inside_of_the_process_run() {
        for scene in SCENES.iter().filter(|scene| matches!(scene.work, Work::Inside(_))) {
            scene.run_inside(640).unwrap_or_else(|error| panic!("{}: {error}", scene.name));
        }
    }

    #[test]
    fn an_unknown_scene_is_refused_with_those_that_are_known() {
        let message = Scene::named("ecco").err().unwrap();
        assert!(message.contains("`ecco`; allowed: echo, echo-alone, echo-ring"), "{message}");
    }
}
