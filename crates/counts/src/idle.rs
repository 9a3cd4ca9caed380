//! What idle connections cost in memory: a million do not fit into the descriptors of a process,
//! but into a simulation.
//!
//! A simulated network keeps its connections in the same memory as the loop. So the same crowd is
//! served twice, each time in a process of its own, where nothing that was freed hides what is
//! needed: by a loop, and by a [bare sink](bare) on the same driver that keeps nothing for a
//! connection. The difference is the loop's own.

mod bare;
mod crowd;

use bare::Bare;
use clap::{Args, ValueEnum};
use crowd::{Crowd, LISTEN_AT, Party};
use mainspring::sim::{SimDriver, World, WorldOptions};
use mainspring::{Action, Conn, Handle, Input, Server, SimLoop};
use std::process::{Command, Stdio};
use std::time::Instant;

#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    /// How many connections are opened between the two readings
    #[arg(long, default_value_t = 1_000_000)]
    connections: usize,
    /// The seed of the world and of what is sent
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Weigh one of the two inside of this process, and print both readings in bytes: what the
    /// program starts itself again for
    #[arg(long, hide = true)]
    only: Option<Served>,
}

/// By whom the crowd is served.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Served {
    Loop,
    Bare,
}

/// Resident bytes of a process when the connections were not yet there, and when they were idle.
#[derive(Clone, Copy, Debug)]
struct Readings {
    before: u64,
    after: u64,
}

/// Weighs both, one after the other, and returns one line of JSON; with `only` one, and returns its
/// readings.
pub(crate) fn measure(arguments: &Arguments) -> Result<String, String> {
    if let Some(served) = arguments.only {
        let Readings { before, after } = weigh(arguments, served)?;
        return Ok(format!("{before} {after}"));
    }
    let started = now();
    let of_loop = Readings::of_child(arguments, Served::Loop)?;
    let bare = Readings::of_child(arguments, Served::Bare)?;
    let connections = arguments.connections;
    let (whole_each, bare_each) = (of_loop.each(connections), bare.each(connections));
    Ok(format!(
        "{{\"connections\":{connections},\"seed\":{},\
         \"resident_before_bytes\":{},\"resident_after_bytes\":{},\"bytes_each\":{whole_each:.1},\
         \"bare_before_bytes\":{},\"bare_after_bytes\":{},\"bare_bytes_each\":{bare_each:.1},\
         \"loop_bytes_each\":{:.1},\"seconds\":{:.1}}}",
        arguments.seed,
        of_loop.before,
        of_loop.after,
        bare.before,
        bare.after,
        whole_each - bare_each,
        (now() - started).as_secs_f64(),
    ))
}

impl Readings {
    /// Those that this program takes in a process of its own.
    fn of_child(arguments: &Arguments, served: Served) -> Result<Self, String> {
        let program = std::env::current_exe().map_err(|error| format!("this program: {error}"))?;
        let name = served.to_possible_value().expect("no variant is skipped");
        let output = Command::new(program)
            .args(["idle", "--only", name.get_name()])
            .args(["--connections", &arguments.connections.to_string()])
            .args(["--seed", &arguments.seed.to_string()])
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| format!("cannot start this program again: {error}"))?;
        if !output.status.success() {
            return Err(format!("{name:?} ended with {}", output.status));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let read = text.trim_end().split_once(' ').and_then(|(before, after)| {
            Some(Self { before: before.parse().ok()?, after: after.parse().ok()? })
        });
        read.ok_or_else(|| format!("not two numbers: `{}`", text.escape_debug()))
    }

    fn each(self, connections: usize) -> f64 {
        (self.after as f64 - self.before as f64) / connections.max(1) as f64
    }
}

/// Serves the crowd in this process.
fn weigh(arguments: &Arguments, served: Served) -> Result<Readings, String> {
    let mut options = WorldOptions::default();
    options.backlog = Crowd::WAVE;
    let world = World::new(arguments.seed, options);
    let driver = world.driver("loop");
    match served {
        Served::Loop => weigh_party(arguments, world, Whole::start(driver, arguments.seed)?),
        Served::Bare => weigh_party(arguments, world, Bare::start(driver)?),
    }
}

/// The first wave stays open, but is not counted: with it come pages of code, and buffers that all
/// connections share.
fn weigh_party(
    arguments: &Arguments,
    world: World,
    mut party: impl Party,
) -> Result<Readings, String> {
    let mut crowd = Crowd::new(world, arguments.seed);
    crowd.grow(Crowd::WAVE, &mut party)?;
    let before = resident_bytes()?;
    crowd.grow(arguments.connections, &mut party)?;
    let after = resident_bytes()?;
    let (wanted, open) = (Crowd::WAVE + arguments.connections, party.connections());
    if open != wanted {
        return Err(format!("{open} of {wanted} connections are open"));
    }
    // To close them in good order takes as long as to open them, and this process ends here.
    std::mem::forget((crowd, party));
    Ok(Readings { before, after })
}

/// A server of one loop, which echoes.
struct Whole {
    server: SimLoop<SimDriver>,
    handle: Handle,
}

impl Whole {
    fn start(driver: SimDriver, seed: u64) -> Result<Self, String> {
        let (loops, handle) = Server::builder()
            .seed(seed)
            .simulate([driver], |shard| {
                let echo = shard.host(|conn: &mut Conn<'_>, input: &mut Input<'_>| {
                    conn.out().extend_from_slice(input.take());
                    Action::Continue
                });
                shard.listen(echo, format!("tcp://{LISTEN_AT}")).map(drop)
            })
            .map_err(|error| error.to_string())?;
        let server = loops.into_iter().next().ok_or("one driver makes one loop")?;
        Ok(Self { server, handle })
    }
}

impl Party for Whole {
    fn turn(&mut self) -> Result<(), String> {
        match self.server.turn() {
            Ok(true) => Ok(()),
            Ok(false) => Err("the loop has ended".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn connections(&self) -> usize {
        self.handle.stats().total.connections as usize
    }
}

/// `Rss` of all mappings of this process.
///
/// proc(5) of `statm` says "inaccurate; see smaps_rollup", which is why that is read.
fn resident_bytes() -> Result<u64, String> {
    const ROLLUP: &str = "/proc/self/smaps_rollup";
    let text = std::fs::read_to_string(ROLLUP)
        .map_err(|error| format!("{ROLLUP}: {error}; resident memory is read on Linux"))?;
    rss_of(&text).ok_or_else(|| format!("{ROLLUP}: no line `Rss:`"))
}

fn rss_of(rollup: &str) -> Option<u64> {
    let value = rollup.lines().find_map(|line| line.strip_prefix("Rss:"))?;
    let kibibytes: u64 = value.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    Some(kibibytes * 1024)
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long the program takes; the loops are simulated"
)]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::rss_of;

    #[test]
    fn resident_memory_is_read_in_bytes() {
        let rollup =
            "55d0-7ffc ---p 00000000 00:00 0    [rollup]\nRss:      884 kB\nPss:  385 kB\n";
        assert_eq!(rss_of(rollup), Some(884 * 1024));
        assert_eq!(rss_of("Pss: 385 kB\n"), None);
    }
}
