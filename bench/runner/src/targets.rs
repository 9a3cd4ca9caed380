//! What is to be reached, and whether the same run reached it.

use bench_load::ProtocolName;

use crate::cases::{Case, Kind};
use crate::contenders::{Driver, Role};
use crate::measure::{Cell, Sample};
use crate::programs::Scheme;
use crate::stats::Estimate;
use crate::table::{Table, estimated, markdown_rows};

const RESIDENT_MAX: f64 = 250.0;
/// A future per connection, as a multiple of callbacks.
const TASKS_MAX: f64 = 1.10;
/// Frames cut and put together again, as a multiple of the same bytes untouched.
const FRAMED_MAX: f64 = 1.10;
const BESIDE_IDLE_MAX: f64 = 1.02;
/// Datagrams per second of processor time in bursts, as a multiple of the plain floor's.
const BURSTS_MIN: f64 = 10.0;

/// One target in one case.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) case: String,
    /// What is set against what.
    pub(crate) what: String,
    pub(crate) wanted: Wanted,
    /// `None`: one of the two was not measured. The median of the quotients of each round.
    pub(crate) reached: Option<Estimate>,
}

/// What a figure has to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Wanted {
    AtMost(f64),
    AtLeast(f64),
}

/// How it came out, by the median; and whether the target lies within the interval, so that the same
/// servers may come out otherwise another time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Reached,
    ReachedOpen,
    Missed,
    MissedOpen,
    NotMeasured,
}

impl Verdict {
    pub(crate) fn outcome(&self) -> Outcome {
        let Some(estimate) = self.reached else { return Outcome::NotMeasured };
        let (is_reached, limit) = match self.wanted {
            Wanted::AtMost(limit) => (estimate.median <= limit, limit),
            Wanted::AtLeast(limit) => (estimate.median >= limit, limit),
        };
        match (is_reached, estimate.leaves_open(limit)) {
            (true, false) => Outcome::Reached,
            (true, true) => Outcome::ReachedOpen,
            (false, false) => Outcome::Missed,
            (false, true) => Outcome::MissedOpen,
        }
    }
}

impl Outcome {
    fn text(self) -> &'static str {
        match self {
            Self::Reached => "reached",
            Self::ReachedOpen => "reached; not told apart",
            Self::Missed => "**missed**",
            Self::MissedOpen => "**missed**; not told apart",
            Self::NotMeasured => "not measured",
        }
    }
}

/// The targets of a kind, judged by its tables.
pub(crate) fn judge(kind: Kind, tables: &[Table]) -> Vec<Verdict> {
    tables.iter().flat_map(|table| judge_table(kind, table)).collect()
}

/// A line that counts, and a table.
pub(crate) fn markdown(verdicts: &[Verdict]) -> String {
    if verdicts.is_empty() {
        return "No targets are set: the figures are reported as they are.\n".to_owned();
    }
    let count =
        |wanted: Outcome| verdicts.iter().filter(|verdict| verdict.outcome() == wanted).count();
    let (reached_open, missed_open) = (count(Outcome::ReachedOpen), count(Outcome::MissedOpen));
    let (reached, missed) =
        (count(Outcome::Reached) + reached_open, count(Outcome::Missed) + missed_open);
    let unknown = count(Outcome::NotMeasured);
    let head = ["case", "what", "wanted", "reached [interval]", "least-largest", "verdict"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(verdicts.iter().map(row));
    format!(
        "Targets: {reached} reached ({reached_open} of them not told apart), {missed} missed \
         ({missed_open} of them not told apart), {unknown} not measured.\n\n{}",
        markdown_rows(&rows)
    )
}

fn row(verdict: &Verdict) -> Vec<String> {
    vec![
        verdict.case.clone(),
        verdict.what.clone(),
        match verdict.wanted {
            Wanted::AtMost(limit) => format!("<= {limit}"),
            Wanted::AtLeast(limit) => format!(">= {limit}"),
        },
        estimated(verdict.reached),
        verdict.reached.map_or_else(
            || "-".to_owned(),
            |Estimate { min, max, .. }| format!("{min:.2}-{max:.2}"),
        ),
        verdict.outcome().text().to_owned(),
    ]
}

fn judge_table(kind: Kind, table: &Table) -> Vec<Verdict> {
    let case = &table.case;
    match kind {
        Kind::Echo if case.protocol == ProtocolName::Framed => framed(table),
        Kind::Echo => {
            let limit = if case.depth == 1 && case.scheme == Scheme::Tcp { 1.03 } else { 1.05 };
            let drivers: &[Driver] =
                if case.scheme == Scheme::Tcp { &[Driver::Ready] } else { &Driver::ALL };
            let mut verdicts = over_floor(table, drivers, limit);
            verdicts.push(over_best_peer(table));
            verdicts.extend(tasks(table));
            verdicts
        }
        Kind::Redis => redis(table),
        Kind::Http => {
            let mut verdicts = over_floor(table, &Driver::ALL, 1.10);
            verdicts.push(over_best_peer(table));
            verdicts
        }
        // Below tokio, which stands where others have a floor.
        Kind::Tls => over_floor(table, &Driver::ALL, 0.99),
        Kind::Udp if table.cells.iter().any(|cell| cell.server.offload) => bursts(table),
        Kind::Udp => over_floor(table, &Driver::ALL, 1.02),
        Kind::Idle => idle(table),
        Kind::Scale => Vec::new(),
    }
}

fn over_floor(table: &Table, drivers: &[Driver], limit: f64) -> Vec<Verdict> {
    let floor = table.floor();
    let one = |driver: &Driver| {
        let ours = ours(table, *driver);
        let reached = both(ours, floor, server_us);
        let name = floor.map_or("floor", |floor| &floor.server.name);
        verdict(&table.case, format!("{} / {name}", driver.name()), Wanted::AtMost(limit), reached)
    };
    drivers.iter().map(one).collect()
}

fn over_best_peer(table: &Table) -> Verdict {
    let ours = table.best(|server| matches!(server.role, Role::Ours(_)));
    let peer = table.best_peer();
    let name = |cell: Option<&Cell>| cell.map_or("-", |cell| &cell.server.name).to_owned();
    let what = format!("best of ours ({}) / best peer ({})", name(ours), name(peer));
    verdict(&table.case, what, Wanted::AtMost(1.0), both(ours, peer, server_us))
}

/// A future per connection, beside callbacks on the same driver and beside tokio.
fn tasks(table: &Table) -> Vec<Verdict> {
    let of = |driver| table.cells.iter().find(|cell| cell.server.role == Role::Tasks(driver));
    let mut verdicts = Vec::new();
    for driver in Driver::ALL {
        let reached = both(of(driver), ours(table, driver), server_us);
        let what = format!("tasks / callbacks, {}", driver.name());
        verdicts.push(verdict(&table.case, what, Wanted::AtMost(TASKS_MAX), reached));
    }
    let tokio = table.cells.iter().find(|cell| cell.server.name == "tokio-echo");
    let reached = both(of(Driver::Ready), tokio, server_us);
    let what = "tasks, ready / tokio-echo".to_owned();
    verdicts.push(verdict(&table.case, what, Wanted::AtMost(1.0), reached));
    verdicts
}

/// Frames beside the same bytes untouched, on the same driver.
fn framed(table: &Table) -> Vec<Verdict> {
    let of = |driver| table.cells.iter().find(|cell| cell.server.role == Role::Framed(driver));
    let verdicts = Driver::ALL.map(|driver| {
        let reached = both(of(driver), ours(table, driver), server_us);
        let what = format!("frames / bytes, {}", driver.name());
        verdict(&table.case, what, Wanted::AtMost(FRAMED_MAX), reached)
    });
    verdicts.to_vec()
}

fn redis(table: &Table) -> Vec<Verdict> {
    let case = &table.case;
    let limit = if case.depth == 1 { 1.05 } else { 1.5 };
    let mut verdicts = over_floor(table, &Driver::ALL, limit);
    if case.depth > 1 {
        let wanted = if case.protocol == ProtocolName::Set { 3.5 } else { 2.5 };
        let peer = table.cells.iter().find(|cell| cell.server.name == "redis-server");
        let ceiling = ceiling(table, peer);
        verdicts.extend(Driver::ALL.map(|driver| {
            let reached = both(ours(table, driver), peer, per_second);
            let what = format!("req/s of {} / redis-server", driver.name());
            verdict(case, format!("{what}{ceiling}"), Wanted::AtLeast(wanted), reached)
        }));
    }
    verdicts
}

/// What the client lets the floor reach: a ratio above it cannot be seen with this client.
fn ceiling(table: &Table, peer: Option<&Cell>) -> String {
    both(table.floor(), peer, per_second)
        .map_or_else(String::new, |reached| format!(" (the floor: {:.2})", reached.median))
}

fn bursts(table: &Table) -> Vec<Verdict> {
    let one = |driver: Driver| {
        // The other way round: datagrams per second of processor time.
        let reached = both(table.floor(), ours(table, driver), server_us);
        let what = format!("datagrams per CPU second, {} / floor-udp, plain", driver.name());
        verdict(&table.case, what, Wanted::AtLeast(BURSTS_MIN), reached)
    };
    Driver::ALL.map(one).to_vec()
}

fn idle(table: &Table) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for driver in Driver::ALL {
        let alone = ours(table, driver);
        let beside = table
            .cells
            .iter()
            .find(|cell| cell.server.role == Role::Ours(driver) && cell.server.idle > 0);
        let resident = beside.and_then(Cell::resident_each);
        let what = format!("{}: resident bytes per idle connection", driver.name());
        verdicts.push(verdict(&table.case, what, Wanted::AtMost(RESIDENT_MAX), resident));
        let what = format!("{}: beside idle ones / alone", driver.name());
        let reached = both(beside, alone, server_us);
        verdicts.push(verdict(&table.case, what, Wanted::AtMost(BESIDE_IDLE_MAX), reached));
    }
    verdicts
}

/// Ours with that driver; without idle connections, where there are both.
fn ours(table: &Table, driver: Driver) -> Option<&Cell> {
    table.cells.iter().find(|cell| cell.server.role == Role::Ours(driver) && cell.server.idle == 0)
}

/// The quotient of a figure of both, round by round.
fn both(
    above: Option<&Cell>,
    below: Option<&Cell>,
    of: impl Fn(&Sample) -> f64,
) -> Option<Estimate> {
    above?.over(below?, of)
}

fn server_us(sample: &Sample) -> f64 {
    sample.server_us
}

fn per_second(sample: &Sample) -> f64 {
    sample.per_second
}

fn verdict(case: &Case, what: String, wanted: Wanted, reached: Option<Estimate>) -> Verdict {
    Verdict { case: case.title(), what, wanted, reached }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contenders::Server;
    use crate::table::tests::{case, cell, table};

    #[test]
    fn frames_are_judged_by_the_same_bytes_untouched() {
        let table = Table { case: case(Kind::Echo, "tcp frames of 1 KiB 50c x16"), ..table() };
        let verdicts = judge(Kind::Echo, &[table]);
        assert_eq!(verdicts.len(), 2, "{verdicts:?}");
        assert_eq!(verdicts[0].what, "frames / bytes, ready");
        assert_eq!(verdicts[1].wanted, Wanted::AtMost(1.10));
    }

    #[test]
    fn echo_is_judged_by_the_floor_and_the_best_peer() {
        let verdicts = judge(Kind::Echo, &[table()]);
        assert_eq!(verdicts.len(), 5, "{verdicts:?}");
        assert_eq!(verdicts[0].what, "ready / floor-echo");
        assert_eq!(verdicts[0].wanted, Wanted::AtMost(1.03));
        // The best round of ours was as good as the worst of the floor; within each it cost more.
        assert_eq!(verdicts[0].reached.unwrap().median, 1.25);
        assert_eq!(verdicts[0].outcome(), Outcome::Missed);
        assert_eq!(verdicts[1].what, "best of ours (mainspring ring) / best peer (mio-echo)");
        assert_eq!(verdicts[1].outcome(), Outcome::Reached);
        let text = markdown(&verdicts);
        let head = "Targets: 1 reached (0 of them not told apart), 1 missed (0 of them not told apart), 3 \
                    not measured.";
        assert!(text.starts_with(head), "{text}");
        assert!(text.contains("| 1.250 [1.200-2.333] | 1.20-2.33 | **missed** |"), "{text}");
    }

    #[test]
    fn a_target_within_the_interval_is_not_told_apart() {
        let of = |times: &[f64], wanted| {
            let one = Server::floor("floor-echo");
            let reached =
                both(Some(&cell(one.clone(), times)), Some(&cell(one, &[1.0; 9])), server_us);
            verdict(&table().case, String::new(), wanted, reached).outcome()
        };
        // Of nine rounds the second and the eighth are the ends.
        let times = [0.90, 1.01, 1.02, 1.03, 1.04, 1.05, 1.06, 1.07, 1.50];
        assert_eq!(of(&times, Wanted::AtMost(1.08)), Outcome::Reached);
        assert_eq!(of(&times, Wanted::AtMost(1.07)), Outcome::ReachedOpen);
        assert_eq!(of(&times, Wanted::AtMost(1.04)), Outcome::ReachedOpen);
        assert_eq!(of(&times, Wanted::AtMost(1.03)), Outcome::MissedOpen);
        assert_eq!(of(&times, Wanted::AtMost(1.00)), Outcome::Missed);
        assert_eq!(of(&times, Wanted::AtLeast(1.00)), Outcome::Reached);
        assert_eq!(of(&times, Wanted::AtLeast(1.05)), Outcome::MissedOpen);
        assert_eq!(of(&times, Wanted::AtLeast(1.08)), Outcome::Missed);
    }

    #[test]
    fn a_deeper_pipeline_may_cost_more() {
        let table = Table { case: case(Kind::Echo, "tcp 64 B 50c x16"), ..table() };
        assert_eq!(judge(Kind::Echo, &[table])[0].wanted, Wanted::AtMost(1.05));
    }

    #[test]
    fn throughput_is_set_against_redis_server() {
        let [ready, ring] = Server::ours("redis");
        let not_there = Cell { failure: Some("no".to_owned()), ..cell(ring, &[]) };
        let table = Table {
            case: case(Kind::Redis, "redis-benchmark set 50c x128"),
            cells: vec![
                cell(Server::floor("floor-resp"), &[1.0, 1.0]),
                cell(ready, &[1.2, 1.2]),
                not_there,
                cell(Server::redis(), &[3.6, 3.6]),
            ],
        };
        let verdicts = judge(Kind::Redis, &[table]);
        let outcomes: Vec<Outcome> = verdicts.iter().map(Verdict::outcome).collect();
        assert_eq!(verdicts[2].wanted, Wanted::AtLeast(3.5));
        assert_eq!(verdicts[2].what, "req/s of ready / redis-server (the floor: 3.60)");
        assert!((verdicts[2].reached.unwrap().median - 3.0).abs() < 1e-9);
        assert_eq!(
            outcomes,
            [Outcome::Reached, Outcome::NotMeasured, Outcome::Missed, Outcome::NotMeasured]
        );
    }

    #[test]
    fn bursts_are_judged_by_what_a_second_of_processor_time_carries() {
        let cells = crate::contenders::bursts()
            .into_iter()
            .zip([2.0, 0.05, 0.1, 0.4])
            .map(|(server, us)| cell(server, &[us]))
            .collect();
        let table = Table { case: case(Kind::Udp, "udp 64 B 1c x512, GRO and GSO"), cells };
        let verdicts = judge(Kind::Udp, &[table]);
        assert!((verdicts[0].reached.unwrap().median - 20.0).abs() < 1e-9);
        assert_eq!(verdicts[0].outcome(), Outcome::Reached);
        assert_eq!(verdicts[1].outcome(), Outcome::Missed);
    }

    #[test]
    fn idle_connections_are_judged_by_memory_and_by_what_they_cost_others() {
        let title = "tcp 64 B 50c x1, alone and beside 15,000 idle";
        let mut cells: Vec<Cell> = crate::contenders::crowded(15_000)
            .into_iter()
            .map(|server| {
                let us = if server.idle > 0 { 4.2 } else { 4.0 };
                cell(server, &[us])
            })
            .collect();
        for cell in cells.iter_mut().filter(|cell| cell.server.idle > 0) {
            cell.samples[0].resident_each = Some(200.0);
        }
        let verdicts = judge(Kind::Idle, &[Table { case: case(Kind::Idle, title), cells }]);
        let outcomes: Vec<Outcome> = verdicts.iter().map(Verdict::outcome).collect();
        assert_eq!(
            outcomes,
            [Outcome::Reached, Outcome::Missed, Outcome::Reached, Outcome::Missed]
        );
        assert!((verdicts[1].reached.unwrap().median - 1.05).abs() < 1e-9);
    }

    #[test]
    fn scaling_is_only_reported() {
        let table = Table { case: Kind::Scale.cases(true).remove(0), ..table() };
        assert!(judge(Kind::Scale, &[table]).is_empty());
        assert!(markdown(&[]).starts_with("No targets"));
    }
}
