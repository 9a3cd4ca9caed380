//! Worlds from a seed, and what became of them.

use super::life::Life;
use super::plan::Plan;
use super::planted::Bug;
use super::simulated::Simulated;
use super::stage::Stage;
use mainspring_sim::World;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// How to run a world.
#[derive(Clone, Copy, Debug, Default)]
pub struct WorldRun {
    /// Keep the trace as text.
    pub log: bool,
    /// Plant this bug.
    pub bug: Option<Bug>,
}

/// A world that kept all laws.
#[derive(Clone, Debug)]
pub struct Passed {
    /// The hash over every order and event.
    pub trace_hash: u64,
    /// How often the world met what, by name: a world that meets nothing proves nothing.
    pub met: BTreeMap<String, u64>,
    /// The trace, if it was asked for.
    pub log: Vec<String>,
}

/// A world that broke a law.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// What the world was like.
    pub plan: String,
    /// The laws that were broken.
    pub broken: Vec<String>,
    /// The trace, if it was asked for.
    pub log: Vec<String>,
    /// How to run it again.
    pub again: String,
}

impl WorldRun {
    /// Runs the world of a seed.
    ///
    /// # Errors
    ///
    /// The laws that were broken.
    pub fn seed(self, seed: u64) -> Result<Passed, Failure> {
        let plan = Arc::new(Plan::of(seed).planted(self.bug));
        let world = World::new(seed, Simulated::world_options(&plan, self.log));
        let result = lived(|| {
            Life::begin(&plan, |book, detached| Simulated::new(&world, &plan, book, detached))
        });
        let log = world.take_log();
        match result {
            Ok(met) => Ok(Passed { trace_hash: world.trace_hash(), met, log }),
            Err(broken) => {
                let again = format!("cargo xtask sim --seed {seed} --log");
                Err(Failure { seed, plan: plan.to_string(), broken, log, again })
            }
        }
    }
}

/// What a world met from its beginning to its end, or the laws that it broke.
pub(super) fn lived<S: Stage>(
    begin: impl FnOnce() -> Life<S>,
) -> Result<BTreeMap<String, u64>, Vec<String>> {
    let result = catch_unwind(AssertUnwindSafe(|| {
        let mut life = begin();
        life.live();
        life.end();
        (life.broken(), life.met())
    }));
    let (broken, met) = result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        (vec![format!("panic: {}", text.unwrap_or_default())], BTreeMap::new())
    });
    if broken.is_empty() { Ok(met) } else { Err(broken) }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "FAILED {}", self.plan)?;
        for broken in &self.broken {
            writeln!(f, "  {broken}")?;
        }
        if !self.log.is_empty() {
            writeln!(f, "  the last events:")?;
            for line in &self.log[self.log.len().saturating_sub(LAST_EVENTS)..] {
                writeln!(f, "  {line}")?;
            }
        }
        write!(f, "  to repeat it: {}", self.again)
    }
}

const LAST_EVENTS: usize = 30;
